"""Test images alone, for a network that has been trained."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from rich.console import Console

from ...recipe import DataRecipe
from ..preprocessing import Preprocessing
from ..sources.base import Source
from ..sources.test_only import open_test
from .cache import find_cache_folder
from .in_memory import LIMIT, decode_all
from .open_data import Data
from .readable import LeftOut, describe_left_out, leave_out_of_test
from .workers import count_workers


def open_test_data(
    recipe: DataRecipe,
    classes: Sequence[str],
    preprocessing: Preprocessing,
    progress: Callable[[str, int, int], None],
    *,
    own: bool = False,
) -> Data:
    """The test images of a data set as `Data` whose training images are the same ones.

    Args:
        classes: of the network, whose numbers the labels become (see `open_test`).
        preprocessing: the network's, whatever the recipe would measure or choose.
        progress: called with a split's name, images decoded and their number.
        own: see `open_test`.

    Raises:
        UserError: see `open_test`.
    """
    size = preprocessing.image_size
    recipe = replace(
        recipe,
        image_size=size,
        channels=1 if preprocessing.channels == 1 else 3,
        mean=preprocessing.mean,
        std=preprocessing.std,
        crop_pct=preprocessing.crop_pct,
        interpolation=preprocessing.interpolation,
    )
    split = open_test(recipe, classes, own=own)
    workers = count_workers() if recipe.workers is None else recipe.workers
    left_out: tuple[LeftOut, ...] = ()
    if recipe.on_error == "skip":
        split, left_out = leave_out_of_test(split, workers, recipe.cache, progress)
    pixels = None
    if recipe.in_memory is not False and recipe.crop != "resized":
        pixels = decode_all(
            split,
            (size, size),
            math.inf if recipe.in_memory else LIMIT,
            workers,
            lambda done: progress("test", done, len(split)),
            find_cache_folder() if recipe.cache else None,
        )
    return Data(
        recipe,
        Source(split, split, list(classes)),
        size,
        preprocessing.channels,
        list(preprocessing.mean),
        list(preprocessing.std),
        None if pixels is None else (pixels, pixels),
        left_out,
    )


def show_opening_test(
    recipe: DataRecipe,
    classes: Sequence[str],
    preprocessing: Preprocessing,
    console: Console,
    *,
    own: bool,
) -> Data:
    """As `open_test_data`, telling the console how far it is."""
    with console.status("opening the data set") as status:
        data = open_test_data(
            recipe,
            classes,
            preprocessing,
            lambda split, done, total: status.update(
                f"decoding the {split} images: {done:,} of {total:,}"
            ),
            own=own,
        )
    for line in describe_left_out(
        data.left_out, {"test": len(data.source.test) + len(data.left_out)}
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return data
