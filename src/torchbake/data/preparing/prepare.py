"""A publisher's files made into a folder of images that is trained on."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import UserError
from .archives import Files, opened_files
from .catalogue import Progress, check_archives, found_parts, published
from .layouts import READERS, Image

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

    Images keep their bytes. They are read straight from archives, and are hard links to unpacked
    files where that is possible. All is written to `OUT.partial` first, which becomes `out` when it
    is whole.

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
    images = published(name).images
    _check_free(out, overwrite)
    if not source.is_dir():
        raise UserError(f"{source}: no such folder; expected the one with the publisher's files")
    found = found_parts(name, source)
    checked = check_archives(name, found, progress) if check else []
    out = out.resolve()
    partial, former = out.with_name(f"{out.name}.partial"), out.with_name(f".{out.name}.former")
    for path in (partial, former):
        shutil.rmtree(path, ignore_errors=True)  # of a process that was killed
    try:
        with ExitStack() as stack:
            parts: dict[str, Files] = {}
            for purpose, path in found.items():
                progress(f"reading {path.name}: part", len(parts) + 1, len(found))
                folder = published(name).parts[purpose].folder
                parts[purpose] = stack.enter_context(opened_files(path, folder))
            partial.mkdir(parents=True)
            counts = _write(READERS[name](parts), partial, sum(images.values()), progress)
        classes = _counted(name, counts, check)
        numbers = {split: sum(counts[split].values()) for split in images}
        prepared = Prepared(name, classes, numbers, checked, check)
        record = json.dumps(asdict(prepared), indent=2) + "\n"
        (partial / RECORD).write_text(record, encoding="utf-8")
        if out.exists():
            out.replace(former)
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(former, ignore_errors=True)
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


def _write(
    images: Iterator[Image], folder: Path, total: int, progress: Progress
) -> dict[str, Counter[str]]:
    """Write images; their numbers by split and class."""
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
            image.files.copy(image.member, target / image.name)
        except FileExistsError:
            raise UserError(
                f"{image.files.where(image.member)}: another image of its class has its name"
            ) from None
        split[image.label] += 1
        progress("images", done, total)
    return counts


def _counted(name: str, counts: dict[str, Counter[str]], check: bool) -> int:
    """The number of classes, if it and that of the images is as it should be."""
    expected = published(name)
    first, *_ = splits = [counts.get(split, Counter()) for split in expected.images]
    numbers = {split: found.total() for split, found in zip(expected.images, splits, strict=True)}
    classes = set().union(*splits)
    if check and (len(classes), numbers) != (expected.classes, expected.images):
        raise UserError(
            f"{name}: expected {_told(expected.classes, expected.images)}; found "
            f"{_told(len(classes), numbers)}; --no-check takes a part of the data set"
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


def _told(classes: int, images: dict[str, int]) -> str:
    counts = " and ".join(f"{number:,} {split}" for split, number in images.items())
    return f"{classes:,} classes, {counts} images"
