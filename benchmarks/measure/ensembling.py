"""BAKE's target and its loss: the published formulation beside ours.

    uv run python -m benchmarks.measure.ensembling
    uv run python -m benchmarks.measure.ensembling --name ensembling_cpu \\
        --n 32 128 512 2048 --sizes 512x100 --compiled-up-to 0        # a minute

Features like a trained network's: classes in groups of four, clustered, behind a ReLU. The
formulations take turns within one process; times are medians. "target" is Q alone; "loss" is all
that BAKE adds to a step: Q, the distillation term and its gradient for the logits. Peak memory is
that of a fresh process for each (on a GPU: of the allocator) above its inputs. The error is the
largest difference of an entry of Q from float64's.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmarks.measure.provenance import write_results
from torch import Tensor
from torch.nn import functional as F

from torchbake import bake_targets
from torchbake.ensembling.plan import prefer_direct
from torchbake.ensembling.settings import TargetSettings
from torchbake.ensembling.targets import start_targets
from torchbake.losses.known_gradient import self_distillation_loss

OMEGA, TEMPERATURE = 0.5, 4.0
Batch = tuple[Tensor, Tensor]

SIZES = ((512, 100), (2048, 1000), (2048, 21843))
"""Features and classes."""


def published_targets(logits: Tensor, features: Tensor) -> Tensor:
    """As arXiv 2104.13298 writes it, with a matrix inverted."""
    with torch.no_grad():
        unit = F.normalize(features)
        identity = torch.eye(len(unit), dtype=unit.dtype, device=unit.device)
        affinity = F.softmax(unit @ unit.T - 1e9 * identity, dim=1)
        shares = (1 - OMEGA) * torch.inverse(identity - OMEGA * affinity)
        return shares @ F.softmax(logits / TEMPERATURE, dim=1)


def published_loss(logits: Tensor, features: Tensor) -> Tensor:
    targets = published_targets(logits.detach(), features)
    log_probabilities = F.log_softmax(logits / TEMPERATURE, dim=1)
    return F.kl_div(log_probabilities, targets, reduction="batchmean") * TEMPERATURE**2


def our_loss(logits: Tensor, features: Tensor) -> Tensor:
    """What `BAKELoss` adds to cross-entropy."""
    settings = TargetSettings(temperature=TEMPERATURE, omega=OMEGA)
    finish = start_targets(logits, features, settings, group=None)
    return self_distillation_loss(logits, *finish(), TEMPERATURE)


TARGETS: dict[str, Callable[..., Tensor]] = {"published": published_targets, "ours": bake_targets}
LOSSES: dict[str, Callable[..., Tensor]] = {"published": published_loss, "ours": our_loss}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, nargs="+", default=[128, 512, 2048, 8192])
    parser.add_argument("--sizes", nargs="+", default=[f"{d}x{c}" for d, c in SIZES])
    parser.add_argument("--name", default="ensembling", help="of the file in results/")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=15, help="fewer where one takes seconds")
    parser.add_argument("--compiled-up-to", type=int, default=2048, help="largest N compiled")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(json.dumps(_memory(options.device, *json.loads(options.memory_of))))
        return
    rows = []
    for n in options.n:
        for size in options.sizes:
            d, c = map(int, size.split("x"))
            row = _row(n, d, c, options)
            rows.append(row)
            target, loss = row["target_seconds"], row["loss_seconds"]
            print(
                f"N {n:5} D {d:4} C {c:5}  target {_times(target)}  loss {_times(loss)}  "
                f"memory {_ratio(row['loss_bytes']):.1f}×  error {row['error']['ours']:.0e} "
                f"(published {row['error']['published']:.0e})  {row['solver']}",
                flush=True,
            )
    write_results(options.name, rows)


def _row(n: int, d: int, c: int, options: argparse.Namespace) -> dict[str, Any]:
    batch = clustered(n, d, c, options.device)
    losses = {name: _with_gradient(loss) for name, loss in LOSSES.items()}
    if n <= options.compiled_up_to:
        torch.compiler.reset()
        losses["ours, compiled"] = _with_gradient(torch.compile(our_loss, fullgraph=True))
        losses["ours, compiled"](*batch)
    exact = _exact_targets(*batch)
    errors = {
        name: (targets(*batch).sub_(exact)).abs_().max().item() for name, targets in TARGETS.items()
    }
    del exact
    return {
        "n": n,
        "d": d,
        "c": c,
        "solver": "direct" if prefer_direct(n, c, OMEGA, 1.0, options.device) else "fixed point",
        "target_seconds": side_by_side(TARGETS, batch, options.repeats),
        "loss_seconds": side_by_side(losses, batch, options.repeats),
        "loss_bytes": {name: _peak(name, n, d, c, options.device) for name in LOSSES},
        "error": errors,
    }


def clustered(n: int, d: int, c: int, device: str) -> Batch:
    """Logits and features of images in class groups of four, like a trained network's."""
    generator = torch.Generator().manual_seed(0)
    groups = -(-n // 4)
    labels = torch.randint(c, (groups,), generator=generator).repeat_interleave(4)[:n]
    centres = torch.randn(groups, d, generator=generator).repeat_interleave(4, dim=0)[:n]
    features = (centres + 0.5 * torch.randn(n, d, generator=generator)).relu_()
    logits = 2 * torch.randn(n, c, generator=generator)
    logits[torch.arange(n), labels] += 8
    return logits.to(device), features.to(device)


def side_by_side(
    functions: dict[str, Callable[..., Any]], batch: Batch, repeats: int
) -> dict[str, float]:
    """The median seconds of each, taken in turns after one turn to warm up.

    A turn is of some 20 ms of calls, so that quick functions are timed as in a loop of their own,
    and not by what the one before left in the caches.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    calls = dict.fromkeys(functions, 1)
    for turn in range(repeats + 1):
        if turn > 3 and max(max(values) for values in times.values()) > 1:
            break  # three turns are enough of what takes seconds
        for name, function in functions.items():
            seconds = _seconds(function, batch, calls[name])
            if turn > 0:
                times[name].append(seconds)
            elif seconds < 1:
                calls[name] = max(1, round(0.02 / _seconds(function, batch, 1)))
    return {name: statistics.median(values) for name, values in times.items()}


def _seconds(function: Callable[..., Any], batch: Batch, calls: int) -> float:
    """Of one of so many calls in a row."""
    if batch[0].is_cuda:
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(calls):
        function(*batch)
    if batch[0].is_cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / calls


def _with_gradient(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(logits: Tensor, features: Tensor) -> Tensor:
        logits = logits.detach().requires_grad_()
        return torch.autograd.grad(loss(logits, features), logits)[0]

    return run


def _exact_targets(logits: Tensor, features: Tensor) -> Tensor:
    return published_targets(logits.double(), features.double()).float()


def _peak(name: str, n: int, d: int, c: int, device: str) -> int:
    """Bytes above the inputs at the peak of the loss and its gradient, in a fresh process."""
    module = "benchmarks.measure.ensembling"
    order = [sys.executable, "-m", module, "--device", device, "--memory-of"]
    done = subprocess.run(
        [*order, json.dumps([name, n, d, c])], capture_output=True, text=True, check=True
    )
    return int(json.loads(done.stdout))


def _memory(device: str, name: str, n: int, d: int, c: int) -> int:
    run = _with_gradient(LOSSES[name])
    run(*clustered(8, d, 10, device))  # what is loaded at the first use does not count
    batch = clustered(n, d, c, device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(*batch)
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # makes the peak that of now
    before = _peak_of_process()
    run(*batch)
    return _peak_of_process() - before


def _peak_of_process() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def _times(seconds: dict[str, float]) -> str:
    each = " → ".join(f"{1e3 * value:.2f}" for value in seconds.values())
    return f"{each} ms ({_ratio(seconds):.2f}×)"


def _ratio(values: dict[str, Any]) -> float:
    return float(values["published"]) / max(float(values["ours"]), 1e-12)


if __name__ == "__main__":
    main()
