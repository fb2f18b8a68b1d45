"""Which labels the other images of a batch contradict: a score, and how good a ranking is."""

import math
from typing import NamedTuple

import torch
from torch.nn import functional as F

from ..._shapes import Bool, Float, Int, Tensor
from ...ensembling.checks import check_positive
from ...ensembling.dense import affinities
from ...randomness import make_generator

TEMPERATURE, AFFINITY_TEMPERATURE, BATCH_SIZE, ROUNDS = 1.0, 0.05, 1024, 4
"""How images are looked at, see `score_labels`."""

AT_ONCE = 2**16
"""Images that are compared with others at once, since all would take much memory."""


class Suspicion(NamedTuple):
    """How far each image's label is contradicted.

    Attributes:
        score: 1 − `given`, in [0, 1], as float64; the highest is the most suspicious.
        given: probability of the image's label in what the other images say of it.
        suggested: the best class but the label in what they say.
        probability: of that class.
    """

    score: Float[Tensor, " n"]
    given: Float[Tensor, " n"]
    suggested: Int[Tensor, " n"]
    probability: Float[Tensor, " n"]


@torch.no_grad()
def score_labels(
    logits: Float[Tensor, "n c"],
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    *,
    temperature: float = TEMPERATURE,
    affinity_temperature: float = AFFINITY_TEMPERATURE,
    batch_size: int = BATCH_SIZE,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Suspicion:
    """How far the ensemble of the other images contradicts each label, over several batches.

    Each round cuts a random order of all images into batches of one size. In a batch, the others
    say ÂP: affinities times predictions, of which the diagonal is zero. That is the part of the
    target Q = (1 − ω)(I − ωÂ)⁻¹P that comes from the others, to first order in ω. The network's
    prediction for the image itself is left out, since it may have learnt a wrong label by heart.
    What the others say is averaged over the rounds. If one batch holds all, a round is enough.

    The defaults were chosen on digits and on parts of CIFAR-100 with a fifth of the labels
    flipped, on seeds that no table shows, as one choice for all. The label's probability ranked
    better than its margin to the best other class on networks that are unsure, level with it
    elsewhere. All of Q at ω = 0.5, or the network's own prediction beside the others', gained
    a point of AUROC on networks that are unsure, and lost up to that and more precision where wrong
    labels had been learnt by heart. T above 1, ω = 0.9, and features with their mean subtracted
    were no better; T_a = 0.05 was best or nearly. Larger batches and more rounds added almost
    nothing.

    Memory: as much as the logits once more, and a batch's affinities.

    Args:
        logits: (n, c) floating point, of images that are not augmented.
        features: (n, d) before the classifier.
        labels: those given to the images, from 0 to c − 1; c is 2 at least.
        temperature, affinity_temperature: T and T_a, see `bake_targets`.
        batch_size: images that are looked at together, at most.
        rounds, seed: of the random batches.

    Raises:
        ValueError: a setting outside its range.
    """
    check_positive("temperature", temperature)
    check_positive("affinity_temperature", affinity_temperature)
    if batch_size < 2 or rounds < 1:
        raise ValueError(f"need batches of 2 and 1 round at least, got {batch_size} and {rounds}")
    n = len(labels)
    parts = math.ceil(n / batch_size)
    rounds = rounds if parts > 1 else 1
    others = torch.zeros_like(logits)
    for number in range(rounds):
        order = torch.arange(n)
        if parts > 1:
            order = torch.randperm(n, generator=make_generator("suspicion", seed, number))
        for rows in order.to(logits.device).tensor_split(parts):
            predictions = (logits[rows] / temperature).softmax(dim=1)
            others[rows] += affinities(features[rows], affinity_temperature) @ predictions / rounds
    own = labels[:, None]
    given = others.gather(1, own)[:, 0].clamp(0, 1)
    probability, suggested = others.scatter_(1, own, -1.0).max(dim=1)
    return Suspicion(1 - given.double(), given, suggested, probability)


def find_nearest(
    features: Float[Tensor, "n d"], rows: Int[Tensor, " k"], count: int
) -> Int[Tensor, "k m"]:
    """The `count` images (or all others, if fewer) most similar to each of these, best first."""
    count = min(count, len(features) - 1)
    device = features.device
    rows = rows.to(device)
    wanted = F.normalize(features[rows], dim=1)
    values = torch.empty(len(rows), 0, device=device)
    indices = torch.empty(len(rows), 0, dtype=torch.int64, device=device)
    for numbers in torch.arange(len(features), device=device).split(AT_ONCE):
        similarity = wanted @ F.normalize(features[numbers], dim=1).T
        similarity.masked_fill_(rows[:, None] == numbers, -torch.inf)
        values = torch.cat([values, similarity], dim=1)
        indices = torch.cat([indices, numbers.expand(len(rows), -1)], dim=1)
        values, places = values.topk(min(count, values.shape[1]), dim=1)
        indices = indices.gather(1, places)
    return indices


def measure_ranking(
    score: Float[Tensor, " n"], wrong: Bool[Tensor, " n"], sizes: tuple[int, ...] = ()
) -> dict[str, float]:
    """How well a score ranks the labels that are known to be wrong; some are, and some are not.

    Returns:
        `auroc`: the chance that a wrong label has a higher score than a right one (ties count
        half); `precision@k`: share of wrong labels among the k with the highest score, for k the
        number of wrong labels and each of `sizes`.
    """
    from scipy.stats import rankdata

    count, n = int(wrong.sum()), len(wrong)
    ranks = torch.from_numpy(rankdata(score.double().numpy()))
    above = float(ranks[wrong].sum()) - count * (count + 1) / 2
    order = score.argsort(descending=True, stable=True)
    quality = {"auroc": above / (count * (n - count))}
    for k in sorted({count, *(size for size in sizes if size <= n)}):
        quality[f"precision@{k}"] = float(wrong[order[:k]].double().mean())
    return quality
