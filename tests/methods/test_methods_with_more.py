"""Losses of methods with teachers, peers, branches or heads against values computed by hand."""

import pytest
import torch
from helpers.method_examples import Recorded, assert_value, ce, kl, other_logits, soft, task
from torch import nn
from torch.nn import functional as F

from torchbake.errors import UserError
from torchbake.methods import METHODS, Batch
from torchbake.methods.kdcl import choose_best_network, combine_linearly, take_least_logits
from torchbake.models.classifier import Classifier
from torchbake.models.create import create_model


@pytest.mark.parametrize("name", ["kd", "tf-kd-self"])
def test_checkpoints_do_not_hold_the_teacher(name):
    method = METHODS[name](teacher="1")
    method.setup(task())
    assert method.teachers
    assert not method.state_dict()


@pytest.mark.parametrize("name", ["kd", "kd-ensemble", "tf-kd-self"])
def test_without_a_teacher_it_says_so(name):
    with pytest.raises(UserError, match=r"^method.teacher: name the run folder"):
        METHODS[name]().setup(task())


def test_dml(example):
    model, batch, logits, _, labels = example
    peers = [other_logits(1), other_logits(2)]
    method = METHODS["dml"](networks=3, weight=0.5)
    method.setup(task(make_network=lambda k: Recorded((peers[k - 1], peers[k - 1]))))
    every = [logits, *peers]
    hard = sum(ce(z, labels) for z in every)
    mutual = sum(kl(soft(b), soft(a)) for a in every for b in every if a is not b)
    assert_value(method(model, batch), hard + 0.5 * mutual / 2)


@pytest.mark.parametrize("ensemble", ["min-logit", "naive", "linear"])
def test_kdcl(example, ensemble):
    model, batch, logits, _, labels = example
    peer = other_logits()
    method = METHODS["kdcl"](ensemble=ensemble, temperature=2.0, weight=0.5)
    network = Recorded((peer, peer))
    method.setup(task(make_network=lambda k: network))
    views = torch.stack([torch.zeros(12, 1, 8, 8), torch.ones(12, 1, 8, 8)]).flatten(0, 1)
    step = method(model, batch._replace(images=views))
    made = {
        "min-logit": take_least_logits,
        "naive": choose_best_network,
        "linear": combine_linearly,
    }[ensemble]
    target = soft(made(torch.stack([logits, peer]), labels), 2)
    distances = kl(target, soft(logits, 2)) + kl(target, soft(peer, 2))
    assert_value(step, ce(logits, labels) + ce(peer, labels) + 0.5 * 4 * distances)
    assert network.given[0].min() == 1  # each network has a view of its own


def test_kdcl_ensembles():
    labels = torch.tensor([0, 2])
    one = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
    two = torch.tensor([[1.0, 0.5, -2.0], [4.0, 0.0, 2.0]])
    both = torch.stack([one, two])
    least = torch.tensor([[0.0, -1.0, -3.0], [-1.0, -2.0, 0.0]])
    torch.testing.assert_close(take_least_logits(both, labels), least)
    # −log softmax of the label: 0.41 and 0.51 of the first image; 2.17 and 2.14 of the second.
    torch.testing.assert_close(choose_best_network(both, labels), torch.stack([one[0], two[1]]))
    combined = float(F.cross_entropy(combine_linearly(both, labels), labels))
    grid = [F.cross_entropy(w * one + (1 - w) * two, labels) for w in torch.linspace(0, 1, 1001)]
    assert combined == pytest.approx(float(min(grid)), abs=1e-4)


def trained(name, **settings):
    """A method that has taps in a real network, and a step of it on real shapes."""
    torch.manual_seed(0)
    network = create_model("small_cnn", 10, in_chans=1, image_size=8)
    method = METHODS[name](**settings)
    method.setup(task(network))
    images = torch.randn(12, 1, 8, 8)
    batch = Batch(images, torch.arange(12) % 10, torch.arange(12))
    network.train(), method.train()
    return network, method, batch


def test_byot():
    network, method, batch = trained("byot", alpha=0.3, weight=0.05, temperature=2.0)
    step = method(network, batch)
    features, logits = network(batch.images)
    stages = [getattr(network.network.layers, "0")(batch.images)]
    stages.append(network.network.layers[1](stages[0]))
    expected = ce(logits, batch.labels)
    for head, stage in zip(method.heads, stages, strict=True):
        output = head(stage)
        expected += 0.7 * ce(output.logits, batch.labels)
        expected += 0.3 * kl(soft(logits, 2), soft(output.logits, 2))
        expected += 0.05 * float((output.features - features).square().sum(dim=1).mean().detach())
    assert_value(step, expected)
    assert [tuple(head(s).maps.shape) for head, s in zip(method.heads, stages, strict=True)] == [
        (12, 64, 4, 4),
        (12, 64, 4, 4),
    ]


def test_one():
    network, method, batch = trained("one", branches=3, temperature=2.0)
    step = method(network, batch)
    shared = network.network.layers[1](network.network.layers[0](batch.images))
    every = [network(batch.images).logits]
    for stage, classifier in zip(method.stages, method.classifiers, strict=True):
        every.append(classifier(stage(shared).mean(dim=(2, 3))))
    gate = method.gate(shared.mean(dim=(2, 3))).softmax(dim=1)
    ensemble = sum(gate[:, k : k + 1] * z for k, z in enumerate(every))
    expected = sum(ce(z, batch.labels) for z in (*every, ensemble))
    expected += 4 * sum(kl(soft(ensemble, 2), soft(z, 2)) for z in every)
    assert_value(step, expected)
    first, second = (dict(stage.named_parameters())["0.weight"] for stage in method.stages)
    assert not first.equal(second)


@torch.no_grad()
def mixskd_terms(network, method, batch):
    """The loss's summands for temperature 2, after the same random draws."""
    share = float(torch.distributions.Beta(0.4, 0.4).sample())
    other = torch.randperm(12)

    def mix(x):
        return share * x + (1 - share) * x[other]

    images = torch.cat([batch.images, mix(batch.images)])
    layers, stages = network.network.layers, []
    for stage in range(3):
        stages.append(layers[stage](stages[-1] if stages else images))
    heads = [head(stage) for head, stage in zip(method.heads, stages, strict=False)]
    exits = [head.logits for head in heads] + [network(images).logits]
    maps = [head.maps for head in heads] + [stages[-1]]
    labels = batch.labels
    truth = mix(F.one_hot(labels, 10).double())

    def mixed_ce(z):
        return float(-(truth * z.double().log_softmax(dim=1)).sum(dim=1).mean())

    expected = {"cross_entropy": sum(ce(z[:12], labels) + mixed_ce(z[12:]) for z in exits)}
    expected["features"] = sum(float((mix(m[:12]) - m[12:]).square().mean()) for m in maps)
    told = 0.0
    for discriminator, m in zip(method.discriminators, maps, strict=True):
        pair = torch.cat([mix(m[:12]), m[12:]]).mean(dim=(2, 3))
        p = discriminator(pair)[:, 0].double().sigmoid()
        told -= float((p[:12].log().sum() + (1 - p[12:]).log().sum()) / 24)
    expected["discriminators"] = told
    pairs = [(soft(mix(z[:12]), 2), soft(z[12:], 2)) for z in exits]
    expected["heads"] = 4 * sum(kl(a, b) + kl(b, a) for a, b in pairs[:-1])
    teachers = [method.teacher([mix(m[:12]) for m in maps]), method.teacher([m[12:] for m in maps])]
    (mixed, plain) = pairs[-1]
    expected["teacher"] = sum(map(mixed_ce, teachers)) + 4 * (
        kl(soft(teachers[1], 2), mixed) + kl(soft(teachers[0], 2), plain)
    )
    return expected


def test_mixskd():
    network, method, batch = trained("mixskd", temperature=2.0)
    torch.manual_seed(3)
    step = method(network, batch)
    torch.manual_seed(3)
    expected = mixskd_terms(network, method, batch)
    for name, value in expected.items():
        assert float(step.terms[name].detach()) == pytest.approx(value, rel=1e-4, abs=1e-6), name
    assert_value(step, sum(expected.values()))
    step.loss.backward()
    for parameter in (*network.parameters(), *method.parameters()):
        assert parameter.grad is not None


MODELS = {"resnet20": 32, "resnet18": 32, "vit_tiny_patch16_224": 224, "mobilenetv3_small_050": 32}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["byot", "one", "mixskd"])
def test_inner_stages_of_many_networks(model, name):
    side = MODELS[model]
    torch.manual_seed(0)

    def make_network(number):
        return create_model(model, 10, in_chans=3, image_size=side)

    network = make_network(0)
    features = network.eval()(torch.zeros(1, 3, side, side)).features.shape[1]
    method = METHODS[name]()
    method.setup(
        task(
            network,
            num_features=features,
            image_shape=(3, side, side),
            make_network=make_network,
        )
    )
    network.train(), method.train()
    batch = Batch(torch.randn(3, 3, side, side), torch.tensor([0, 1, 2]), torch.arange(3))
    step = method(network, batch)
    step.loss.backward()
    assert step.loss.isfinite()
    assert step.logits.shape == (3, 10)
    assert all(p.grad is not None for p in method.parameters())


def test_stages_of_ones_own_network_are_named():
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(128, 10)
    )
    model = Classifier(network, classifier="3")
    with pytest.raises(UserError, match=r"^method.stages: the model does not tell its stages"):
        METHODS["byot"]().setup(task(model))
    with pytest.raises(UserError, match=r"^method.stages: the model has no layer '7'"):
        METHODS["byot"](stages=("0", "7")).setup(task(model))
    with pytest.raises(UserError, match=r"^method.stages: layer '2' gave neither maps"):
        METHODS["byot"](stages=("0", "2")).setup(task(model))
    method = METHODS["byot"](stages=("0", "1"))
    method.setup(task(model, num_features=128))
    assert len(method.heads) == 1
