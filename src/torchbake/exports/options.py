"""How a run is exported."""

from dataclasses import dataclass
from typing import Literal

from ..errors import UserError

Form = Literal["timm", "onnx", "torch"]

FILES: dict[Form, str] = {
    "timm": "model.safetensors",
    "onnx": "model.onnx",
    "torch": "model.pt2",
}
"""The file that holds the weights."""


@dataclass(frozen=True)
class Options:
    """How a run is exported.

    Attributes:
        form: what it becomes.
        ema: export the moving average of the weights.
        with_preprocessing: take decoded pictures and give probabilities, in place of normalised
            images and logits.
        half: compute in float16; of a timm folder, keep the weights so.
        license: identifier for the model card, such as `apache-2.0`.
    """

    form: Form
    ema: bool = False
    with_preprocessing: bool = False
    half: bool = False
    license: str | None = None

    def __post_init__(self) -> None:
        if self.form == "timm" and self.with_preprocessing:
            raise UserError(
                "--with-preprocessing: needs --to onnx or --to torch; timm preprocesses by itself, "
                "as config.json says"
            )
