"""A publisher's files made into a folder of images that is trained on."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import UserError
from .archives import Files, unpack
from .catalogue import Progress, check_archives, find_parts, look_up
from .layouts import READERS, Image
from .replace import name_hidden, replace_folder, restore_former

RECORD = "prepared.json"
"""In a folder that was made here; what is in it, and what was checked."""


@dataclass(frozen=True)
class Prepared:
    """What came of preparing.

    Attributes:
        name: the data set's.
        classes: their number.
        images: of each split.
        checked: archives whose checksums were compared.
        counted: whether there are as many classes and images as were published.
    """

    name: str
    classes: int
    images: dict[str, int]
    checked: list[str]
    counted: bool


def prepare(
    name: str,
    source: Path,
    out: Path,
    *,
    check: bool = True,
    overwrite: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Prepared:
    """Make the folder OUT/SPLIT/CLASS/IMAGE of a data set as its publisher gives it.

    Images keep their bytes. Archives are unpacked once, into the hidden folder `.OUT.partial`
    beside `out`, and their images moved from there; unpacked files that are given become hard
    links where that is possible. `out` appears when all of it is whole.

    Args:
        name: one of `PUBLISHED`.
        source: the folder with the publisher's archives, or with what they are unpacked to.
        check: compare the checksums of archives, and the numbers of classes and images.
        overwrite: replace the folder that was made here before and is at `out`.
        progress: called now and then with what is being done, how much is done, and of how much.

    Raises:
        UserError: an unknown name; something is at `out`; files that are missing, broken or not
            as published; a listed image that is not there, or is in both splits; a path that
            would lead out of the folder.
    """
    known = look_up(name)
    target = out.resolve()
    restore_former(target)
    _check_free(out, overwrite)
    if not source.is_dir():
        raise UserError(f"{source}: no such folder; expected the one with the publisher's files")
    found = find_parts(name, source)
    checked = check_archives(name, found, progress) if check else []
    partial = name_hidden(target, "partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    try:
        parts: dict[str, Files] = {}
        for purpose, path in found.items():
            room, within = partial / "unpacked" / purpose, known.parts[purpose].folder
            if path.is_dir():
                parts[purpose] = Files(path, path, room)
                continue
            unpack(path, room, within, progress)
            parts[purpose] = Files(room / within, path / within, room)
        made = partial / "made"
        made.mkdir(parents=True)
        counts = _place(READERS[name](parts), made, sum(known.images.values()), progress)
        classes = _check_counts(name, counts, check)
        numbers = {split: counts[split].total() for split in known.images}
        prepared = Prepared(name, classes, numbers, checked, check)
        record = json.dumps(asdict(prepared), indent=2) + "\n"
        (made / RECORD).write_text(record, encoding="utf-8")
        replace_folder(made, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return prepared


def _check_free(out: Path, overwrite: bool) -> None:
    if not out.exists():
        return
    if not (out / RECORD).is_file():
        raise UserError(
            f"{out} is there already, and was not made by prepare; choose another --out"
        )
    if not overwrite:
        raise UserError(
            f"{out} is there already; replace it with --overwrite, or choose another --out"
        )


def _place(
    images: Iterator[Image], folder: Path, total: int, progress: Progress
) -> dict[str, Counter[str]]:
    """Put images where they belong; their numbers by split and class."""
    counts: dict[str, Counter[str]] = {}
    for done, image in enumerate(images, 1):
        split = counts.setdefault(image.split, Counter())
        for word in (image.label, image.name):
            if word in ("", ".", "..") or not {"/", "\\", "\0"}.isdisjoint(word):
                where = image.files.where(image.member)
                raise UserError(f"{where}: '{word}' cannot be the name of a file")
        # What an image folder would pass over in silence.
        if not image.name.lower().endswith((".jpg", ".jpeg")):
            raise UserError(f"{image.files.where(image.member)}: expected a .jpg or .jpeg file")
        target = folder / image.split / image.label
        if image.label not in split:
            target.mkdir(parents=True, exist_ok=True)
        try:
            image.files.give(image.member, target / image.name)
        except FileExistsError:
            raise UserError(
                f"{image.files.where(image.member)}: another image of its class has its name"
            ) from None
        split[image.label] += 1
        progress("images", done, total)
    return counts


def _check_counts(name: str, counts: dict[str, Counter[str]], check: bool) -> int:
    """The number of classes, if it and that of the images is as it should be."""
    expected = look_up(name)
    first, *_ = splits = [counts.get(split, Counter()) for split in expected.images]
    numbers = {split: found.total() for split, found in zip(expected.images, splits, strict=True)}
    classes = set().union(*splits)
    if check and (len(classes), numbers) != (expected.classes, expected.images):
        raise UserError(
            f"{name}: expected {_describe(expected.classes, expected.images)}; found "
            f"{_describe(len(classes), numbers)}; --no-check takes a part of the data set"
        )
    for split, found in zip(expected.images, splits, strict=True):
        if not found:
            raise UserError(f"{name}: no {split} images found")
        if found.keys() != first.keys():
            only = sorted(found.keys() ^ first.keys())
            raise UserError(
                f"{name}: in one split alone: {', '.join(only[:5])}{' …' * (len(only) > 5)}; "
                "training needs images of the same classes in both"
            )
    return len(classes)


def _describe(classes: int, images: dict[str, int]) -> str:
    counts = " and ".join(f"{number:,} {split}" for split, number in images.items())
    return f"{classes:,} classes, {counts} images"
