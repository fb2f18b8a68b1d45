"""Seconds to draw one epoch of ImageNet's size in class groups, on one core.

uv run python -m benchmarks.measure.sampling
"""

import statistics
import time
from typing import Any, Literal, get_args

import torch
from benchmarks.measure.provenance import write_results

from torchbake import ClassGroupedBatchSampler

Epoch = Literal["images", "anchors"]


def main() -> None:
    torch.set_num_threads(1)
    # ImageNet's number of images and classes; its classes have 732 to 1,300 images.
    labels = torch.randint(1000, (1_281_167,), generator=torch.Generator().manual_seed(0))
    rows: list[dict[str, Any]] = []
    print("epoch    partners     images  batches  seconds (median of 5)")
    for epoch in get_args(Epoch):
        for partners in (0, 1, 3):
            sampler = ClassGroupedBatchSampler(labels, 256, partners=partners, epoch=epoch)
            seconds = []
            for _ in range(5):
                start = time.perf_counter()
                batches = len(list(sampler))
                seconds.append(time.perf_counter() - start)
            row = {
                "epoch": epoch,
                "partners": partners,
                "images": sampler.images_per_epoch,
                "batches": batches,
                "seconds": statistics.median(seconds),
            }
            rows.append(row)
            print("{epoch:8} {partners:8} {images:10,} {batches:8,} {seconds:8.2f}".format(**row))
    write_results("sampling", rows)


if __name__ == "__main__":
    main()
