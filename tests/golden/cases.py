"""What is recorded: each case is a function of an empty folder."""

import json
import math
from functools import partial
from pathlib import Path

import torch

from .pictures import draw_pictures
from .recording import (
    method_names,
    record_resume,
    record_run,
    record_sampler,
    record_targets,
    teacher_folder,
)

CIFAR = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar100"


class Absent(Exception):
    """The data of a case is not on this machine."""


def on_digits(folder, *settings):
    return record_run("digits/bake", folder / "run", *settings)


def on_digits_with_method(name, folder):
    """Each method with its own settings; teachers are trained first, all alike."""
    settings = [("method", name)]
    if name in ("kd", "tf-kd-self"):
        settings.append(("method.teacher", teacher_folder(0)))
    if name == "kd-ensemble":
        teachers = [teacher_folder(seed) for seed in (0, 1)]
        settings.append(("method.teachers", json.dumps(teachers)))
    return on_digits(folder, *settings)


def on_digits_with(settings, folder):
    return on_digits(folder, *settings.items())


VARIATIONS = {
    "anchors": {"training.epoch": "anchors", "method.omega": "0.9"},
    "all-kept": {
        "method.memory": "100",
        "method.ema_decay": "0.9",
        "method.label_share": "0.2",
        "method.neighbours": "same-class",
        "method.weight_warmup": "0.3",
        "method.omega_warmup": "0.3",
        "method.final_affinity_temperature": "0.1",
    },
    "mixed": {
        "data.mixup": "0.2",
        "data.cutmix": "1",
        "data.cutout": "3",
        "data.flip": "true",
        "data.label_noise": "0.2",
    },
    "optimizer": {
        "optimizer": "adamw",
        "optimizer.lr": "0.003",
        "optimizer.clip_grad_norm": "1",
        "schedule": "one-cycle",
        "training.accumulate": "2",
        "training.max_steps": "15",
        "training.ema_decay": "0.9",
        "seed": "7",
    },
}


def on_cifar(folder):
    """BAKE on images in memory, by the recipe's own reading of Parquet files."""
    if not CIFAR.is_dir():
        raise Absent(f"there is no {CIFAR}")
    settings = [("data", f"parquet:{CIFAR}/*.parquet"), ("data.workers", "0")]
    settings += [("data.crop", "pad"), ("data.flip", "true"), ("data.images_per_class", "40")]
    settings += [("data.classes", "[apple, bed, bowl, camel]")]
    settings += [("training.batch_size", "32")]
    # Batches of few classes magnify what two machines differ by.
    settings.append(("optimizer.lr", "0.005"))
    return record_run("cifar100/resnet8-subset", folder / "run", *settings)


def on_streamed_pictures(folder):
    """BAKE on files that worker processes decode, cut, mirror and colour."""
    draw_pictures(folder / "pictures")
    settings = [("data", f"imagefolder:{folder / 'pictures'}"), ("data.workers", "2")]
    settings += [("data.image_size", "24"), ("data.crop", "resized"), ("data.flip", "true")]
    settings += [("data.color_jitter", "0.4"), ("data.lighting", "0.1")]
    settings += [("training.batch_size", "16")]
    return record_run("digits/bake", folder / "run", *settings)


def resumed(folder):
    """With all that BAKE can keep from step to step."""
    settings = [*VARIATIONS["all-kept"].items(), ("training.max_steps", "20")]
    return record_resume("digits/bake", folder, *settings, stop=12, every=5)


def samplers(folder):
    """Classes of many sizes, one of a single image, over epochs, partners and ranks."""
    labels = torch.tensor([*((n * n + n // 3) % 10 for n in range(300)), 10])
    record = {}
    for epoch in ("images", "anchors"):
        for partners in range(4):
            common = {"batch_size": 16, "partners": partners, "epoch": epoch, "seed": partners}
            name = f"{epoch}, {partners} partners"
            record[name] = record_sampler(labels, **common)
            for rank in range(3):
                record[f"{name}, rank {rank} of 3"] = record_sampler(
                    labels, **common, rank=rank, world_size=3, drop_last=rank == 2
                )
    return record


def targets(folder):
    """One batch of each size, whose images are near those of their class."""
    record = {}
    for n in (64, 300):
        logits, features = made_batch(n, classes=100, size=32)
        for sharpness in (1.0, 0.05):
            for omega in (0.5, 0.9):
                for solver in ("auto", "fixed_point", "direct"):
                    record[f"N {n}, T_a {sharpness:g}, omega {omega}, {solver}"] = record_targets(
                        logits, features, affinity_temperature=sharpness, omega=omega, solver=solver
                    )
    return record


def made_batch(n, classes, size):
    """Logits and features without a random number, so that they are the same everywhere."""
    label = torch.arange(n, dtype=torch.float64)[:, None] % 7

    def waves(width, speed):
        column = torch.arange(width, dtype=torch.float64)
        own = (torch.arange(n)[:, None] * 1.7 + column**2 * speed).sin()
        return ((label * 2.3 + column * speed).cos() + 0.5 * own + 0.3).float()

    return 6 * waves(classes, math.sqrt(2)), waves(size, math.sqrt(3))


CASES = {
    "sampler": samplers,
    "targets": targets,
    **{f"digits-{name}": partial(on_digits_with_method, name) for name in method_names()},
    **{
        f"digits-bake-{name}": partial(on_digits_with, settings)
        for name, settings in VARIATIONS.items()
    },
    "digits-resumed": resumed,
    "cifar": on_cifar,
    "streamed": on_streamed_pictures,
}
"""By name, which is that of the file in `recorded`."""
