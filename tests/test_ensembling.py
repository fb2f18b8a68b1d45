import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import run_python
from reference import clustered, reference_targets

from torchbake import affinities, bake_targets


@pytest.mark.parametrize("omega", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 64, 128, 1024])
def test_agrees_with_the_closed_form(n, omega):
    logits, features, _ = clustered(n, classes=100)
    targets = bake_targets(logits, features, omega=omega)
    expected = reference_targets(logits, features, omega=omega)
    assert targets.dtype == torch.float32
    torch.testing.assert_close(targets.double(), expected, rtol=0, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 80),
    classes=st.integers(1, 30),
    temperature=st.floats(0.5, 20),
    affinity_temperature=st.floats(0.1, 10),
    omega=st.sampled_from([0.0, 0.3, 0.5, 0.9, 0.99]),
    seed=st.integers(0, 10**6),
)
def test_agrees_with_the_closed_form_anywhere(
    n, classes, temperature, affinity_temperature, omega, seed
):
    logits, features, _ = clustered(n, classes, seed=seed)
    setting = {
        "temperature": temperature,
        "omega": omega,
        "affinity_temperature": affinity_temperature,
    }
    targets = bake_targets(logits, features, **setting)
    torch.testing.assert_close(
        targets.double(), reference_targets(logits, features, **setting), rtol=0, atol=1e-6
    )
    assert (targets >= 0).all()
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(n), rtol=0, atol=1e-5)


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
        ({"logits": torch.ones(5, 4, dtype=torch.long)}, TypeError, "logits must be floating"),
        ({"features": torch.ones(5, 4, dtype=torch.long)}, TypeError, "features must be floating"),
    ],
)
def test_bad_input_is_refused_with_a_clear_message(unchecked, change, error, message):
    arguments = {"logits": torch.ones(5, 3), "features": torch.ones(5, 4)} | change
    with pytest.raises(error, match=message):
        bake_targets(arguments.pop("logits"), arguments.pop("features"), **arguments)


def test_ranks_with_different_numbers_of_images_equal_one_process(tmp_path):
    """Two real processes: ensembling across ranks is that of the concatenated batch."""
    logits, features, _ = clustered(12)
    torch.save({"logits": logits, "features": features}, tmp_path / "batch.pt")
    run_python(
        """
        import torch, torch.distributed as dist
        from torchbake import bake_targets
        dist.init_process_group("gloo")
        data = torch.load("batch.pt", weights_only=True)
        own = slice(0, 5) if dist.get_rank() == 0 else slice(5, 12)
        targets = bake_targets(
            data["logits"][own], data["features"][own], omega=0.9, group=dist.group.WORLD
        )
        torch.save(targets, f"targets{dist.get_rank()}.pt")
        dist.destroy_process_group()
        """,
        tmp_path,
        ranks=2,
    )
    parts = [torch.load(tmp_path / f"targets{r}.pt", weights_only=True) for r in range(2)]
    expected = bake_targets(logits, features, omega=0.9)
    torch.testing.assert_close(torch.cat(parts), expected, rtol=0, atol=1e-6)


def test_compiles_as_one_graph(tmp_path):
    # In a process of its own: the checks of shapes in the tests are not for compilers.
    run_python(
        """
        import torch
        from torchbake import bake_targets
        logits, features = torch.randn(16, 10), torch.randn(16, 8)
        compiled = torch.compile(bake_targets, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(logits, features), bake_targets(logits, features))
        """,
        tmp_path,
    )
