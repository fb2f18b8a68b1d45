"""Predicting JPEG files: `torchbake predict`'s loop beside timm's and ONNX Runtime, images/s.

    uv run --with onnx,onnxscript,onnxruntime \\
        python -m benchmarks.measure.inference --cifar GLOB

Photographs of 500×375 pixels through one network with the same random weights, from the files to
the five best classes. `timm` is the ordinary loop: a DataLoader with timm's transform for
evaluation and the best number of workers for it. Where ONNX Runtime is installed, it computes the
same network behind the ordinary loop's images, and behind torchbake's. All in turns, on so many
cores.
"""

import argparse
import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from benchmarks.measure.pictures import photograph, small_photographs
from benchmarks.measure.provenance import write_results
from PIL import Image
from timm.data.transforms_factory import create_transform
from torch import nn
from torch.utils.data import DataLoader, Dataset

import torchbake
from torchbake.data.preprocessing import Preprocessing
from torchbake.inference import Predictor
from torchbake.models import create_model
from torchbake.training.files import save_weights
from torchbake.training.weights_file import Description

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE, SHARE, BATCH, TOP = 224, 0.875, 64, 5
Loop = Callable[[list[str]], list[int]]
"""Paths to the best class of each."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar", required=True, help="glob of CIFAR-100's Parquet files")
    parser.add_argument("--model", default="mobilenetv3_small_100")
    parser.add_argument("--images", type=int, default=192, help="of a block")
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: options.cores]))
    torch.set_num_threads(options.cores)
    with tempfile.TemporaryDirectory() as folder:
        paths = _write_photographs(Path(folder), options.cifar, options.images)
        loops = _make_loops(Path(folder), options.model, options.cores)
        seconds: dict[str, list[float]] = {name: [] for name in loops}
        answers: dict[str, list[int]] = {}
        for block in range(options.blocks + 1):
            for name, loop in loops.items():
                started = time.perf_counter()
                answers[name] = loop(paths)
                if block:  # the first warms up
                    seconds[name].append(time.perf_counter() - started)
    workers = [k for k in seconds if k.startswith("timm, ")]
    ordinary = min(workers, key=lambda name: statistics.median(seconds[name]))
    rows: list[dict[str, Any]] = [vars(options)]
    for name, values in seconds.items():
        ratios = [a / b for a, b in zip(seconds[ordinary], values, strict=True)]
        same = np.mean(np.array(answers[name]) == np.array(answers[ordinary]))
        speed = options.images / statistics.median(values)
        row = {"loop": name, "images_per_second": speed, "per_core": speed / options.cores}
        row |= {"over_timm": statistics.quantiles(ratios, n=4), "same_top1": float(same)}
        rows.append(row | {"ordinary": name == ordinary})
        print(f"{name:36} {speed:6.1f}/s, {statistics.median(ratios):.2f} × timm, same {same:.3f}")
    write_results("inference", rows)


def _write_photographs(folder: Path, cifar: str, count: int) -> list[str]:
    small = small_photographs(cifar)
    paths = []
    for number in range(count):
        paths.append(str(folder / f"{number}.jpg"))
        Path(paths[-1]).write_bytes(photograph(small, number))
    return paths


def _make_loops(folder: Path, name: str, cores: int) -> dict[str, Loop]:
    """The loops by name, all with the same network."""
    torch.manual_seed(0)
    model = create_model(name, 1000, image_size=SIZE).eval()
    weights = folder / "model.safetensors"
    seen = Preprocessing(SIZE, 3, MEAN, STD, SHARE)
    classes = tuple(map(str, range(1000)))
    save_weights(weights, model, Description(name, classes, seen).to_metadata())
    network: nn.Module = timm.create_model(name)
    network.load_state_dict(model.network.state_dict())
    network.eval()

    def compute(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return network(images)

    predictor = torchbake.load(weights, device="cpu")
    loops: dict[str, Loop] = {"torchbake": _make_own_loop(predictor)}
    for workers in (0, cores):
        loops[f"timm, {workers} workers"] = _make_timm_loop(compute, workers)
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnxscript"):
        by_onnx = _make_onnx(folder, network, cores)
        loops[f"timm's images, {cores} workers, ONNX Runtime"] = _make_timm_loop(by_onnx, cores)
        own = Predictor(by_onnx, seen, classes)
        loops["torchbake's images, ONNX Runtime"] = _make_own_loop(own)
    return loops


def _make_own_loop(predictor: Predictor) -> Loop:
    def loop(paths: list[str]) -> list[int]:
        return [int(p.label) for p in predictor(paths, batch_size=BATCH, top_k=TOP)]

    return loop


class _Files(Dataset[torch.Tensor]):
    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        size = (3, SIZE, SIZE)
        self.transform = create_transform(
            size, is_training=False, interpolation="bilinear", crop_pct=SHARE, mean=MEAN, std=STD
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB"))


def _make_timm_loop(compute: Callable[[torch.Tensor], torch.Tensor], workers: int) -> Loop:
    def loop(paths: list[str]) -> list[int]:
        found: list[int] = []
        loader: Iterable[torch.Tensor] = DataLoader(
            _Files(paths), batch_size=BATCH, num_workers=workers
        )
        for images in loader:
            top = compute(images).softmax(dim=1).topk(TOP, dim=1)
            found += top.indices[:, 0].tolist()
        return found

    return loop


def _make_onnx(
    folder: Path, network: nn.Module, cores: int
) -> Callable[[torch.Tensor], torch.Tensor]:
    import onnxruntime

    path = folder / "model.onnx"
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, SIZE, SIZE),),
        path,
        dynamo=True,
        input_names=["images"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = cores
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])

    def compute(images: torch.Tensor) -> torch.Tensor:
        (logits,) = session.run(None, {"images": images.contiguous().numpy()})
        return torch.from_numpy(logits)

    return compute


if __name__ == "__main__":
    main()
