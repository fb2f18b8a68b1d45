"""Ensembling across ranks: its cost as predicted for 1 to 1,024 ranks, and as measured here.

    uv run python -m benchmarks.measure.ranks

Real processes by torchrun, gloo, one thread each. Bytes are what the loopback device
carried, divided by ranks and calls. "published": gather all, then invert the
matrix of all images on every rank.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from benchmarks.measure.ensembling import clustered, published_targets
from benchmarks.measure.provenance import write_results
from torch import Tensor

from torchbake import bake_targets
from torchbake.ensembling.plan import Solver, plan_steps

IMAGES, SIZES = 128, [(512, 100), (2048, 1000)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        _as_rank(options)
        return
    measured = []
    for ranks in options.ranks:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "measured.json"
            launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
            launch += [f"--nproc-per-node={ranks}", __file__, "--write", str(output)]
            launch += ["--repeats", str(options.repeats)]
            subprocess.run(launch, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
            measured += json.loads(output.read_text())
        for row in measured[-len(SIZES) :]:
            print(row, flush=True)
    predicted = [predicted_cost(2**power, 256, 2048, 1000) for power in range(11)]
    for row in predicted:
        print(row)
    write_results("ranks", measured)
    write_results("ranks_predicted", predicted)


def predicted_cost(ranks: int, n: int, d: int, c: int) -> dict[str, Any]:
    """Of one rank with n images among `ranks` times as many, at the default settings, float32."""
    everyone = ranks * n
    products = plan_steps(everyone, 0.5, 1.0).products
    return {
        "ranks": ranks,
        "n": n,
        "d": d,
        "c": c,
        "products": products,
        "messages": 0 if ranks == 1 else products + 1,
        # Features and predictions once, then the targets after each product but the last.
        "bytes_received": (everyone - n) * 4 * (d + products * c),
        "flops": 2 * n * everyone * (d + products * c),
        # Of a rank that gathers all, and inverts the matrix of all.
        "flops_published": 2 * everyone**2 * (d + c) + 2 * everyone**3,
        # Its rows of Â, everyone's features (as they came, and of length 1) and predictions.
        "bytes_held": 4 * everyone * (n + 2 * d + 2 * c),
        "bytes_held_published": 4 * everyone * (3 * everyone + 2 * d + 2 * c),
    }


def _as_rank(options: argparse.Namespace) -> None:
    dist.init_process_group("gloo")
    ranks, rank = dist.get_world_size(), dist.get_rank()
    rows = []
    for d, c in SIZES:
        logits, features = clustered(ranks * IMAGES, d, c, "cpu")
        own = slice(rank * IMAGES, (rank + 1) * IMAGES)
        batch = logits[own], features[own]
        ways = {
            "own rows": partial(_ours, *batch, "fixed_point"),
            "auto": partial(_ours, *batch, "auto"),
            "published": partial(_published, *batch),
        }
        seconds, received = {}, {}
        for name, way in ways.items():
            seconds[name], received[name] = _timed(way, options.repeats)
        error = (ways["own rows"]() - ways["published"]()).abs().max().item()
        predicted = predicted_cost(ranks, IMAGES, d, c)
        rows.append(
            {
                **{key: predicted[key] for key in ("ranks", "n", "d", "c", "products")},
                "seconds": seconds,
                "bytes_received": {name: count / ranks for name, count in received.items()},
                "bytes_predicted": predicted["bytes_received"],
                "difference": error,
            }
        )
    if rank == 0:
        options.write.write_text(json.dumps(rows))
    dist.destroy_process_group()


def _ours(logits: Tensor, features: Tensor, solver: Solver) -> Tensor:
    return bake_targets(logits, features, group=dist.group.WORLD, solver=solver, equal_counts=True)


def _published(logits: Tensor, features: Tensor) -> Tensor:
    gathered = []
    for rows in (logits, features):
        everyone = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(everyone, rows)
        gathered.append(torch.cat(everyone))
    start = dist.get_rank() * len(logits)
    return published_targets(*gathered)[start : start + len(logits)]


def _timed(function: Any, repeats: int) -> tuple[float, float]:
    """The median seconds, and the bytes that a call sends over the loopback device."""
    for _ in range(3):
        function()
    seconds = []
    dist.barrier()
    before = _loopback_bytes()
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    dist.barrier()
    return statistics.median(seconds), (_loopback_bytes() - before) / repeats


def _loopback_bytes() -> int:
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, figures = line.partition(":")
        if name.strip() == "lo":
            return int(figures.split()[0])
    raise SystemExit("no loopback device in /proc/net/dev")


if __name__ == "__main__":
    main()
