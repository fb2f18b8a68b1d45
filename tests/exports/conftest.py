"""A run on photographs by one of timm's networks, which every form can hold."""

import pytest
from helpers.images import scenery
from helpers.training_runs import QUIET

from torchbake.training.loop import train
from torchbake.training.recipe_files import load_recipe

CLASSES = ("a|b", "naïve", "plain")


@pytest.fixture(scope="session")
def photo_run(tmp_path_factory):
    """(run folder, paths of the test photographs in order): colours, several sizes, one turned."""
    root = tmp_path_factory.mktemp("photos")
    for split, count in (("train", 8), ("test", 9)):
        for number in range(count * len(CLASSES)):
            folder = root / "data" / split / CLASSES[number % len(CLASSES)]
            folder.mkdir(parents=True, exist_ok=True)
            picture = scenery(90 + 7 * (number % 3), 60 + number, number)
            exif = picture.getexif()
            exif[0x0112] = 6 if number == 4 else 1  # a quarter turn
            picture.save(folder / f"{number:02}.jpg", quality=90, exif=exif)
    overrides = {
        "data.name": f"imagefolder:{root}/data",
        "data.image_size": "48",
        "data.crop": "resized",
        "data.workers": "0",
        "model.name": "test_resnet",
        "training.max_steps": "6",
        "training.batch_size": "8",
        "optimizer.lr": "0.01",
    }
    recipe = load_recipe("digits/bake", list(overrides.items()))
    train(recipe, root / "run", console=QUIET)
    return root / "run", sorted((root / "data" / "test").glob("*/*.jpg"))
