"""Temperatures: recovered, bounded, cross-fitted, and the same on several ranks."""

import math

import pytest
import torch
from helpers.processes import run_python
from scipy.optimize import minimize_scalar

from torchbake.calibration import cross_fit, fit_temperature, split_in_halves


def drawn(n, classes, temperature, seed=0):
    """Logits, and labels drawn from softmax(logits / temperature)."""
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(n, classes, generator=generator)
    probabilities = (logits / temperature).softmax(dim=1)
    return logits, probabilities.multinomial(1, generator=generator)[:, 0]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
def test_the_temperature_of_labels_is_recovered(temperature):
    logits, labels = drawn(20_000, 10, temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)
    assert fit_temperature(2 * logits + 7, labels) == pytest.approx(2 * temperature, rel=0.05)


@pytest.mark.parametrize("prior", [0.0, 0.1, 3.0])
def test_it_is_the_minimum_that_scipy_finds(prior):
    logits, labels = drawn(60, 5, 0.7)
    spread = prior / (60 + prior)

    def loss(log_inverse):
        scaled = (logits.double() * math.exp(log_inverse)).log_softmax(dim=1)
        given = scaled.gather(1, labels[:, None]).mean()
        return -float((1 - spread) * given + spread * scaled.mean())

    found = minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-8})
    assert fit_temperature(logits, labels, prior) == pytest.approx(math.exp(-found.x), rel=1e-4)


def test_all_right_gives_a_temperature_within_bounds_that_more_images_lower():
    logits, labels = torch.eye(4) * 3, torch.arange(4)
    few = fit_temperature(logits, labels)
    many = fit_temperature(logits.repeat(100, 1), labels.repeat(100))
    assert 0.01 < many < few < 3
    assert fit_temperature(logits, labels, prior=0.0) == 0.01
    assert 0.01 < fit_temperature(logits[:1], labels[:1]) < 3  # a single image


def test_all_wrong_gives_the_highest():
    assert fit_temperature(torch.eye(4) * 3, torch.tensor([1, 2, 3, 0])) == 100


def test_nothing_to_fit_scales_nothing():
    assert fit_temperature(torch.empty(0, 3), torch.empty(0, dtype=torch.int64)) == 1
    assert fit_temperature(torch.ones(5, 3), torch.zeros(5, dtype=torch.int64)) == 1
    bad = torch.tensor([[0.0, math.inf], [1.0, 0.0]])
    assert math.isnan(fit_temperature(bad, torch.tensor([0, 0])))


def test_a_class_that_is_missing_and_half_precision_do_not_matter():
    logits, labels = drawn(2000, 6, 2.0)
    present = labels != 3
    whole = fit_temperature(logits[present], labels[present])
    assert whole == pytest.approx(2.0, rel=0.2)
    half = fit_temperature(logits[present].half(), labels[present])
    assert half == pytest.approx(whole, rel=1e-2)


def test_halves_have_as_many_images_of_each_class_in_any_order():
    labels = torch.tensor([0] * 10 + [1] * 7 + [2] * 3 + [3])
    indices = torch.arange(len(labels))
    second = split_in_halves(labels, indices)
    assert int(second.sum()) == len(labels) // 2
    for label in range(4):
        own = second[labels == label]
        assert abs(int(own.sum()) - int((~own).sum())) <= 1
    order = torch.randperm(len(labels))
    assert split_in_halves(labels[order], indices[order]).equal(second[order])


def test_each_half_is_scaled_by_the_temperature_of_the_other():
    logits, labels = drawn(400, 5, 2.0)
    indices = torch.arange(400)
    second = split_in_halves(labels, indices)
    temperatures = cross_fit(logits, labels, indices)
    for own in (second, ~second):
        fitted = fit_temperature(logits[~own], labels[~own])
        torch.testing.assert_close(temperatures[own], torch.full((200,), fitted))
    assert cross_fit(logits[:1], labels[:1], indices[:1]).tolist() == [1.0]


def test_three_ranks_measure_what_one_does(tmp_path):
    """Shares of unequal size, one of them empty, each image counted once."""
    code = """
        import json, os
        from pathlib import Path
        import torch, torch.distributed as dist
        from torchbake.calibration import fit_temperature
        from torchbake.evaluation import LabelledLogits, measure, measure_scaled

        def figures(rank, ranks, n):
            generator = torch.Generator().manual_seed(n)
            logits = 3 * torch.randn(n, 7, generator=generator)
            labels = (logits / 2).softmax(1).multinomial(1, generator=generator)[:, 0]
            own = torch.arange(n)[rank::ranks]
            logits = logits[own] if len(own) else torch.empty(0, 1)
            share = LabelledLogits(logits, labels[own], own)
            found = measure(share) | measure_scaled(share) | measure_scaled(share, 0.5)
            return {**measure_scaled(share), **found, "T": fit_temperature(logits, labels[own])}

        alone = [figures(0, 1, n) for n in (2, 301)]
        dist.init_process_group("gloo")
        ranks = dist.get_world_size()
        together = [figures(dist.get_rank(), ranks, n) for n in (2, 301)]
        for one, other in zip(alone, together):
            for name, value in one.items():
                assert abs(value - other[name]) < 1e-5 * max(1, abs(value)), (name, one, other)
        dist.destroy_process_group()
        """
    run_python(code, tmp_path, ranks=3)
