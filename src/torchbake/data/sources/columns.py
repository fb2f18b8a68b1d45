"""Checks of tables: whether a file is Parquet, and which classes a column of labels holds."""

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import UserError, shorten


class Labels(NamedTuple):
    """The classes of a column.

    Attributes:
        values: what the column holds for each class: a ClassLabel's numbers, or its own values.
        names: of the classes.
        notes: lines that a user should read.
    """

    values: list[Any]
    names: list[str]
    notes: list[str]


def check_parquet(path: str, *, whole: bool = False) -> None:
    """Raise UserError unless a file is Parquet, and says so in its head and its foot.

    Args:
        whole: read all of it, too.
    """
    import pyarrow.parquet

    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise UserError(f"{path}: cannot be read: not a file")
        with pyarrow.parquet.ParquetFile(path) as file:
            for _ in file.iter_batches() if whole else ():
                pass
    except UserError:
        raise
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        size = Path(path).stat().st_size if Path(path).exists() else 0
        what = f"not a Parquet file, or a damaged one ({size:,} bytes)"
        raise UserError(f"{path}: {what}: {shorten(reason, 200)}") from None


def label_classes(splits: Sequence[tuple[str, Any]], label: str, source: str) -> Labels:
    """The classes by what a column holds in splits, of which the first is trained on.

    Raises:
        UserError: it holds neither whole numbers from 0 on nor text, or a class that no training
            image has.
    """
    (_, train), *others = splits
    feature = train.features[label]
    if hasattr(feature, "names"):
        names = feature.names or []
        return Labels(list(range(len(names))), [str(name) for name in names], [])
    kind = str(getattr(feature, "dtype", feature))
    if not kind.startswith(("int", "uint", "string", "large_string", "bool")):
        raise UserError(
            f"{source}: column '{label}' must hold whole numbers or text, has {shorten(kind)}"
        )
    trained = set(train.unique(label)) - {None}
    known = set(trained)
    for name, table in others:
        if str(getattr(table.features[label], "dtype", "")) != kind:
            raise UserError(f"{source}: column '{label}' is of another type in split '{name}'")
        found = set(table.unique(label)) - {None}
        known |= found
        unseen = sorted(found - trained)
        if unseen and trained:
            told = ", ".join(f"'{shorten(str(value))}'" for value in unseen[:5])
            raise UserError(
                f"{source}: no training image has the label(s) {told}{' …' * (len(unseen) > 5)} "
                f"of column '{label}' in split '{name}'"
            )
    values = sorted(known)
    notes = []
    if not kind.startswith(("string", "large_string", "bool")) and values:
        if values[0] < 0:
            raise UserError(
                f"{source}: column '{label}' holds {values[0]}, which stands for 'no label' in "
                "many data sets; expected numbers from 0"
            )
        if values[-1] >= len(values):
            notes.append(
                f"{source}: column '{label}' holds {len(values):,} different numbers from "
                f"{values[0]:,} to {values[-1]:,}: these are the classes, in this order"
            )
    return Labels(values, [str(value) for value in values], notes)
