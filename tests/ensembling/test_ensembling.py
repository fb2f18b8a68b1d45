from pathlib import Path

import pytest
import torch
from helpers.processes import run_python
from helpers.reference import clustered, reference_targets
from hypothesis import given, settings
from hypothesis import strategies as st

from torchbake import affinities, bake_targets, propagate
from torchbake.ensembling import affinity, alone


@pytest.mark.parametrize("omega", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 64, 128, 1024])
def test_agrees_with_the_closed_form(n, omega):
    logits, features, _ = clustered(n, classes=100)
    targets = bake_targets(logits, features, omega=omega)
    expected = reference_targets(logits, features, omega=omega)
    assert targets.dtype == torch.float32
    torch.testing.assert_close(targets.double(), expected, rtol=0, atol=1e-6)


@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(1, 80),
    classes=st.integers(1, 120),
    temperature=st.floats(0.5, 20),
    affinity_temperature=st.floats(0.02, 1) | st.floats(1, 10),
    omega=st.floats(0, 0.99),
    solver=st.sampled_from(["auto", "fixed_point", "direct"]),
    seed=st.integers(0, 10**6),
)
def test_agrees_with_the_closed_form_anywhere(n, classes, seed, **setting):
    logits, features, _ = clustered(n, classes, seed=seed)
    targets = bake_targets(logits, features, **setting)
    setting.pop("solver")
    torch.testing.assert_close(
        targets.double(), reference_targets(logits, features, **setting), rtol=0, atol=1e-6
    )
    assert (targets >= 0).all()
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(n), rtol=0, atol=1e-5)


@pytest.mark.parametrize("solver", ["auto", "fixed_point", "direct"])
@pytest.mark.parametrize(("n", "classes"), [(700, 20), (1100, 20), (1030, 1100)])
@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"omega": 0.9},
        {"omega": 0.99, "affinity_temperature": 0.5},
        {"affinity_temperature": 0.1},
        {"omega": 0.9, "affinity_temperature": 0.02},
    ],
)
def test_larger_batches_agree_too(n, classes, setting, solver):
    logits, features, _ = clustered(n, classes)
    targets = bake_targets(logits, features, solver=solver, **setting)
    expected = reference_targets(logits, features, **setting)
    torch.testing.assert_close(targets.double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("affinity_temperature", [1.0, 0.1])
def test_a_matrix_too_large_to_hold_is_made_in_blocks(monkeypatch, affinity_temperature):
    logits, features, _ = clustered(100)
    setting = {"affinity_temperature": affinity_temperature}
    made, score = [], affinity.score_pairs

    def watched(rows, *arguments):
        made.append(len(rows))
        return score(rows, *arguments)

    for module in (affinity, alone):
        monkeypatch.setattr(module, "HELD", 30 * 100)
    monkeypatch.setattr(affinity, "score_pairs", watched)
    targets = bake_targets(logits, features, solver="fixed_point", **setting)
    expected = reference_targets(logits, features, **setting)
    torch.testing.assert_close(targets.double(), expected, rtol=0, atol=1e-6)
    assert set(made) == {30, 10}


def test_float64_stays_float64():
    logits, features, _ = clustered(50)
    targets = bake_targets(logits.double(), features.double(), omega=0.99)
    expected = reference_targets(logits, features, omega=0.99)
    torch.testing.assert_close(targets, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_and_autocast_compute_in_float32(dtype):
    logits, features, _ = clustered(64)
    logits, features = logits.to(dtype), features.to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        targets = bake_targets(logits, features, omega=0.9)
    assert targets.dtype == torch.float32
    expected = reference_targets(logits, features, omega=0.9)
    torch.testing.assert_close(targets.double(), expected, rtol=0, atol=1e-6)


def test_one_image_alone_is_its_own_target():
    logits, features, _ = clustered(1)
    expected = (logits / 4).softmax(dim=1)
    torch.testing.assert_close(bake_targets(logits, features, omega=0.99), expected)
    assert affinities(features).tolist() == [[0.0]]


def test_omega_zero_returns_the_predictions():
    logits, features, _ = clustered(20)
    expected = (logits / 4).softmax(dim=1)
    assert torch.equal(bake_targets(logits, features, omega=0.0), expected)


def test_duplicated_images_share_their_target():
    logits, features, _ = clustered(8)
    twice = [0, 0, 1, 2, 3, 4, 5, 6, 7]
    logits, features = logits[twice], features[twice]
    targets = bake_targets(logits, features, omega=0.99, affinity_temperature=0.05)
    torch.testing.assert_close(targets[0], targets[1])
    all_alike = bake_targets(logits[:1].repeat(5, 1), features[:1].repeat(5, 1))
    torch.testing.assert_close(all_alike, (logits[:1] / 4).softmax(dim=1).repeat(5, 1))


def test_zero_features_listen_to_all_others_alike():
    logits, features, _ = clustered(6)
    features[2] = 0
    torch.testing.assert_close(
        affinities(features)[2], torch.tensor([0.2, 0.2, 0.0, 0.2, 0.2, 0.2])
    )
    expected = reference_targets(logits, features * 0)
    targets = bake_targets(logits, features * 0)
    torch.testing.assert_close(targets.double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_gradients_flow_through_affinities(temperature):
    features = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: affinities(f, temperature), (features,))


def test_extreme_logits_and_features_stay_finite():
    logits, features, _ = clustered(32)
    targets = bake_targets(1e4 * logits, 1e18 * features, affinity_temperature=0.01)
    assert targets.isfinite().all()
    assert (targets >= 0).all()


def test_no_gradient_flows_through_the_target():
    logits, features, _ = clustered(8)
    logits.requires_grad_(), features.requires_grad_()
    assert not bake_targets(logits, features).requires_grad


def test_inputs_are_left_as_they_are():
    logits, features, _ = clustered(8)
    before = logits.clone(), features.clone()
    bake_targets(logits, features)
    assert torch.equal(logits, before[0])
    assert torch.equal(features, before[1])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"omega": 1.0}, ValueError, r"omega must be in \[0, 1\), got 1.0"),
        ({"omega": -0.1}, ValueError, "omega"),
        ({"omega": float("nan")}, ValueError, "omega"),
        ({"temperature": 0.0}, ValueError, "temperature must be above 0"),
        ({"temperature": float("inf")}, ValueError, "temperature"),
        ({"affinity_temperature": -1.0}, ValueError, "affinity_temperature must be above 0"),
        ({"features": torch.ones(3, 4)}, ValueError, "5 rows of logits and 3 of features"),
        ({"features": torch.ones(5, 4, 1)}, ValueError, "features must have two dimensions"),
        ({"logits": torch.ones(0, 4), "features": torch.ones(0, 4)}, ValueError, "logits"),
        ({"gather_dtype": torch.int8}, ValueError, "gather_dtype must be a floating type"),
        ({"solver": "newton"}, ValueError, "solver must be one of auto, fixed_point, direct"),
        ({"logits": torch.ones(5, 4, dtype=torch.long)}, TypeError, "logits must be floating"),
        ({"features": torch.ones(5, 4, dtype=torch.long)}, TypeError, "features must be floating"),
    ],
)
def test_bad_input_is_refused_with_a_clear_message(unchecked, change, error, message):
    arguments = {"logits": torch.ones(5, 3), "features": torch.ones(5, 4)} | change
    with pytest.raises(error, match=message):
        bake_targets(arguments.pop("logits"), arguments.pop("features"), **arguments)


@pytest.mark.parametrize("solver", ["fixed_point", "direct"])
@pytest.mark.parametrize("classes", [5, 40])
def test_unlike_clusters_and_an_image_without_features(classes, solver):
    logits, features, _ = clustered(30, classes)
    features[:25] = features[0] + 0.1 * features[:25]
    features[7] = 0
    for scale in (1, 100):  # certain predictions: most of them are zero
        targets = bake_targets(scale * logits, features, solver=solver)
        expected = reference_targets(scale * logits, features)
        torch.testing.assert_close(targets.double(), expected, rtol=0, atol=1e-6)
        assert (targets >= 0).all()


@pytest.mark.parametrize("classes", [5, 40])
@pytest.mark.parametrize("solver", ["auto", "fixed_point", "direct"])
def test_propagate_takes_any_affinities(solver, classes):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(20, 20, generator=generator).requires_grad_()
    rows = scores.softmax(dim=1)
    predictions = torch.randn(20, classes, generator=generator).softmax(dim=1)
    targets = propagate(rows, predictions, 0.7, solver)
    exact = (
        0.3 * torch.linalg.inv(torch.eye(20).double() - 0.7 * rows.double()) @ predictions.double()
    )
    torch.testing.assert_close(targets.double(), exact, rtol=0, atol=1e-6)
    (gradient,) = torch.autograd.grad(targets[0, 0], scores, retain_graph=True)
    (expected,) = torch.autograd.grad(exact[0, 0], scores)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-5)


def test_compiles_as_one_graph(tmp_path):
    """Everywhere that the closed form holds, and with few graphs for many batch sizes."""
    # In a process of its own: the checks of shapes in the tests are not for compilers.
    run_python(
        f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        import torch
        from hypothesis import assume, given, settings, strategies as st
        from helpers.reference import clustered, reference_targets
        from torchbake import bake_targets

        def check(targets, logits, features, **setting):
            expected = reference_targets(logits, features, **setting)
            torch.testing.assert_close(targets.double(), expected, rtol=0, atol=1e-6)

        @settings(max_examples=40, deadline=None, database=None)
        @given(
            n=st.integers(1, 80),
            classes=st.integers(1, 120),
            affinity_temperature=st.floats(0.02, 1),
            omega=st.floats(0, 0.99),
            solver=st.sampled_from(["auto", "fixed_point", "direct"]),
        )
        def anywhere(n, classes, solver, **setting):
            # A thousand steps take long to compile.
            assume(solver != "fixed_point" or setting["omega"] < 0.8)
            torch.compiler.reset()
            logits, features, _ = clustered(n, classes)
            compiled = torch.compile(bake_targets, fullgraph=True, backend="aot_eager")
            check(compiled(logits, features, solver=solver, **setting), logits, features, **setting)

        anywhere()

        graphs = []

        def counting(graph, inputs):
            graphs.append(graph)
            return graph

        for solver in ("fixed_point", "direct"):
            torch.compiler.reset()
            compiled = torch.compile(bake_targets, fullgraph=True, backend=counting)
            for n in (128, 100, 120, 70, 90):
                logits, features, _ = clustered(n)
                check(compiled(logits, features, solver=solver), logits, features)
        assert len(graphs) <= 2 * 3, len(graphs)

        for setting in ({{"omega": 0.5}}, {{"omega": 0.9, "affinity_temperature": 0.02}}):
            torch.compiler.reset()
            logits, features, _ = clustered(48)
            compiled = torch.compile(bake_targets, fullgraph=True)  # by the default compiler
            check(compiled(logits, features, **setting), logits, features, **setting)
        """,
        tmp_path,
    )
