"""Whether "auto" picks the faster solver: both measured, beside what is predicted.

    uv run python -m benchmarks.measure.auto

Medians of targets solved in turns by either way, ω = 0.5 and D = 512.
"""

import argparse
from functools import partial
from typing import Any

import torch
from benchmarks.measure.ensembling import clustered, side_by_side
from benchmarks.measure.provenance import write_results

from torchbake import bake_targets
from torchbake.ensembling.plan import plan_steps, prefer_direct


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, nargs="+", default=[32, 128, 512, 2048, 4096])
    parser.add_argument("--c", type=int, nargs="+", default=[10, 100, 1000, 10000])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for sharpness in (1.0, 0.1):
        for n in options.n:
            for c in options.c:
                products = plan_steps(n, 0.5, sharpness).products
                seconds = side_by_side(
                    {
                        solver: partial(bake_targets, affinity_temperature=sharpness, solver=solver)
                        for solver in ("fixed_point", "direct")
                    },
                    clustered(n, 512, c, options.device),
                    options.repeats,
                )
                direct = prefer_direct(n, c, 0.5, sharpness, options.device)
                picked = "direct" if direct else "fixed_point"
                rows.append(
                    {
                        "affinity_temperature": sharpness,
                        "n": n,
                        "c": c,
                        "products": products,
                        "seconds": seconds,
                        "picked": picked,
                    }
                )
                lost = seconds[picked] / min(seconds.values())
                print(f"T_a {sharpness} N {n:5} C {c:5} {seconds} {picked} {lost:.2f}", flush=True)
    write_results("auto", rows)


if __name__ == "__main__":
    main()
