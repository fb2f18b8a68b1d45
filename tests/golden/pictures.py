"""A folder of JPEG files of different sizes, drawn without a random number."""

import numpy as np
from PIL import Image

CLASSES, TRAIN, TEST = 3, 24, 4


def draw_pictures(root):
    """Write train/ and test/, a folder a class in each."""
    for split, count in (("train", TRAIN), ("test", TEST)):
        for label in range(CLASSES):
            folder = root / split / f"class-{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                picture = draw(label, number + 100 * (split == "test"))
                picture.save(folder / f"{number:02}.jpg", "JPEG", quality=90)


def draw(label, number):
    """Waves whose length is that of the class, in colours of the picture's own."""
    height, width = 40 + number % 5 * 8, 64 - number % 3 * 12
    y, x = np.mgrid[:height, :width]
    shifts = number + np.array([0.0, 1.3, 2.9])
    waves = np.sin((x * (label + 1) / 9)[..., None] + shifts) + np.cos(y / 7 + number)[..., None]
    return Image.fromarray((128 + 55 * waves).clip(0, 255).astype(np.uint8))
