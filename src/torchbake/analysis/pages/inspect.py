"""A page of who teaches whom in a batch, which recomputes the targets itself."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from torch.nn import functional as F

from ..._shapes import Int, Tensor, UInt8
from ..._trust import is_withheld
from ...data.sources.base import Split
from ...methods import Method
from ...methods.bake import BAKE
from ...methods.bake_variants import BAKEVariants
from ...recipe import Recipe
from ...sampling.class_groups import ClassGroupedBatchSampler
from ...training.files import write_text
from ...training.opened_run import OpenedRun, open_run
from ...training.recipe_files import make_method
from ...training.run_folder import RunFolder
from ..outputs import Outputs, compute_outputs, restore_pictures
from .render import render
from .sprites import make_sprite
from .user_images import UNLABELLED, find_images


class Settings(NamedTuple):
    """T, ω and T_a, at which the page begins."""

    temperature: float
    omega: float
    affinity_temperature: float


NOT_BAKE = "This run was not trained with BAKE. Here is what BAKE would have taught by default."

NOT_FROM_BATCH = (
    "This run made its targets with further settings of bake-variants, such as a memory. Here is "
    "what BAKE would have taught without them."
)


def _make_method(recipe: Recipe) -> Method | None:
    """The recipe's method; None if it is code that must not be imported."""
    return None if is_withheld(recipe.method["name"]) else make_method(recipe.method)


def find_bake(recipe: Recipe) -> BAKE:
    """The recipe's method if it is BAKE, else BAKE as it is by default."""
    method = _make_method(recipe)
    return method if isinstance(method, BAKE) else BAKE()


def make_remark(recipe: Recipe) -> str:
    """A remark if the page's targets are not those that the run was taught, else ""."""
    method = _make_method(recipe)
    if not isinstance(method, BAKE):
        return NOT_BAKE
    further = isinstance(method, BAKEVariants) and not method.from_batch
    return NOT_FROM_BATCH if further else ""


def read_settings(recipe: Recipe) -> Settings:
    """Those of `find_bake` at the end of the run."""
    method = find_bake(recipe)
    loss = method.objective
    last = loss.affinity_temperature
    if isinstance(method, BAKEVariants) and method.final_affinity_temperature is not None:
        last = method.final_affinity_temperature
    return Settings(loss.temperature, loss.omega, last)


def draw_batch(opened: OpenedRun, size: int) -> Int[Tensor, " n"]:
    """A batch of training images in class groups as BAKE is given them, at least one group."""
    partners = find_bake(opened.recipe).partners
    sampler = ClassGroupedBatchSampler(
        opened.data.source.train.labels,
        max(size, partners + 1),
        partners=partners,
        seed=opened.recipe.seed,
        rank=0,
        world_size=1,
        balanced=opened.recipe.data.balance == "sampling",
    )
    return sampler.batches(0)[0]


def name_images(split: Split, indices: Int[Tensor, " n"]) -> list[str]:
    """What training images are called: their files, or their numbers before `data.labels`."""
    numbers = indices if split.numbers is None else split.numbers[indices]
    return [
        split.name_of(index) or f"training image {number}"
        for index, number in zip(indices.tolist(), numbers.tolist(), strict=True)
    ]


def inspect_batch(
    outputs: Outputs,
    pictures: UInt8[Tensor, "n ch size size"],
    classes: Sequence[str],
    names: Sequence[str],
    settings: Settings,
    side: int = 48,
) -> dict[str, Any]:
    """The data of the page: logits and similarities as float32, pictures, names and settings.

    Images are sorted by class: that of their label, or of the prediction where they have none.
    Only the similarities above the diagonal are there, row by row.

    Args:
        outputs: of n images; a label of `UNLABELLED` is none.
        names: names of the images.
        side: largest height and width of a picture in pixels.
    """
    labels = outputs.labels
    groups = torch.where(labels == UNLABELLED, outputs.logits.argmax(dim=1), labels)
    order = groups.argsort(stable=True)
    logits, features = outputs.logits[order], outputs.features[order].double()
    unit = F.normalize(features, dim=1)
    above = torch.ones(len(unit), len(unit), dtype=torch.bool).triu(1)
    return {
        "classes": list(classes),
        "labels": labels[order].tolist(),
        "groups": groups[order].tolist(),
        "names": [names[number] for number in order.tolist()],
        "sprite": make_sprite(pictures[order], side)._asdict(),
        "logits": _pack_row(logits),
        "similarities": _pack_row((unit @ unit.T)[above]),
        "settings": settings._asdict(),
    }


def _pack_row(values: Tensor) -> str:
    """Float32, little-endian, as base64."""
    return base64.b64encode(values.float().numpy().astype("<f4").tobytes()).decode()


def write_inspection(
    run: RunFolder,
    path: Path,
    console: Console,
    *,
    images: Path | None = None,
    size: int = 128,
    ema: bool = False,
    device_name: str | None = None,
) -> list[str]:
    """Write the page of a batch of training images, or of the pictures in a folder.

    Args:
        images: the folder (see `find_images`).
        size: largest number of images; a batch has at least one class group.
        ema: use the moving average of the weights.

    Returns:
        What the user should know: pictures that were left out, and why.

    Raises:
        UserError: see `open_run` and `find_images`.
    """
    opened = open_run(run.path, ema=ema, device_name=device_name, console=console)
    data = opened.data
    remark = make_remark(opened.recipe)
    notes = [remark] if remark else []
    if images is None:
        split = data.source.train
        batch = draw_batch(opened, min(size, len(split)))
        names = name_images(split, batch)
        about = "A batch of training images."
    else:
        own = find_images(images, data.source.classes, data.channels, size)
        split, names = own.split, own.names
        batch = torch.arange(len(split))
        about = f"Pictures of {images}."
        if own.found > size:
            notes.append(
                f"shows {size:,} of {own.found:,} pictures, evenly spread; --size shows more"
            )
        notes += [f"left out: {reason}" for reason in own.broken]
        unlabelled = int((split.labels == UNLABELLED).sum())
        if 0 < unlabelled < len(split):
            notes.append(
                f"{unlabelled:,} picture(s) have no label: their folders are not named like a class"
            )
    inspector = inspect_batch(
        compute_outputs(opened, split, batch, console),
        restore_pictures(opened, split, batch),
        data.source.classes,
        names,
        read_settings(opened.recipe),
        side=96 if len(batch) <= 100 else 64,
    )
    name = run.path.resolve().name
    page = render("inspect.html", name=name, about=about, notes=notes, inspector=inspector)
    write_text(path, page)
    return notes
