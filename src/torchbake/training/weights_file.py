"""Weights that explain themselves: a safetensors file whose metadata say how to use it."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from .._digests import check_weights
from .._trust import withhold
from .._version import __version__
from ..data.augment.geometry import choose_crop_share
from ..data.preprocessing import Preprocessing
from ..errors import UserError
from ..models.classifier import Classifier
from ..models.create import create_model
from ..recipe import ModelRecipe, Recipe

OPTIONS = ("drop_rate", "classifier", "features", "arguments")
"""Keys of a recipe's `model` section that `create_model` must be given again."""


@dataclass(frozen=True)
class Description:
    """All that is needed to use a network's weights, beside the weights themselves.

    Attributes:
        model: name of the network (see `create_model`).
        classes: names of the classes, in the order of the logits.
        preprocessing: what images go through.
        model_options: further arguments of `create_model`.
        precision: number format of the forward pass, as in a recipe.
        temperature: what logits are divided by for calibrated probabilities; None if no
            temperature was fitted.
        run: what the weights come from: method, seed, digest of the recipe, steps, images.
    """

    model: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    model_options: dict[str, Any] = field(default_factory=dict)
    precision: str = "float32"
    temperature: float | None = None
    run: dict[str, Any] = field(default_factory=dict)

    def to_metadata(self) -> dict[str, str]:
        """The metadata of a weights file: texts, which are JSON except for plain words."""
        values: dict[str, Any] = {
            "classes": list(self.classes),
            "format": "pt",  # which makes it a file of PyTorch's for other programs
            "model": self.model,
            "model_options": self.model_options,
            "precision": self.precision,
            "run": self.run,
            "torchbake": __version__,
            **asdict(self.preprocessing),
        }
        if self.temperature is not None:
            values["temperature"] = self.temperature
        return {
            key: value if isinstance(value, str) else _dump(value)
            for key, value in sorted(values.items())
        }


def describe_model(recipe: ModelRecipe) -> dict[str, Any]:
    """The options of `create_model` that differ from its defaults."""
    default = ModelRecipe()
    return {
        name: getattr(recipe, name)
        for name in OPTIONS
        if getattr(recipe, name) != getattr(default, name)
    }


def digest_recipe(flat: dict[str, Any]) -> str:
    """A short name for all that a run's result depends on, from its recipe's dotted keys."""
    return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:16]


def read_description(path: Path, recipe: Recipe | None = None) -> Description:
    """What the metadata of a weights file say (see `parse_description`).

    Raises:
        UserError: it cannot be read, or is not what was written.
    """
    check_weights(path)
    return parse_description(path, _read_metadata(path), recipe)


def parse_description(
    path: Path, metadata: dict[str, str], recipe: Recipe | None = None
) -> Description:
    """What a file's metadata say.

    Args:
        recipe: of its run, for what files written by older versions do not say.

    Raises:
        UserError: they do not say how to use it.
    """
    try:
        if "crop_pct" not in metadata and recipe is None:
            raise UserError(
                f"{path}: an older version wrote it, which did not note how images are cropped; "
                "leave it in its run folder, beside recipe.yaml"
            )
        if "crop_pct" not in metadata and recipe is not None:
            metadata = {
                "crop_pct": json.dumps(choose_crop_share(recipe.data)),
                "model_options": json.dumps(describe_model(recipe.model)),
                "precision": recipe.training.precision,
                **metadata,
            }
        preprocessing = {
            f.name: _parse(metadata[f.name]) for f in fields(Preprocessing) if f.name in metadata
        }
        temperature = metadata.get("temperature")
        withhold([metadata["model"]], path)
        return Description(
            metadata["model"],
            tuple(json.loads(metadata["classes"])),
            Preprocessing(**preprocessing),
            json.loads(metadata.get("model_options", "{}")),
            metadata.get("precision", "float32"),
            None if temperature is None else _check_temperature(float(temperature)),
            json.loads(metadata.get("run", "{}")),
        )
    except UserError as error:
        raise UserError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    except KeyError as error:
        raise UserError(
            f"{path}: its metadata say nothing of {error}: not the weights of a torchbake run"
        ) from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: its metadata cannot be read: {error}") from None


def load_described(path: Path, description: Description) -> Classifier:
    """The network that a weights file describes, with its weights, in evaluation mode.

    The random numbers of the process stay as they are.

    Raises:
        UserError: a network that cannot be made, or weights of another one.
    """
    seen = description.preprocessing
    with torch.random.fork_rng(devices=[]):
        model = create_model(
            description.model,
            len(description.classes),
            in_chans=seen.channels,
            image_size=seen.image_size,
            **description.model_options,
        )
    restore_weights(model, path, description.model)
    return model.eval()


def restore_weights(model: Classifier, path: Path, name: str) -> None:
    """Put a file's weights into a network.

    Args:
        name: of the network, for messages.

    Raises:
        UserError: the file cannot be read, is not what was written, or has the weights of another
            network.
    """
    check_weights(path)
    try:
        with safe_open(path, "pt") as file:
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        model.network.load_state_dict(weights)
    except (RuntimeError, SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not the weights of {name}: {reason}") from None


def _read_metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a file of weights: {reason}") from None


def _dump(value: Any) -> str:
    """JSON, in Unicode also where the name of a class, once a folder's, is not."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def _parse(text: str) -> Any:
    """A value of the metadata: JSON, with lists as tuples, or a plain word."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return tuple(value) if isinstance(value, list) else value


def _check_temperature(value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"temperature: expected a number above 0, got {value}")
    return value
