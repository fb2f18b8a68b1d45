"""The bound on the steps, where it is met most nearly: opposite clusters, certain predictions."""

import pytest
import torch

from torchbake.ensembling.affinity import AffinityRows, normalise_rows
from torchbake.ensembling.plan import HELD, TOLERANCE, plan_paying_steps, plan_steps
from torchbake.ensembling.solvers import solve_fixed_point


@pytest.mark.parametrize("affinity_temperature", [0.02, 0.25, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("n", [2, 3, 4, 6, 9, 20, 33, 65, 300])
def test_planned_steps_are_enough_whatever_the_features(n, affinity_temperature):
    direction = torch.randn(1, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alternating = torch.eye(2, dtype=torch.float64)[torch.arange(n) % 2]
    for size in {1, max(1, n // 3), n // 2}:
        features = direction.repeat(n, 1)
        features[size:] *= -1
        by_cluster = torch.eye(2, dtype=torch.float64)[(torch.arange(n) >= size).long()]
        for zero_row in (False, True) if n > 3 else (False,):
            if zero_row:
                features[-1] = 0
            for omega in (0.1, 0.3, 0.5, 0.9, 0.99):
                for predictions in (by_cluster, alternating):
                    found, exact = _both(features, predictions, omega, affinity_temperature)
                    assert (found - exact).abs().max() <= TOLERANCE


def _both(features, predictions, omega, affinity_temperature):
    n = len(features)
    rows = AffinityRows(normalise_rows(features), slice(0, n), affinity_temperature)
    steps = plan_steps(n, omega, affinity_temperature)
    mean = rows.sums.T @ predictions / rows.sums.sum() if steps.radius else None
    others = rows.multiply(predictions)
    found = solve_fixed_point(rows.multiply, predictions, others, mean, omega, steps)
    system = torch.eye(n, dtype=torch.float64) - omega * rows.held / rows.sums
    return found, (1 - omega) * torch.linalg.solve(system, predictions)


def test_a_matrix_too_large_to_hold_is_not_factorised_unasked():
    n = int(HELD**0.5)
    assert plan_paying_steps(n, 10_000, 0.5, 1.0, "cpu") is None
    assert plan_paying_steps(n + 1, 10_000, 0.5, 1.0, "cpu") == plan_steps(n + 1, 0.5, 1.0)
