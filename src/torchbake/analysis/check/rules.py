"""What is wrong with single images, and which of them are copies."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data.sources.base import Split
from ...data.sources.decoding import FORMATS
from .copies import find_equal, find_same_pictures
from .findings import Item
from .look import Looks

SMALL = 32
"""Pixels of the shorter side, below which a picture is very small beside larger ones."""

ELONGATED = 4.0
"""Longer side over shorter side, beyond which a picture is very long or very high."""

FLAT = 2.0
"""Standard deviation of every channel, below which a picture is of a single colour."""

COLOURS_FOR_PRINT = ("CMYK", "YCCK")

_SUFFIXES = {**FORMATS, "MPO": FORMATS["JPEG"], "DIB": FORMATS["BMP"]}

Named = Callable[[int, str], Item]


def judge_images(
    splits: Mapping[str, Split], looks: Mapping[str, Looks], classes: Sequence[str]
) -> Iterator[tuple[str, Item]]:
    """The faults of single images, each with its kind."""
    sides = [part.size[part.readable].min(axis=1) for part in looks.values()]
    usual = float(np.median(np.concatenate(sides))) if any(map(len, sides)) else 0.0
    mostly_colour = _count_grey(looks) * 2 < sum(map(len, looks.values()))
    for name, split in splits.items():
        item = make_namer(name, split, classes)
        for index in (split.labels < 0).nonzero()[:, 0].tolist():
            yield "no-label", item(index, "")
        yield from _judge_split(split, looks[name], item, usual, mostly_colour)


def make_namer(name: str, split: Split, classes: Sequence[str]) -> Named:
    """A function that makes the item of an image of a split, with a detail."""

    def make(index: int, detail: str) -> Item:
        label = int(split.labels[index])
        shown = classes[label] if 0 <= label < len(classes) else ""
        called = split.name_of(index) or f"{name} image {index}"
        return Item(called, name, index, shown, detail)

    return make


def _judge_split(
    split: Split, looks: Looks, item: Named, usual: float, mostly_colour: bool
) -> Iterator[tuple[str, Item]]:
    deep = set(looks.marked.get("deep", ()))
    for index, (opened, why) in looks.errors.items():
        kind = "too-deep" if index in deep else "damaged" if opened else "unreadable"
        yield kind, item(index, why)
    for index in (looks.readable & (looks.spread < FLAT)).nonzero()[0].tolist():
        red, green, blue = (round(float(value)) for value in looks.colour[index])
        yield "single-colour", item(index, f"#{red:02x}{green:02x}{blue:02x}")
    short, long = looks.size.min(axis=1), looks.size.max(axis=1)
    tiny = (short < SMALL) & (short * 2 < usual)
    for kind, which in (("tiny", tiny), ("elongated", long > ELONGATED * short)):
        for index in (looks.readable & which).nonzero()[0].tolist():
            height, width = looks.size[index].tolist()
            yield kind, item(index, f"{width} × {height}")
    for mark, kind in (("animated", "animated"), ("turned", "rotated"), ("transparent", "alpha")):
        for index in looks.marked.get(mark, ()):
            yield kind, item(index, "")
    for index in sorted(deep - looks.errors.keys()):
        yield "deep", item(index, "")
    for index, mode in enumerate(looks.mode):
        if mode in COLOURS_FOR_PRINT:
            yield "cmyk", item(index, "")
        if mostly_colour and _is_grey(mode) and index not in deep:
            yield "grey", item(index, "")
    for index, format in enumerate(looks.format):
        if format in _SUFFIXES and split.names is not None:
            name = split.name_of(index).lower()
            if "." in name.rpartition("/")[2] and not name.endswith(_SUFFIXES[format]):
                yield "wrong-suffix", item(index, f"is {format}")


def _is_grey(mode: str) -> bool:
    return mode in ("1", "L", "LA", "La")


def _count_grey(looks: Mapping[str, Looks]) -> int:
    return sum(_is_grey(mode) for part in looks.values() for mode in part.mode)


def judge_copies(
    splits: Mapping[str, Split],
    looks: Mapping[str, Looks],
    classes: Sequence[str],
    farthest: float,
) -> Iterator[tuple[str, Item]]:
    """Groups of equal files, and of pictures that look the same, each with its kinds.

    A group over several classes and several splits is of both kinds. One that looks the same but
    is made of equal files alone is reported once.
    """
    whole = _concatenate(list(looks.values()))
    items = [make_namer(name, split, classes) for name, split in splits.items()]
    lengths = [len(split) for split in splits.values()]
    split_of = np.repeat(np.arange(len(splits)), lengths)
    number_in = np.concatenate([np.arange(length) for length in lengths])
    label_of = np.concatenate([split.labels.numpy() for split in splits.values()])
    equal = find_equal(whole.digest, whole.readable)
    same = find_same_pictures(whole, farthest)
    numbers: dict[str, int] = {}
    for prefix, groups in (("duplicate", _list_groups(equal)), ("near", _list_groups(same))):
        for members in groups:
            if prefix == "near":
                # Of equal files in one class and split, one stands for all.
                facts = np.stack([equal[members], split_of[members], label_of[members]])
                members = members[np.sort(np.unique(facts, axis=1, return_index=True)[1])]
                if len(np.unique(equal[members])) == 1:
                    continue
            kinds = _choose_kinds(prefix, split_of[members], label_of[members])
            for kind in kinds:
                numbers[kind] = numbers.get(kind, 0) + 1
                for member in members.tolist():
                    item = items[split_of[member]](int(number_in[member]), "")
                    yield kind, replace(item, group=numbers[kind])


def _choose_kinds(prefix: str, splits: NDArray[np.int64], labels: NDArray[np.int64]) -> list[str]:
    kinds = [f"{prefix}-labels"] * (len(np.unique(labels)) > 1)
    kinds += [f"{prefix}-splits"] * (len(np.unique(splits)) > 1)
    return kinds or [prefix]


def _list_groups(groups: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The members of each group of two or more, in the order of their first ones."""
    order = np.argsort(groups, kind="stable")
    order = order[groups[order] >= 0]
    if not len(order):
        return []
    cuts = np.diff(groups[order]).nonzero()[0] + 1
    found = [part for part in np.split(order, cuts) if len(part) > 1]
    return sorted(found, key=lambda part: int(part[0]))


def _concatenate(parts: list[Looks]) -> Looks:
    """The images of all splits; what `copies` needs of them."""

    def join(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    return Looks(
        join("digest"),
        join("bytes"),
        join("size"),
        join("thumbnail"),
        join("colour"),
        join("spread"),
        join("readable"),
    )
