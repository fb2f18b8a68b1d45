"""What a check can find: its kinds, which of them are serious, and what to do about each."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of finding.

    Attributes:
        serious: training stops at it, or its figures would mislead; others may be as intended.
        title: what was found, as the heading of a list.
        advice: what to do about it.
    """

    serious: bool
    title: str
    advice: str


KINDS = {
    # Files
    "unreadable": Kind(True, "files that are not images", "Delete or replace them."),
    "damaged": Kind(True, "truncated or damaged files", "Copy them once more, or delete them."),
    "too-deep": Kind(
        True,
        "images that training refuses: more than 8 bits a channel",
        "Convert them to 8 bits a channel.",
    ),
    "unread-image": Kind(
        True, "pictures in a format that training does not read", "Convert them to JPEG or PNG."
    ),
    "stray-image": Kind(
        True,
        "pictures of no class",
        "Move them into the folder of their class, or name them after it.",
    ),
    "split-name": Kind(
        True,
        "split folders with capital letters",
        "Rename them, or name them with data.train_split and data.test_split.",
    ),
    # Classes and labels
    "empty-class": Kind(True, "class folders without images", "Delete or fill them."),
    "missing-class": Kind(
        True, "classes without images in a split", "Move some images there, or leave the class out."
    ),
    "few-images": Kind(
        True, "classes with fewer than 2 training images", "Add images, or leave the class out."
    ),
    "no-label": Kind(True, "images without a valid label", "Label them, or leave them out."),
    "odd-class-name": Kind(
        True,
        "class names that look like missing or mistyped values",
        "See whether these are classes.",
    ),
    "similar-classes": Kind(
        True,
        "class names that differ only in case, spaces or hyphens",
        "Merge them if they are one class.",
    ),
    # Copies
    "duplicate-labels": Kind(
        True, "identical files in several classes", "Keep the one with the right class."
    ),
    "duplicate-splits": Kind(
        True, "identical files in several splits", "Keep one, or the test figures are too good."
    ),
    "near-labels": Kind(
        True, "the same picture in several classes", "Keep the one with the right class."
    ),
    "near-splits": Kind(
        True, "the same picture in several splits", "Keep one, or the test figures are too good."
    ),
    "duplicate": Kind(False, "identical files in one class and split", "Keep one."),
    "near": Kind(False, "the same picture in one class and split", "Keep one."),
    # Pictures
    "single-colour": Kind(True, "pictures of a single colour", "Delete them."),
    "tiny": Kind(False, "very small pictures", "See whether they are previews."),
    "elongated": Kind(
        False, "very long or narrow pictures", "Crop them: training sees their middle."
    ),
    "animated": Kind(
        False, "images with several frames or pages", "Training sees the first one only."
    ),
    "rotated": Kind(
        False,
        "pictures with an EXIF rotation",
        "Not every program applies it: rotate the pixels to be sure.",
    ),
    "grey": Kind(
        False, "grey pictures among coloured ones", "See that grey does not give the class away."
    ),
    "alpha": Kind(
        False, "pictures with transparency", "Training ignores it: look at what it hides."
    ),
    "cmyk": Kind(False, "pictures in CMYK, for print", "Convert them to RGB."),
    "deep": Kind(
        False, "pictures with more than 8 bits a channel", "Training sees 8 bits a channel."
    ),
    # Folders
    "wrong-suffix": Kind(
        False,
        "files with the suffix of another format",
        "Training reads them; other programs may not.",
    ),
    "other-file": Kind(False, "other files among the images", "Training ignores them."),
    "hidden-image": Kind(
        False, "images that are hidden or in a hidden folder", "Training ignores them."
    ),
    "hidden-folder": Kind(
        False, "hidden folders among the class folders", "Training ignores them."
    ),
    "hidden-file": Kind(False, "hidden files", "Training ignores them."),
    "unread-folder": Kind(False, "folders beside the splits", "Training ignores them."),
    "same-name": Kind(
        False,
        "file names that differ only in case",
        "Rename them: on macOS and Windows one replaces the other.",
    ),
    "one-split": Kind(
        False, "a single split", "Of a training split alone, test images are held out."
    ),
    "imbalance": Kind(
        False,
        "the largest and the smallest of very unequal classes",
        "Accuracy is mostly that of the large classes.",
    ),
}


@dataclass(frozen=True)
class Item:
    """One thing that a finding is about: an image, a file, a folder or a class.

    Attributes:
        name: what it is called.
        split: that it is in; empty where it is in none.
        index: number of the image in that split; None of what is no image of it.
        label: name of its class; empty where it has none.
        detail: what is wrong with it, where the kind does not say all.
        group: number of the group of copies that it belongs to; 0 where there are none.
    """

    name: str
    split: str = ""
    index: int | None = None
    label: str = ""
    detail: str = ""
    group: int = 0


@dataclass(frozen=True)
class Finding:
    """All of one kind that was found."""

    kind: str
    items: list[Item] = field(default_factory=list)

    @property
    def about(self) -> Kind:
        return KINDS[self.kind]

    @property
    def count(self) -> int:
        """How many things, or groups of copies."""
        return self.items[-1].group or len(self.items)


def collect(pairs: list[tuple[str, Item]]) -> list[Finding]:
    """Findings of items with their kinds, in the order of `KINDS`, the serious ones first."""
    found: dict[str, list[Item]] = {}
    for kind, item in pairs:
        found.setdefault(kind, []).append(item)
    order = sorted(found, key=lambda kind: (not KINDS[kind].serious, list(KINDS).index(kind)))
    return [Finding(kind, found[kind]) for kind in order]
