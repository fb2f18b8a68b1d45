"""One process, or several that torchrun has started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from ..errors import UserError
from .liveness import Liveness, name_failed_ranks, open_stores


@dataclass(frozen=True)
class Ranks:
    """This process's place among those that train together, and its device."""

    rank: int
    world_size: int
    device: torch.device
    liveness: Liveness | None = None

    def note(self, where: str) -> None:
        """Say, to whoever may wait for this rank, what it is about to do."""
        if self.liveness is not None:
            self.liveness.note(where)

    @property
    def first(self) -> bool:
        """Whether this process writes files and the progress."""
        return self.rank == 0


@contextmanager
def join_ranks(device: str, timeout: float = 600.0) -> Iterator[Ranks]:
    """Join the process group that torchrun's environment names, if there is one.

    Args:
        device: `auto` (a GPU if there is one, one for each rank) or a torch device.
        timeout: seconds for which a rank waits for the others.

    Raises:
        UserError: a device that does not exist here, or one for all ranks; another rank has
            failed, or did not come in time.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Ranks(0, 1, prepare_device(device, 0))
        return
    if device.startswith("cuda:"):
        raise UserError(
            f"training.device: '{device}' is one device for {world_size} ranks; give 'cuda', and "
            "each rank takes one of its own"
        )
    found = prepare_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    on_cuda = found.type == "cuda"
    wait = timedelta(seconds=timeout)
    store, signs, rank, world_size = open_stores(wait)
    liveness = Liveness(signs, rank, world_size)
    with name_failed_ranks(liveness):
        dist.init_process_group(
            "nccl" if on_cuda else "gloo",
            store=store,
            rank=rank,
            world_size=world_size,
            timeout=wait,
            device_id=found if on_cuda else None,
        )
        # Left as it is by an error: to end the group would wait for ranks that wait for this one.
        yield Ranks(rank, world_size, found, liveness)
        liveness.note("the end")
        dist.destroy_process_group()


def prepare_device(name: str, local_rank: int) -> torch.device:
    """Find the device and make it the process's current one, for training on images of one size."""
    device = find_device(name, local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True  # sizes do not change: look for the fastest kernels
    return device


def allow_tf32(precision: str) -> None:
    """Let cuDNN's convolutions take TF32, as PyTorch does by default, unless it is to be `ieee`.

    By the older of torch's two interfaces: the compiler reads it, and after the newer one has set
    convolutions alone it raises an error.
    """
    allowed = precision != "ieee"
    in_tf32 = list_tf32()
    if ("convolutions" in in_tf32) != allowed:
        torch.backends.cudnn.allow_tf32 = allowed
    if not allowed and "matrix products" in in_tf32:
        torch.backends.cuda.matmul.allow_tf32 = False


def list_tf32() -> list[str]:
    """What may be computed in TF32 on GPUs that have it, though its numbers are float32."""
    backends: Any = torch.backends  # whose types torch does not tell
    kinds = {"convolutions": backends.cudnn.conv, "matrix products": backends.cuda.matmul}
    return [name for name, kind in kinds.items() if kind.fp32_precision == "tf32"]


def find_device(name: str, local_rank: int) -> torch.device:
    """The torch device of this name; `auto` and `cuda` mean the GPU of this rank."""
    if name == "auto":
        if torch.cuda.is_available():
            name = "cuda"
        else:
            return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name, local_rank) if name == "cuda" else torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"training.device: '{name}' is not available here: {reason}") from None
    if device.type == "meta":
        raise UserError("training.device: 'meta' holds no numbers, so nothing can be trained on it")
    return device


def check_alike(ranks: Ranks, found: dict[str, str]) -> None:
    """Check that all ranks found the same; all of them must call this together.

    Args:
        found: in words, by what it is.

    Raises:
        UserError: one of them found something else than the first.
    """
    if ranks.world_size == 1:
        return
    everyone: list[Any] = [None] * ranks.world_size
    dist.all_gather_object(everyone, found)
    for rank, others in enumerate(everyone):
        for what, value in everyone[0].items():
            if others[what] != value:
                raise UserError(
                    f"rank {rank} found other {what} than rank 0: {others[what]}, not {value}"
                )


def share_gradients(module: nn.Module, ranks: Ranks) -> None:
    """Replace the gradients of a module's parameters by their means over the ranks."""
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    if ranks.world_size > 1 and gradients:
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= ranks.world_size
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
