"""Networks as programs that need no torchbake: ONNX files and torch.export programs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from .._shapes import Float, Tensor, UInt8
from ..errors import UserError
from ..inference.programs import METADATA_FILE, require_packages
from .preprocess import Preprocess

Made = TypeVar("Made")


class Logits(nn.Module):
    """Normalised images to logits: float32 outside, the network's number format inside."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network.to(dtype)
        self.dtype = dtype

    def forward(self, images: Float[Tensor, "n ch h w"]) -> Float[Tensor, "n c"]:
        logits: Tensor = self.network(images.to(self.dtype))
        return logits.to(torch.float32)


class Probabilities(nn.Module):
    """Decoded pictures, of one size a batch, to calibrated probabilities."""

    def __init__(self, preprocess: Preprocess, logits: Logits, temperature: float) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.logits = logits
        self.temperature = temperature

    def forward(self, pictures: UInt8[Tensor, "n h w ch"]) -> Float[Tensor, "n c"]:
        return (self.logits(self.preprocess(pictures)) / self.temperature).softmax(dim=1)


class Signature(NamedTuple):
    """What goes into a program and comes out.

    Attributes:
        example: a batch of two inputs.
        dimensions: names of the input's dimensions that may change, by their number.
    """

    input: str
    output: str
    example: Tensor
    dimensions: dict[int, str]


def describe_signature(module: Logits | Probabilities, channels: int, size: int) -> Signature:
    """The signature of a module for images of so many channels and, if normalised, this size."""
    if isinstance(module, Probabilities):
        # Height and width that differ from each other and from the result's.
        pictures = torch.zeros(2, size + 16, size + 32, channels, dtype=torch.uint8)
        named = {0: "batch", 1: "height", 2: "width"}
        return Signature("pictures", "probabilities", pictures, named)
    return Signature("images", "logits", torch.zeros(2, channels, size, size), {0: "batch"})


def write_onnx(
    path: Path, module: nn.Module, signature: Signature, metadata: dict[str, str]
) -> None:
    """Write an ONNX file by torch's exporter, with text as its metadata.

    Raises:
        UserError: a package is missing, or the network has what ONNX cannot express.
    """
    require_packages("onnx", "onnxscript", "onnxruntime", extra="onnx")
    program = _explain(
        "ONNX",
        lambda: torch.onnx.export(
            module.eval(),
            (signature.example,),
            dynamo=True,
            verbose=False,
            input_names=[signature.input],
            output_names=[signature.output],
            dynamic_shapes=_dynamic_shapes(signature),
        ),
    )
    assert program is not None  # with dynamo=True
    model: Any = program.model
    model.metadata_props.update(metadata | {"input": signature.input})
    program.save(path)


def write_torch(
    path: Path, module: nn.Module, signature: Signature, metadata: dict[str, str]
) -> None:
    """Write a torch.export program (.pt2), with text as its metadata.

    Raises:
        UserError: the network has what torch.export cannot record.
    """
    program = _explain(
        "torch.export",
        lambda: torch.export.export(
            module.eval(), (signature.example,), dynamic_shapes=_dynamic_shapes(signature)
        ),
    )
    text = json.dumps(metadata | {"input": signature.input}, ensure_ascii=False)
    files = {METADATA_FILE: text}
    torch.export.save(program, path, extra_files=files)


def _dynamic_shapes(signature: Signature) -> tuple[dict[int, Any], ...]:
    return ({number: torch.export.Dim(name) for number, name in signature.dimensions.items()},)


def _explain(form: str, make: Callable[[], Made]) -> Made:
    try:
        return make()
    except Exception as error:  # whatever the exporter stumbles over
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        raise UserError(f"the network cannot be exported by {form}: {reason}") from error
