"""A data set encoded anew, once, so that every epoch of training decodes it faster."""

import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2.functional import to_pil_image

from ..._shapes import Int, Tensor
from ...errors import UserError
from ...randomness import make_generator
from ...recipe import DataRecipe
from ..loading.workers import count_workers, prepare_workers
from ..sources.base import Split
from ..sources.decoding import open_image, read_pixels
from ..sources.registry import open_source
from ..sources.subsets import apply_subset
from .replace import name_hidden, replace_folder, restore_former

SKIPPED = "skipped.txt"


@dataclass
class Packed:
    """What came of packing.

    Attributes:
        images: how many each split has.
        kept: of these, how many are the very files of the source.
        skipped: which could not be read, and why, a line each.
        notes: what the data set's source says, such as what it left out.
    """

    images: dict[str, int] = field(default_factory=dict)
    kept: int = 0
    skipped: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def pack(
    recipe: DataRecipe,
    out: Path,
    *,
    short_side: int = 256,
    quality: int = 90,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] = lambda split, done, total: None,
) -> Packed:
    """Write a data set as JPEG images of limited size into a folder that `datasets` reads.

    The folder is that of `DatasetDict.save_to_disk`: Arrow files, which are mapped into memory and
    where an image is found by its number, with columns `image` and `label`. Training images are
    shuffled. JPEG files that need no change are kept byte for byte. What cannot be read is left
    out, and listed in the folder's `skipped.txt`.

    Args:
        recipe: names the data set, as for training.
        short_side: pixels of the shorter side of images that are larger now.
        quality: of JPEG, from 1 to 95.
        overwrite: replace the data set of this kind that is at `out`.
        progress: called now and then with a split's name, images done and their number.

    Raises:
        UserError: see `open_source` and `apply_subset`; something is at `out`; not one image of a
            split can be read.
    """
    try:
        import datasets
        import pyarrow
    except ImportError:
        raise UserError("pack needs datasets: pip install 'torchbake[datasets]'") from None
    restore_former(out)
    if out.exists() and not (out / "dataset_dict.json").is_file():
        raise UserError(f"{out} is there already, and not of packed images; choose another folder")
    if out.exists() and not overwrite:
        raise UserError(f"{out} is there already; replace it with --overwrite")
    source = apply_subset(open_source(recipe), recipe)
    datasets.disable_progress_bars()
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=source.classes)}
    )
    packed = Packed(notes=source.notes)
    part = name_hidden(out, "part")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    part.mkdir(parents=True)
    workers = count_workers() if recipe.workers is None else recipe.workers
    try:
        tables = datasets.DatasetDict()
        for name, split in (("train", source.train), ("test", source.test)):
            order = torch.arange(len(split))
            if name == "train":
                order = torch.randperm(len(split), generator=make_generator("pack"))
            path, done = part / f"{name}.arrow", 0
            with pyarrow.ipc.new_stream(path, features.arrow_schema) as file:
                for rows in _recoded(split, order, short_side, quality, workers):
                    packed.skipped += [row for row in rows if isinstance(row, str)]
                    good = [row for row in rows if not isinstance(row, str)]
                    packed.kept += sum(row.kept for row in good)
                    columns = {
                        "image": [{"bytes": row.content, "path": None} for row in good],
                        "label": [row.label for row in good],
                    }
                    file.write_table(pyarrow.table(columns, schema=features.arrow_schema))
                    done += len(rows)
                    progress(name, done, len(split))
            tables[name] = datasets.Dataset.from_file(str(path))
            packed.images[name] = len(tables[name])
            if not len(tables[name]):
                raise UserError(
                    f"{recipe.name}: no {name} image can be read, the first: {packed.skipped[0]}"
                )
        whole = part / "whole"
        tables.save_to_disk(whole)
        if packed.skipped:
            lines = "".join(f"{line}\n" for line in packed.skipped)
            # An own source may name images by what is not Unicode.
            (whole / SKIPPED).write_text(lines, encoding="utf-8", errors="backslashreplace")
        replace_folder(whole, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return packed


class _Row(NamedTuple):
    content: bytes
    label: int
    kept: bool


def _recoded(
    split: Split, order: Int[Tensor, " n"], short_side: int, quality: int, workers: int
) -> "DataLoader[list[_Row | str]]":
    """A split's images in this order, a few at a time; text for what cannot be read."""
    return DataLoader(
        _Recoder(split, short_side, quality),
        sampler=[part.tolist() for part in order.split(64)],
        batch_size=None,
        collate_fn=list,
        **prepare_workers(workers),
    )


class _Recoder(Dataset[list[_Row | str]]):
    def __init__(self, split: Split, short_side: int, quality: int) -> None:
        self.split = split
        self.short_side = short_side
        self.quality = quality

    def __getitem__(self, indices: Sequence[int]) -> list[_Row | str]:
        rows: list[_Row | str] = []
        for index in indices:
            try:
                rows.append(self._row(index))
            except UserError as error:
                rows.append(str(error))
        return rows

    def _row(self, index: int) -> _Row:
        label = int(self.split.labels[index])
        if self.split.encoded is None:
            image: Image.Image = to_pil_image(self.split.load(index))
            return _Row(_as_jpeg(image, self.short_side, self.quality), label, kept=False)
        encoded = self.split.encoded(index)
        with open_image(*encoded) as image:
            plain = image.format == "JPEG" and image.mode in ("L", "RGB")
            if plain and min(image.size) <= self.short_side and "progressive" not in image.info:
                image.load()  # which tells whether it is whole
                return _Row(encoded.content, label, kept=True)
            return _Row(_as_jpeg(image, self.short_side, self.quality), label, kept=False)


def _as_jpeg(image: Image.Image, short_side: int, quality: int) -> bytes:
    scale = short_side / min(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    if scale < 1:
        image.draft(None, (2 * size[0], 2 * size[1]))  # a very large one is decoded smaller
    # What is written has no EXIF that would say how it is to be turned.
    turned = to_pil_image(read_pixels(image, 1 if image.mode == "L" else 3))
    if scale < 1:
        upright = turned.size != image.size
        turned = turned.resize(size[::-1] if upright else size, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
