"""Where images come from. Labels are known without decoding a single image."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UserError, suggest_names
from .arrays import make_cifar_opener, open_digits
from .base import Source
from .folders import open_image_folder

if TYPE_CHECKING:
    from ...recipe import DataRecipe


def open_source(recipe: "DataRecipe") -> Source:
    """The data set that `recipe.name` names.

    Raises:
        UserError: an unknown name, files that are missing or unlike what they should be, or
            classes that differ between the splits.
    """
    kind, _, place = recipe.name.partition(":")
    if kind not in SOURCES:
        hint = _suggest_place(recipe.name) or suggest_names(kind, "datasets", SOURCES)
        raise UserError(f"data.name: unknown data set '{recipe.name}'{hint}")
    takes_place = SOURCES[kind].takes_place
    if bool(place) != bool(takes_place):
        expected = f"'{kind}:{takes_place}'" if takes_place else f"'{kind}'"
        raise UserError(f"data.name: expected {expected}, got '{recipe.name}'")
    source = SOURCES[kind].open(place, recipe)
    for name, split in (("training", source.train), ("test", source.test)):
        if not len(split):
            raise UserError(f"{recipe.name}: the {name} split has no images")
        if int(split.labels.min()) < 0 or int(split.labels.max()) >= len(source.classes):
            raise UserError(
                f"{recipe.name}: {name} labels must be from 0 to {len(source.classes) - 1}, found "
                f"{int(split.labels.min())} to {int(split.labels.max())}; name a split that has "
                "labels with data.train_split or data.test_split"
            )
    return source


def _suggest_place(name: str) -> str:
    """What a path that exists should have been called, or nothing."""
    path = Path(name).expanduser()
    if path.is_dir():
        return f"; did you mean 'imagefolder:{name}'?"
    return f"; did you mean 'parquet:{name}'?" if path.is_file() else ""


def _open_parquet(place: str, recipe: "DataRecipe") -> Source:
    from .tables import open_parquet

    return open_parquet(place, recipe)


def _open_hub(place: str, recipe: "DataRecipe") -> Source:
    from .tables import open_hub

    return open_hub(place, recipe)


@dataclass(frozen=True)
class _Kind:
    open: Callable[[str, "DataRecipe"], Source]
    about: str
    takes_place: str = ""


SOURCES = {
    "digits": _Kind(open_digits, "1,797 handwritten digits, 8×8, with scikit-learn"),
    "cifar10": _Kind(
        make_cifar_opener("CIFAR10"), "60,000 photographs of 10 classes, 32×32; downloaded"
    ),
    "cifar100": _Kind(
        make_cifar_opener("CIFAR100"), "60,000 photographs of 100 classes, 32×32; downloaded"
    ),
    "imagefolder": _Kind(open_image_folder, "a folder with train/ and val/ or test/", "PATH"),
    "parquet": _Kind(_open_parquet, "Parquet files named after their split", "GLOB"),
    "hf": _Kind(_open_hub, "a data set of the Hugging Face hub, or its folder", "NAME"),
}
