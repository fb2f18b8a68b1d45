"""A part of a data set, labels made wrong on purpose or set right, and images held out."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from ..._shapes import Bool, Int, Tensor
from ...errors import UserError, did_you_mean
from ...randomness import make_generator
from .base import Source, Split, takes_split
from .labels import correct_labels, read_labels

if TYPE_CHECKING:
    from ...recipe import DataRecipe

T = TypeVar("T")


def apply_subset(source: Source, recipe: "DataRecipe") -> Source:
    """What `data.classes`, `images_per_class`, `label_noise` and `labels`, in turn, make of it.

    At last, the images that `validation` holds out are taken from those for training.

    Raises:
        UserError: an unknown or repeated class, fewer than two, or a class without enough images;
            or see `read_labels`, `correct_labels` and `hold_out`.
    """
    if recipe.classes is not None:
        source = _keep_classes(source, recipe.classes)
    if recipe.images_per_class is not None:
        source = replace(source, train=_keep_first(source, recipe.images_per_class))
    given = noisy = source.train.labels
    if recipe.label_noise:
        noise = (recipe.label_noise, recipe.label_noise_seed)
        source = replace(source, train=_add_noise(source.train, len(source.classes), *noise))
        noisy = source.train.labels
    if recipe.labels is not None:
        source = replace(source, train=_apply_labels(source, Path(recipe.labels).expanduser()))
    if recipe.validation and not takes_split(recipe):
        held = draw_held_out(given, float(recipe.validation), recipe.validation_seed)
        source = _hold_out(source, held, given, noisy)
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

    validation = None if source.validation is None else kept(source.validation)
    return replace(
        source,
        train=kept(source.train),
        test=kept(source.test),
        classes=list(names),
        validation=validation,
    )


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


def draw_held_out(labels: Int[Tensor, " n"], share: float, seed: int) -> Bool[Tensor, " n"]:
    """Which images are held out: this share of each class, rounded, drawn by the seed.

    At least one of a class is held out, and at least one stays; of a class of one image, that.
    """
    order = torch.randperm(len(labels), generator=make_generator("validation", seed))
    by_class = order[labels[order].argsort(stable=True)]
    sizes = labels.bincount()
    counts = (share * sizes.double()).round().long().clamp(min=1).minimum(sizes - 1)
    place = torch.arange(len(labels)) - (sizes.cumsum(0) - sizes)[labels[by_class]]
    held = torch.zeros(len(labels), dtype=torch.bool)
    held[by_class[place < counts[labels[by_class]]]] = True
    return held


def _hold_out(
    source: Source,
    held: Bool[Tensor, " m"],
    given: Int[Tensor, " m"],
    noisy: Int[Tensor, " m"],
) -> Source:
    """Take images out of the training split, for validation.

    They have the labels that the data or a file of labels give them: noise is for training.

    Args:
        held: which, of all that there were before a file of labels left some out.
        given, noisy: the labels of all without and with noise, before a file of labels.

    Raises:
        UserError: none are held out, or a class would be left without a training image.
    """
    train = source.train
    numbers = torch.arange(len(train)) if train.numbers is None else train.numbers
    out = held[numbers]
    if not out.any():
        raise UserError("data.validation: no class has two training images, one to hold out")

    def take(chosen: Bool[Tensor, " n"]) -> Split:
        indices = chosen.nonzero()[:, 0]
        return replace(_choose(train, indices), numbers=numbers[indices])

    validation, rest = take(out), take(~out)
    present = [split.labels.bincount(minlength=len(source.classes)) > 0 for split in (train, rest)]
    emptied = (present[0] & ~present[1]).nonzero()[:, 0]
    if len(emptied):
        name = source.classes[int(emptied[0])]
        raise UserError(f"data.validation: leaves no training image of class '{name}'")
    own = validation.numbers
    labels = torch.where(validation.labels == noisy[own], given[own], validation.labels)
    validation = replace(validation, labels=labels, clean_labels=None)
    return replace(source, train=rest, validation=validation)


def keep_images(split: Split, indices: Int[Tensor, " k"]) -> Split:
    """These images of a split, which keep the numbers that they had in the data set."""
    numbers = torch.arange(len(split)) if split.numbers is None else split.numbers
    return replace(_choose(split, indices), numbers=numbers[indices])


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
