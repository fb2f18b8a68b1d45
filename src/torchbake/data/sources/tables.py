"""Images in tables: Parquet files and the data sets of the Hugging Face hub, by `datasets`."""

import glob
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...errors import UserError
from .base import USUAL_SPLITS, Encoded, Source, Split, make_encoded_split, pick_splits, read_file

if TYPE_CHECKING:
    from ...recipe import DataRecipe


def open_parquet(pattern: str, recipe: "DataRecipe") -> Source:
    """Parquet files; the words of a file's name, or of its folder's, tell its split."""
    expanded = Path(pattern).expanduser()
    if expanded.is_dir():
        expanded = expanded / "**" / "*.parquet"
    paths = sorted(glob.glob(str(expanded), recursive=True))  # noqa: PTH207 (Path.glob takes no absolute patterns)
    if not paths:
        raise UserError(f"{recipe.name}: no file matches {expanded}")
    usual = {name for names in USUAL_SPLITS.values() for name in names}
    splits: dict[str, list[str]] = {}
    for path in paths:
        # First the file's own name, then its folder's: train/0000.parquet.
        named = f"{Path(path).stem} {Path(path).parent.name}".lower()
        known = [word for word in re.findall("[a-z]+", named) if word in usual]
        splits.setdefault(known[0] if known else Path(path).stem, []).append(path)
    return _open_tables("parquet", recipe, splits)


def open_hub(name: str, recipe: "DataRecipe") -> Source:
    """A data set of the hub by its name, or a local folder in a layout that `datasets` reads."""
    local = Path(name).expanduser()
    return _open_tables(str(local) if local.is_dir() else name, recipe, None)


def _open_tables(loader: str, recipe: "DataRecipe", files: dict[str, list[str]] | None) -> Source:
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"{recipe.name}: needs the package datasets: pip install 'torchbake[datasets]'"
        ) from None
    datasets.disable_progress_bars()
    try:
        if (Path(loader) / "dataset_dict.json").is_file():
            tables = datasets.load_from_disk(loader)
        else:
            tables = datasets.load_dataset(loader, data_files=files)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{recipe.name}: cannot be opened: {lines[0]}") from error
    names = pick_splits(recipe, list(tables))
    train = tables[names.train]
    used = [tables[name] for name in names[:3] if name is not None]
    image = _find_column(train, recipe.image_column, "image", datasets.Image, recipe.name)
    label = _find_column(train, recipe.label_column, "label", datasets.ClassLabel, recipe.name)
    values = _list_classes(used, label, recipe.name)
    train_split, test_split, *others = [
        _read_split(table, image, label, values, datasets.Image, recipe) for table in used
    ]
    return Source(
        train_split,
        test_split,
        [str(name) for name in getattr(train.features[label], "names", values)],
        others[0] if others else None,
        names.stands_in,
    )


def _find_column(table: Any, given: str | None, role: str, kind: type, source: str) -> str:
    """The column with the images or the labels: the given one, else the only candidate."""
    if given is not None:
        if given in table.features:
            return given
        candidates = list(table.features)
    else:
        candidates = [name for name, feature in table.features.items() if isinstance(feature, kind)]
        candidates = candidates or [name for name in table.features if name == role]
        if len(candidates) == 1:
            return str(candidates[0])
    raise UserError(
        f"{source}: which column holds the {role}s? Name one of "
        f"{', '.join(candidates or table.features)} with data.{role}_column"
        + (f", got '{given}'" if given else "")
    )


def _list_classes(tables: list[Any], label: str, source: str) -> list[str | int]:
    """The classes by what the column holds: a ClassLabel's numbers, or its values in order."""
    feature = tables[0].features[label]
    if hasattr(feature, "names"):
        return list(range(len(feature.names)))
    kind = str(getattr(feature, "dtype", feature))
    if not kind.startswith(("int", "uint", "string", "large_string", "bool")):
        raise UserError(f"{source}: column '{label}' must hold whole numbers or text, has {kind}")
    return sorted({value for table in tables for value in table.unique(label)} - {None})


def _read_split(
    table: Any, image: str, label: str, values: list[str | int], kind: type, recipe: "DataRecipe"
) -> Split:
    numbers = {value: number for number, value in enumerate(values)}
    # A test split without labels has -1 in a ClassLabel.
    labels = [numbers.get(value, -1) for value in table[label][:]]  # [:] reads all at once
    content = table.select_columns([image]).cast_column(image, kind(decode=False))
    return make_encoded_split(
        torch.tensor(labels, dtype=torch.long),
        partial(_read_row, content, image, recipe.name),
        recipe.channels or 3,
        [file["filename"] for file in table.cache_files],
        f"{image} in {table.split}",
    )


def _read_row(table: Any, column: str, name: str, index: int) -> Encoded:
    record = table[index][column]
    if record is None:
        raise UserError(f"{name}: image {index} is missing")
    if record["bytes"] is None:
        return read_file(record["path"])
    return Encoded(record["bytes"], f"{name}: image {index}")
