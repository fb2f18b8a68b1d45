"""The bound on the steps, where it is met most nearly: opposite clusters, certain predictions."""

import pytest
import torch

from torchbake.ensembling.affinity import AffinityRows, normalise_rows
from torchbake.ensembling.plan import HELD, TOLERANCE, plan_steps, prefer_direct
from torchbake.ensembling.solvers import solve_by_polynomial, solve_by_series, solve_by_shares


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
                    for found, exact in _solved(features, predictions, omega, affinity_temperature):
                        assert (found - exact).abs().max() <= TOLERANCE


def _solved(features, predictions, omega, affinity_temperature):
    n = len(features)
    steps = plan_steps(n, omega, affinity_temperature)
    unit, everything = normalise_rows(features), slice(0, n)
    rows = AffinityRows(unit, everything, affinity_temperature, steps.shift)
    affinity = AffinityRows(unit, everything, affinity_temperature).held
    system = torch.eye(n, dtype=torch.float64) - omega * affinity
    exact = (1 - omega) * torch.linalg.solve(system, predictions)
    yield solve_by_polynomial(rows, predictions, steps), exact
    if not steps.plain:
        yield solve_by_shares(rows.held, predictions, steps), exact
    yield solve_by_series(affinity, predictions, omega, omega), exact


def test_a_polynomial_leaves_what_is_the_same_for_all_as_it_is():
    for omega in (0.1, 0.5, 0.9):
        for affinity_temperature in (0.1, 0.25, 1.0):
            steps = plan_steps(128, omega, affinity_temperature)
            at = 1 - steps.shift
            value = sum(c * at**power for power, c in enumerate(steps.coefficients))
            assert value == pytest.approx(1, abs=1e-9)


def test_factorisations_are_for_cpus_and_for_matrices_that_can_be_held():
    n = int(HELD**0.5)
    assert prefer_direct(n, 10_000, 0.5, 1.0, "cpu")
    assert not prefer_direct(n, 100, 0.5, 1.0, "cpu")
    assert not prefer_direct(n + 1, 10_000, 0.5, 1.0, "cpu")
    assert prefer_direct(128, 100, 0.5, 1.0, "cpu")
    assert not prefer_direct(128, 100, 0.99, 0.02, "cuda")
