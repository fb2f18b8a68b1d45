"""Targets where only some teach, as a GPU computes them: by products alone."""

import pytest
import torch
from helpers.reference import clustered
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from torchbake.ensembling import masked
from torchbake.ensembling.masked import Lesson, solve_masked


def lesson(n, seed=0):
    logits, features, labels = clustered(n, seed=seed)
    rows = (
        features,
        logits.softmax(dim=1),
        F.one_hot(labels, 10).float(),
        torch.arange(n) + 3 * seed,
    )
    return Lesson(*rows)


@pytest.mark.parametrize("neighbours", ["all", "same-class", "other-class"])
@pytest.mark.parametrize(("omega", "sharpness"), [(0.0, 1.0), (0.5, 1.0), (0.9, 0.05), (0.99, 0.1)])
def test_products_solve_what_a_factorisation_solves(monkeypatch, neighbours, omega, sharpness):
    batch = lesson(12), lesson(30, seed=1)
    numbers = {"omega": omega, "affinity_temperature": sharpness}
    tensors = {name: torch.tensor(value) for name, value in numbers.items()}
    expected = solve_masked(*batch, neighbours=neighbours, **numbers)
    monkeypatch.setattr(masked, "factorises", lambda device: False)
    for setting in (numbers, tensors):
        found = solve_masked(*batch, neighbours=neighbours, **setting)
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


def test_a_graph_can_record_it():
    called = []

    class Noting(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            called.append(function.overloadpacket.__name__)
            return function(*args, **(kwargs or {}))

    parts = lesson(12)
    with FakeTensorMode():
        batch = Lesson(*(torch.empty(p.shape, dtype=p.dtype, device="cuda") for p in parts))
        with Noting():
            solve_masked(batch, None, omega=0.9, affinity_temperature=0.1)
    assert "mm" in called
    assert not any("linalg_solve" in name or "lu" in name.split("_") for name in called)
    assert "_local_scalar_dense" not in called
