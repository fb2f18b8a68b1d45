"""What a checkpoint belongs to: a recipe, images, classes and teachers, and nothing else."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import torch

from .._digests import digest_text
from .._version import __version__
from ..data.sources.base import Source, Split
from ..errors import UserError, shorten
from ..recipe import Recipe
from .checkpoint import Found, Manifest
from .environment import describe_processor
from .resume_keys import FREE_KEYS, GROWING_KEYS
from .run_folder import flatten_recipe

MOST_TOLD = 5
"""Differences that a message lists."""


def make_manifest(
    recipe: Recipe, source: Source, teachers: Mapping[str, str], device: str, ranks: int
) -> Callable[[int, bool], Manifest]:
    """What makes the manifest of a run's checkpoint of a step, from whether the run has finished.

    Args:
        teachers: the checksums of the networks that teach, by their run folders.
    """
    belongs_to = describe_belongings(recipe, source, teachers)
    made_on = describe_machine(device, ranks)

    def make(step: int, finished: bool) -> Manifest:
        return Manifest(
            step=step, finished=finished, files={}, belongs_to=belongs_to, made_on=made_on
        )

    return make


def describe_belongings(
    recipe: Recipe, source: Source, teachers: Mapping[str, str]
) -> dict[str, Any]:
    """What later steps depend on beside the state, as JSON has it.

    Images go by their names and labels: to read them all would take too long.
    """
    keys = flatten_recipe(asdict(recipe))
    # The labels' file may be copied; what it says is in the labels of the images.
    kept = {k: v for k, v in keys.items() if k not in FREE_KEYS and k != "data.labels"}
    splits = {"training": source.train, "validation": source.validation, "test": source.test}
    described = {
        "recipe": kept,
        "classes": source.classes,
        "images": {
            name: _describe_split(split, len(source.classes))
            for name, split in splits.items()
            if split is not None
        },
        "teachers": dict(teachers),
    }
    return json.loads(json.dumps(described))


def describe_machine(device: str, ranks: int) -> dict[str, Any]:
    """What may make a difference in the last digits."""
    made_on = {"torchbake": __version__, "torch": torch.__version__, "device": device}
    if device == "cpu":
        made_on |= {
            "processor": describe_processor(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
        }
    return {**made_on, "ranks": ranks}


def _describe_split(split: Split, classes: int) -> dict[str, Any]:
    labels = split.labels.cpu()
    return {
        "images": len(labels),
        "of_each_class": labels.bincount(minlength=classes).tolist(),
        "labels": digest_text(" ".join(map(str, labels.tolist()))),
        "files": _digest_names(split.files),
    }


def _digest_names(files: Iterable[str]) -> str:
    """The checksum of files' names within their folder, so that it may be moved."""
    names = list(files)
    if not names:
        return digest_text("")
    # What the first and the last in order share, all share.
    shared = 0
    for one, other in zip(min(names), max(names), strict=False):
        if one != other:
            break
        shared += 1
    folder = min(names)[:shared].rfind("/") + 1
    return digest_text("\n".join(name[folder:] for name in names))


def check_belongings(found: Found, now: Mapping[str, Any]) -> None:
    """Whether a checkpoint belongs to what a run is to go on with.

    Raises:
        UserError: it does not; what differs is named.
    """
    before = found.manifest.belongs_to
    try:
        differing = [
            *_compare_recipes(before["recipe"], now["recipe"], found.manifest.finished),
            *_compare_classes(before["classes"], now["classes"]),
            *_compare_images(before["images"], now["images"], now["classes"]),
            *_compare_teachers(before["teachers"], now["teachers"]),
        ]
    except (KeyError, TypeError, AttributeError, IndexError):
        differing = ["it does not say what it belongs to"]
    if differing:
        more = len(differing) - MOST_TOLD
        told = "; ".join(differing[:MOST_TOLD]) + (f"; and {more} more" if more > 0 else "")
        raise UserError(
            f"{found.folder}: cannot go on, since this is not what the checkpoint was trained on: "
            f"{told}; put it back, or start again with --overwrite"
        )


def tell_machine(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """A line on what may make a difference in the last digits; empty if nothing does."""
    changed = [
        f"{key} {before.get(key)!r} before, {now.get(key)!r} now"
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
    ]
    if not changed:
        return ""
    return (
        f"weights may differ in the last digits from an uninterrupted run's: {'; '.join(changed)}"
    )


def _compare_recipes(
    before: Mapping[str, Any], now: Mapping[str, Any], finished: bool
) -> list[str]:
    return [
        f"{key} was {_show(before[key])}, is {_show(now[key])}"
        for key in sorted(before.keys() & now.keys())
        if before[key] != now[key] and not (finished and key in GROWING_KEYS)
    ] + [
        # Settings of another method or network.
        f"{key} was {_show(before.get(key))}, is {_show(now.get(key))}"
        for key in sorted(before.keys() ^ now.keys())
        if key.startswith(("method.", "model.arguments"))
    ]


def _compare_classes(before: list[str], now: list[str]) -> list[str]:
    if len(before) != len(now):
        return [f"{len(before)} classes were there, {len(now)} are"]
    return [
        f"class {number} was {_show(old)}, is {_show(new)}"
        for number, (old, new) in enumerate(zip(before, now, strict=True))
        if old != new
    ][:MOST_TOLD]


def _compare_images(
    before: Mapping[str, Any], now: Mapping[str, Any], classes: list[str]
) -> list[str]:
    told = []
    for name in dict.fromkeys([*before, *now]):
        if (name in before) != (name in now):
            told.append(f"{name} images were {'there' if name in before else 'not there'}")
            continue
        old, new = before[name], now[name]
        if old == new:
            continue
        if old["images"] != new["images"]:
            what = f"{old['images']:,} {name} images were there, {new['images']:,} are"
            told.append(what + _tell_classes(old, new, classes))
        elif old["labels"] != new["labels"]:
            told.append(f"{name} images have other labels" + _tell_classes(old, new, classes))
        elif old["files"] != new["files"]:
            told.append(f"{name} images have other names")
    return told


def _tell_classes(old: Mapping[str, Any], new: Mapping[str, Any], classes: list[str]) -> str:
    """Which class has more or fewer images, as ` ('cat': 20, now 21)`."""
    pairs = zip(classes, old["of_each_class"], new["of_each_class"], strict=False)
    changed = [f"{_show(name)}: {a:,}, now {b:,}" for name, a, b in pairs if a != b]
    return f" ({', '.join(changed[:3])}{', …' * (len(changed) > 3)})" if changed else ""


def _compare_teachers(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [
        f"the weights of the teacher {_show(folder)} have changed"
        for folder in dict.fromkeys([*before, *now])
        if before.get(folder) != now.get(folder)
    ]


def _show(value: Any) -> str:
    return shorten(repr(value), 60)
