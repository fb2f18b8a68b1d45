"""The target alone on a card, published beside ours, in one process: time, memory, error.

    python -m benchmarks.measure.card_target --n 2048

Memory is the allocator's peak above the inputs; none is known of a CPU. The error is the largest
difference of an entry from the published formula in float64.
"""

import argparse
from typing import Any

import torch
from benchmarks.measure.ensembling import SIZES, TARGETS, clustered, published_targets, side_by_side
from benchmarks.measure.provenance import write_results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=128)
    parser.add_argument("--classes", type=int, help="only of this size")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for d, c in SIZES:
        if options.classes not in (None, c):
            continue
        batch = clustered(options.n, d, c, options.device)
        exact = published_targets(*(values.double() for values in batch))
        errors = {
            name: float((solve(*batch) - exact).abs().max()) for name, solve in TARGETS.items()
        }
        del exact
        rows.append(
            {
                "n": options.n,
                "d": d,
                "c": c,
                "target_seconds": side_by_side(TARGETS, batch, options.repeats),
                "target_bytes": {name: _peak(name, batch) for name in TARGETS},
                "error": errors,
            }
        )
        print(rows[-1], flush=True)
        write_results("card_target", rows)  # each time, in case there is no more time


def _peak(name: str, batch: tuple[torch.Tensor, torch.Tensor]) -> int | None:
    device = batch[0].device
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    TARGETS[name](*batch)
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


if __name__ == "__main__":
    main()
