"""Networks as programs that need no torchbake: ONNX files and torch.export programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import nn

from .._shapes import Float, Tensor, UInt8
from ..errors import UserError
from .preprocess import Preprocess

if TYPE_CHECKING:
    import numpy as np

Made = TypeVar("Made")
Program = Callable[[Tensor], Tensor]
"""A batch of inputs, on the CPU, to the program's output."""


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
    _require("onnx", "onnxscript", "onnxruntime", extra="onnx")
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
    model.metadata_props.update(metadata)
    program.save(path)


def load_onnx(path: Path) -> tuple[Program, dict[str, str]]:
    """An ONNX file as a function, run by ONNX Runtime on the CPU, and its metadata.

    Raises:
        UserError: no such file, or not an ONNX file.
    """
    _require("onnxruntime", extra="onnx")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own classes have no common base
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be read as an ONNX file: {reason}") from None
    name = session.get_inputs()[0].name

    def run(inputs: Tensor) -> Tensor:
        outputs: list[np.ndarray[Any, Any]] = session.run(None, {name: inputs.numpy()})
        return torch.from_numpy(outputs[0])

    return run, dict(session.get_modelmeta().custom_metadata_map)


METADATA_FILE = "torchbake.json"
"""Name of the metadata within a torch.export archive."""


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
    files = {METADATA_FILE: json.dumps(metadata, ensure_ascii=False)}
    torch.export.save(program, path, extra_files=files)


def load_torch(path: Path) -> tuple[Program, dict[str, str]]:
    """A torch.export program as a function, and its metadata.

    Raises:
        UserError: no such file, or not a torch.export program.
    """
    files: dict[str, Any] = {METADATA_FILE: ""}
    try:
        module = torch.export.load(path, extra_files=files).module()
        metadata: dict[str, str] = json.loads(files[METADATA_FILE] or "{}")
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: cannot be read as a torch.export program: {reason}") from None

    @torch.no_grad()
    def run(inputs: Tensor) -> Tensor:
        outputs: Tensor = module(inputs)
        return outputs

    return run, metadata


def _dynamic_shapes(signature: Signature) -> tuple[dict[int, Any], ...]:
    return ({number: torch.export.Dim(name) for number, name in signature.dimensions.items()},)


def _explain(form: str, make: Callable[[], Made]) -> Made:
    try:
        return make()
    except Exception as error:  # whatever the exporter stumbles over
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"the network cannot be exported by {form}: {reason}") from error


def _require(*packages: str, extra: str) -> None:
    from importlib.util import find_spec

    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise UserError(
            f"needs the package {missing[0]}: pip install 'torchbake[{extra}]'"
        )
