"""The contact sheet of an audit: a page on which the most suspicious images are decided on."""

import hashlib
from dataclasses import astuple

import torch

from ..outputs import restore_pictures
from ..pages.render import render
from ..pages.sprites import Sprite, make_sprite
from .rank import Audit, list_rows
from .score import find_nearest

LARGE, SMALL = 160, 64
"""Sides in pixels up to which an image and its neighbours are kept."""

NEIGHBOURS = 4


def make_page(audit: Audit, top: int) -> str:
    """The page as HTML that needs nothing else, with the `top` most suspicious images."""
    order = audit.order[:top]
    neighbours = find_nearest(audit.outputs.features, order, NEIGHBOURS)
    # An image may be the neighbour of several.
    shown, places = neighbours.unique(return_inverse=True)
    train, classes = audit.train, audit.classes
    large = make_sprite(restore_pictures(audit.opened, train, order), LARGE)
    small = make_sprite(restore_pictures(audit.opened, train, shown), SMALL)
    predictions = audit.outputs.logits[order].softmax(dim=1)
    earlier = {correction.index: correction for correction in audit.earlier()}
    cards = []
    for number, row in enumerate(list_rows(audit, top)):
        rank, index, file, given, suggested, _, network, _, others_given, others_suggested = row
        before = earlier.get(int(index))
        near = zip(places[number].tolist(), neighbours[number].tolist(), strict=True)
        cards.append(
            {
                "rank": rank,
                "index": index,
                "file": file,
                "name": file or f"image {index}",
                "place": _locate(number, large),
                "given": given,
                "in_data": given if before is None else before.given,
                "suggested": suggested,
                "network": network,
                "network_probability": float(predictions[number].max()),
                "others_given": others_given,
                "others_suggested": others_suggested,
                "neighbours": [
                    {"place": _locate(p, small), "label": classes[int(train.labels[i])]}
                    for p, i in near
                ],
            }
        )
    return render(
        "audit.html",
        name=audit.opened.run.path.resolve().name,
        recipe=audit.opened.recipe,
        cards=cards,
        count=len(train),
        large=large,
        small=small,
        data={
            "key": _make_key(audit),
            "classes": classes,
            "earlier": [astuple(correction) for correction in earlier.values()],
            "cards": [
                {name: card[name] for name in ("index", "file", "in_data", "given", "suggested")}
                for card in cards
            ],
        },
    )


def _locate(number: int, sheet: Sprite) -> dict[str, int]:
    row, column = divmod(number, sheet.columns)
    return {"row": row, "column": column}


def _make_key(audit: Audit) -> str:
    """Under which a browser keeps the decisions: of this run and its labels alone."""
    started = audit.opened.run.read_environment()["started"]
    labels = hashlib.sha256(audit.train.labels.to(torch.int64).numpy().tobytes()).hexdigest()[:16]
    return f"torchbake audit {audit.opened.run.path.resolve()} {started} {labels}"
