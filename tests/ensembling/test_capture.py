"""Factorisations stay out of CUDA graphs, which cannot record them."""

import pytest
import torch
from helpers.reference import clustered
from torch._subclasses.fake_tensor import FakeTensorMode

from torchbake import bake_targets, propagate
from torchbake.ensembling.direct import _solve_uncaptured, solve_directly
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
            with pytest.raises(RuntimeError, match="a CUDA graph cannot record: take solver='auto'"):
                bake_targets(*batch, solver=solver, **setting)
        else:
            bake_targets(*batch, solver=solver, **setting)
        affinity, predictions = torch.rand(64, 64, device="cuda"), batch[0].softmax(dim=1)
        if solver == "direct":
            with pytest.raises(RuntimeError, match="cannot record"):
                propagate(affinity, predictions, 0.9, solver)
        else:
            propagate(affinity, predictions, 0.9, solver)


def test_a_compiler_cuts_its_graphs_around_the_factorisation():
    operation = torch.ops.torchbake.solve_directly.default
    assert torch.Tag.cudagraph_unsafe in operation.tags
    logits, features, _ = clustered(20)
    predictions = logits.softmax(dim=1)
    torch.library.opcheck(_solve_uncaptured, (features, predictions, 0.5, 1.0))
    torch.testing.assert_close(
        operation(features, predictions, 0.5, 1.0),
        solve_directly(features, predictions, 0.5, 1.0),
    )


def test_a_direct_solve_compiled_for_cuda_is_that_operation():
    calls = []

    def noting(graph, inputs):
        calls.extend(node.target for node in graph.graph.nodes if node.op == "call_function")
        return graph

    with FakeTensorMode(allow_non_fake_inputs=True):
        batch = torch.randn(64, 10, device="cuda"), torch.randn(64, 8, device="cuda")
        torch.compile(bake_targets, backend=noting, fullgraph=True)(*batch, solver="direct")
    assert torch.ops.torchbake.solve_directly.default in calls
