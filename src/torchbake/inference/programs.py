"""Exported programs as functions: ONNX files and torch.export programs."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from .._shapes import Tensor
from ..errors import UserError

Program = Callable[[Tensor], Tensor]
"""A batch of inputs, on the CPU, to the program's output."""

METADATA_FILE = "torchbake.json"
"""Name of the metadata within a torch.export archive."""


def load_onnx(path: Path) -> tuple[Program, dict[str, str]]:
    """An ONNX file as a function, run by ONNX Runtime on the CPU, and its metadata.

    Raises:
        UserError: no such file, or not an ONNX file.
    """
    require_packages("onnxruntime", extra="onnx")
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
        return torch.from_numpy(session.run(None, {name: inputs.numpy()})[0])

    return run, dict(session.get_modelmeta().custom_metadata_map)


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


def require_packages(*packages: str, extra: str) -> None:
    """Raise UserError unless these packages, which an extra installs, are there."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise UserError(f"needs the package {missing[0]}: pip install 'torchbake[{extra}]'")
