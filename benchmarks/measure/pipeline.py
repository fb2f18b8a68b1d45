"""Images/s from a folder of JPEG files to normalised batches: ours beside torchvision's.

    uv run python -m benchmarks.measure.pipeline \\
        --cifar '../shared/data/cifar100/*.parquet' --folder DIR

DIR is filled with 20,000 photographs of 500×375 pixels (about 2 GB; made once), and with their
packed form. Torchvision's is ImageFolder in a DataLoader with RandomResizedCrop(224), flip,
ToTensor and Normalize; its uint8 form leaves these two to the device. Ours leaves normalising to
the device, too: as for a GPU, batches are timed until they are handed to it, as for a CPU with the
normalising. All take turns in blocks, whose first batches, that workers have in store, are not
timed: on one core with one worker process, then with all cores, a worker each.
"""

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Iterator
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.measure.pictures import photograph, small_photographs
from benchmarks.measure.provenance import write_results
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from torchbake.data.loading.open_data import open_data
from torchbake.data.loading.train_loader import TrainLoader
from torchbake.data.preparing.packing import pack
from torchbake.recipe import DataRecipe
from torchbake.sampling.class_groups import ClassGroupedBatchSampler

BATCH, SIZE, CLASSES, TESTS = 128, 224, 100, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar", required=True, help="glob of CIFAR-100's Parquet files")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--batches", type=int, default=10, help="that are timed, a block")
    options = parser.parse_args()
    jpegs = options.folder / f"jpegs-{options.images}"
    packed = options.folder / f"packed-{options.images}"
    rows: list[dict[str, Any]] = [{name: str(value) for name, value in vars(options).items()}]
    if not jpegs.is_dir():
        _make(jpegs, options.images, small_photographs(options.cifar))
    if not packed.is_dir():
        pack(DataRecipe(name=f"imagefolder:{jpegs}"), packed)
    for name, folder in (("JPEG files", jpegs), ("packed", packed)):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        rows.append({"form": name, "bytes": size})
    cores = os.sched_getaffinity(0)
    for used in ({min(cores)}, cores):
        os.sched_setaffinity(0, used)
        torch.set_num_threads(len(used))
        loops = {
            "torchvision": _torchvision(jpegs, len(used), floats=True),
            "torchvision, uint8": _torchvision(jpegs, len(used), floats=False),
            "ours, as for a CPU": _ours(f"imagefolder:{jpegs}", len(used)),
            "ours, as for a GPU": _for_gpu(f"imagefolder:{jpegs}", len(used)),
            "packed, as for a CPU": _ours(f"hf:{packed}", len(used)),
            "packed, as for a GPU": _for_gpu(f"hf:{packed}", len(used)),
        }
        rows += _in_turns(loops, len(used), options)
    write_results("pipeline", rows)


def _make(folder: Path, count: int, small: NDArray[np.uint8]) -> None:
    part = folder.with_name(folder.name + ".part")
    works = []
    for split, images in (("train", count), ("val", TESTS)):
        for number in range(CLASSES):
            (part / split / f"class{number:02}").mkdir(parents=True, exist_ok=True)
        works += [(part / split, number) for number in range(images)]
    with Pool(initializer=_SMALL.append, initargs=(small,)) as pool:
        pool.starmap(_write, works, chunksize=50)
    part.rename(folder)


_SMALL: list[NDArray[np.uint8]] = []  # in each process


def _write(folder: Path, number: int) -> None:
    path = folder / f"class{number % CLASSES:02}" / f"{number:06}.jpg"
    path.write_bytes(photograph(_SMALL[0], number))


def _torchvision(folder: Path, workers: int, *, floats: bool) -> Iterator[torch.Tensor]:
    steps: list[Any] = [transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip()]
    if floats:
        steps.append(transforms.ToTensor())
        steps.append(transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    else:
        steps.append(transforms.PILToTensor())
    loader = DataLoader(
        ImageFolder(folder / "train", transforms.Compose(steps)),
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=True,
    )
    while True:
        for images, _ in loader:
            yield images


def _loader(name: str, workers: int) -> TrainLoader:
    recipe = DataRecipe(name=name, image_size=SIZE, crop="resized", flip=True, workers=workers)
    data = open_data(recipe, lambda split, done, total: None)
    sampler = ClassGroupedBatchSampler(data.source.train.labels, BATCH, partners=3, drop_last=True)
    device = torch.device("cpu")
    return TrainLoader(data, sampler, device, 0)


def _ours(name: str, workers: int) -> Iterator[torch.Tensor]:
    loader = _loader(name, workers)
    for epoch in itertools.count():
        for batch in loader.batches(epoch):
            yield batch.images.to(memory_format=torch.channels_last)  # as the step does


def _for_gpu(name: str, workers: int) -> Iterator[torch.Tensor]:
    loader = _loader(name, workers)
    for epoch in itertools.count():
        for _, pixels in loader.stream_pixels(epoch):
            yield pixels


def _in_turns(
    loops: dict[str, Iterator[torch.Tensor]], cores: int, options: argparse.Namespace
) -> list[dict[str, Any]]:
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for block in range(options.blocks + 1):
        for name in list(loops) if block % 2 else list(reversed(loops)):
            for _ in range(2 * cores + 1):  # which are in store, or have been begun
                next(loops[name])
            started = time.perf_counter()
            for _ in range(options.batches):
                images = next(loops[name])
            if block:  # the first warms up
                seconds[name].append(time.perf_counter() - started)
            assert images.shape == (BATCH, 3, SIZE, SIZE)
            assert (images.dtype == torch.uint8) == name.endswith(("uint8", "GPU"))
    rows = []
    for name, values in seconds.items():
        faster = [a / b for a, b in zip(seconds["torchvision"], values, strict=True)]
        speed = BATCH * options.batches / statistics.median(values)
        low, middle, high = statistics.quantiles(faster, n=4)
        row = {"loop": name, "cores": cores, "images_per_second": speed}
        rows.append(row | {"speedup": [low, middle, high]})
        print(
            f"{cores} core(s): {name:20} {speed:6.0f} images/s, {middle:.2f} times torchvision's "
            f"(quartiles {low:.2f} to {high:.2f})"
        )
    return rows


if __name__ == "__main__":
    main()
