"""The training loop: from a recipe to a run folder."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import torch.distributed as dist
from rich.console import Console

from ..data.loaders import Data, prepare
from ..errors import Stopped, UserError
from ..evaluation import evaluate
from ..recipe import DataRecipe, Recipe
from .checkpoint import load_checkpoint, save_checkpoint, save_weights, write_text
from .distributed import Ranks, joined_ranks
from .log import Log
from .network import PRECISIONS
from .parts import Parts, State, make_parts
from .run_folder import RunFolder
from .schedule import learning_rate
from .step import update
from .stopping import stop_requests
from .usage import peak_memory
from .window import Window


def train(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    console: Console | None = None,
) -> dict[str, float]:
    """Train as the recipe says, writing everything into `folder`.

    Under torchrun, each process is one rank. The result depends on the recipe alone, and a run
    that was cut off and resumed on the CPU ends with the very same weights.

    Returns:
        The figures of the last evaluation (see `evaluation.Metrics`), of the EMA with `ema_`
        before their names, and `step`, `images` (seen) and `seconds` (of training).

    Raises:
        UserError: see `RunFolder.check` and the parts of the recipe; or the loss is not finite.
        Stopped: SIGINT or SIGTERM; a checkpoint was written first.
    """
    run = RunFolder(folder)
    console = console or Console()
    settings = recipe.training
    with joined_ranks(settings.device) as ranks:
        console = console if ranks.first else Console(quiet=True)
        if ranks.first:
            run.check(recipe, resume=resume, overwrite=overwrite)
        # Nothing is replaced or made before all that the recipe names is there.
        data_recipe = run.own_data(recipe) if resume else recipe.data
        parts = make_parts(recipe, prepare_data(data_recipe, console), ranks)
        if ranks.first:
            run.open(recipe, overwrite=overwrite)
        if ranks.world_size > 1:
            dist.barrier()
        state = State()
        if run.checkpoint.is_file():
            state = parts.load_checkpoint(load_checkpoint(run.checkpoint), ranks)
        log = Log(run if ranks.first else None, console, parts.total, settings.tensorboard)
        if ranks.first:
            run.forget_after(state.step)
        log.say(_summary(recipe, parts, state, ranks))

        final: dict[str, float] = {}
        with log.showing(state.step), stop_requests(ranks) as stop_requested:
            window = Window(ranks)
            while state.step < parts.total:
                epoch, number = divmod(state.step, len(parts.sampler))
                for batch in parts.loader.batches(epoch, start=number):
                    lr = learning_rate(
                        recipe.schedule, recipe.optimizer.lr, state.step, parts.total
                    )
                    update(recipe, parts, ranks, window, batch, lr, state.step)
                    number += 1
                    state.step += 1
                    state.images += settings.batch_size
                    log.advance(state.step)

                    last = state.step == parts.total
                    stopping = stop_requested() and not last
                    saving = last or stopping or state.step % settings.checkpoint_every == 0
                    epoch_done = number == len(parts.sampler)
                    evaluating = last or (epoch_done and (epoch + 1) % settings.eval_every == 0)
                    if saving or evaluating or state.step % settings.log_every == 0:
                        _record_window(window, log, parts, state, lr, recipe, ranks)
                    if saving or evaluating:
                        _check_finite(parts, state)
                    if evaluating:
                        final = _evaluated(recipe, parts, ranks)
                        log.record("eval", state.step, state.images, **final)
                    if saving:
                        state.peak_memory = max(state.peak_memory, peak_memory(ranks.device))
                        checkpoint = parts.checkpoint(state)
                        if ranks.first:
                            save_checkpoint(run.checkpoint, checkpoint)
                    if saving or evaluating:
                        window.restart()  # its time is that of training alone
                    if stopping:
                        raise Stopped(
                            f"stopped at step {state.step:,} of {parts.total:,}, checkpoint "
                            f"written; go on with --resume --out {run.path}"
                        )
                    if last:
                        break
            final = final or _evaluated(recipe, parts, ranks)
        if ranks.first:
            _write_results(recipe, run, parts, state, final)
        return {**final, **asdict(state)}


def _record_window(
    window: Window, log: Log, parts: Parts, state: State, lr: float, recipe: Recipe, ranks: Ranks
) -> None:
    means, images, seconds = window.close()
    state.seconds += seconds
    state.forwards += parts.forwards.take() * ranks.world_size
    if not math.isfinite(means["loss"]):
        raise _not_finite(f"the loss is {means['loss']}", state)
    left = (parts.total - state.step) * recipe.training.batch_size * seconds / images
    log.record(
        "train",
        state.step,
        state.images,
        **means,
        lr=lr,
        images_per_second=images / seconds,
        seconds_left=left,
    )


def _check_finite(parts: Parts, state: State) -> None:
    """The loss of a step tells nothing of the weights behind it, which are what is saved."""
    if not all(bool(weight.isfinite().all()) for weight in parts.model.parameters()):
        raise _not_finite("the weights are not finite", state)


def _not_finite(what: str, state: State) -> UserError:
    return UserError(
        f"{what} at step {state.step:,}: try a smaller optimizer.lr, optimizer.clip_grad_norm or "
        "schedule.warmup; the last checkpoint is kept"
    )


def _evaluated(recipe: Recipe, parts: Parts, ranks: Ranks) -> dict[str, float]:
    """The figures of the model on the test images, and of the EMA with `ema_` before."""
    figures: dict[str, float] = {}
    precision = PRECISIONS[recipe.training.precision]
    for prefix, model in (("", parts.model), ("ema_", parts.average)):
        if model is not None:
            if ranks.world_size > 1:  # statistics of normalisation are those that are saved
                for buffer in model.buffers():
                    dist.broadcast(buffer, 0)
            batches = parts.data.test_batches(256, ranks.device, ranks.rank, ranks.world_size)
            measured = evaluate(model, batches, ranks.device, precision)
            figures |= {prefix + name: value for name, value in measured.items()}
    parts.forwards.take()  # those of evaluation do not count
    return figures


def _write_results(
    recipe: Recipe, run: RunFolder, parts: Parts, state: State, final: dict[str, float]
) -> None:
    """The weights, with what is needed to use them, and the figures of the run."""
    metadata = {
        "model": recipe.model.name,
        "classes": json.dumps(parts.data.source.classes, ensure_ascii=False),
        "channels": str(parts.data.channels),
        "image_size": str(parts.data.image_size),
        "mean": json.dumps(parts.data.mean),
        "std": json.dumps(parts.data.std),
    }
    save_weights(run.weights, parts.model, metadata)
    if parts.average is not None:
        save_weights(run.ema_weights, parts.average.module, metadata)
    evaluated = [record for record in run.read_metrics() if record["kind"] == "eval"]
    trained = [*parts.model.parameters(), *parts.method.parameters()]
    result = {
        **asdict(state),
        "teacher_images": parts.teacher_images,
        "parameters": sum(p.numel() for p in parts.model.parameters()),
        "trained_parameters": sum(p.numel() for p in trained if p.requires_grad),
        "last": final,
        "best_on_test": max(evaluated, key=lambda record: record["top1"]),
    }
    write_text(run.result, json.dumps(result, indent=1) + "\n")  # the last: the run is finished


def prepare_data(recipe: DataRecipe, console: Console) -> Data:
    """Open and decode the recipe's data set, telling the console how far it is."""
    with console.status("opening the data set") as status:
        return prepare(
            recipe,
            lambda split, done, total: status.update(
                f"decoding the {split} images: {done:,} of {total:,}"
            ),
        )


def _summary(recipe: Recipe, parts: Parts, state: State, ranks: Ranks) -> str:
    where = f"from step {state.step:,} " if state.step else ""
    parameters = sum(p.numel() for p in parts.model.parameters())
    return (
        f"{recipe.method['name']} on {recipe.data.name}: {len(parts.data.source.train):,} training "
        f"and {len(parts.data.source.test):,} test images of {len(parts.data.source.classes)} "
        f"classes; {recipe.model.name}, {parameters:,} parameters; {where}to step "
        f"{parts.total:,}, {recipe.training.batch_size} images each, on {ranks.device}"
        + (f" × {ranks.world_size} ranks" if ranks.world_size > 1 else "")
    )
