"""Where images come from. Labels are known without decoding a single image."""

from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UserError, did_you_mean, shorten, suggest_names

if TYPE_CHECKING:
    from ...recipe import DataRecipe
    from .base import Source


def open_source(recipe: "DataRecipe") -> "Source":
    """The data set that `recipe.name` names: one of `SOURCES`, else a user's `module:callable`.

    Raises:
        UserError: an unknown name, an own source that fails or gives something else, files that
            are missing or unlike what they should be, or classes that differ between the splits.
    """
    kind, _, place = recipe.name.partition(":")
    from .base import takes_split

    if kind in SOURCES:
        source = _open_known(kind, place, recipe)
        advice = "; name a split that has labels with data.train_split or data.test_split"
    elif ":" in recipe.name:
        from .own import open_own_source

        source = open_own_source(recipe, did_you_mean(kind, SOURCES))
        advice = ""
    else:
        hint = _suggest_place(recipe.name) or suggest_names(kind, "datasets", SOURCES)
        raise UserError(f"data.name: unknown data set '{recipe.name}'{hint}")
    if not takes_split(recipe):
        source = replace(source, validation=None)
    elif source.validation is None:
        raise UserError(
            f"data.validation: {recipe.name} has no validation split; hold out a fraction of the "
            "training images instead, such as 0.1"
        )
    splits = [("training", source.train), ("test", source.test)]
    if source.validation is not None:
        splits.append(("validation", source.validation))
    for name, split in splits:
        if not len(split):
            raise UserError(f"{recipe.name}: the {name} split has no images")
        if int(split.labels.min()) < 0 or int(split.labels.max()) >= len(source.classes):
            raise UserError(
                f"{recipe.name}: {name} labels must be from 0 to {len(source.classes) - 1}, found "
                f"{int(split.labels.min())} to {int(split.labels.max())}{advice}"
            )
    if len(source.classes) < 2:
        only = "".join(f", '{shorten(name)}'" for name in source.classes)
        raise UserError(
            f"{recipe.name}: has {len(source.classes)} class(es){only}; expected two or more"
        )
    return source


def _open_known(kind: str, place: str, recipe: "DataRecipe") -> "Source":
    takes_place = SOURCES[kind].takes_place
    if bool(place) != bool(takes_place):
        expected = f"'{kind}:{takes_place}'" if takes_place else f"'{kind}'"
        raise UserError(f"data.name: expected {expected}, got '{recipe.name}'")
    return SOURCES[kind].open(place, recipe)


def _suggest_place(name: str) -> str:
    """What a path that exists should have been called, or nothing."""
    path = Path(name).expanduser()
    if path.is_dir():
        return f"; did you mean 'imagefolder:{name}'?"
    if path.suffix.lower() in FORMATS and path.is_file():
        return f"; did you mean 'table:{name}'?"
    return f"; did you mean 'parquet:{name}'?" if path.is_file() else ""


FORMATS = (".csv", ".tsv", ".jsonl")
"""Suffixes of tables that name image files."""


@dataclass(frozen=True)
class _Kind:
    """A kind of data set.

    Attributes:
        opener: `module:function` beside this file, imported when such data are opened.
        about: a line for `torchbake list datasets`.
        takes_place: what stands behind the name and a colon, if anything.
        keys: of the recipe's data section that say where the images are, and that it reads.
    """

    opener: str
    about: str
    takes_place: str = ""
    keys: tuple[str, ...] = ()

    def open(self, place: str, recipe: "DataRecipe") -> "Source":
        module, _, function = self.opener.partition(":")
        source: Source = getattr(import_module(f".{module}", __package__), function)(place, recipe)
        return source


_SPLITS = ("train_split", "test_split")
_COLUMNS = ("image_column", "label_column")
_SHARE = ("test_share", "test_share_seed")

SOURCES = {
    "digits": _Kind("arrays:open_digits", "1,797 handwritten digits, 8×8, with scikit-learn"),
    "cifar10": _Kind(
        "arrays:open_cifar10",
        "60,000 photographs of 10 classes, 32×32; downloaded",
        keys=("folder",),
    ),
    "cifar100": _Kind(
        "arrays:open_cifar100",
        "60,000 photographs of 100 classes, 32×32; downloaded",
        keys=("folder",),
    ),
    "imagefolder": _Kind(
        "folders:open_image_folder",
        "a folder for each class, or files named after it; splits or not",
        "PATH",
        (*_SPLITS, *_SHARE, "class_folders", "class_pattern"),
    ),
    "table": _Kind(
        "listed:open_listing",
        "a table of images and classes: CSV, JSONL",
        "FILE",
        (*_SPLITS, *_COLUMNS, *_SHARE),
    ),
    "parquet": _Kind(
        "tables:open_parquet",
        "Parquet files named after their split",
        "GLOB",
        (*_SPLITS, *_COLUMNS, *_SHARE),
    ),
    "hf": _Kind(
        "tables:open_hub",
        "a data set of the Hugging Face hub, or its folder",
        "NAME",
        (*_SPLITS, *_COLUMNS, *_SHARE),
    ),
}
