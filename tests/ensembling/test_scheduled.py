"""ω and T_a as tensors, whose values no process reads: one plan and one graph for all of them."""

import pytest
import torch
from helpers.processes import run_python
from helpers.reference import clustered, reference_targets
from torch.utils._python_dispatch import TorchDispatchMode

from torchbake import BAKELoss, bake_targets
from torchbake.ensembling import alone


class Unread(TorchDispatchMode):
    """Refuses to read a value, as a device does while a graph is recorded."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function is not torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(("n", "classes"), [(1, 10), (2, 10), (60, 10), (60, 200), (400, 3)])
@pytest.mark.parametrize("omega", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("affinity_temperature", [1.0, 0.05])
def test_tensors_give_the_targets_of_their_values(n, classes, omega, affinity_temperature):
    logits, features, _ = clustered(n, classes)
    with Unread():
        targets = bake_targets(
            logits,
            features,
            omega=torch.tensor(omega),
            affinity_temperature=torch.tensor(affinity_temperature),
        )
    expected = reference_targets(
        logits, features, omega=omega, affinity_temperature=affinity_temperature
    )
    torch.testing.assert_close(targets.double(), expected, rtol=0, atol=1e-6)
    assert targets.dtype == torch.float32


def test_a_loss_takes_them_for_a_step():
    logits, features, labels = clustered(30)
    criterion = BAKELoss(omega=0.9)
    now = {"omega": 0.3, "affinity_temperature": 0.1}
    tensors = {name: torch.tensor(value) for name, value in now.items()}
    found = criterion.terms(logits, labels, features, **tensors)
    expected = criterion.terms(logits, labels, features, **now)
    torch.testing.assert_close(found, expected)


def test_one_graph_serves_all_their_values(tmp_path):
    run_python(
        """
        import torch
        from torchbake import bake_targets

        torch.manual_seed(0)
        logits, features = torch.randn(40, 10), torch.randn(40, 8).relu()
        graphs = []

        def counting(graph, inputs):
            graphs.append(graph)
            return graph

        compiled = torch.compile(bake_targets, fullgraph=True, backend=counting)
        for omega, sharpness in ((0.5, 1.0), (0.2, 0.3), (0.9, 0.05)):
            found = compiled(
                logits,
                features,
                omega=torch.tensor(omega),
                affinity_temperature=torch.tensor(sharpness),
            )
            expected = bake_targets(
                logits, features, omega=omega, affinity_temperature=sharpness, solver="direct"
            )
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        assert len(graphs) == 1
        """,
        tmp_path,
    )


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ({"omega": torch.ones(2)}, TypeError, r"omega must be a number or .* got shape \(2,\)"),
        ({"affinity_temperature": torch.tensor(1)}, TypeError, "floating tensor .* torch.int64"),
        ({"omega": torch.tensor(0.5), "solver": "direct"}, ValueError, "take solver='auto'"),
    ],
)
def test_tensors_that_cannot_serve_are_refused(unchecked, setting, error, message):
    with pytest.raises(error, match=message):
        bake_targets(torch.ones(5, 3), torch.ones(5, 4), **setting)


def test_too_many_images_to_hold_need_numbers(monkeypatch):
    monkeypatch.setattr(alone, "HELD", 16)
    with pytest.raises(ValueError, match=r"must be numbers for more than 4 images, .* 5 images"):
        bake_targets(torch.ones(5, 3), torch.ones(5, 4), omega=torch.tensor(0.5))
