"""The Hugging Face hub, where timm's weights are: asked once, not for half a minute."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import UserError

PATIENCE = 5.0
"""Seconds in which the hub must answer."""


@contextmanager
def reaching_hub(name: str) -> Iterator[None]:
    """Run a block that loads a model from the hub; without the hub, from what was kept of it.

    huggingface_hub tries an unreachable hub again and again. So it is asked once whether it is
    there; if not, the block runs as with HF_HUB_OFFLINE=1.

    Raises:
        UserError: the hub cannot be reached, and the model is not on this machine.
    """
    import huggingface_hub.constants
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    before = huggingface_hub.constants.HF_HUB_OFFLINE
    reached = not before and _is_there(huggingface_hub.constants.ENDPOINT)
    huggingface_hub.constants.HF_HUB_OFFLINE = not reached
    try:
        yield
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        if reached:
            raise
        raise UserError(
            f"model.pretrained: the weights of '{name}' are not on this machine, and "
            f"{huggingface_hub.constants.ENDPOINT} cannot be reached"
            + " (HF_HUB_OFFLINE is set)" * before
            + "; name a file of weights with model.weights, or set model.pretrained to false"
        ) from None
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE = before


def _is_there(endpoint: str) -> bool:
    from huggingface_hub import get_session

    try:
        get_session().head(endpoint, timeout=PATIENCE)
    except Exception:  # of whatever client huggingface_hub uses
        return False
    return True


def can_fetch(name: str) -> str | None:
    """Why the weights of a model cannot be had, in a few words; None if they seem to be there.

    Args:
        name: of timm's, or of the hub as `hf-hub:NAME`.
    """
    import huggingface_hub.constants
    from huggingface_hub import try_to_load_from_cache

    if name.startswith(("hf-hub:", "hf_hub:")):
        place: str | None = name.partition(":")[2]
    else:
        import timm

        config = timm.get_pretrained_cfg(name) if timm.is_model(name.partition(".")[0]) else None
        if config is None or not (config.hf_hub_id or config.url):
            return f"there are no pretrained weights of {name}"
        place = config.hf_hub_id or ""
    for file in ("model.safetensors", "pytorch_model.bin"):
        if place and isinstance(try_to_load_from_cache(place.partition("@")[0], file), str):
            return None
    endpoint = huggingface_hub.constants.ENDPOINT
    if huggingface_hub.constants.HF_HUB_OFFLINE or not _is_there(endpoint):
        return f"{endpoint} cannot be reached for pretrained weights"
    return None
