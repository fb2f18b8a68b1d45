"""A step of a run, repeated and looked at: which of its numbers is the first that is not finite."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils import _pytree

from ..data.loading.open_data import show_opening
from ..errors import UserError
from .checkpoint import list_checkpoints, load_checkpoint
from .distributed import Ranks, prepare_device
from .meters import Meters
from .nonfinite import list_batch
from .optimizer import compute_lr
from .run_folder import RunFolder
from .setup import Setup, State, set_up
from .step import update
from .time_plan import plan_time


def replay_step(
    folder: Path, step: int, *, device_name: str | None = None, console: Console
) -> dict[str, Any]:
    """Train a run from its last checkpoint before a step up to that step, and look at the step.

    The run folder is not changed. On the CPU the step is the very same one, for a run of one
    process that was not compiled; a run of several ranks is repeated as one process.

    Args:
        step: number of the step, from 1, as logs have it.
        device_name: in place of the recipe's `training.device`.

    Returns:
        `step`; `began`, the step of the checkpoint, 0 for the beginning; `lr`; `loss` and
        `terms`; `gradient_norm` and `gradients` by parameter; `first`, what was the first not to
        be finite, or None; `not_finite`, what else was found, in its order; `left_out`, whether
        the update is one that `training.on_nonfinite` leaves out; and `images`, each with its
        `index`, `name`, `label` and whether its logits are `finite`.

    Raises:
        UserError: no run folder, a step that the run does not have, or see `set_up`.
    """
    run = RunFolder(folder)
    recipe = run.read_recipe()
    # Hooks do not see into a compiled step.
    training = replace(recipe.training, compile=False, cuda_graphs=False)
    recipe = replace(recipe, training=training)
    ranks = Ranks(0, 1, prepare_device(device_name or training.device, 0))
    path, saved = _find_checkpoint(run, step)
    data = show_opening(run.own_data(recipe), console)
    setup = set_up(recipe, data, ranks, fresh=saved is None)
    plan = plan_time(setup, run, 0.0, fresh=False)
    if plan is not None:
        setup = replace(setup, total=plan.steps)
    state = State() if saved is None else setup.load_checkpoint(saved)
    if not 1 <= step <= setup.total:
        raise UserError(f"--step: expected a number from 1 to {setup.total:,}, got {step}")
    began = state.step
    source = "its beginning" if path is None else f"{path.name}, step {began:,},"
    console.print(f"from {source} to step {step:,}", highlight=False, markup=False)
    setup.watch.begin()
    meters = Meters(ranks)
    while state.step < step - 1:
        meters.restart()
        epoch, number = divmod(state.step, len(setup.sampler))
        for batch in setup.loader.batches(epoch, start=number):
            lr = compute_lr(recipe.schedule, recipe.optimizer.lr, state.step, setup.total)
            update(setup, batch, lr, state.step, meters)
            state.step += 1
            if state.step == step - 1:
                break
    return {"step": step, "began": began, **_look(setup, step - 1)}


def _find_checkpoint(run: RunFolder, step: int) -> tuple[Path | None, dict[str, Any] | None]:
    """The last checkpoint from before this step, and what it holds; None if there is none."""
    for path in list_checkpoints(run.checkpoints):
        if int(path.name.removeprefix("step-")) < step:
            return path, load_checkpoint(path)
    return None, None


def _look(setup: Setup, number: int) -> dict[str, Any]:
    """Do the step of this number, from 0, and tell what was seen."""
    recipe = setup.recipe
    epoch, first = divmod(number, len(setup.sampler))
    batch = next(iter(setup.loader.batches(epoch, start=first)))
    lr = compute_lr(recipe.schedule, recipe.optimizer.lr, number, setup.total)
    images = list_batch(setup, number)
    found = []
    if faults := setup.watch.name_faults():
        found.append(f"before the step: {', '.join(faults)}")
    if not batch.images.isfinite().all():
        found.append("the images of the batch")
    meters, seen = Meters(setup.ranks), Observer(setup)
    with seen:
        update(setup, batch, lr, number, meters)
    figures = meters.close().steps[0]
    after = setup.watch.name_faults()
    found += [*seen.found, *(f"{name} after the step" for name in after if name not in seen.found)]
    finite = torch.cat(seen.finite) if seen.finite else torch.ones(0)
    for image, fine in zip(images, finite.tolist(), strict=False):
        image["finite"] = fine
    loss = figures.figures
    terms = {name: v for name, v in loss.items() if name not in ("loss", "train_top1")}
    norms = {name: float(norm) for name, norm in seen.gradients.items()}
    return {
        "lr": lr,
        "loss": loss["loss"],
        "terms": terms,
        "gradient_norm": sum(norm * norm for norm in norms.values()) ** 0.5,
        "gradients": norms,
        "first": found[0] if found else None,
        "not_finite": found,
        "left_out": figures.left_out,
        "images": images,
    }


class Observer:
    """Notes, while a step is done, what is not finite, in the order in which it comes up.

    Attributes:
        found: in words.
        gradients: the norm of each parameter's gradient, without the gradient scaler's factor.
        finite: for the images of each part of the batch, whether all of its logits are.
    """

    def __init__(self, setup: Setup) -> None:
        self.found: list[str] = []
        self.gradients: dict[str, Tensor] = {}
        self.finite: list[Tensor] = []
        self._scale = setup.scaler.get_scale()
        self._handles: list[Any] = []
        self._modules = {"": setup.model.network, "method": setup.method}

    def __enter__(self) -> "Observer":
        for prefix, module in self._modules.items():
            for name, part in module.named_modules():
                called = ".".join(filter(None, [prefix, name]))
                if called and called != "method":
                    hook = self._make_forward_hook(called)
                    self._handles.append(part.register_forward_hook(hook))
            for name, parameter in module.named_parameters():
                if parameter.requires_grad:
                    called = f"method: {name}" if prefix else name
                    hook = self._make_gradient_hook(called)
                    self._handles.append(parameter.register_post_accumulate_grad_hook(hook))
        method = self._modules["method"]
        self._handles.append(method.register_forward_hook(self._see_step))
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _make_forward_hook(self, name: str) -> Any:
        def see(module: nn.Module, given: Any, output: Any) -> None:
            if not _is_finite(output):
                came = "" if _is_finite(given) else ", whose input is not"
                self._note(f"the output of {name} ({type(module).__name__}){came}")
            for key, buffer in module.named_buffers(recurse=False):
                if not _is_finite(buffer):
                    self._note(f"{name}.{key}")

        return see

    def _make_gradient_hook(self, name: str) -> Any:
        def see(parameter: Tensor) -> None:
            assert parameter.grad is not None
            norm = parameter.grad.double().norm() / self._scale
            self.gradients[name] = norm
            if not norm.isfinite():
                self._note(f"the gradient of {name}")

        return see

    def _see_step(self, module: nn.Module, given: Any, step: Any) -> None:
        count = len(given[1].labels)
        if len(step.logits) == count:
            self.finite.append(step.logits.detach().isfinite().all(dim=1))
        for name, term in {**step.terms, "loss": step.loss}.items():
            if not _is_finite(term):
                self._note(f"{'the loss' if name == 'loss' else f'the term {name}'}")

    def _note(self, what: str) -> None:
        if what not in self.found:
            self.found.append(what)


def _is_finite(values: Any) -> bool:
    tensors = [t for t in _pytree.tree_leaves(values) if isinstance(t, Tensor)]
    return all(bool(t.isfinite().all()) for t in tensors if t.is_floating_point())
