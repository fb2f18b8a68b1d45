"""Trials of Parquet files: odd columns, odd labels, damaged bytes; see torture.py."""

import io
import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.measure.trials import damage_bytes
from PIL import Image

from torchbake.data.sources.registry import open_source
from torchbake.errors import UserError
from torchbake.recipe import DataRecipe


def draw_parquet(source: random.Random, count: int, folder: Path) -> Iterator[Callable[[], Any]]:
    """Tables of images with odd columns or damaged bytes; all their images are decoded."""
    os.environ["HF_DATASETS_CACHE"] = str(folder / "hub")
    folder.mkdir(exist_ok=True)
    for number in range(count):
        # A folder of its own: what `datasets` has made of a file is kept by its name.
        place = folder / f"tables{number}"
        place.mkdir()
        for split in ("train", "test"):
            write_table(source, place / f"{split}.parquet")
        if source.random() < 0.7:
            path = place / source.choice(("train.parquet", "test.parquet"))
            path.write_bytes(damage_bytes(source, path.read_bytes()))
        yield partial(_decode_all, place)


def _decode_all(folder: Path) -> int:
    opened = open_source(
        DataRecipe(name=f"parquet:{folder}/*.parquet", image_column="image", label_column="label")
    )
    broken: list[UserError] = []
    for split in (opened.train, opened.test):
        for index in range(len(split)):
            try:
                split.load(index)
            except UserError as error:
                broken.append(error)
    if broken:
        raise broken[0]
    return len(opened.train)


def write_table(source: random.Random, path: Path) -> None:
    """A Parquet file of eight rows, most often as it should be."""
    import pyarrow
    import pyarrow.parquet

    encoded = []
    for number in range(8):
        buffer = io.BytesIO()
        Image.fromarray(np.full((4, 4, 3), number * 9, np.uint8)).save(buffer, "PNG")
        encoded.append(buffer.getvalue())
    paths = [
        "/etc/passwd",
        "x.png",
        "../x.png",
        "",
        "a\0b",
        "zip://a::b",
        "http://x/y",
        "/dev/zero",
    ]
    good: Any = [{"bytes": content, "path": None} for content in encoded]
    images = source.choices(
        [
            good,
            encoded,
            [{"bytes": None, "path": path} for path in paths],
            paths,
            [{"bytes": 3, "path": 4}] * 8,
            [{"other": b"x"}] * 8,
            [None] * 8,
            list(range(8)),
            [0.5] * 8,
            [[[1, 2], [3, 4]]] * 8,
            [b""] * 8,
        ],
        weights=[10] + [1] * 10,
    )[0]
    labels: Any = source.choices(
        [
            [0, 1] * 4,
            ["a", "b"] * 4,
            [-1, 0] * 4,
            [0, 1000] * 4,
            [None, 1] * 4,
            [0.5, 1.5] * 4,
            [[1], [2]] * 4,
            [True, False] * 4,
            pyarrow.array([2**63] * 8, pyarrow.uint64()),
            [b"a", b"b"] * 4,
            [7] * 8,
            [None] * 8,
        ],
        weights=[10] + [1] * 11,
    )[0]
    rows = source.choice((8, 8, 8, 8, 1, 0))
    table = pyarrow.table({"image": images[:rows], "label": labels[:rows]})
    pyarrow.parquet.write_table(table, path, compression=source.choice(("snappy", "none", "zstd")))
