"""What is said and written where a run meets numbers that are not finite."""

import math
from copy import copy
from typing import Any

from ..errors import UserError, shorten
from .checkpoint import list_checkpoints
from .files import write_text
from .log import Log
from .meters import Interval, StepFigures
from .run_folder import RunFolder
from .run_records import dump_json
from .setup import Setup, State

FILE = "nonfinite.json"
"""In the run folder, about the step that ended the run."""

SHOWN, BEFORE = 5, 5
"""Images that the message names, and steps before the faulty one that the file has."""

LEAST_SCALE = 2.0**-10
"""Of the gradient scaler; it halves with each update that it leaves out, and begins with 2¹⁶."""

ADVICE = "try a smaller optimizer.lr, optimizer.clip_grad_norm or schedule.warmup"


def check_interval(
    setup: Setup, state: State, interval: Interval, run: RunFolder, log: Log
) -> None:
    """Count and tell the updates that were left out, and end the run where that is not enough.

    All ranks come to the same end, since the figures are those of all.

    Raises:
        UserError: a loss, or anything that a checkpoint would hold, is not finite; or more updates
            were left out than the recipe allows.
    """
    limit = setup.recipe.training.nonfinite_limit
    for step in interval.steps:
        if step.left_out and math.isfinite(step.worst):
            state.left_out += 1
            log.keep("left-out", step.number, step.number * setup.recipe.training.batch_size)
            log.say(f"step {step.number:,}: its update is left out: {_describe_cause(step)}")
            if state.left_out <= limit:
                continue
            what = (
                f"step {step.number:,} would be left out, too, after {limit} others "
                f"(training.nonfinite_limit): {_describe_cause(step)}"
            )
            raise _end(setup, run, what, step, interval)
        if not step.finite:
            raise _end(setup, run, _describe_fault(setup, step), step, interval)
    if setup.scaler.is_enabled() and (scale := setup.scaler.get_scale()) < LEAST_SCALE:
        what = (
            f"gradients are not finite, however small fp16's scale is ({scale:.3g} at step "
            f"{state.step:,}), so that all updates are left out"
        )
        raise _end(setup, run, what, interval.steps[-1], interval)
    if not math.isfinite(interval.rest):
        names = setup.watch.name_faults()
        what = f"not finite at step {state.step:,}: {_join(names)}"
        raise _end(setup, run, what, interval.steps[-1], interval)


def check_figures(
    setup: Setup, state: State, figures: dict[str, float], run: RunFolder
) -> dict[str, float]:
    """The figures of an evaluation, which are finite.

    Raises:
        UserError: accuracy or NLL is not.
    """
    names = [name for name in figures if name.endswith(("top1", "nll"))]
    bad = [f"{name} is {figures[name]}" for name in names if not math.isfinite(figures[name])]
    if bad:
        raise UserError(
            f"{', '.join(bad)} in the evaluation at step {state.step:,}, though the weights are "
            f"finite: the network's outputs overflow: {ADVICE}{_tell_kept(run)}"
        )
    return figures


def list_batch(setup: Setup, number: int) -> list[dict[str, Any]]:
    """The images of a step: their rank, number in the training split, name, and class.

    Args:
        number: of the step, from 0.
    """
    train, classes = setup.data.source.train, setup.data.source.classes
    epoch, batch = divmod(number, len(setup.sampler))
    images = []
    for rank in range(setup.ranks.world_size):
        sampler = copy(setup.sampler)
        sampler.rank = rank
        for index in sampler.batches(epoch)[batch].tolist():
            label = classes[int(train.labels[index])]
            name = train.name_of(index)
            images.append({"rank": rank, "index": index, "name": name, "label": label})
    return images


def name_image(image: dict[str, Any]) -> str:
    """An image in a message: its name, or else its number."""
    return shorten(image["name"], 60) if image["name"] else f"image {image['index']}"


def describe_figures(figures: dict[str, float]) -> str:
    """The terms of a loss, or the loss itself where it has none."""
    terms = {k: v for k, v in figures.items() if k not in ("loss", "train_top1")}
    return ", ".join(f"{name} {value:.4g}" for name, value in terms.items())


def _describe_cause(step: StepFigures) -> str:
    loss = step.figures["loss"]
    if not math.isfinite(loss):
        return f"the loss is {loss} ({describe_figures(step.figures)})"
    return f"a gradient or a buffer is not finite (loss {loss:.4g})"


def _describe_fault(setup: Setup, step: StepFigures) -> str:
    loss = step.figures["loss"]
    bad = [f"{k} is {v}" for k, v in step.figures.items() if k != "loss" and not math.isfinite(v)]
    if not math.isfinite(loss):
        terms = describe_figures(step.figures)
        return f"the loss is {loss} at step {step.number:,}" + f" ({terms})" * bool(terms)
    if bad:
        return f"{', '.join(bad)} at step {step.number:,}"
    names = setup.watch.name_faults()
    return f"weights are not finite after step {step.number:,}: {_join(names)}"


def _join(names: list[str]) -> str:
    return ", ".join(names[:3]) + " …" * (len(names) > 3) or "on another rank"


def _end(
    setup: Setup, run: RunFolder, what: str, step: StepFigures, interval: Interval
) -> UserError:
    images = list_batch(setup, step.number - 1)
    shown = ", ".join(map(name_image, images[:SHOWN]))
    if setup.ranks.first:
        steps = [s for s in interval.steps if step.number - BEFORE <= s.number <= step.number]
        record = {
            "step": step.number,
            "fault": what,
            "not_finite": setup.watch.name_faults(),
            "steps": [{"step": s.number, **s.figures} for s in steps],
            "images": images,
        }
        write_text(run.path / FILE, dump_json(record, indent=1) + "\n")
    return UserError(
        f"{what}; its images are {shown} and {max(0, len(images) - SHOWN)} others ({FILE}): "
        f"{ADVICE}{_tell_kept(run)}; torchbake replay {run.path} --step {step.number} looks at it"
    )


def _tell_kept(run: RunFolder) -> str:
    return "; the last checkpoint is kept" * bool(list_checkpoints(run.checkpoints))
