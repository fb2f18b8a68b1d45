"""Whether BAKE helps where an image has several labels.

    uv run python -m benchmarks.measure.multilabel

Up to four handwritten digits stand in one picture, and its labels are the digits that occur: all of
them, or with a third of the present labels missing in training. All losses see the same pictures in
the same order.
"""

import argparse
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from benchmarks.measure.provenance import write_results
from sklearn.metrics import average_precision_score, f1_score
from torch import Tensor, nn
from torch.nn import functional as F

from torchbake import MultiLabelBAKELoss, with_features
from torchbake.data import open_source
from torchbake.models.networks import NETWORKS
from torchbake.randomness import derive_seed, make_generator
from torchbake.recipe import DataRecipe

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

BATCH = 64


class Pictures(NamedTuple):
    """Pictures laid out in fours.

    Attributes:
        images: (n, ch, h, w), normalised.
        targets: (n, c), 1 where a class occurs.
    """

    images: Tensor
    targets: Tensor


class Case(NamedTuple):
    """A data set of such pictures and how long to train on it."""

    name: str
    network: str
    train: Pictures
    test: Pictures
    missing: float
    epochs: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for case in list_cases():
        for seed in range(options.seeds):
            for loss in LOSSES:
                rows.append(
                    {"case": case.name, "loss": loss, "seed": seed, **run(case, loss, seed)}
                )
                print(rows[-1], flush=True)
        write_results("multilabel", rows)


def list_cases() -> Iterator[Case]:
    train, test = (make_pictures(*split) for split in open_pixels(500, 1000))
    settings = "digits, 500 pictures", "small_cnn", train, test
    yield Case(*settings, missing=0.0, epochs=40)
    settings = f"{settings[0]}, a third of the labels missing", *settings[1:]
    yield Case(*settings, missing=1 / 3, epochs=40)


def open_pixels(*counts: int) -> list[tuple[str, Tensor, Tensor, int]]:
    """Of each split: its name, all its digits (n, 1, 8, 8) in [0, 1], labels, and how many
    pictures to make of them."""
    source = open_source(DataRecipe(name="digits"))
    found = []
    for part, split, count in zip(
        ("train", "test"), (source.train, source.test), counts, strict=True
    ):
        images = torch.stack([split.load(index) for index in range(len(split))]).float() / 255
        found.append((part, images, split.labels, count))
    return found


def make_pictures(part: str, images: Tensor, labels: Tensor, count: int) -> Pictures:
    """Pictures with one to four places filled, each by an image drawn at random."""
    generator = make_generator("multilabel", part)
    filled = torch.rand(count, 4, generator=generator) < 0.5
    filled[torch.arange(count), torch.randint(4, (count,), generator=generator)] = True
    chosen = torch.randint(len(labels), (count, 4), generator=generator)
    places = images[chosen] * filled[:, :, None, None, None]
    n, _, channels, height, width = places.shape
    grid = places.view(n, 2, 2, channels, height, width).permute(0, 3, 1, 4, 2, 5)
    canvas = grid.reshape(n, channels, 2 * height, 2 * width)
    targets = torch.zeros(n, int(labels.max()) + 1)
    row, place = filled.nonzero(as_tuple=True)
    targets[row, labels[chosen[row, place]]] = 1
    return Pictures((canvas - canvas.mean()) / canvas.std(), targets)


def plain(logits: Tensor, target: Tensor, features: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, target)


def smoothed(logits: Tensor, target: Tensor, features: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, 0.9 * target + 0.05)


LOSSES: dict[str, Loss] = {
    "binary cross-entropy": plain,
    "the same, labels smoothed by 0.1": smoothed,
    "MultiLabelBAKELoss": MultiLabelBAKELoss(),
    "the same, weight 0.3": MultiLabelBAKELoss(weight=0.3),
}


def run(case: Case, loss: str, seed: int) -> dict[str, float]:
    """The figures on the test pictures after training, all in percent but the NLL."""
    torch.manual_seed(derive_seed("network", seed))
    images, targets = case.train
    network = NETWORKS[case.network](targets.shape[1], images.shape[1])
    model = with_features(network)
    kept = torch.rand(targets.shape, generator=make_generator("missing", seed)) >= case.missing
    targets = targets * kept
    steps = case.epochs * (len(images) // BATCH)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=steps)
    for epoch in range(case.epochs):
        order = torch.randperm(len(images), generator=make_generator("order", seed, epoch))
        for batch in order[: len(images) // BATCH * BATCH].view(-1, BATCH):
            features, logits = model(images[batch])
            LOSSES[loss](logits, targets[batch], features).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    return measure(model.eval(), case.test)


@torch.no_grad()
def measure(model: nn.Module, test: Pictures) -> dict[str, float]:
    logits = torch.cat([model(images) for images in test.images.split(500)])
    return {
        "map": 100 * float(average_precision_score(test.targets, logits, average="macro")),
        "f1": 100 * float(f1_score(test.targets, logits > 0, average="micro")),
        "nll": F.binary_cross_entropy_with_logits(logits, test.targets).item(),
    }


if __name__ == "__main__":
    main()
