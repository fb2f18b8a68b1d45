"""Decoders of JPEG side by side: photographs/s of one core.

    uv run --with opencv-python-headless,torchcodec \\
        python -m benchmarks.measure.decoding --cifar GLOB

Photographs of 500×375 pixels, whole and at half their height and width where the decoder can
(its pixels are compared with Pillow's). A decoder that is not installed is left out.
"""

import argparse
import importlib
import io
import os
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from benchmarks.measure.pictures import photograph, small_photographs
from benchmarks.measure.provenance import write_results
from numpy.typing import NDArray
from PIL import Image

Decoder = Callable[[bytes], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar", required=True, help="glob of CIFAR-100's Parquet files")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--blocks", type=int, default=9)
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    small = small_photographs(options.cifar)
    files = [photograph(small, number) for number in range(options.images)]
    print(f"{statistics.mean(map(len, files)):,.0f} bytes a photograph")
    decoders = _decoders()
    seconds: dict[tuple[str, str], list[float]] = {name: [] for name in decoders}
    for block in range(options.blocks + 1):
        for name, decode in decoders.items():
            started = time.perf_counter()
            for file in files:
                decode(file)
            if block:  # the first warms up
                seconds[name].append(time.perf_counter() - started)
    rows: list[dict[str, Any]] = [vars(options)]
    for (library, scale), values in seconds.items():
        speed = len(files) / statistics.median(values)
        ratios = [a / b for a, b in zip(seconds["Pillow", scale], values, strict=True)]
        same = _same(decoders["Pillow", scale](files[0]), decoders[library, scale](files[0]))
        row: dict[str, Any] = {"decoder": library, "version": _version(library), "scale": scale}
        row |= {"images_per_second": speed, "speedup": statistics.quantiles(ratios, n=4)}
        rows.append(row | {"same_pixels": same})
        print(f"{library:12} {scale:5} {speed:5.0f}/s, {statistics.median(ratios):.2f} × Pillow")
    write_results("decoding", rows)


def _pillow(file: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


def _pillow_half(file: bytes) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(file))
    image.draft("RGB", (image.width // 2, image.height // 2))
    return np.asarray(image.convert("RGB"))


def _opencv(decode: Callable[..., Any], flag: int, file: bytes) -> Any:
    return decode(np.frombuffer(file, np.uint8), flag)


_MODULES = {"Pillow": "PIL", "OpenCV": "cv2"}


def _decoders() -> dict[tuple[str, str], Decoder]:
    """Decoders by library and scale, to arrays or tensors of colours last or first."""
    found: dict[tuple[str, str], Decoder] = {
        ("Pillow", "whole"): _pillow,
        ("Pillow", "half"): _pillow_half,
    }
    warnings.filterwarnings("ignore", message=".*torchvision.*")
    from torchvision import io as vision

    rgb = vision.ImageReadMode.RGB
    found["torchvision", "whole"] = lambda file: vision.decode_jpeg(
        torch.frombuffer(bytearray(file), dtype=torch.uint8), mode=rgb
    )
    if simplejpeg := _imported("simplejpeg"):
        found["simplejpeg", "whole"] = simplejpeg.decode_jpeg
        found["simplejpeg", "half"] = lambda file: simplejpeg.decode_jpeg(
            file, min_height=188, min_width=250
        )
    if cv2 := _imported("cv2"):
        cv2.setNumThreads(0)
        for scale, flag in (("whole", "COLOR_RGB"), ("half", "REDUCED_COLOR_2")):
            number = getattr(cv2, f"IMREAD_{flag}")
            found["OpenCV", scale] = partial(_opencv, cv2.imdecode, number)
    if torchcodec := _imported("torchcodec.decoders"):
        found["torchcodec", "whole"] = torchcodec.decode_jpeg
    return found


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError):  # torchcodec without its libraries
        return None


def _version(library: str) -> str:
    module = importlib.import_module(_MODULES.get(library, library))
    return str(module.__version__)


def _same(expected: NDArray[np.uint8], got: Any) -> bool:
    if isinstance(got, torch.Tensor):
        got = got.permute(1, 2, 0).numpy()
    return np.array_equal(expected, got) or np.array_equal(expected, got[..., ::-1])  # BGR


if __name__ == "__main__":
    main()
