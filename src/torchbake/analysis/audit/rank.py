"""Rank a finished run's training images by how strongly others contradict their labels."""

import csv
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console

from ..._shapes import Int, Tensor
from ...data.sources.base import Split
from ...data.sources.labels import Correction, check_names, format_csv, read_labels
from ...errors import UserError
from ...training.environment import describe_environment
from ...training.files import write_text
from ...training.opened_run import OpenedRun
from ..outputs import Outputs, compute_outputs
from .score import (
    AFFINITY_TEMPERATURE,
    BATCH_SIZE,
    TEMPERATURE,
    Suspicion,
    measure_ranking,
    score_labels,
)

COLUMNS = (
    "rank",  # from 1 on
    "index",  # in the training split before any file of labels
    "file",  # its name, if images have names
    "given",  # the label that the run was trained with
    "suggested",  # the best other class in what the other images say
    "score",
    "network",  # what the network itself says of the image
    "network_given",  # its probability for the given label
    "others_given",  # the other images' for the given label
    "others_suggested",  # and for the suggested one
)


class Audit(NamedTuple):
    """All training images of a run, and how suspicious their labels are.

    Attributes:
        order: of the images in the training split, the most suspicious first.
        quality: of the ranking (see `measure_ranking`), where the true labels are known.
        settings: that it was made with.
    """

    opened: OpenedRun
    outputs: Outputs
    suspicion: Suspicion
    order: Int[Tensor, " n"]
    quality: dict[str, float]
    settings: dict[str, Any]

    @property
    def train(self) -> Split:
        return self.opened.data.source.train

    @property
    def classes(self) -> list[str]:
        return self.opened.data.source.classes

    def number(self, index: int) -> int:
        """The number that image `index` had before any file of labels."""
        numbers = self.train.numbers
        return index if numbers is None else int(numbers[index])

    def earlier(self) -> list[Correction]:
        """The corrections that the run was trained with."""
        path = self.opened.data.recipe.labels
        return [] if path is None else read_labels(Path(path).expanduser())


def audit_run(opened: OpenedRun, *, ema: bool, rounds: int, seed: int, console: Console) -> Audit:
    """Rank all training images of a run, without augmentation.

    Raises:
        UserError: the network's outputs are not finite numbers.
    """
    train = opened.data.source.train
    outputs = compute_outputs(opened, train, torch.arange(len(train)), console)
    with console.status("asking the other images"):
        found = score_labels(
            outputs.logits, outputs.features, train.labels, rounds=rounds, seed=seed
        )
    if not found.score.isfinite().all():
        raise UserError(f"{opened.run.path}: its network's outputs are not finite numbers")
    quality = {}
    if train.clean_labels is not None:
        wrong = train.labels != train.clean_labels
        if 0 < int(wrong.sum()) < len(wrong):
            quality = measure_ranking(found.score, wrong, (100,))
    order = found.score.argsort(descending=True, stable=True)
    settings = {
        "temperature": TEMPERATURE,
        "affinity_temperature": AFFINITY_TEMPERATURE,
        "batch_size": BATCH_SIZE,
        "rounds": rounds,
        "seed": seed,
        "ema": ema,
    }
    return Audit(opened, outputs, found, order, quality, settings)


def list_rows(audit: Audit, count: int | None = None) -> list[tuple[int | str | float, ...]]:
    """The `count` most suspicious images (None for all), with a value for each of `COLUMNS`."""
    order = audit.order[:count]
    labels = audit.train.labels[order]
    network, network_given = [], []
    for rows, own_labels in zip(order.split(4096), labels.split(4096), strict=True):
        own = audit.outputs.logits[rows].softmax(dim=1)
        network += own.argmax(dim=1).tolist()
        network_given += own.gather(1, own_labels[:, None])[:, 0].tolist()
    table = zip(
        order.tolist(),
        labels.tolist(),
        network,
        network_given,
        *(column[order].tolist() for column in audit.suspicion),
        strict=True,
    )
    classes = audit.classes
    return [
        (
            rank,
            audit.number(index),
            audit.train.name_of(index),
            classes[label],
            classes[suggested],
            round(score, 6),
            classes[says],
            round(says_given, 6),
            round(given, 6),
            round(probability, 6),
        )
        for rank, (
            index,
            label,
            says,
            says_given,
            score,
            given,
            suggested,
            probability,
        ) in enumerate(table, start=1)
    ]


def make_corrections(audit: Audit, count: int, *, drop: bool) -> list[Correction]:
    """The `count` most suspicious images with their suggested classes, or left out.

    The corrections that the run was trained with are kept, so that they accumulate: the file that
    comes of it replaces the former one.

    Raises:
        UserError: a class would be left without an image, or has no name.
    """
    train, classes = audit.train, audit.classes
    check_names(classes)
    corrections = {correction.index: correction for correction in audit.earlier()}
    labels = train.labels.clone()
    for index in audit.order[:count].tolist():
        label = int(audit.suspicion.suggested[index])
        number = audit.number(index)
        before = corrections.get(number)
        given = classes[int(labels[index])] if before is None else before.given
        name = train.name_of(index)
        corrections[number] = Correction(number, name, given, "" if drop else classes[label])
        labels[index] = -1 if drop else label
    present = torch.bincount(labels[labels >= 0], minlength=len(classes)) > 0
    present |= torch.bincount(train.labels, minlength=len(classes)) == 0
    if not bool(present.all()):
        emptied = classes[int(present.int().argmin())]
        raise UserError(
            f"{'--drop' if drop else '--correct'}: {count} would leave no training image of class "
            f"'{emptied}'"
        )
    return sorted(corrections.values(), key=lambda correction: correction.index)


def count_wrong_labels(audit: Audit, corrections: list[Correction]) -> tuple[int, int] | None:
    """How many labels are wrong before and after; None where the truth is not known."""
    clean = audit.train.clean_labels
    if clean is None:
        return None
    changed = {correction.index: correction.label for correction in corrections}
    labels = audit.train.labels
    after = sum(
        changed.get(audit.number(index), audit.classes[label]) not in ("", audit.classes[truth])
        for index, (label, truth) in enumerate(zip(labels.tolist(), clean.tolist(), strict=True))
    )
    return int((labels != clean).sum()), after


def write_audit(out: Path, audit: Audit, page: str, corrections: list[Correction]) -> list[Path]:
    """Write `audit.csv`, `audit.json`, `audit.html` and, with corrections, `labels.csv`."""
    rows = list_rows(audit)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    run = audit.opened.run
    environment = run.read_environment()
    head = {
        "run": str(run.path),
        "run_commit": environment["commit"],
        "run_started": environment["started"],
        "settings": audit.settings,
        "quality": audit.quality or None,
        "environment": describe_environment(),
        "columns": COLUMNS,
    }
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
    opening = json.dumps(head, indent=1, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    files = {
        "audit.csv": text.getvalue(),
        "audit.json": f'{opening},\n "rows": [\n{lines}\n]}}\n',
        "audit.html": page,
    }
    if corrections:
        files["labels.csv"] = format_csv(corrections)
    for name, content in files.items():
        write_text(out / name, content)
    return [out / name for name in files]
