"""An audit whose classes and files have odd names."""

from dataclasses import replace

import torch
from helpers.training_runs import QUIET, recipe

from torchbake.analysis.audit.rank import Audit
from torchbake.analysis.audit.score import score_labels
from torchbake.analysis.outputs import Outputs
from torchbake.training.loop import train
from torchbake.training.opened_run import open_run

ODD = ["<script>alert(1)</script>", 'b "quoted", c', "&amp;", " ä  b"]


FILES = ['train/a,"b"/<img src=x onerror=alert(2)>.png', "train/x\ny.png", "</script>.png"]


def odd_audit(tmp_path, n=30, classes=ODD):
    """An audit of random outputs, of a run whose class and file names are what nobody would use."""
    train(recipe(("training.max_steps", "1")), tmp_path / "odd", console=QUIET)
    opened = open_run(tmp_path / "odd", console=QUIET)
    split = opened.data.source.train
    labels = torch.arange(n) % len(classes)
    split = replace(
        split,
        labels=labels,
        pixels=split.pixels[:n],
        names=lambda i: FILES[i] if i < len(FILES) else f"train/{i}.png",
    )
    source = replace(opened.data.source, train=split, classes=list(classes))
    data = replace(opened.data, source=source, pixels=(split.pixels, opened.data.pixels[1]))
    opened = opened._replace(data=data)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(n, len(classes), generator=generator)
    # The images with odd names are the most suspicious.
    logits[: len(FILES), 0] += 9
    features = torch.randn(n, 6, generator=generator)
    found = score_labels(logits, features, labels)
    score = found.score.clone()
    score[: len(FILES)] = torch.tensor([2.0, 1.9, 1.8], dtype=torch.float64)
    order = score.argsort(descending=True, stable=True)
    made = Outputs(torch.arange(n), labels, logits, features)
    return Audit(opened, made, found, order, {}, {"rounds": 1})
