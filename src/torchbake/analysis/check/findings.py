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
    "unreadable": Kind(True, "not an image", "Delete or replace these files."),
    "damaged": Kind(True, "truncated or damaged", "Copy these files once more, or delete them."),
    "too-deep": Kind(
        True, "refused: more than 8 bits a channel", "Convert these images to 8 bits a channel."
    ),
    "unread-image": Kind(
        True, "pictures that are not read, by their suffix", "Convert them to JPEG or PNG."
    ),
    "stray-image": Kind(
        True, "pictures that no class owns", "Move them into the folder of their class."
    ),
    "hidden-image": Kind(
        True, "hidden files with an image's suffix", "Delete them, or give them ordinary names."
    ),
    "hidden-folder": Kind(True, "hidden folders where classes are", "Delete them."),
    "split-name": Kind(
        True,
        "split folders in capitals",
        "Rename them to small letters, or name them with data.train_split and data.test_split.",
    ),
    # Classes and labels
    "empty-class": Kind(True, "class folders without an image", "Delete or fill them."),
    "missing-class": Kind(
        True, "classes that a split has no image of", "Move some images there, or leave them out."
    ),
    "few-images": Kind(
        True, "classes with fewer than 2 training images", "Add images, or leave them out."
    ),
    "no-label": Kind(
        True, "images without a label of a class", "Give them a label, or leave them out."
    ),
    "odd-class-name": Kind(
        True, "names that are no class", "See whether a label is missing or mistyped."
    ),
    "similar-classes": Kind(
        True, "classes that may be one: names that are alike", "Merge them if they are one class."
    ),
    # Copies
    "duplicate-labels": Kind(True, "the same file in several classes", "Keep the right one."),
    "duplicate-splits": Kind(
        True, "the same file in several splits", "Remove it from one, or test figures are too good."
    ),
    "near-labels": Kind(True, "the same picture in several classes", "Keep the right one."),
    "near-splits": Kind(
        True,
        "the same picture in several splits",
        "Remove it from one, or test figures are too good.",
    ),
    "duplicate": Kind(False, "the same file in one class", "Keep one."),
    "near": Kind(False, "the same picture in one class", "Keep one, if they are copies."),
    # Pictures
    "single-colour": Kind(True, "pictures of a single colour", "Delete them."),
    "tiny": Kind(False, "very small pictures", "See whether they are previews."),
    "elongated": Kind(
        False, "very long or very high pictures", "Crop them: training sees the middle."
    ),
    "animated": Kind(False, "several frames", "Training sees the first one alone."),
    "rotated": Kind(
        False, "turned by their EXIF orientation", "Turn the pixels to be independent of it."
    ),
    "grey": Kind(
        False, "grey among coloured pictures", "See that it does not give the class away."
    ),
    "alpha": Kind(
        False, "transparent pictures", "Training ignores transparency: see what is behind it."
    ),
    "cmyk": Kind(False, "colours for print (CMYK)", "Convert them to RGB."),
    "deep": Kind(False, "more than 8 bits a channel", "Training sees 8 bits a channel."),
    # Folders
    "wrong-suffix": Kind(
        False, "files whose suffix is of another format", "Training reads them; rename them."
    ),
    "other-file": Kind(False, "other files among the pictures", "Training ignores them."),
    "hidden-file": Kind(False, "hidden files", "Training ignores them."),
    "unread-folder": Kind(False, "folders beside the splits", "Training ignores them."),
    "same-name": Kind(
        False,
        "files whose names differ only in case",
        "Rename them: macOS and Windows take them for one.",
    ),
    "one-split": Kind(False, "only one split", "Testing needs images of its own."),
    "imbalance": Kind(
        False,
        "the largest class has at least 10 times the images of the smallest",
        "Look at figures for each class.",
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
