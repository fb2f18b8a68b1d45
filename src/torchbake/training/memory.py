"""A device whose memory is full: evaluation in smaller batches, or one line that says so."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..data.loading.open_data import Data
from ..errors import UserError
from ..evaluation import evaluate
from .distributed import Ranks

TEST_BATCH = 256
"""Test images that are evaluated at a time, if memory suffices."""

_SIGNS = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""Of errors that are not `torch.OutOfMemoryError` but mean the same."""

LESS_FOR_TRAINING = (
    "lower training.batch_size, raise training.accumulate, or set training.precision to bf16"
)


@contextmanager
def explain_out_of_memory(doing: str, advice: str) -> Iterator[None]:
    """Turn an error that says that a device's memory is full into a UserError.

    Args:
        doing: what needed the memory, as in "cuda:0, training 64 images at a time".
        advice: what takes less.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"out of memory on {doing}: {advice} ({shorten(error)})") from None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's memory is full."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def shorten(error: BaseException) -> str:
    """How much was asked for and was there; not PyTorch's advice, which follows."""
    return ". ".join((str(error).splitlines() or [""])[0].split(". ")[:3]).rstrip(".")


def evaluate_test_images(
    model: nn.Module, data: Data, ranks: Ranks, precision: torch.dtype | None
) -> dict[str, float]:
    """`evaluation.evaluate` on the test images; in smaller batches where memory does not suffice.

    Raises:
        UserError: the memory does not suffice for one image.
    """
    training, size = model.training, TEST_BATCH
    while True:
        batches = data.test_batches(size, ranks.device, ranks.rank, ranks.world_size)
        try:
            return evaluate(model, batches, ranks.device, precision)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            full = shorten(error)
        finally:
            model.train(training)
        if size == 1:
            raise UserError(f"out of memory on {ranks.device}, evaluating one image ({full})")
        size //= 4
