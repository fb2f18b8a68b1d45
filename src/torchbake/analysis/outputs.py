"""Features and logits that a finished run's network gives for images, and their pictures."""

import os
import tempfile
from typing import NamedTuple

import torch
from rich.console import Console

from .._shapes import Float, Int, Tensor, UInt8
from ..data.sources.base import Split
from ..training.opened_run import OpenedRun

IN_MEMORY = 4 * 2**30
"""Bytes of outputs up to which they are kept in memory; more lie in a temporary file."""


class Outputs(NamedTuple):
    """Features and logits of images of a split, in the order asked for; float32, on the CPU."""

    indices: Int[Tensor, " n"]
    labels: Int[Tensor, " n"]
    logits: Float[Tensor, "n c"]
    features: Float[Tensor, "n d"]


@torch.inference_mode()
def compute_outputs(
    opened: OpenedRun, split: Split, indices: Int[Tensor, " n"], console: Console
) -> Outputs:
    """Outputs of the network in evaluation mode for images that are not augmented."""
    logits = features = torch.empty(0)
    done = 0
    with console.status("looking at the images") as status:
        for batch in opened.data.plain_batches(split, indices, 256, opened.device):
            with torch.autocast(
                opened.device.type, dtype=opened.precision, enabled=opened.precision is not None
            ):
                answer = opened.model(batch.images)
            if not done:
                logits = _allocate(len(indices), answer.logits.shape[1])
                features = _allocate(len(indices), answer.features.shape[1])
            rows = slice(done, done + len(batch.labels))
            logits[rows], features[rows] = answer.logits.float(), answer.features.float()
            done = rows.stop
            status.update(f"looking at the images: {done:,} of {len(indices):,}")
    return Outputs(indices, split.labels[indices], logits, features)


def _allocate(rows: int, columns: int) -> Tensor:
    if rows * columns * 4 <= IN_MEMORY:
        return torch.empty(rows, columns)
    with tempfile.NamedTemporaryFile(prefix="torchbake-") as file:  # lives on while it is mapped
        os.posix_fallocate(file.fileno(), 0, rows * columns * 4)  # or an error: the disk is full
        return torch.from_file(file.name, shared=True, size=rows * columns).view(rows, columns)


def restore_pictures(
    opened: OpenedRun, split: Split, indices: Int[Tensor, " n"]
) -> UInt8[Tensor, "n ch h w"]:
    """The images as the network receives them, as 8-bit pixels."""
    mean, std = (
        torch.tensor(values, device=opened.device)[:, None, None]
        for values in (opened.data.mean, opened.data.std)
    )
    parts = [
        ((batch.images * std + mean) * 255).round().clamp(0, 255).byte().cpu()
        for batch in opened.data.plain_batches(split, indices, 256, opened.device)
    ]
    return torch.cat(parts)
