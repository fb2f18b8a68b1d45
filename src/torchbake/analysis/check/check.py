"""A data set looked through before anything is trained on it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...data.class_faults import count_images, find_class_faults
from ...data.loading.workers import count_workers
from ...data.sources.base import Source, Split, takes_split
from ...data.sources.registry import SOURCES, open_source
from ...errors import UserError
from ...recipe import DataRecipe
from .copies import FARTHEST
from .findings import KINDS, Finding, Item, collect
from .folder import list_folder
from .look import Looks, look_at_images
from .rules import judge_copies, judge_images

_NOT_ALL = ("classes", "images_per_class", "label_noise", "labels")
"""Keys of a recipe that change what the data set is."""


@dataclass(frozen=True, eq=False)
class Check:
    """What a check found.

    Attributes:
        name: of the data set, as in `data.name`.
        counts: by split, the number of images of each class.
        sizes: smallest, median and largest height and width in pixels of all readable images;
            empty if there is none.
        total_bytes: of all files; 0 where the source has pixels.
        formats: how many images have which format; empty where the source has pixels.
        findings: the serious ones first.
    """

    name: str
    classes: list[str]
    splits: dict[str, Split]
    counts: dict[str, list[int]]
    sizes: dict[str, list[int]]
    total_bytes: int
    formats: dict[str, int]
    findings: list[Finding]

    @property
    def problems(self) -> int:
        """How many kinds of serious findings there are."""
        return sum(finding.about.serious for finding in self.findings)


def check_data(
    recipe: DataRecipe,
    *,
    farthest: float = FARTHEST,
    progress: Callable[[str, int, int], None] = lambda split, done, total: None,
) -> Check:
    """Look through a data set: its classes, all its images, and copies among them.

    Every image is read once, by worker processes. Memory: about 700 bytes an image.

    Args:
        recipe: names the data set, as for training.
        farthest: largest distance of two pictures that are the same, see `copies.FARTHEST`; 0
            finds equal files alone.
        progress: called now and then with a split's name, images done and their number.

    Raises:
        UserError: see `open_source`; or the recipe wants a part of the data set or other labels.
    """
    for key in _NOT_ALL:
        if getattr(recipe, key) != getattr(DataRecipe(), key):
            raise UserError(f"check looks at the whole data set as it is: leave out data.{key}")
    splits, classes, train, found = _open_splits(recipe)
    counts = {name: count_images(split.labels, len(classes)) for name, split in splits.items()}
    found += _judge_classes(classes, counts, train, found)
    looks = {}
    workers = count_workers() if recipe.workers is None else recipe.workers
    for name, split in splits.items():

        def tell(done: int, name: str = name, total: int = len(split)) -> None:
            progress(name, done, total)

        # Starting processes takes longer than reading a few images.
        needed = workers if len(split) > 500 else min(workers, 1)
        looks[name] = look_at_images(split, recipe.channels or 3, needed, tell, recipe.name)
    found += judge_images(splits, looks, classes)
    found += judge_copies(splits, looks, classes, farthest)
    return Check(
        recipe.name,
        classes,
        splits,
        counts,
        _measure_sizes(looks),
        sum(int(part.bytes.sum()) for part in looks.values()),
        _count_formats(looks),
        collect(found),
    )


def _open_splits(
    recipe: DataRecipe,
) -> tuple[dict[str, Split], list[str], str, list[tuple[str, Item]]]:
    """Splits by name, classes, the training split's name, and what was found on the way."""
    kind, _, place = recipe.name.partition(":")
    if kind == "imagefolder" and place:
        listing = list_folder(Path(place).expanduser(), recipe)
        return listing.splits, listing.classes, listing.train, listing.found
    source = _open_source(recipe)
    splits = {"train": source.train, source.stands_in or "test": source.test}
    if source.validation is not None and takes_split(recipe):
        splits["validation"] = source.validation
    return splits, source.classes, "train", []


def _open_source(recipe: DataRecipe) -> Source:
    """As `open_source` does, but for labels of no class, which are found instead of refused."""
    kind, _, place = recipe.name.partition(":")
    known = SOURCES.get(kind)
    if known is None or bool(place) != bool(known.takes_place):
        return open_source(recipe)
    source = known.open(place, recipe)
    if not len(source.train) and not len(source.test):
        raise UserError(f"{recipe.name}: there are no images")
    return source


def _judge_classes(
    classes: list[str],
    counts: dict[str, list[int]],
    train: str,
    found: list[tuple[str, Item]],
) -> list[tuple[str, Item]]:
    """The faults of classes; an empty folder is not missing as well."""
    empty = {(item.split, item.label) for kind, item in found if kind == "empty-class"}
    judged = []
    for fault in find_class_faults(classes, counts, train):
        number = dict(zip(classes, counts.get(fault.split, ()), strict=False))
        for name in fault.classes:
            if fault.kind == "missing-class" and (fault.split, name) in empty:
                continue
            detail = f"{number[name]:,} {fault.split}" if number else ""
            judged.append((fault.kind, Item(name, fault.split, None, name, detail)))
    return judged


def _measure_sizes(looks: dict[str, Looks]) -> dict[str, list[int]]:
    sizes = np.concatenate([part.size[part.readable] for part in looks.values()])
    if not len(sizes):
        return {}
    measures: dict[str, Any] = {"smallest": np.min, "median": np.median, "largest": np.max}
    return {
        name: [round(float(side)) for side in measure(sizes, axis=0)]
        for name, measure in measures.items()
    }


def _count_formats(looks: dict[str, Looks]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for part in looks.values():
        for format, mode in zip(part.format, part.mode, strict=True):
            if format:
                counts[f"{format} {mode}"] = counts.get(f"{format} {mode}", 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]))


def as_json(check: Check) -> dict[str, Any]:
    """Everything that was found, for `json.dumps`."""
    return {
        "data": check.name,
        "images": {name: len(split) for name, split in check.splits.items()},
        "classes": {
            name: {split: own[number] for split, own in check.counts.items()}
            for number, name in enumerate(check.classes)
        },
        "sizes": check.sizes,
        "bytes": check.total_bytes,
        "formats": check.formats,
        "problems": check.problems,
        "notes": len(check.findings) - check.problems,
        "findings": [
            {
                "kind": finding.kind,
                "serious": finding.about.serious,
                "title": KINDS[finding.kind].title,
                "advice": KINDS[finding.kind].advice,
                "count": finding.count,
                "items": [_strip(item) for item in finding.items],
            }
            for finding in check.findings
        ],
    }


def _strip(item: Item) -> dict[str, Any]:
    return {name: value for name, value in asdict(item).items() if value not in ("", None)}
