import numpy as np
import pytest
import torch
from helpers.reference import clustered
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, top_k_accuracy_score

from torchbake.evaluation import BINS, LabelledLogits, Metrics, measure_by_class


@pytest.fixture
def predictions():
    logits, _, labels = clustered(500, classes=10)
    return logits / 4, labels


def measured(logits, labels, batch=64):
    metrics = Metrics(torch.device("cpu"))
    for part in torch.arange(len(labels)).split(batch):
        metrics.add(logits[part], labels[part])
    return metrics.result()


def test_agrees_with_scikit_learn(predictions):
    logits, labels = predictions
    probabilities = logits.double().softmax(dim=1).numpy()
    figures = measured(logits, labels)
    assert figures["top1"] == pytest.approx(100 * top_k_accuracy_score(labels, probabilities, k=1))
    assert figures["top5"] == pytest.approx(100 * top_k_accuracy_score(labels, probabilities, k=5))
    assert figures["nll"] == pytest.approx(log_loss(labels, probabilities), rel=1e-5)


def test_figures_of_unequal_classes_agree_with_scikit_learn(predictions):
    logits, labels = predictions
    kept = (labels > 3) | (torch.arange(len(labels)) % 9 == 0)
    logits, labels = logits[kept] + torch.linspace(0, 2, 10), labels[kept]
    predicted = logits.argmax(dim=1)
    figures = measure_by_class(LabelledLogits(logits, labels, torch.arange(len(labels))))
    expected = balanced_accuracy_score(labels, predicted)
    assert figures["balanced_accuracy"] == pytest.approx(100 * expected)
    assert figures["macro_f1"] == pytest.approx(100 * f1_score(labels, predicted, average="macro"))
    assert figures["balanced_accuracy"] < measured(logits, labels)["top1"] - 1


def test_classes_without_images_do_not_count():
    logits = torch.eye(4)[[0, 0, 3, 1]]
    labels = torch.tensor([0, 0, 1, 1])
    figures = measure_by_class(LabelledLogits(logits, labels, torch.arange(4)))
    assert figures == pytest.approx({"balanced_accuracy": 75, "macro_f1": 100 * (1 + 2 / 3) / 2})


def test_calibration_error_is_guos_equation(predictions):
    logits, labels = predictions
    probabilities = logits.double().softmax(dim=1).numpy()
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels.numpy()
    expected = 0.0
    for low in np.arange(BINS) / BINS:
        inside = (confidence >= low) & (confidence < low + 1 / BINS)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert measured(logits, labels)["ece"] == pytest.approx(100 * expected, abs=1e-3)


def test_does_not_depend_on_how_batches_are_cut(predictions):
    for name, value in measured(*predictions, batch=7).items():
        assert value == pytest.approx(measured(*predictions, batch=500)[name])


def test_logits_that_are_not_numbers_do_not_break_it():
    figures = measured(torch.full((3, 4), torch.nan), torch.tensor([0, 1, 2]))
    assert np.isnan(figures["nll"])


def test_fewer_than_five_classes():
    logits, labels = torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([1, 1])
    figures = measured(logits, labels)
    assert figures["top1"] == 50
    assert figures["top5"] == 100
