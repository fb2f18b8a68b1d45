"""Whether predictions and exports agree with evaluation, image by image, from the files on.

    python -m benchmarks.measure.agreement RUN PICTURES [RUN PICTURES …]

Each run is measured on a folder of class folders by `torchbake evaluate`; then its pictures go
through `torchbake predict`, through timm alone (if the network is timm's) and through ONNX Runtime
alone. What is counted are pictures with the same label. The runs of results/agreement.json were
made by:

    torchbake train digits/bake --data.validation 0.1 --out DIGITS_RUN
    torchbake train cifar100/resnet18-bake --data 'parquet:CIFAR/*.parquet' \\
        --data.validation 0.05 --model.name test_resnet --training.max_steps 200 --out CIFAR_RUN
    torchbake train CUB --data.validation 0.1 --data.image_size 128 --training.max_steps 90 \\
        --model tf_efficientnet_lite0 --model.weights WEIGHTS.safetensors --out CUB_RUN
"""

import csv
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import timm
import torch
from benchmarks.measure.provenance import write_results
from PIL import Image, ImageOps
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform

from torchbake.cli.main import main as torchbake
from torchbake.training.run_folder import RunFolder
from torchbake.training.weights_file import read_description

Labels = dict[str, tuple[str, float]]
"""The predicted label and its confidence, by the picture's path."""


def main() -> None:
    places = [Path(argument) for argument in sys.argv[1:]]
    if not places or len(places) % 2:
        raise SystemExit(__doc__)
    rows: list[dict[str, Any]] = []
    for run, pictures in zip(places[::2], places[1::2], strict=True):
        rows.append(compare_run(run, pictures))
        write_results("agreement", rows)  # each time, in case another fails


def compare_run(run: Path, pictures: Path) -> dict[str, Any]:
    """The row of a run: how many of its pictures get the same label by each way."""
    recipe = RunFolder(run).read_recipe()
    description = read_description(RunFolder(run).weights, recipe)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        expected = _evaluate(run, pictures, out / "evaluate.csv")
        ways: dict[str, Labels] = {"predict": _predict(run, pictures, out / "predict.csv")}
        channels = description.preprocessing.channels
        temperature = description.temperature or 1.0
        if timm.is_model(description.model):
            torchbake(["export", str(run), "--to", "timm", "--out", str(out / "timm")])
            ways["timm"] = _label(_run_timm(out / "timm", temperature), expected, channels)
        onnx = ["--to", "onnx", "--with-preprocessing", "--out", str(out / "onnx")]
        torchbake(["export", str(run), *onnx])
        ways["onnxruntime"] = _label(_run_onnx(out / "onnx" / "model.onnx"), expected, channels)
    same = {
        way: sum(labels[path][0] == label for path, (label, _) in expected.items())
        for way, labels in ways.items()
    }
    largest = {
        way: max(abs(labels[path][1] - value) for path, (_, value) in expected.items())
        for way, labels in ways.items()
    }
    return {
        "data": recipe.data.name.rpartition("/")[2] or recipe.data.name,
        "network": description.model,
        "method": recipe.method["name"],
        "pictures": len(expected),
        "same_label": same,
        "largest_difference_of_confidence": largest,
    }


def _evaluate(run: Path, pictures: Path, out: Path) -> Labels:
    place = f"imagefolder:{pictures.resolve()}"
    torchbake(["evaluate", str(run), "--data", place, "--per-image", str(out), "--device", "cpu"])
    # Paths are relative to the folder of the split, or to the one that it is in.
    root = pictures.resolve()
    rows = {row["path"]: row for row in _read(out)}
    root = root if (root / next(iter(rows))).is_file() else root.parent
    return {
        str(root / path): (row["prediction"], float(row["confidence"]))
        for path, row in rows.items()
    }


def _predict(run: Path, pictures: Path, out: Path) -> Labels:
    command = ["predict", str(run), str(pictures.resolve()), "--format", "csv", "--out", str(out)]
    torchbake([*command, "--device", "cpu"])
    return {row["path"]: (row["label"], float(row["confidence"])) for row in _read(out)}


def _read(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _label(
    ask: Callable[[Image.Image], tuple[str, float]], paths: Iterable[str], channels: int
) -> Labels:
    found = {}
    for path in paths:
        with Image.open(path) as image:
            found[path] = ask(
                ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
            )
    return found


def _run_timm(folder: Path, temperature: float) -> Callable[[Image.Image], tuple[str, float]]:
    model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = create_transform(**resolve_model_data_config(model))
    names = model.pretrained_cfg["label_names"]

    @torch.no_grad()
    def ask(picture: Image.Image) -> tuple[str, float]:
        probabilities = (model(transform(picture)[None]) / temperature).softmax(dim=1)[0]
        return names[int(probabilities.argmax())], float(probabilities.max())

    return ask


def _run_onnx(path: Path) -> Callable[[Image.Image], tuple[str, float]]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = json.loads(session.get_modelmeta().custom_metadata_map["classes"])

    def ask(picture: Image.Image) -> tuple[str, float]:
        pixels = np.asarray(picture)
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        (probabilities,) = session.run(None, {"pictures": pixels[None]})[0]
        return names[int(probabilities.argmax())], float(probabilities.max())

    return ask


if __name__ == "__main__":
    main()
