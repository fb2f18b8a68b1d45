"""What torchbake does, as numbers: the only file here that knows where its parts are.

A run is watched from outside, through the method's forward, which sees each batch and returns the
losses. So nothing here depends on how the loop is cut into functions, or on what a log says.
"""

import hashlib
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from safetensors.torch import load_file
from torch.nn.modules.module import register_module_forward_hook

from torchbake import ClassGroupedBatchSampler, bake_targets
from torchbake.methods import METHODS
from torchbake.training.loop import train
from torchbake.training.recipe_files import load_recipe

STEPS = 30
BATCHES = 3
"""Of which the images are recorded."""


def train_run(name, folder, *settings, seen=None, resume=False):
    """Train a recipe's first steps in `folder`; returns the figures of its last evaluation.

    Args:
        settings: dotted overrides, such as ("optimizer.lr", "0.1"); a later one wins.
        seen: called with each batch and step of the method.
    """
    short = [("training.device", "cpu"), ("training.max_steps", str(STEPS))]
    short += [("training.eval_every", "1000"), ("data.cache", "false")]
    # At the recipes' 0.1 what two machines differ by grows to several percent of the loss.
    short += [("optimizer.lr", "0.02")]
    recipe = load_recipe(name, [*short, *settings])
    kind = METHODS[recipe.method["name"]]

    def watch(module, args, output):
        if type(module) is kind and seen is not None:
            seen(args[1], output)

    watching = register_module_forward_hook(watch)
    try:
        return train(recipe, folder, resume=resume, console=Console(quiet=True))
    finally:
        watching.remove()


def record_run(name, folder, *settings):
    """A run's first images, losses and last evaluation."""
    record = {"images": [], "pixels": [], "losses": []}

    def see(batch, step):
        record["losses"].append(losses_of(step))
        if len(record["images"]) < BATCHES:
            record["images"].append(batch.indices.tolist())
            record["pixels"].append(summary(batch.images))

    final = train_run(name, folder, *settings, seen=see)
    record["evaluation"] = {
        key: value for key, value in final.items() if key.endswith(("top1", "nll"))
    }
    return record


def record_resume(name, folder, *settings, stop, every):
    """A run that is cut off in step `stop` and goes on: its losses, and what differs from a whole.

    Args:
        every: steps between checkpoints.
    """
    settings = [*settings, ("training.checkpoint_every", str(every))]
    whole, cut = [], []
    train_run(name, folder / "whole", *settings, seen=lambda _, step: whole.append(losses_of(step)))

    def crash(_, step):
        if len(cut) == stop:
            raise CutOff
        cut.append(losses_of(step))

    with expected(CutOff):
        train_run(name, folder / "cut", *settings, seen=crash)
    del cut[stop - stop % every :]  # what the last checkpoint does not know
    train_run(
        name,
        folder / "cut",
        *settings,
        seen=lambda _, step: cut.append(losses_of(step)),
        resume=True,
    )
    one, other = (load_file(folder / run / "model.safetensors") for run in ("whole", "cut"))
    return {
        "losses": cut,
        "steps": [len(whole), len(cut)],
        "steps_that_differ": [n for n in range(min(len(whole), len(cut))) if whole[n] != cut[n]],
        "weights_that_differ": sorted(
            key for key in one.keys() | other.keys() if not torch.equal(one[key], other[key])
        ),
    }


class CutOff(Exception):
    """Ends a run without its being asked."""


@contextmanager
def expected(error):
    """Fails unless `error` is raised."""
    try:
        yield
    except error:
        return
    raise AssertionError(f"{error.__name__} was expected")


def losses_of(step):
    """The loss of a step and its summands, as they are."""
    return {"loss": step.loss.item()} | {name: term.item() for name, term in step.terms.items()}


def record_sampler(labels, epochs=2, **settings):
    """How many batches, the first of them, and a digest of those of some epochs."""
    sampler = ClassGroupedBatchSampler(labels, **settings)
    record = {"batches": len(sampler), "images": sampler.images_per_epoch, "first": []}
    digest = hashlib.sha256()
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        drawn = list(sampler)
        record["first"] += [list(map(int, batch)) for batch in islice(drawn, 1)]
        digest.update(str(drawn).encode())
    record["digest"] = digest.hexdigest()[:16]
    return record


def record_targets(logits, features, **settings):
    """The targets of a batch: a few entries, and the whole in projections."""
    targets = bake_targets(logits, features, **settings)
    n, c = targets.shape
    entries = [targets[row * n // 4, row * c // 4].item() for row in range(4)]
    return {"entries": entries, "whole": summary(targets)}


def summary(values):
    """Mean, standard deviation and three fixed projections, which the order matters to.

    A projection of numbers with standard deviation 1 is about 1, however many they are.
    """
    flat = values.detach().contiguous().flatten().double()
    place = torch.arange(len(flat), dtype=torch.float64)
    fixed = torch.stack([(place * place * k + place).sin() for k in (0.1, 0.7, 1.9)])
    return [flat.mean().item(), flat.std().item(), *(fixed @ flat / len(flat) ** 0.5).tolist()]


def method_names():
    """All methods that there are."""
    return list(METHODS)


@cache
def teachers_root():
    """A folder for the teachers of all cases, which goes when the process does."""
    return TemporaryDirectory(prefix="golden-teachers-")


def teacher_folder(seed):
    """A run folder of cross-entropy on the digits, for methods that need a trained network."""
    folder = Path(teachers_root().name) / f"teacher-{seed}"
    if not folder.exists():
        train_run("digits/cross-entropy", folder, ("seed", str(seed)))
    return str(folder)
