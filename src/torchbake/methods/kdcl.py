"""KDCL, online knowledge distillation via collaborative learning (Guo et al., CVPR 2020)."""

from typing import Literal

import torch
from torch import nn

from .._shapes import Float, Int, Tensor
from ..batch import Batch
from ..ensembling.precision import disable_autocast
from ..losses.distillation import distillation_loss
from ..ranges import AtLeastTwo, NotNegative, Positive
from .base import Method, Step, Task


class KDCL(Method):
    """Several networks, each with its own view of the images, learn from one ensemble of theirs.

    Σ_k CE_k + λ T² KL(softmax(z_t / T) ‖ p_k), where z_t combines the logits by help of the labels
    (section 3). The paper's form with weights from a held-out set (General) is left out, since the
    other methods here train on all images. The first network is evaluated and saved.

    Args:
        networks: at least 2, of one kind and initialised differently; 2 in most of the paper.
        ensemble: `min-logit` takes for each class the least of the logits, after subtracting that
            of the label from each network's; `naive` takes the network with the least
            cross-entropy for the image; `linear` takes the convex combination with the least
            cross-entropy for the batch, by gradient steps.
        temperature: T, above zero.
        weight: λ ≥ 0; 1 in the paper.
    """

    weighs_classes = True

    def __init__(
        self,
        networks: AtLeastTwo = 2,
        ensemble: Literal["min-logit", "naive", "linear"] = "min-logit",
        temperature: Positive = 2.0,
        weight: NotNegative = 1.0,
    ) -> None:
        super().__init__()
        self.views = networks
        self.ensemble = ensemble
        self.temperature = temperature
        self.weight = weight

    def setup(self, task: Task) -> None:
        self.peers = nn.ModuleList(task.make_network(k) for k in range(1, self.views))

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        views = batch.images.chunk(self.views)
        networks = (model, *self.peers)
        logits = [net(view).logits for net, view in zip(networks, views, strict=True)]
        hard = [self.compute_cross_entropy(z, batch.labels) for z in logits]
        with torch.no_grad(), disable_autocast(logits[0].device.type):
            stacked = torch.stack(logits).float()
            teacher = _ENSEMBLES[self.ensemble](stacked, batch.labels)
            targets = (teacher / self.temperature).softmax(dim=1)
        soft = [distillation_loss(z, targets, self.temperature) for z in logits]
        terms = {
            "cross_entropy": hard[0],
            "peers_cross_entropy": torch.stack(hard[1:]).sum(),
            "distillation": self.weight * torch.stack(soft).sum(),
        }
        return Step(torch.stack(list(terms.values())).sum(), logits[0], terms)


def take_least_logits(
    logits: Float[Tensor, "k n c"], labels: Int[Tensor, " n"]
) -> Float[Tensor, "n c"]:
    """Take for each class the least logit of any network, after subtracting that of the label."""
    own = labels[None, :, None].expand(len(logits), -1, 1)
    return (logits - logits.gather(2, own)).amin(dim=0)


def choose_best_network(
    logits: Float[Tensor, "k n c"], labels: Int[Tensor, " n"]
) -> Float[Tensor, "n c"]:
    """Take for each image the logits of the network that knows its label best."""
    own = labels[None, :, None].expand(len(logits), -1, 1)
    best = logits.log_softmax(dim=2).gather(2, own)[:, :, 0].argmax(dim=0)
    return logits[best, torch.arange(len(labels), device=labels.device)]


def combine_linearly(
    logits: Float[Tensor, "k n c"], labels: Int[Tensor, " n"]
) -> Float[Tensor, "n c"]:
    """Combine the networks so that the cross-entropy over the batch is least.

    The combination is convex, and so is the problem, in K numbers; it is solved by exponentiated
    gradient, which keeps them on the simplex: w ← w exp(−∇ / scale), normalised. A step takes two
    matrix products and two softmaxes.
    """
    k, n, c = logits.shape
    own = labels[None, :, None].expand(k, -1, 1)
    # Less that of the label, which changes no prediction: so the gradient is Z softmax(w Z) alone.
    apart = (logits - logits.gather(2, own)).view(k, n * c)
    # And less the networks' mean, which changes no weight, so that the exponents stay small.
    slopes = (apart - apart.mean(dim=0)) / (-n * logits.std().clamp(min=1e-6))
    exponents = logits.new_zeros(k)
    for _ in range(100):
        combined = (exponents.softmax(dim=0) @ apart).view(n, c)
        exponents = torch.addmv(exponents, slopes, combined.softmax(dim=1).view(n * c))
    return (exponents.softmax(dim=0) @ logits.view(k, n * c)).view(n, c)


_ENSEMBLES = {
    "min-logit": take_least_logits,
    "naive": choose_best_network,
    "linear": combine_linearly,
}
