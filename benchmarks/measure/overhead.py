"""What BAKE adds to a whole training step, over cross-entropy on the same batch.

    uv run python -m benchmarks.measure.overhead                              # ResNet-20, CPU
    python -m benchmarks.measure.overhead --model resnet50 --image-size 224 --batch-size 256 \\
        --classes 1000 --bfloat16 --compile                           # on a GPU

Steps of forward, loss, backward and update on synthetic images, with cross-entropy, with BAKE by
the published formulation and with ours, in turns that a busy machine slows alike. Whole steps
vary by more than BAKE adds, so each loss with its gradient is timed alone, too, on the outputs of
the network.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from benchmarks.measure.ensembling import published_loss, side_by_side
from benchmarks.measure.provenance import write_results
from torch import Tensor, nn

from torchbake import BAKELoss
from torchbake.losses.distillation import cross_entropy
from torchbake.models.create import create_model

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def published(logits: Tensor, labels: Tensor, features: Tensor) -> Tensor:
    return cross_entropy(logits, labels) + published_loss(logits.float(), features.float())


def hard_alone(logits: Tensor, labels: Tensor, features: Tensor) -> Tensor:
    return cross_entropy(logits, labels)


LOSSES: dict[str, Loss] = {
    "cross-entropy": hard_alone,
    "BAKE, published": published,
    "BAKE, ours": BAKELoss(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=200, help="of each loss")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--compile", action="store_true", help="the network and loss as one graph")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    size = options.image_size
    images = torch.randn(options.batch_size, 3, size, size, device=options.device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(options.classes, (options.batch_size,), device=options.device)
    model = create_model(options.model, num_classes=options.classes).to(options.device)
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True)
    steps = {
        name: _step(model, optimizer, loss, images, labels, options)
        for name, loss in LOSSES.items()
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(options.steps + 3):
        first = turn % len(steps)
        order = [*list(steps)[first:], *list(steps)[:first]]
        for name in order if turn % 2 else reversed(order):
            started = time.perf_counter()
            steps[name]()
            if options.device != "cpu":
                torch.cuda.synchronize()
            if turn >= 3:  # the first warm up
                times[name].append(time.perf_counter() - started)
    with torch.no_grad():
        features, logits = model(images)
    alone = side_by_side(
        {name: partial(_loss_and_gradient, loss, labels) for name, loss in LOSSES.items()},
        (logits, features),
        15,
    )
    rows: list[dict[str, object]] = []
    for name, values in times.items():
        added = alone[name] - alone["cross-entropy"]
        ratios = [a / b for a, b in zip(values, times["cross-entropy"], strict=True)]
        rows.append(
            {
                "loss": name,
                "seconds": statistics.median(values),
                "ratio": statistics.quantiles(ratios, n=4),
                "added_seconds": added,
            }
        )
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(
            f"{name:16} {1e3 * statistics.median(values):8.2f} ms a step, "
            f"{middle:.4f} of cross-entropy's (quartiles {low:.4f} to {high:.4f}); "
            f"its loss alone adds {1e3 * added:.2f} ms"
        )
    suffix = "" if options.device == "cpu" else f"_{options.model}"
    write_results(f"overhead{suffix}", [vars(options), *rows])


def _loss_and_gradient(loss: Loss, labels: Tensor, logits: Tensor, features: Tensor) -> Tensor:
    logits = logits.detach().requires_grad_()
    return torch.autograd.grad(loss(logits, labels, features), logits)[0]


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Loss,
    images: Tensor,
    labels: Tensor,
    options: argparse.Namespace,
) -> Callable[[], None]:
    def forward(images: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.bfloat16):
            features, logits = model(images)
        return loss(logits, labels, features)

    compute = torch.compile(forward) if options.compile else forward

    def step() -> None:
        compute(images, labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


if __name__ == "__main__":
    main()
