"""Tables that name image files and their classes: CSV, TSV and JSON lines."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UserError, did_you_mean
from .base import USUAL_SPLITS, Names, Source, note_other_splits, pick_split, pick_splits
from .files import Files, Splits, make_source
from .registry import FORMATS

if TYPE_CHECKING:
    from ...recipe import DataRecipe

USUAL_COLUMNS = {
    "image": ("path", "image", "file", "filename", "file_name", "image_path", "filepath", "img"),
    "label": ("label", "class", "class_name", "category", "target", "species", "labels"),
    "split": ("split", "set", "subset"),
}
"""Names of columns, in lower case, by what they hold."""

Row = tuple[int, dict[str, str]]
"""The number of a line, and its fields by their column."""


def open_listing(place: str, recipe: "DataRecipe") -> Source:
    """A table with the path of an image and its class in each row.

    Paths are relative to the table's folder. A column `split` tells training from test images;
    without one, a part of each class is held out. A table without a header has the path first and
    the class second.

    Raises:
        UserError: no such table, or column; a row without its fields; a file that is not there.
    """
    path = Path(place).expanduser()
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{recipe.name}: expected {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    columns, rows = _read(path)
    image = _find_column("image", recipe.image_column, columns, path)
    label = _find_column("label", recipe.label_column, columns, path)
    split = next((c for c in columns if c.strip().lower() in USUAL_COLUMNS["split"]), None)
    parts: dict[str, list[tuple[str, str]]] = {}
    for number, row in rows:
        file, name = (row.get(column, "").strip() for column in (image, label))
        if not file or not name:
            missing = image if not file else label
            raise UserError(f"{path}, line {number}: has no '{missing}'")
        whole = path.parent / Path(file).expanduser()
        if not whole.is_file():
            raise UserError(f"{path}, line {number}: there is no file {whole}")
        part = "train" if split is None else _tell_split(row, split, number, path, recipe)
        parts.setdefault(part, []).append((str(whole), name))
    names = _choose_splits(split, list(parts), recipe)
    used = [name for name in (names.train, names.test, names.validation) if name]
    classes = sorted({name for part in used for _, name in parts[part]}, key=_order)
    numbers = {name: number for number, name in enumerate(classes)}

    def files(part: str | None) -> Files | None:
        if not part:
            return None
        rows = parts[part]
        return Files([file for file, _ in rows], [numbers[name] for _, name in rows])

    train = files(names.train)
    assert train is not None
    splits = Splits(train, files(names.test), files(names.validation), names.stands_in)
    found = f"a table with the columns '{image}' and '{label}'"
    found += f", splits in '{split}'" if split else ", without splits"
    notes = tuple(note_other_splits(recipe, names, list(parts)))
    return make_source(splits, classes, path.parent, found, notes, recipe)


def _choose_splits(column: str | None, present: list[str], recipe: "DataRecipe") -> Names:
    """The splits that are used, without one for testing if there is none."""
    if column is None:
        return Names("train", "", None, "")
    if recipe.test_split is None and not {*present} & {*USUAL_SPLITS["test"]}:
        return Names(pick_split("train", recipe.train_split, present, recipe.name), "", None, "")
    return pick_splits(recipe, present)


def _read(path: Path) -> tuple[list[str], list[Row]]:
    """The names of the columns, and the rows."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UserError(f"{path}: cannot be read: {reason}") from None
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise UserError(f"{path}: is empty")
    if path.suffix.lower() == ".jsonl":
        return _read_json(lines, path)
    first = lines[0][1]
    mark = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=first.count)
    table = list(csv.reader([line for _, line in lines], delimiter=mark))
    if len(table[0]) < 2:
        raise UserError(f"{path}, line {lines[0][0]}: expected a path and a class, got '{first}'")
    if (path.parent / table[0][0].strip()).is_file():  # no header
        columns, begin = [f"column {n}" for n in range(1, len(table[0]) + 1)], 0
    else:
        columns, begin = [name.strip() for name in table[0]], 1
    rows = [
        (number, dict(zip(columns, fields, strict=False)))
        for (number, _), fields in zip(lines[begin:], table[begin:], strict=False)
    ]
    return columns, rows


def _read_json(lines: Sequence[tuple[int, str]], path: Path) -> tuple[list[str], list[Row]]:
    rows: list[Row] = []
    for number, line in lines:
        try:
            fields: Any = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not JSON: {error.msg}") from None
        if not isinstance(fields, dict):
            raise UserError(f'{path}, line {number}: expected an object such as {{"path": …}}')
        rows.append((number, {name: str(value) for name, value in fields.items()}))
    return list(rows[0][1]), rows


def _find_column(role: str, given: str | None, columns: Sequence[str], path: Path) -> str:
    if given is not None:
        if given in columns:
            return given
        hint = did_you_mean(given, columns) or f"; there are {', '.join(columns)}"
        raise UserError(f"{path}: there is no column '{given}' (data.{role}_column){hint}")
    if columns[0] == "column 1":
        return columns[0 if role == "image" else 1]
    by_name = {column.lower(): column for column in columns}
    found = [by_name[name] for name in USUAL_COLUMNS[role] if name in by_name]
    if not found:
        raise UserError(
            f"{path}: which column holds the {role}s? Name one of {', '.join(columns)} with "
            f"data.{role}_column"
        )
    return found[0]


def _tell_split(
    row: dict[str, str], column: str, number: int, path: Path, recipe: "DataRecipe"
) -> str:
    """The split of a row: a name that the recipe gives, or `train`, `val` or `test`."""
    value = row.get(column, "").strip()
    given = [name for name in (recipe.train_split, recipe.test_split) if name is not None]
    if isinstance(recipe.validation, str):
        given.append(recipe.validation)
    if value in given:
        return value
    usual = {
        **dict.fromkeys(USUAL_SPLITS["train"], "train"),
        **dict.fromkeys(USUAL_SPLITS["test"], "test"),
        **dict.fromkeys(USUAL_SPLITS["validation"], "val"),
    }
    if value.lower() in usual:
        return usual[value.lower()]
    expected = ", ".join(dict.fromkeys([*given, *usual]))
    raise UserError(f"{path}, line {number}: unknown split '{value}'; expected one of {expected}")


def _order(name: str) -> tuple[bool, int, str]:
    """Whole numbers by their value, then names."""
    return (False, int(name), name) if name.isdecimal() else (True, 0, name)
