"""How exact the soft targets are: the bound on the steps, rounding, and narrower products.

    uv run python -m benchmarks.measure.solvers

Against float64's closed form, the largest error of an entry of Q. "Clustered" features are like a
trained network's; the "worst" ones of several that strain it: two opposite clusters of nearly
equal images with certain predictions (where the bound on the eigenvalues is met), features close
to each other, and normal ones. Products with narrower operands are imitated by rounding the
operands: those of F̂ F̂ᵀ alone, or of all products.
"""

import argparse
import math
from typing import Any

import torch
from benchmarks.measure.ensembling import clustered
from benchmarks.measure.provenance import write_results
from torch import Tensor

from torchbake import bake_targets
from torchbake.ensembling.affinity import AffinityRows, normalise_rows
from torchbake.ensembling.plan import TOLERANCE, plan_steps
from torchbake.ensembling.precision import needs_float64
from torchbake.ensembling.solvers import solve_by_polynomial

BITS = {"TF32": 10, "bfloat16": 7}  # of the operands' fraction


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, nargs="+", default=[16, 128, 512])
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for n in options.n:
        for omega in (0.5, 0.9, 0.99):
            for sharpness in (1.0, 0.5, 0.25, 0.1, 0.02):
                rows.append(_errors(n, omega, sharpness))
                print(rows[-1], flush=True)
    narrow = [_narrow(n, sharpness) for n in options.n for sharpness in (1.0, 0.1)]
    for row in narrow:
        print(row)
    write_results("solvers", rows)
    write_results("precision", narrow)


def _errors(n: int, omega: float, affinity_temperature: float) -> dict[str, Any]:
    steps = plan_steps(n, omega, affinity_temperature)
    row: dict[str, Any] = {
        "n": n,
        "omega": omega,
        "affinity_temperature": affinity_temperature,
        "products": steps.products,
        "chebyshev": not steps.plain,
        "bound": TOLERANCE,
        "float64": needs_float64(omega, affinity_temperature),
    }
    for name, batches in {
        "clustered": [clustered(n, 256, 100, "cpu")],
        "worst": _straining(n),
    }.items():
        truncation, rounding = 0.0, {"fixed_point": 0.0, "direct": 0.0}
        for logits, features in batches:
            exact = _exact(logits, features, omega, affinity_temperature)
            # In float64 what is left is the error of stopping.
            found = _iterated(logits.double(), features.double(), omega, affinity_temperature)
            truncation = max(truncation, _error(found, exact))
            for solver in rounding:
                targets = bake_targets(
                    logits,
                    features,
                    omega=omega,
                    affinity_temperature=affinity_temperature,
                    solver=solver,  # type: ignore[arg-type]
                )
                rounding[solver] = max(rounding[solver], _error(targets, exact))
        row[name] = {"truncation": truncation, **rounding}
    return row


def _narrow(n: int, affinity_temperature: float) -> dict[str, Any]:
    logits, features = clustered(n, 2048, 100, "cpu")
    exact = _exact(logits, features, 0.5, affinity_temperature)
    row: dict[str, Any] = {"n": n, "affinity_temperature": affinity_temperature}
    for name, bits in BITS.items():
        affinity, everything = (
            _iterated(logits, features, 0.5, affinity_temperature, bits, all_products)
            for all_products in (False, True)
        )
        row[name] = {"affinity": _error(affinity, exact), "all": _error(everything, exact)}
    return row


def _iterated(
    logits: Tensor,
    features: Tensor,
    omega: float,
    affinity_temperature: float,
    bits: int | None = None,
    all_products: bool = False,
) -> Tensor:
    """By the polynomial, in the inputs' type, products with operands of so many bits."""
    steps = plan_steps(len(logits), omega, affinity_temperature)
    predictions = (logits / 4).softmax(dim=1)
    unit = _rounded(normalise_rows(features), bits)
    kind = _NarrowRows if all_products else AffinityRows
    rows = kind(unit, slice(0, len(unit)), affinity_temperature, steps.shift)
    if isinstance(rows, _NarrowRows):
        rows.narrow(bits)
    return solve_by_polynomial(rows, predictions, steps)


class _NarrowRows(AffinityRows):
    """Rows whose products have operands of so many bits."""

    def narrow(self, bits: int | None) -> None:
        self.bits = bits
        assert self.held is not None
        self.held = _rounded(self.held, bits)

    def add_product(self, x: Tensor, scale: float, y: Tensor, factor: float = 1.0) -> Tensor:
        return super().add_product(x, scale, _rounded(y, self.bits), factor)


def _rounded(values: Tensor, bits: int | None) -> Tensor:
    """Values with a fraction of so many bits, to the nearest."""
    if bits is None:
        return values
    fraction, exponent = torch.frexp(values)
    return torch.ldexp((fraction * 2.0 ** (bits + 1)).round(), exponent - bits - 1)


def _exact(logits: Tensor, features: Tensor, omega: float, affinity_temperature: float) -> Tensor:
    unit = normalise_rows(features.double())
    similarity = (unit @ unit.T / affinity_temperature).fill_diagonal_(-math.inf)
    system = torch.eye(len(unit), dtype=torch.float64) - omega * similarity.softmax(dim=1)
    return (1 - omega) * torch.linalg.solve(system, (logits.double() / 4).softmax(dim=1))


def _straining(n: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    opposite = normal(1, 64).repeat(n, 1)
    opposite[n // 2 :] *= -1
    certain = torch.zeros(n, 100)
    certain[: n // 2, 0] = certain[n // 2 :, 1] = 100
    return [
        (certain, opposite + 1e-3 * normal(n, 64)),
        (40 * normal(n, 100), 1 + 0.1 * normal(n, 64)),
        (40 * normal(n, 100), normal(n, 8)),
    ]


def _error(found: Tensor, exact: Tensor) -> float:
    return (found.double() - exact).abs().max().item()


if __name__ == "__main__":
    main()
