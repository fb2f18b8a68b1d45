"""How long `torchbake check` takes on photographs, and which copies of them it finds.

    uv run python -m benchmarks.measure.check --data parquet:../shared/data/cub100

Of some photographs, a copy is made in each of several ways; a copy counts as found if it is in a
group with its original. The whole data set is then checked as it is: what is found there was looked
at by eye.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from benchmarks.measure.provenance import write_results
from PIL import Image, ImageEnhance

from torchbake.analysis.check.check import check_data
from torchbake.analysis.check.copies import FARTHEST, find_same_pictures
from torchbake.analysis.check.look import SIDE, look_at_images
from torchbake.data.loading.workers import count_workers
from torchbake.data.sources.base import Encoded, Split, make_encoded_split
from torchbake.data.sources.registry import open_source
from torchbake.recipe import DataRecipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="data set of photographs, as for data.name")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    recipe = DataRecipe(options.data)
    train = open_source(recipe).train
    chosen = np.random.default_rng(0).choice(len(train), options.images, replace=False).tolist()
    rows: list[dict[str, Any]] = [vars(options)]
    for name, change in CHANGES.items():
        rows.append({"copy": name, "found": _share_found(train, chosen, change)})
        print(rows[-1])
    seconds = []
    for _ in range(options.repeats):
        started = time.perf_counter()
        check = check_data(recipe)
        seconds.append(time.perf_counter() - started)
    found = {finding.kind: finding.count for finding in check.findings}
    images = sum(map(len, check.splits.values()))
    rows.append({"images": images, "workers": count_workers(), "found": found})
    rows[-1] |= {"seconds": statistics.median(seconds), "bytes": check.total_bytes}
    rows[-1]["closest_others"] = _find_closest(list(check.splits.values()))
    print(rows[-1])
    write_results("check", rows)


def _share_found(train: Split, chosen: list[int], change: Callable[[Image.Image], bytes]) -> float:
    """The share of these images that are in one group with their copy."""
    assert train.encoded is not None
    files = []
    for index in chosen:
        content = train.encoded(index).content
        with Image.open(io.BytesIO(content)) as image:
            files += [content, change(image.convert("RGB"))]
    labels = torch.zeros(len(files), dtype=torch.long)
    split = make_encoded_split(labels, partial(_read, files), 3, [])
    looks = look_at_images(split, 3, count_workers(), lambda done: None)
    groups = find_same_pictures(looks)
    return float((groups[::2] == groups[1::2]).mean())


def _find_closest(splits: list[Split]) -> float:
    """The smallest distance of two pictures that are not taken for the same, of all pairs."""
    looks = [look_at_images(split, 3, count_workers(), lambda done: None) for split in splits]
    thumbnails = np.concatenate([part.thumbnail for part in looks]).reshape(-1, SIDE**2)
    levels = thumbnails.astype(np.float32)
    levels -= levels.mean(axis=1, keepdims=True)
    levels /= np.linalg.norm(levels, axis=1, keepdims=True)
    closest = 1.0
    for start in range(0, len(levels), 1000):
        distances = 1 - levels[start : start + 1000] @ levels.T
        closest = min(closest, float(distances[distances > FARTHEST].min()))
    return closest


def _read(files: list[bytes], index: int) -> Encoded:
    return Encoded(files[index], "")


def _save(image: Image.Image, quality: int = 85) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _scale(image: Image.Image, factor: float) -> Image.Image:
    size = (round(image.width * factor), round(image.height * factor))
    return image.resize(size, Image.Resampling.BICUBIC)


def _crop(image: Image.Image, share: float) -> Image.Image:
    left, top = round(image.width * share), round(image.height * share)
    return image.crop((left, top, image.width - left, image.height - top))


def _brighten(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG again, quality 40": lambda image: _save(image, 40),
    "half the size": lambda image: _save(_scale(image, 0.5)),
    "a quarter of the size": lambda image: _save(_scale(image, 0.25)),
    "twice the size": lambda image: _save(_scale(image, 2)),
    "brighter by 10 %": lambda image: _save(_brighten(image, 1.1)),
    "brighter by 25 %": lambda image: _save(_brighten(image, 1.25)),
    "contrast up by 20 %": lambda image: _save(ImageEnhance.Contrast(image).enhance(1.2)),
    "half the size, brighter by 10 %, quality 50": lambda image: _save(
        _brighten(_scale(image, 0.5), 1.1), 50
    ),
    "grey": lambda image: _save(image.convert("L")),
    "1 % cut off each side": lambda image: _save(_crop(image, 0.01)),
    "3 % cut off each side": lambda image: _save(_crop(image, 0.03)),
    "mirrored": lambda image: _save(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
}


if __name__ == "__main__":
    main()
