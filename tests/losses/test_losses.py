import math
import weakref
from pathlib import Path

import pytest
import torch
from helpers.processes import run_python
from helpers.reference import clustered, reference_targets
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from torchbake import BAKELoss, bake_targets, distillation_loss


def test_equals_the_formula_written_out():
    logits, features, labels = clustered(32)
    loss = BAKELoss(temperature=3.0, omega=0.7, weight=0.5, affinity_temperature=0.4)(
        logits, labels, features
    )
    q = reference_targets(logits, features, 3.0, 0.7, 0.4)
    z = logits.double()
    divergence = (q * (q.log() - (z / 3).log_softmax(dim=1))).sum(dim=1).mean()
    expected = F.cross_entropy(z, labels) + 0.5 * 3.0**2 * divergence
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("mixed", [False, True])
def test_class_weights_and_label_smoothing_by_hand(mixed):
    """In the cross-entropy alone, in Python's own arithmetic."""
    logits, features, labels = clustered(12, 5)
    weights, smoothing = [0.5, 2.0, 1.0, 4.0, 0.25], 0.3
    rows = F.one_hot(labels, 5).double()
    if mixed:
        rows = rows.lerp(rows.roll(1, 0), 0.25)
    losses = []
    for row, z in zip(rows.tolist(), logits.double().tolist(), strict=True):
        log_p = [value - math.log(sum(map(math.exp, z))) for value in z]
        for number, share in enumerate(row):
            smoothed = (1 - smoothing) * log_p[number] + smoothing * sum(log_p) / 5
            losses.append(-weights[number] * share * smoothed)
    target = rows.float() if mixed else labels
    loss = BAKELoss(label_smoothing=smoothing, class_weights=torch.tensor(weights))
    terms = loss.terms(logits, target, features)
    assert terms["cross_entropy"].item() == pytest.approx(sum(losses) / 12, rel=1e-5)
    assert terms["distillation"] == BAKELoss().terms(logits, target, features)["distillation"]
    assert "class_weights" not in loss.state_dict()
    loss.class_weights = torch.ones(5)
    plain = BAKELoss(label_smoothing=smoothing)(logits, target, features)
    torch.testing.assert_close(loss(logits, target, features), plain)


def test_class_weights_of_other_classes_are_refused():
    logits, features, labels = clustered(4)
    with pytest.raises(ValueError, match=r"class_weights must be \(10,\), .* got \(3,\)"):
        BAKELoss(class_weights=torch.ones(3))(logits, labels, features)


def test_a_value_by_hand():
    # Two images listen to each other alone: Q = (1 − ω)/(1 − ω²) (P + ω P of the other).
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    targets = bake_targets(logits, torch.eye(2), temperature=1.0, omega=0.5)
    first = (0.75 + 0.5 * 0.5) * 0.5 / 0.75
    assert targets[0, 0].item() == pytest.approx(first, abs=1e-6)


@pytest.mark.parametrize("classes", [10, 40_000])  # one block of rows, and several
def test_gradient_is_that_of_a_constant_target(classes):
    logits, features, labels = clustered(16, classes)
    logits.requires_grad_(), features.requires_grad_()
    terms = BAKELoss().terms(logits, labels, features)
    sum(terms.values()).backward()
    assert features.grad is None
    q = bake_targets(logits, features)
    torch.testing.assert_close(terms["distillation"], distillation_loss(logits, q))
    n, t = len(labels), 4.0
    expected = (logits.softmax(1) - F.one_hot(labels, classes)) / n
    expected = expected + t * ((logits / t).softmax(1) - q) / n
    torch.testing.assert_close(logits.grad, expected.detach(), rtol=1e-4, atol=1e-6)


def test_a_second_derivative_is_refused_rather_than_wrong():
    logits, features, labels = clustered(4)
    logits.requires_grad_()
    loss = BAKELoss()(logits, labels, features)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(loss, logits, create_graph=True)


def test_compiles_as_one_graph_with_the_same_gradient(tmp_path):
    run_python(
        f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        import torch
        from helpers.reference import clustered
        from torchbake import BAKELoss

        def results(criterion, n, classes):
            logits, features, labels = clustered(n, classes)
            logits.requires_grad_()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = criterion(logits, labels, features)
            assert torch.is_grad_enabled()
            return loss, torch.autograd.grad(loss, logits)[0]

        for backend in ("aot_eager", "inductor"):
            torch.compiler.reset()
            compiled = torch.compile(BAKELoss(), fullgraph=True, backend=backend)
            for size in ((32, 10), (16, 50)):
                torch.testing.assert_close(results(compiled, *size), results(BAKELoss(), *size))
        """,
        tmp_path,
    )


def test_compiles_itself_with_the_same_values_and_gradients(tmp_path):
    run_python(
        f"""
        import copy, pickle, sys
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        import torch
        from helpers.reference import clustered
        from torch._dynamo.utils import counters
        from torchbake import BAKELoss

        def results(criterion, labels_of=lambda labels: labels, **schedule):
            logits, features, labels = clustered(32)
            logits.requires_grad_()
            terms = criterion.terms(logits, labels_of(labels), features, **schedule)
            loss = terms["cross_entropy"] + terms["distillation"]
            return *terms.values(), torch.autograd.grad(loss, logits)[0]

        compiled, plain = BAKELoss(weight=0.7, compile=True), BAKELoss(weight=0.7)
        torch.testing.assert_close(results(compiled), results(plain))
        graphs = counters["stats"]["unique_graphs"]
        assert graphs == 1
        for copied in (copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))):
            torch.testing.assert_close(results(copied), results(plain))
        assert counters["stats"]["unique_graphs"] == graphs  # and the copies had the same
        for now in ((0.5, 0.1), (0.3, 0.4), (0.2, 0.05)):
            schedule = dict(zip(("omega", "affinity_temperature"), now))
            torch.testing.assert_close(results(compiled, **schedule), results(plain, **schedule))
        assert counters["stats"]["unique_graphs"] == graphs + 1  # for the whole schedule
        assert not counters["graph_break"]

        logits, features, labels = clustered(32)
        try:
            compiled(logits, labels + 100, features)
        except ValueError as error:
            assert "only 10 columns" in str(error)
        else:
            raise AssertionError("class numbers that are none")
        """,
        tmp_path,
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_computes_the_loss_in_float32(dtype):
    logits, features, labels = clustered(64)
    logits, features = logits.to(dtype), features.to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        loss = BAKELoss()(logits, labels, features)
    assert loss.dtype == torch.float32
    expected = BAKELoss()(logits.float(), labels, features.float())
    torch.testing.assert_close(loss, expected)


def test_class_probabilities_serve_as_labels():
    logits, features, labels = clustered(8)
    soft = F.one_hot(labels, 10).float()
    torch.testing.assert_close(
        BAKELoss()(logits, soft, features), BAKELoss()(logits, labels, features)
    )


def test_zero_weight_is_cross_entropy_and_terms_add_up():
    logits, features, labels = clustered(8)
    assert BAKELoss(weight=0.0)(logits, labels, features) == F.cross_entropy(logits, labels)
    terms = BAKELoss().terms(logits, labels, features)
    assert sum(terms.values()) == BAKELoss()(logits, labels, features)
    assert list(terms) == ["cross_entropy", "distillation"]


def test_soft_targets_with_zeros_give_a_finite_loss():
    targets = torch.tensor([[1.0, 0.0]])
    assert distillation_loss(torch.tensor([[50.0, -50.0]]), targets).isfinite()


@pytest.mark.parametrize(
    "setting",
    [
        {"omega": 1.0},
        {"temperature": 0.0},
        {"weight": -1.0},
        {"affinity_temperature": 0.0},
        {"label_smoothing": 1.5},
        {"class_weights": torch.tensor([1.0, -1.0])},
        {"class_weights": torch.tensor([1, 2])},
    ],
)
def test_settings_out_of_range_are_refused_when_made(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        BAKELoss(**setting)


def test_settings_may_change_and_are_checked_then():
    logits, features, labels = clustered(8)
    loss = BAKELoss()
    loss.omega = 0.9
    assert loss(logits, labels, features) == BAKELoss(omega=0.9)(logits, labels, features)
    assert "omega=0.9" in repr(loss)
    with pytest.raises(ValueError, match="omega must be"):
        loss.omega = 1.0


class LargeStorages(TorchDispatchMode):
    """Counts storages of `size` bytes and more: how many were made, and the most alive at once."""

    def __init__(self, size):
        super().__init__()
        self.size = size
        self.alive = set()
        self.made = self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(results):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().nbytes() >= self.size:
                storage = tensor.untyped_storage()
                key = storage._cdata
                if key not in self.alive:
                    self.alive.add(key)
                    self.made += 1
                    self.peak = max(self.peak, len(self.alive))
                    weakref.finalize(storage, self.alive.discard, key)
        return results


@pytest.mark.parametrize("solver", ["fixed_point", "direct"])
def test_many_classes_make_few_matrices_of_images_and_classes(solver):
    n, classes = 16, 21_843
    logits = torch.randn(n, classes, requires_grad=True)
    features, labels = torch.randn(n, 32), torch.randint(classes, (n,))
    with LargeStorages(4 * n * classes) as hard:
        F.cross_entropy(logits, labels).backward()
    assert (hard.made, hard.peak) == (3, 3)
    logits.grad = None
    with LargeStorages(4 * n * classes) as whole:
        BAKELoss(solver=solver)(logits, labels, features).backward()
    # P, Â P or its solution, and Q forward; two gradients backward, and their sum.
    assert whole.made <= hard.made + 6
    assert whole.peak <= hard.peak + 2
