"""The test images of a data set alone, with the class numbers of a trained network."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ...errors import UserError
from .base import USUAL_SPLITS, Source, Split
from .holding_out import ALL
from .registry import open_source
from .subsets import apply_subset

if TYPE_CHECKING:
    from ...recipe import DataRecipe


def open_test(recipe: "DataRecipe", classes: Sequence[str], *, own: bool = False) -> Split:
    """The test images of the data set that a recipe names, which need have no training images.

    Of a data set without a test split they are all of its images, unless it is the network's own.
    Classes are found by their names: the data set may have them in another order, or only some of
    them.

    Args:
        classes: names of the network's classes, whose numbers the labels become.
        own: whether the network was trained on this data set, whose test images may be held out of
            the training images.

    Raises:
        UserError: see `open_source`; or images of classes that the network does not know, unless
            the recipe's `classes` leaves them out.
    """
    # What concerns training images, which need not be there.
    recipe = replace(recipe, images_per_class=None, label_noise=0.0, labels=None, validation=None)
    source = _open_own(replace(recipe, classes=None)) if own else None
    source = source or _open_as_both(replace(recipe, classes=None))
    present = [source.classes[k] for k in source.test.labels.unique().tolist()]
    if recipe.classes is not None:
        kept = tuple(name for name in classes if name in present)
        if len(kept) < 2:
            raise UserError(f"{recipe.name}: has images of {len(kept)} of the network's classes")
        if set(kept) != set(present):
            source = apply_subset(source, replace(recipe, classes=kept))
    unknown = [name for name in present if name not in classes]
    if recipe.classes is None and unknown:
        names = ", ".join(unknown[:5]) + " …" * (len(unknown) > 5)
        raise UserError(
            f"{recipe.name}: the network was trained on {len(classes)} classes, and "
            f"{len(unknown)} of the data set's {len(present)} are not among them: {names}"
        )
    # A class without images may be unknown.
    numbers = {name: number for number, name in enumerate(classes)}
    mapped = torch.tensor([numbers.get(name, -1) for name in source.classes])
    return replace(source.test, labels=mapped[source.test.labels])


def _open_own(recipe: "DataRecipe") -> Source | None:
    """The data set as it was trained on; None if not all of it is there."""
    try:
        return open_source(recipe)
    except UserError:
        return None


def _open_as_both(recipe: "DataRecipe") -> Source:
    """The data set with its test split in the place of the training split, too."""
    given = recipe.test_split
    for name in USUAL_SPLITS["test"] if given is None else (given,):
        try:
            return open_source(replace(recipe, train_split=name, test_split=name))
        except UserError:
            continue
    # Or all images, where there are no splits; else this says what is wrong.
    return open_source(replace(recipe, test_share=ALL))
