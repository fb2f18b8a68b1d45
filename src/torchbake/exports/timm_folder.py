"""A folder that timm loads by itself: weights, classes and preprocessing."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from .._digests import SEAL, seal_weights
from .._shapes import Tensor
from ..data.preprocessing import Preprocessing
from ..errors import UserError
from ..inference.programs import Program
from ..training.weights_file import Description

WEIGHTS = "model.safetensors"


def write_timm(
    folder: Path, network: nn.Module, description: Description, dtype: torch.dtype
) -> None:
    """Write `config.json` and `model.safetensors` as timm's hub format has them.

    Raises:
        UserError: the network is not one of timm's.
    """
    if not hasattr(network, "pretrained_cfg"):
        raise UserError(
            f"--to timm: '{description.model}' is not one of timm's networks, which timm could "
            "make; expected --to onnx or --to torch"
        )
    from timm.models import save_for_hf

    preprocessing = description.preprocessing
    settings = {
        "input_size": (preprocessing.channels, *[preprocessing.image_size] * 2),
        "crop_pct": find_crop_pct(preprocessing),
        "crop_mode": "center",
        "interpolation": preprocessing.interpolation,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
    }
    # What was said of other weights of this network says nothing of these.
    known: Any = network.pretrained_cfg
    model: Any = network
    model.pretrained_cfg = {
        key: value
        for key, value in dict(known).items()
        if key not in ("tag", "license", "description", "origin_url", "paper_ids", "notes")
    }
    config = {"label_names": list(description.classes), "pretrained_cfg": settings}
    save_for_hf(network, str(folder), model_config=config, safe_serialization=True)
    # Once more, since timm writes no metadata, from which torchbake knows the rest.
    state = {
        name: (value.to(dtype) if value.is_floating_point() else value).contiguous().clone()
        for name, value in network.state_dict().items()
    }
    metadata = description.to_metadata()
    save_file(state, folder / WEIGHTS, {**metadata, SEAL: seal_weights(state, metadata)})


def find_crop_pct(preprocessing: Preprocessing) -> float:
    """The fraction from which timm, which rounds downwards, computes the size that we resize to."""
    share = preprocessing.image_size / preprocessing.resize_to
    while math.floor(preprocessing.image_size / share) < preprocessing.resize_to:
        share = math.nextafter(share, 0.0)
    return share


def load_timm(folder: Path) -> tuple[Program, Callable[[Image.Image], Tensor]]:
    """A folder as timm alone loads it: its network, and its transform of a picture for it."""
    import timm
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()

    @torch.no_grad()
    def run(images: Tensor) -> Tensor:
        logits: Tensor = model(images)
        return logits

    return run, create_transform(**resolve_model_data_config(model))
