"""Pictures for tests, alone, in folders and in tables, and loaders of them."""

import io

import numpy as np
import torch
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as Pillow

from torchbake import ClassGroupedBatchSampler
from torchbake.data.loading.open_data import open_data
from torchbake.data.loading.train_loader import TrainLoader

CPU = torch.device("cpu")


def picture(number, size=(12, 10)):
    """A picture (width, height) with a colour of its own and a slope in its blue."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:] = (number * 20, 255 - number * 20, 7)
    pixels[..., 2] += np.arange(size[0] * size[1], dtype=np.uint8).reshape(size[1], size[0])
    return Pillow.fromarray(pixels)


def image_folder(root, size=(12, 10)):
    """The layout of ImageNet and of torchvision's ImageFolder."""
    for split in ("train", "val"):
        for number, name in enumerate(["cat", "dog"]):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(4):
                picture(number * 4 + index, size).save(folder / f"{index}.png")
    return f"imagefolder:{root}"


def parquet_files(root, encoded="PNG"):
    """Files in the layout that the hub's CIFAR-100 has."""
    features = Features({"image": Image(), "label": ClassLabel(names=["cat", "dog", "emu"])})
    for split, count in (("train", 9), ("test", 6)):
        records = []
        for number in range(count):
            buffer = io.BytesIO()
            picture(number, (8, 8)).save(buffer, encoded, lossless=True)
            records.append({"image": {"bytes": buffer.getvalue()}, "label": number % 3})
        table = Dataset.from_list(records, features=features)
        table.to_parquet(root / f"{split}-00000-of-00001.parquet")
    return f"parquet:{root}/*.parquet"


def scenery(width, height, number=0):
    """Smooth colours with some texture, as photographs have."""
    x, y = np.meshgrid(np.linspace(0, 9, width), np.linspace(0, 7, height))
    waves = [np.sin(x + number) + np.cos(y * k + number) for k in (1, 2, 3)]
    noise = np.random.default_rng(number).normal(0, 4, (height, width, 3))
    return Pillow.fromarray((128 + 50 * np.stack(waves, 2) + noise).clip(0, 255).astype(np.uint8))


def encoded(image, kind="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photographs(root, size=(640, 480)):
    for split in ("train", "val"):
        for number in range(8):
            folder = root / split / "ab"[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            scenery(*size, number).save(folder / f"{number}.jpg", quality=90)
    return f"imagefolder:{root}"


def loader_of(recipe, views=1):
    data = open_data(recipe, quiet_progress)
    sampler = ClassGroupedBatchSampler(data.source.train.labels, 4, partners=1, epoch="anchors")
    return TrainLoader(data, sampler, CPU, seed=3, views=views)


def quiet_progress(split, done, total):
    """Progress that nobody looks at."""
