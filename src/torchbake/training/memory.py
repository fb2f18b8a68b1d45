"""A device whose memory is full: evaluation in smaller batches, or one line that says so."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..batch import Batch
from ..errors import UserError
from ..evaluation import LabelledLogits, collect_logits

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


def collect_within_memory(
    model: nn.Module,
    make_batches: Callable[[int], Iterable[Batch]],
    device: torch.device,
    precision: torch.dtype | None,
) -> LabelledLogits:
    """`evaluation.collect_logits`, in smaller batches where the memory does not suffice.

    Args:
        make_batches: batches of at most so many images.

    Raises:
        UserError: the memory does not suffice for one image.
    """
    training, size = model.training, TEST_BATCH
    while True:
        try:
            return collect_logits(model, make_batches(size), device, precision)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            full = shorten(error)
        finally:
            model.train(training)
        if size == 1:
            raise UserError(f"out of memory on {device}, evaluating one image ({full})")
        size //= 4
