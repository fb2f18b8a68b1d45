"""Whether each batch is divided among the processes once: not twice, and not never."""

import sys
import warnings

import torch.distributed as dist


def check_divided_once(world_size: int, *, by_default: bool) -> None:
    """Look who draws batches, at the first one of an epoch.

    Args:
        world_size: among how many ranks the sampler divides its batches.
        by_default: that number was not given, but found before there was a process group.

    Raises:
        RuntimeError: Accelerate divides batches that are divided already.

    Warns:
        UserWarning: nobody divides the batches, though there are several processes.
    """
    if world_size > 1 and _drawn_by_accelerate():
        raise RuntimeError(
            "Accelerate divides the batches of a prepared loader among the processes, and this "
            f"sampler has divided them among {world_size} already, so that images would be lost: "
            "pass rank=0, world_size=1 to the sampler, or do not prepare the loader"
        )
    if by_default and dist.is_available() and dist.is_initialized():
        ranks = dist.get_world_size()
        if ranks > world_size and not _drawn_by_accelerate():
            warnings.warn(
                f"all {ranks} ranks draw the same batches, as their sampler was made before "
                "torch.distributed was initialised: make it later, or pass rank and world_size",
                stacklevel=3,
            )


def _drawn_by_accelerate() -> bool:
    """Whether the batch is drawn for one of Accelerate's loaders that divide batches.

    Nothing else tells: these loaders draw from a sampler as any loop does.
    """
    accelerate = sys.modules.get("accelerate.data_loader")
    if accelerate is None:
        return False
    dividers = (accelerate.BatchSamplerShard, accelerate.DataLoaderDispatcher)
    frame = sys._getframe().f_back
    while frame is not None:
        if frame.f_globals is vars(accelerate) and isinstance(frame.f_locals.get("self"), dividers):
            return True
        frame = frame.f_back
    return False
