"""Images in tables: Parquet files and the data sets of the Hugging Face hub, by `datasets`."""

import glob
import logging
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...errors import ImageError, UserError, shorten
from .base import (
    USUAL_SPLITS,
    Encoded,
    Source,
    Split,
    make_encoded_split,
    note_other_splits,
    pick_splits,
    read_file,
)
from .columns import check_parquet, label_classes

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
    for path in [path for paths in (files or {}).values() for path in paths]:
        check_parquet(path)
    tables = _load_tables(loader, recipe.name, files)
    names = pick_splits(recipe, list(tables))
    used = [(name, tables[name]) for name in names[:3] if name is not None]
    train = tables[names.train]
    image = _find_column(train, recipe.image_column, "image", datasets.Image, recipe.name)
    label = _find_column(train, recipe.label_column, "label", datasets.ClassLabel, recipe.name)
    for name, table in used:
        if not {image, label} <= set(table.features):
            found = ", ".join(table.features)
            raise UserError(
                f"{recipe.name}: split '{name}' lacks column '{image}' or '{label}', has {found}"
            )
    known = label_classes(used, label, recipe.name)
    roots = _list_roots(loader, files)
    train_split, test_split, *others = [
        _read_split(table, image, label, known.values, roots, recipe) for _, table in used
    ]
    notes = [*note_other_splits(recipe, names, list(tables)), *known.notes]
    return Source(
        train_split,
        test_split,
        known.names,
        others[0] if others else None,
        names.stands_in,
        tuple(notes),
    )


def _load_tables(loader: str, name: str, files: dict[str, list[str]] | None) -> Any:
    """The splits by their names."""
    import datasets

    level = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(logging.CRITICAL)  # what it says of an error is in the error
    try:
        if (Path(loader) / "dataset_dict.json").is_file():
            return datasets.load_from_disk(loader)
        return datasets.load_dataset(loader, data_files=files)
    except Exception as error:
        for path in [path for paths in (files or {}).values() for path in paths]:
            check_parquet(path, whole=True)
        # The outermost one says that there was one.
        cause = error.__cause__ or error.__context__ or error
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        raise UserError(f"{name}: cannot be opened: {shorten(lines[0], 300)}") from error
    finally:
        datasets.logging.set_verbosity(level)


def _list_roots(loader: str, files: dict[str, list[str]] | None) -> tuple[str, ...]:
    """Folders in which a row may name an image's file: those of the tables, or of downloads."""
    import datasets
    from huggingface_hub.constants import HF_HUB_CACHE

    if files is not None:
        folders = {Path(path).parent for paths in files.values() for path in paths}
    elif Path(loader).is_dir():
        folders = {Path(loader)}
    else:
        config = datasets.config
        downloads = (config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, HF_HUB_CACHE)
        folders = {Path(folder) for folder in downloads}
    return tuple(sorted(str(folder.resolve()) for folder in folders))


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


def _read_split(
    table: Any,
    image: str,
    label: str,
    values: list[str | int],
    roots: tuple[str, ...],
    recipe: "DataRecipe",
) -> Split:
    import datasets

    numbers = {value: number for number, value in enumerate(values)}
    # A test split without labels has -1 in a ClassLabel.
    labels = [numbers.get(value, -1) for value in table[label][:]]  # [:] reads all at once
    kind = table.features[image]
    try:
        if isinstance(kind, dict) and not {"bytes", "path"} & set(kind):
            raise TypeError("neither bytes nor a path")
        content = table.select_columns([image]).cast_column(image, datasets.Image(decode=False))
        if len(content):
            _get_record(content, image, 0)
    except Exception as error:
        raise UserError(
            f"{recipe.name}: column '{image}' holds no image files: it is of type "
            f"{shorten(str(getattr(kind, 'dtype', kind)))}"
        ) from error
    return make_encoded_split(
        torch.tensor(labels, dtype=torch.long),
        partial(_read_row, content, image, recipe.name, roots),
        recipe.channels or 3,
        [file["filename"] for file in table.cache_files],
        f"{image} in {table.split}",
    )


def _get_record(table: Any, column: str, index: int) -> tuple[bytes | None, str | None]:
    record = table[index][column] or {}
    return record.get("bytes"), record.get("path")


def _read_row(table: Any, column: str, name: str, roots: tuple[str, ...], index: int) -> Encoded:
    try:
        content, path = _get_record(table, column, index)
    except Exception as error:  # what is damaged shows when it is read
        reason = shorten(str(error).strip() or type(error).__name__, 200)
        raise ImageError(f"{name}: image {index} cannot be read: {reason}", "damaged") from error
    if content is not None:
        return Encoded(content, f"{name}: image {index}")
    if not path:
        raise ImageError(f"{name}: image {index} is missing", "missing")
    return read_file(_find_within(path, roots, f"{name}: image {index}"))


def _find_within(path: str, roots: tuple[str, ...], what: str) -> str:
    """The file that a row names, if it is in one of these folders, where relative names begin.

    A table from elsewhere could name any file of this machine otherwise.
    """
    for root in roots:
        try:
            found = (Path(root) / path).resolve()
        except (OSError, ValueError, RuntimeError):  # a zero in the name, or links in a circle
            break
        if found.is_relative_to(root) and (found.exists() or len(roots) == 1):
            return str(found)
    raise UserError(
        f"{what} is to be read from '{shorten(path, 200)}', which is not in {' or '.join(roots)}"
    )
