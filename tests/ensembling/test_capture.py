"""Factorisations stay out of CUDA graphs, which cannot record them."""

import pytest
import torch
from helpers.processes import run_python
from torch._subclasses.fake_tensor import FakeTensorMode

from torchbake import bake_targets, propagate
from torchbake.ensembling.plan import SOLVERS


@pytest.fixture
def capturing(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("setting", [{}, {"omega": 0.99, "affinity_temperature": 0.02}])
def test_a_graph_that_is_recorded_holds_no_factorisation(capturing, solver, setting):
    with FakeTensorMode():
        batch = torch.randn(64, 10, device="cuda"), torch.randn(64, 8, device="cuda")
        if solver == "direct":
            with pytest.raises(
                RuntimeError, match="a CUDA graph cannot record: take solver='auto'"
            ):
                bake_targets(*batch, solver=solver, **setting)
        else:
            bake_targets(*batch, solver=solver, **setting)
        affinity, predictions = torch.rand(64, 64, device="cuda"), batch[0].softmax(dim=1)
        if solver == "direct":
            with pytest.raises(RuntimeError, match="cannot record"):
                propagate(affinity, predictions, 0.9, solver)
        else:
            propagate(affinity, predictions, 0.9, solver)


def test_a_compiler_cuts_its_graphs_around_the_factorisation(tmp_path):
    run_python(
        """
        import torch
        from torchbake import bake_targets
        from torchbake.ensembling import direct

        operation = torch.ops.torchbake.solve_directly.default
        assert torch.Tag.cudagraph_unsafe in operation.tags
        torch.manual_seed(0)
        logits, features = torch.randn(20, 10), torch.randn(20, 8)
        torch.library.opcheck(direct._solve_uncaptured, (features, logits.softmax(1), 0.5, 1.0))

        calls = []

        def noting(graph, inputs):
            calls.extend(node.target for node in graph.graph.nodes)
            return graph

        compiled = torch.compile(bake_targets, backend=noting, fullgraph=True)
        expected = bake_targets(logits, features, solver="direct")
        for captured in (False, True):
            direct.may_be_captured = lambda device_type: captured  # as on a card
            torch.compiler.reset()
            calls.clear()
            found = compiled(logits, features, solver="direct")
            torch.testing.assert_close(found, expected)
            assert (operation in calls) is captured, calls
        """,
        tmp_path,
    )
