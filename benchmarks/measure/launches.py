"""What a training step asks of a GPU: kernels, blocking copies, and waits for a value.

    uv run python -m benchmarks.measure.launches

Counted on a card that is not there (see fake_card), at the sizes of `small_cnn` on the digits. The
backward pass is not in it. The test in tests/cuda holds that no part asks for more than what was
written.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from benchmarks.measure.fake_card import DEVICE, use_fake_card
from benchmarks.measure.provenance import write_results
from benchmarks.measure.watching import Seen, watch_device
from torch import Tensor, nn

from torchbake.analysis.audit.score import find_nearest, score_labels
from torchbake.batch import Batch
from torchbake.data.augment.colour import change_colours
from torchbake.data.augment.normalise import normalise
from torchbake.data.augment.views import Views
from torchbake.data.loading.open_data import open_data
from torchbake.ensembling import bake_targets
from torchbake.evaluation import Metrics
from torchbake.methods import METHODS, Method, Step, Task
from torchbake.models.create import create_model
from torchbake.recipe import DataRecipe
from torchbake.training.distributed import Ranks
from torchbake.training.meters import Meters
from torchbake.training.network import PRECISIONS
from torchbake.training.recipe_files import load_recipe
from torchbake.training.setup import Setup, set_up
from torchbake.training.step import update

Work = Callable[[], object]
"""One step of a part that has been set up."""

SETTINGS: dict[str, list[dict[str, object]]] = {
    "bake-variants": [
        {"label_share": 0.2, "neighbours": "same-class"},
        {"memory": 64, "final_affinity_temperature": 0.1, "omega_warmup": 0.3},
        {"ema_decay": 0.9},
    ],
    "bake-plus": [{}],
    "cs-kd": [{}, {"symmetric": True}],
    "kd": [{"teacher": "1"}],
    "kd-ensemble": [{"teachers": ("1", "2")}],
    "kdcl": [{}, {"ensemble": "naive"}, {"ensemble": "linear"}],
    "ps-kd": [{}, {"kept_classes": 3}],
    "tf-kd-self": [{"teacher": "1"}],
}
"""With which settings a method is tried, if not with its defaults."""

STEPS: dict[str, dict[str, str]] = {
    "images in memory": {},
    "images in memory, bf16": {"training.precision": "bf16"},
    "images in memory, fp16": {"training.precision": "fp16"},
    "shifted, flipped, cut out": {"data.crop": "pad", "data.flip": "true", "data.cutout": "3"},
    "streamed": {"data.in_memory": "false", "data.image_size": "8"},
    "streamed, colours changed": {
        "data.in_memory": "false",
        "data.image_size": "8",
        "data.color_jitter": "0.4",
    },
    "Mixup and CutMix": {"data.mixup": "0.2", "data.cutmix": "1"},
    "moving average of the weights": {"training.ema_decay": "0.99"},
    "two parts accumulated": {"training.accumulate": "2"},
    "gradients clipped": {"optimizer.clip_grad_norm": "1"},
    "adamw": {"optimizer": "adamw"},
    "bad steps left out": {"training.on_nonfinite": "skip"},
    "bad steps left out, fp16": {"training.on_nonfinite": "skip", "training.precision": "fp16"},
}
"""Whole steps of the trainer with BAKE, by what is asked for in the recipe."""

N, D, C = 128, 512, 100
TARGETS: dict[str, dict[str, object]] = {
    "auto": {},
    "fixed point": {"solver": "fixed_point"},
    "direct": {"solver": "direct"},
    "fixed point, sharp": {"solver": "fixed_point", "affinity_temperature": 0.05},
    "direct, sharp": {"solver": "direct", "affinity_temperature": 0.05},
}
"""Targets of N images by solver."""


def list_parts() -> dict[str, Callable[[torch.device], Work]]:
    """What is counted, by name: each is set up for a device, and returns one step."""
    parts: dict[str, Callable[[torch.device], Work]] = {}
    for name in METHODS:
        for settings in SETTINGS.get(name, [{}]):
            told = ", ".join(f"{key}={value}" for key, value in settings.items())
            for precision in ("float32", "bf16", "fp16"):
                parts[f"method: {name}{f' ({told})' * bool(told)}: {precision}"] = partial(
                    try_method, name, settings, precision
                )
    parts |= {f"step: {name}": partial(try_step, options) for name, options in STEPS.items()}
    for classes in (C, 2 * N):
        parts |= {
            f"target: {name}, C = {classes}": partial(try_targets, classes, options)
            for name, options in TARGETS.items()
        }
    return parts | {
        "loader: 30 batches from memory at once": try_loader,
        "loader: colours, lighting, normalisation": try_colours,
        "evaluation: a batch": try_evaluation,
        "audit: scores": try_scores,
        "audit: nearest": try_nearest,
    }


def count(part: Callable[[torch.device], Work], device: torch.device) -> Seen:
    """What the second step of a part asks of the device, since the first one may make things."""
    work = part(device)
    work()
    with watch_device() as seen:
        work()
    return seen


def try_method(
    name: str, settings: dict[str, object], precision: str, device: torch.device
) -> Work:
    """A method's forward pass, which is to reach all parameters of the network."""
    network, method, batch = make_method(name, settings, device)
    dtype = PRECISIONS[precision]
    batches = iter(batch._replace(progress=progress) for progress in (0.25, 0.5))

    def work() -> Step:
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            step: Step = method(network, next(batches))
        if step.loss.dtype != torch.float32:
            raise AssertionError(f"the loss is computed in {step.loss.dtype}")
        step.loss.backward()
        if any(parameter.grad is None for parameter in network.parameters()):
            raise AssertionError("a parameter has no gradient")
        return step

    return work


def make_method(
    name: str, settings: dict[str, object], device: torch.device
) -> tuple[nn.Module, Method, Batch]:
    """A network, a method that is set up for it, and a batch: the same numbers on all devices."""
    network = _make_network(0, device)
    torch.manual_seed(0)
    method: Method = METHODS[name](**settings)
    method.setup(
        Task(
            num_classes=10,
            num_images=60,
            num_features=64,
            image_shape=(1, 8, 8),
            batch_size=12,
            network=network,
            make_network=lambda number: _make_network(number, device),
            load_network=lambda folder: _make_network(int(folder), device).eval(),
        )
    )
    method.to(device).train()
    network.train()
    images = torch.randn(12 * method.views, 1, 8, 8).to(device)
    labels = (torch.arange(12) // 4).to(device)
    return network, method, Batch(images, labels, torch.arange(12).to(device))


def _make_network(number: int, device: torch.device) -> nn.Module:
    torch.manual_seed(number)
    network = create_model("small_cnn", 10, in_chans=1, image_size=8)
    return network.to(device).to(memory_format=torch.channels_last)


def make_setup(options: dict[str, str], device: torch.device) -> Setup:
    """A run on the digits as the trainer sets it up."""
    recipe = load_recipe("digits/bake", options.items())
    data = open_data(recipe.data, lambda *_: None)
    return set_up(recipe, data, Ranks(0, 1, device))


def try_step(options: dict[str, str], device: torch.device) -> Work:
    """The trainer's whole step, from the loader's batch to the figures for the log."""
    setup = make_setup({**options, "data.workers": "0"}, device)
    meters, batches = Meters(setup.ranks), setup.loader.batches(0)
    number = iter(range(setup.total))

    def work() -> None:
        update(setup, next(batches), 0.1, next(number), meters)

    return work


def try_loader(device: torch.device) -> Work:
    """Batches that are gathered, shifted, flipped, cut out and normalised on the device."""
    loader = make_setup(STEPS["shifted, flipped, cut out"], device).loader
    epochs = iter(range(2))
    return lambda: next(loader.batches(next(epochs)))


def try_colours(device: torch.device) -> Work:
    """What the device does to a batch of streamed colour images."""
    recipe = DataRecipe(color_jitter=0.4, lighting=0.1)
    pixels = torch.zeros(12, 3, 8, 8, dtype=torch.uint8, device=device)
    views = Views(torch.arange(12), torch.zeros(12, dtype=torch.long), 0, 0).to(device)

    def work() -> Tensor:
        changed = change_colours(pixels.float(), recipe, views)
        return normalise(changed, [0.1, 0.2, 0.3], [0.4, 0.5, 0.6])

    return work


def try_targets(classes: int, options: dict[str, object], device: torch.device) -> Work:
    logits = torch.randn(N, classes, device=device)
    features = torch.randn(N, D, device=device)
    return lambda: bake_targets(logits, features, **options)  # type: ignore[arg-type]


def try_evaluation(device: torch.device) -> Work:
    """A batch of test images from memory, normalised, through the network and counted."""
    setup = make_setup({}, device)
    metrics = Metrics(device)
    batches = setup.data.test_batches(100, device)
    model = setup.model.eval()

    @torch.no_grad()
    def work() -> None:
        batch = next(batches)
        metrics.add(model(batch.images).logits, batch.labels)

    return work


def _make_outputs(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    labels = (torch.arange(60) % 10).to(device)
    return torch.randn(60, 10, device=device), torch.randn(60, 32, device=device), labels


def try_scores(device: torch.device) -> Work:
    outputs = _make_outputs(device)
    return lambda: score_labels(*outputs, batch_size=20, rounds=2)


def try_nearest(device: torch.device) -> Work:
    _, features, _ = _make_outputs(device)
    return lambda: find_nearest(features, torch.arange(5), 3)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    rows: list[dict[str, object]] = []
    with use_fake_card():
        for name, part in list_parts().items():
            try:
                counts = count(part, DEVICE).counts._asdict()
            except Exception as error:
                counts = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
            rows.append({"part": name, **counts})
            print(name, counts, flush=True)
    write_results("launches", rows)


if __name__ == "__main__":
    main()
