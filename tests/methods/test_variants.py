"""BAKE's variants: targets against values computed by hand, and what they keep."""

import pytest
import torch
from helpers.method_examples import Recorded, assert_value, ce, kl, other_logits, soft, task
from helpers.processes import run_python
from helpers.reference import clustered, reference_targets
from torch import nn
from torch.nn import functional as F

from torchbake.ensembling.masked import Lesson, mask_teachers, solve_masked
from torchbake.methods import METHODS, Batch
from torchbake.methods.bake_memory import Memory
from torchbake.models.create import create_model

Variants = METHODS["bake-variants"]


def lesson(n, seed=0, first=0):
    logits, features, labels = clustered(n, seed=seed)
    return Lesson(
        features, soft(logits, 4).float(), F.one_hot(labels, 10).float(), torch.arange(n) + first
    )


def by_iteration(own, others, omega, temperature, allowed):
    """Q ← ω (Â Q + B R) + (1 − ω) P, until nothing changes; rows without teachers stay."""
    unit = F.normalize(torch.cat([own.features, others.features]).double(), dim=1)
    n = len(own.indices)
    weights = torch.exp(unit[:n] @ unit.T / temperature) * allowed
    sums = weights.sum(dim=1, keepdim=True)
    affinity = weights / torch.where(sums == 0, 1, sums)
    share = omega * (sums > 0)
    p, r = own.predictions.double(), others.predictions.double()
    q = p
    for _ in range(600):
        q = share * (affinity @ torch.cat([q, r])) + (1 - share) * p
    return q


def test_all_of_a_batch_alone_are_taught_as_by_the_paper():
    logits, features, labels = clustered(24)
    own = Lesson(features, soft(logits, 4), F.one_hot(labels, 10).double(), torch.arange(24))
    for omega, temperature in ((0.5, 1.0), (0.9, 0.05)):
        targets = solve_masked(own, None, omega=omega, affinity_temperature=temperature)
        expected = reference_targets(logits, features, 4.0, omega, temperature)
        torch.testing.assert_close(targets, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("neighbours", ["all", "same-class", "other-class"])
@pytest.mark.parametrize(("omega", "temperature"), [(0.5, 1.0), (0.9, 0.05)])
def test_teachers_beside_the_batch(neighbours, omega, temperature):
    own, others = lesson(12), lesson(30, seed=1, first=5)
    own.labels[0] = F.one_hot(torch.tensor(9), 10)  # perhaps alone in its class
    others.labels[others.labels.argmax(dim=1) == 9] = F.one_hot(torch.tensor(8), 10).float()
    allowed = torch.ones(12, 42, dtype=torch.bool)
    labels = torch.cat([own.labels, others.labels]).argmax(dim=1).tolist()
    indices = torch.cat([own.indices, others.indices]).tolist()
    for i in range(12):
        for j in range(42):
            same = labels[i] == labels[j]
            barred = {"all": False, "same-class": not same, "other-class": same}[neighbours]
            allowed[i, j] = indices[i] != indices[j] and not barred
    targets = solve_masked(
        own, others, omega=omega, affinity_temperature=temperature, neighbours=neighbours
    )
    expected = by_iteration(own, others, omega, temperature, allowed)
    torch.testing.assert_close(targets.double(), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(12), atol=1e-5, rtol=0)


def test_whom_nobody_may_teach_keeps_its_prediction():
    own = lesson(4)._replace(labels=torch.eye(10)[:4])  # all of different classes
    targets = solve_masked(own, None, omega=0.9, affinity_temperature=1.0, neighbours="same-class")
    torch.testing.assert_close(targets, own.predictions)


def test_mixed_images_are_of_all_their_classes():
    labels = torch.tensor([[1.0, 0, 0], [0.4, 0.6, 0], [0, 0, 1.0]])
    rows = Lesson(torch.zeros(3, 2), torch.zeros(3, 3), labels, torch.arange(3))
    same = mask_teachers(rows, rows._replace(indices=torch.arange(3, 6)), "same-class")
    assert same.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_a_memory_keeps_the_last_images():
    memory = Memory(5, 64, 10)
    assert not mask_teachers(lesson(3), memory.read()).any()  # empty places teach nobody
    for start in (0, 3, 6):
        memory.write(lesson(3, seed=start, first=start))
    assert sorted(memory.indices.tolist()) == [4, 5, 6, 7, 8]
    newest = lesson(3, seed=6, first=6)
    for row, index in enumerate(newest.indices.tolist()):
        place = memory.indices.tolist().index(index)
        torch.testing.assert_close(memory.features[place], newest.features[row])
        torch.testing.assert_close(memory.predictions[place], newest.predictions[row])
        torch.testing.assert_close(memory.labels[place], newest.labels[row])
    memory.write(lesson(12, first=20))  # more than fit
    assert sorted(memory.indices.tolist()) == list(range(27, 32))
    own = lesson(2, first=27)
    assert (~mask_teachers(own, memory.read())).sum() == 2  # each its own earlier self


def test_bake_with_a_memory(example):
    model, batch, logits, features, labels = example
    method = Variants(memory=12, omega=0.7, weight=0.5)
    method.setup(task())
    first = method(model, batch)
    assert_value(first, Variants(omega=0.7, weight=0.5)(model, batch).loss)  # nothing yet
    later, others = other_logits(), clustered(12, seed=3)[1]
    step = method(Recorded((others, later)), batch._replace(indices=torch.arange(12) + 3))
    one_hot = F.one_hot(labels, 10).float()
    own = Lesson(others, soft(later, 4), one_hot, torch.arange(12) + 3)
    past = Lesson(features, soft(logits, 4), one_hot, torch.arange(12))
    allowed = own.indices[:, None] != torch.cat([own.indices, past.indices])
    q = by_iteration(own, past, 0.7, 1.0, allowed)
    assert_value(step, ce(later, labels) + 0.5 * 16 * kl(q, soft(later, 4)))


def test_labels_blend_into_what_teaches(example):
    model, batch, logits, features, labels = example
    step = Variants(label_share=0.25, omega=0.6)(model, batch)
    blended = soft(logits, 4).lerp(F.one_hot(labels, 10).double(), 0.25)
    q = reference_targets(4 * blended.log(), features, omega=0.6)
    assert_value(step, ce(logits, labels) + 16 * kl(q, soft(logits, 4)))


def test_settings_that_change_during_the_run(example):
    model, batch, logits, features, _ = example

    def distillation(method, progress):
        return float(method(model, batch._replace(progress=progress)).terms["distillation"])

    def literal(omega=0.5, affinity_temperature=1.0):
        q = reference_targets(logits, features, 4.0, omega, affinity_temperature)
        return pytest.approx(16 * kl(q, soft(logits, 4)), rel=1e-4, abs=1e-6)

    weight = Variants(weight_warmup=0.5)
    assert distillation(weight, 0.0) == 0
    assert 2 * distillation(weight, 0.25) == literal()
    assert distillation(weight, 0.5) == distillation(weight, 0.9) == literal()
    omega = Variants(omega_warmup=0.5)
    assert distillation(omega, 0.0) == pytest.approx(0, abs=1e-6)
    assert distillation(omega, 0.25) == literal(omega=0.25)
    assert distillation(omega, 0.75) == literal()
    sharper = Variants(final_affinity_temperature=0.01)
    assert distillation(sharper, 0.0) == literal()
    assert distillation(sharper, 0.5) == literal(affinity_temperature=0.1)
    assert distillation(sharper, 1.0) == literal(affinity_temperature=0.01)
    plus = METHODS["bake-plus"]()
    assert plus.partners == 0  # ordinary shuffled batches
    assert distillation(plus, 0.0) == literal()
    assert distillation(plus, 1.0) == literal(affinity_temperature=0.05)


def test_without_further_settings_it_is_bake(example):
    model, batch, *_ = example
    step, paper = Variants()(model, batch), METHODS["bake"]()(model, batch)
    assert torch.equal(step.loss, paper.loss)


def test_an_average_of_the_network_teaches():
    torch.manual_seed(3)
    network = create_model("small_cnn", 10, in_chans=1, image_size=8)
    method = Variants(ema_decay=0.5, weight=0.5)
    method.setup(task(network))
    start = [weight.clone() for weight in network.parameters()]
    with torch.no_grad():
        for weight in network.parameters():
            weight += 1
    images, labels = torch.randn(12, 1, 8, 8), torch.randint(10, (12,))
    step = method(network, Batch(images, labels, torch.arange(12)))
    # Young as it is, it remembers a tenth of what it was: min(0.5, 1 / 10).
    means = list(method.average.parameters())
    for mean, first in zip(means, start, strict=True):
        torch.testing.assert_close(mean, first + 0.9, rtol=1e-5, atol=1e-5)
    assert not any(mean.requires_grad for mean in means)
    features, teaching = method.average(images)
    q = reference_targets(teaching.detach(), features.detach())
    expected = ce(step.logits, labels) + 0.5 * 16 * kl(q, soft(step.logits, 4))
    torch.testing.assert_close(float(step.loss.detach()), float(expected), rtol=1e-4, atol=1e-4)
    for _ in range(20):
        method(network, Batch(images, labels, torch.arange(12)))
    torch.testing.assert_close(means[0], next(network.parameters()), rtol=1e-4, atol=1e-4)


def test_gradients_flow_through_the_students_logits_alone(example):
    _, batch, logits, features, _ = example
    logits, features = logits.clone().requires_grad_(), features.clone().requires_grad_()
    method = Variants(memory=12, neighbours="other-class", label_share=0.5)
    method.setup(task())
    method(Recorded((features, logits)), batch).loss.backward()
    assert features.grad is None
    assert logits.grad.abs().sum() > 0
    assert not any(isinstance(p, nn.Parameter) for p in method.parameters())


def test_variants_train_compiled(tmp_path):
    """As they are on their own: with shapes unchecked, which the compiler cannot take.

    Nothing is compiled anew as ω, λ and T_a move.
    """
    run_python(
        """
        import warnings
        from pathlib import Path
        from rich.console import Console
        from torchbake.training.loop import train
        from torch._dynamo.utils import counters
        from torchbake.training.recipe_files import load_recipe
        own = [("method", "bake-variants"), ("method.memory", "100"),
               ("method.omega_warmup", "0.5"), ("method.weight_warmup", "0.5"),
               ("method.final_affinity_temperature", "0.05"), ("method.ema_decay", "0.9"),
               ("training.max_steps", "12")]
        figures = {}
        for compiled in ("false", "true"):
            recipe = load_recipe("digits/bake", [*own, ("training.compile", compiled)])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                figures[compiled] = train(recipe, Path(compiled), console=Console(quiet=True))
        difference = figures["true"]["nll"] - figures["false"]["nll"]
        assert abs(difference) < 1e-3, figures
        graphs = counters["stats"]["unique_graphs"]
        assert 0 < graphs < 4, graphs  # none anew as the schedules move
        """,
        tmp_path,
    )
