"""Photos of one's own: what to train on them, chosen from what they are."""

from pathlib import Path
from typing import NamedTuple

from ..data.sources.registry import FORMATS, SOURCES, open_source
from ..errors import UserError
from ..models.hub import can_fetch
from ..recipe import Recipe
from .distributed import find_device
from .recipe_files import load_recipe

Overrides = list[tuple[str, str]]

IMAGES_SEEN = {"photos/finetune": 60_000, "photos/scratch": 300_000}
"""Images that a run is to see, from which its epochs follow."""

EPOCHS = {"photos/finetune": (5, 50), "photos/scratch": (20, 200)}
"""Fewest and most epochs."""

CPU_SIZE = 160
"""Height and width of images where there is no accelerator."""


class Plan(NamedTuple):
    """What to train on somebody's photos.

    Attributes:
        recipe: name of the recipe to take.
        overrides: its keys that are chosen for these photos, then those that were given.
        lines: what was found, what was chosen and why, and how to change it.
    """

    recipe: str
    overrides: Overrides
    lines: list[str]


def name_data(path: str) -> str | None:
    """The data set that a path means, as `data.name` has it; None if it is none.

    A folder, a table, or a name of a kind of data with its colon, such as `hf:NAME`.
    """
    kind, _, place = path.partition(":")
    if place and kind in SOURCES:
        return path
    place_on_disk = Path(path).expanduser()
    if place_on_disk.is_file() and place_on_disk.suffix.lower() in FORMATS:
        return f"table:{path}"
    if place_on_disk.is_file() and place_on_disk.suffix.lower() == ".parquet":
        return f"parquet:{path}"
    if not place_on_disk.is_dir():
        return None
    if (place_on_disk / "dataset_dict.json").is_file():
        return f"hf:{path}"
    # In the folder or in those of its splits, not anywhere below.
    if any(any(place_on_disk.glob(pattern)) for pattern in ("*.parquet", "*/*.parquet")):
        return f"parquet:{path}"
    return f"imagefolder:{path}"


def plan_training(data_name: str, given: Overrides) -> Plan:
    """Choose a recipe, and the keys that depend on the photos and on the machine.

    Args:
        given: keys of a recipe with their values as text; they win.

    Raises:
        UserError: see `open_source` and `load_recipe`.
    """
    keys = {_whole_key(key) for key, _ in given}
    overrides = [("data.name", data_name), *given]
    name, why = _choose_recipe(load_recipe("photos/finetune", overrides), keys)
    recipe = load_recipe(name, overrides)
    source = open_source(recipe.data)
    count = len(source.train)
    device = find_device(recipe.training.device, 0)
    chosen: Overrides = []
    lines = [
        f"found in {data_name.partition(':')[2]}: {source.found or data_name.partition(':')[0]}",
        f"{count:,} training and {len(source.test):,} test images of {len(source.classes)} "
        f"classes: {_list_some(source.classes)}",
        f"recipe {name}: {why}",
    ]

    def choose(key: str, value: int, reason: str) -> None:
        if key not in keys:
            chosen.append((key, str(value)))
            lines.append(f"{key} {value}: {reason}")

    if device.type == "cpu":
        choose("data.image_size", CPU_SIZE, "on a CPU, half the work of 224")
    batch_size = recipe.training.batch_size
    if count < 4 * batch_size and "training.batch_size" not in keys:
        batch_size = max(2, 2 ** ((count // 4).bit_length() - 1) if count >= 4 else 0)
        choose("training.batch_size", batch_size, f"for {count:,} training images")
    fewest, most = EPOCHS[name]
    epochs = min(most, max(fewest, round(IMAGES_SEEN[name] / count)))
    choose(
        "training.epochs",
        epochs,
        f"from {fewest} to {most} of them, for about {IMAGES_SEEN[name]:,} images seen",
    )
    lines.append(
        "to change any of it: --epochs N, --batch-size N, --data.image_size N, --model NAME, "
        "--method NAME; --print-recipe shows all keys"
    )
    return Plan(name, [("data.name", data_name), *chosen, *given], lines)


def _choose_recipe(recipe: Recipe, given: set[str]) -> tuple[str, str]:
    """The name of the recipe, and why."""
    model = recipe.model
    if model.weights is not None:
        return "photos/finetune", f"{model.name} starts from {model.weights}"
    if not model.pretrained:
        return "photos/scratch", "model.pretrained is false"
    problem = can_fetch(model.name)
    if problem is None:
        return "photos/finetune", f"{model.name} starts from weights of timm's (model.pretrained)"
    if "model.pretrained" in given:
        raise UserError(f"model.pretrained: {problem}; name a file with model.weights")
    return "photos/scratch", (
        f"{problem}, so the network starts from random weights; --model.weights FILE fine-tunes"
    )


def _whole_key(key: str) -> str:
    return key if "." in key else f"{key}.name"


def _list_some(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" * (len(names) > most))
