"""What a check found as a page, with the pictures."""

import torch

from ..._shapes import Tensor, UInt8
from ...data.sources.base import Split
from ...data.sources.decoding import set_channels
from ..pages.render import render
from ..pages.sprites import make_sprite
from .check import Check
from .findings import Finding, Item

SIDE = 128
"""Height and width in pixels of a picture on the page."""


def make_page(check: Check, most: int) -> str:
    """The page as HTML that needs nothing else, with at most so many pictures of each finding."""
    pictures: list[UInt8[Tensor, "3 side side"]] = []
    placed: dict[tuple[str, int], int | None] = {}
    findings = []
    for finding in check.findings:
        groups, shown = _choose_groups(finding, most)
        findings.append(
            {
                "about": finding.about,
                "count": finding.count,
                "left_out": len(finding.items) - shown,
                "groups": [
                    [
                        {"item": item, "picture": _place(check, item, placed, pictures)}
                        for item in group
                    ]
                    for group in groups
                ],
            }
        )
    sprite = make_sprite(torch.stack(pictures), SIDE) if pictures else None
    return render("check.html", check=check, findings=findings, sprite=sprite)


def _choose_groups(finding: Finding, most: int) -> tuple[list[list[Item]], int]:
    """The first groups of copies, or single things, with up to `most` things in all."""
    items = finding.items[:most]
    # A group of which only the first fits would not tell what it is a copy of.
    if len(items) > 2 and items[-1].group and items[-1].group != items[-2].group:
        items = items[:-1]
    groups: dict[int, list[Item]] = {}
    for number, item in enumerate(items):
        groups.setdefault(item.group or -number - 1, []).append(item)
    return list(groups.values()), len(items)


def _place(
    check: Check,
    item: Item,
    placed: dict[tuple[str, int], int | None],
    pictures: list[UInt8[Tensor, "3 side side"]],
) -> int | None:
    """The number of an item's picture among those on the page; None if it has none to show."""
    if item.index is None:
        return None
    key = (item.split, item.index)
    if key not in placed:
        picture = _draw(check.splits[item.split], item.index)
        placed[key] = None if picture is None else len(pictures)
        if picture is not None:
            pictures.append(picture)
    return placed[key]


def _draw(split: Split, index: int) -> UInt8[Tensor, "3 side side"] | None:
    """A whole image within a grey square; None if it cannot be read."""
    from torchvision.transforms.v2 import functional as F

    try:
        pixels = set_channels(split.load(index), 3)
    except Exception:  # which the page says beside its name
        return None
    _, height, width = pixels.shape
    scale = SIDE / max(height, width)
    size = [max(1, round(height * scale)), max(1, round(width * scale))]
    exact = F.InterpolationMode.NEAREST if scale > 2 else F.InterpolationMode.BILINEAR
    small = F.resize(pixels, size, interpolation=exact, antialias=scale < 1)
    square = torch.full((3, SIDE, SIDE), 128, dtype=torch.uint8)
    top, left = (SIDE - size[0]) // 2, (SIDE - size[1]) // 2
    square[:, top : top + size[0], left : left + size[1]] = small
    return square
