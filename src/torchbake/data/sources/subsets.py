"""A part of a data set, labels made wrong on purpose, and labels set right."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from ..._shapes import Int, Tensor
from ...errors import UserError, did_you_mean
from ...randomness import make_generator
from .base import Source, Split
from .labels import correct_labels, read_labels

if TYPE_CHECKING:
    from ...recipe import DataRecipe

T = TypeVar("T")


def apply_subset(source: Source, recipe: "DataRecipe") -> Source:
    """What `data.classes`, `images_per_class`, `label_noise` and `labels`, in turn, make of it.

    Raises:
        UserError: an unknown or repeated class, fewer than two, or a class without enough images;
            or see `read_labels` and `correct_labels`.
    """
    if recipe.classes is not None:
        source = _keep_classes(source, recipe.classes)
    if recipe.images_per_class is not None:
        source = replace(source, train=_keep_first(source, recipe.images_per_class))
    if recipe.label_noise:
        noise = (recipe.label_noise, recipe.label_noise_seed)
        source = replace(source, train=_add_noise(source.train, len(source.classes), *noise))
    if recipe.labels is not None:
        source = replace(source, train=_apply_labels(source, Path(recipe.labels).expanduser()))
    return source


def _keep_classes(source: Source, names: Sequence[str]) -> Source:
    for name in names:
        if name not in source.classes:
            raise UserError(
                f"data.classes: there is no class '{name}'{did_you_mean(name, source.classes)}"
            )
    if len(set(names)) != len(names) or len(names) < 2:
        raise UserError(f"data.classes: name two or more classes, each once, got {list(names)}")
    numbers = torch.full((len(source.classes),), -1)
    numbers[[source.classes.index(name) for name in names]] = torch.arange(len(names))

    def kept(split: Split) -> Split:
        labels = numbers[split.labels]
        indices = (labels >= 0).nonzero()[:, 0]
        return replace(_choose(split, indices), labels=labels[indices])

    return replace(source, train=kept(source.train), test=kept(source.test), classes=list(names))


def _keep_first(source: Source, count: int) -> Split:
    """The first `count` training images of each class in a fixed random order."""
    labels = source.train.labels
    sizes = torch.bincount(labels, minlength=len(source.classes))
    if int(sizes.min()) < count:
        poorest = source.classes[int(sizes.argmin())]
        raise UserError(
            f"data.images_per_class: {count} is more than the {int(sizes.min())} training images "
            f"of class '{poorest}'"
        )
    order = torch.randperm(len(labels), generator=make_generator("images_per_class"))
    members = [order[labels[order] == number][:count] for number in range(len(sizes))]
    return _choose(source.train, torch.cat(members).sort().values)


def _add_noise(split: Split, num_classes: int, share: float, seed: int) -> Split:
    """Symmetric noise: this share of the labels, rounded, becomes another class, each alike."""
    generator = make_generator("label_noise", seed)
    wrong = torch.randperm(len(split), generator=generator)[: round(share * len(split))]
    shift = torch.randint(1, num_classes, (len(wrong),), generator=generator)
    labels = split.labels.clone()
    labels[wrong] = (labels[wrong] + shift) % num_classes
    return replace(split, labels=labels, clean_labels=split.labels)


def _apply_labels(source: Source, path: Path) -> Split:
    """The training images with the labels of a file, without those that it leaves out."""
    labels, kept = correct_labels(source, read_labels(path), path)
    train = replace(source.train, labels=labels)
    return train if len(kept) == len(train) else replace(_choose(train, kept), numbers=kept)


def _choose(split: Split, indices: Int[Tensor, " k"]) -> Split:
    pixels = None if split.pixels is None else split.pixels[indices]
    chosen = hashlib.sha256(indices.numpy().tobytes()).hexdigest()
    return Split(
        split.labels[indices],
        partial(_get_item, split.load, indices),
        pixels,
        None if split.encoded is None else partial(_get_item, split.encoded, indices),
        None if split.clean_labels is None else split.clean_labels[indices],
        split.files,
        f"{chosen} of {split.part}",
        None if split.names is None else partial(_get_item, split.names, indices),
    )


def _get_item(item: Callable[[int], T], indices: Int[Tensor, " k"], index: int) -> T:
    return item(int(indices[index]))
