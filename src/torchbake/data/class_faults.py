"""What is wrong with a data set's classes, seen in its labels alone: no image is read."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from .._shapes import Int, Tensor

if TYPE_CHECKING:
    from .sources.base import Source

FEWEST = 2
"""Training images of a class, below which none has a partner of its class."""

IMBALANCE = 10.0
"""Images of the largest class for each of the smallest, from which on a data set is imbalanced."""

_ABSENT = re.compile(r"|nan|none|null|n/a|na|nil|\?+|-+|undefined", re.IGNORECASE)


class ClassFault(NamedTuple):
    """Classes with the same fault.

    Attributes:
        kind: `missing-class`, `few-images`, `imbalance`, `odd-class-name` or `similar-classes`.
        split: that they are faulty in; empty where it is all of them.
        classes: their names.
        message: a line that says all of it.
    """

    kind: str
    split: str
    classes: list[str]
    message: str


def count_images(labels: Int[Tensor, " n"], num_classes: int) -> list[int]:
    """How many images each class has; labels of no class are left out."""
    known = labels[(labels >= 0) & (labels < num_classes)]
    return torch.bincount(known, minlength=num_classes).tolist()


def find_class_faults(
    classes: Sequence[str], counts: Mapping[str, Sequence[int]], train: str
) -> list[ClassFault]:
    """The faults of classes by their names and by how many images each has.

    Args:
        counts: by split, the images of each class.
        train: name of the split that is trained on.
    """
    faults = _find_missing(classes, counts)
    trained = counts[train]
    few = [name for name, n in zip(classes, trained, strict=True) if 0 < n < FEWEST]
    if few:
        what = f"fewer than {FEWEST} {train} images, so that none has a partner of its class"
        faults.append(ClassFault("few-images", train, few, f"{_name_some(few)}: {what}"))
    present = [(n, name) for name, n in zip(classes, trained, strict=True) if n]
    if present and max(present)[0] >= IMBALANCE * min(present)[0]:
        (least, small), (most, large) = min(present), max(present)
        line = f"'{large}' has {most:,} {train} images, '{small}' has {least:,}"
        faults.append(ClassFault("imbalance", train, [large, small], line))
    return faults + _find_odd_names(classes)


def describe_class_faults(source: "Source", most: int = 4, *, balanced: bool = False) -> list[str]:
    """A line for each fault of the classes of a data set to be trained on, `most` lines at most.

    Args:
        balanced: whether unequal classes are evened out.
    """
    splits = {"training": source.train, "test": source.test}
    counts = {name: count_images(s.labels, len(source.classes)) for name, s in splits.items()}
    faults = find_class_faults(source.classes, counts, "training")
    lines = [
        fault.message + "; data.balance evens them out" * (fault.kind == "imbalance")
        for fault in faults
        if not (balanced and fault.kind == "imbalance")
    ]
    shown = lines if len(lines) <= most else lines[: most - 1]
    more = [f"and {len(lines) - len(shown)} more: torchbake check shows all"]
    return shown + more * (len(shown) < len(lines))


def _find_missing(classes: Sequence[str], counts: Mapping[str, Sequence[int]]) -> list[ClassFault]:
    faults = []
    for split, own in counts.items():
        missing = [name for name, n in zip(classes, own, strict=True) if not n]
        if missing:
            line = f"{_name_some(missing)}: no {split} image"
            faults.append(ClassFault("missing-class", split, missing, line))
    return faults


def _find_odd_names(classes: Sequence[str]) -> list[ClassFault]:
    faults = []
    odd = [name for name in classes if _ABSENT.fullmatch(name.strip()) or name != name.strip()]
    if odd:
        line = f"{_name_some(odd)}: no proper name of a class"
        faults.append(ClassFault("odd-class-name", "", odd, line))
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(fold_name(name), []).append(name)
    similar = [name for names in alike.values() if len(names) > 1 for name in names]
    if similar:
        line = f"{_name_some(similar)}: differ only in case, spaces or signs between words"
        faults.append(ClassFault("similar-classes", "", similar, line))
    return faults


def fold_name(name: str) -> str:
    """A name without what people are careless about: case, spaces, `_` and `-`."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name)).strip().casefold()


def _name_some(classes: Sequence[str], most: int = 3) -> str:
    """`classes 'a', 'b', 'c' and 7 more`."""
    quoted = ", ".join(f"'{name}'" for name in classes[:most])
    more = f" and {len(classes) - most:,} more" if len(classes) > most else ""
    return f"class{'es' * (len(classes) > 1)} {quoted}{more}"
