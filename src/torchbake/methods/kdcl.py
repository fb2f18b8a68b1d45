"""KDCL, online knowledge distillation via collaborative learning (Guo et al., CVPR 2020)."""

from typing import Literal

import torch
from torch import nn

from .._checks import check_not_negative, check_positive
from .._shapes import Float, Int, Tensor
from ..batch import Batch
from ..losses.distillation import cross_entropy, distillation_loss
from .base import Method, Step, Task


class KDCL(Method):
    """Several networks, each with its own view of the images, taught by one ensemble of theirs.

    Σ_k CE_k + λ T² KL(softmax(z_t / T) ‖ p_k), z_t a combination of the logits made with the labels
    (section 3). The paper's form with weights from a held-out set (General) is left out, since
    the other methods here train on all images. The first network is evaluated and saved.

    Args:
        networks: at least 2, of one kind and initialised differently; 2 in most of the paper.
        ensemble: `min-logit`, per class the least of the logits, each network's less that of the
            label; `naive`, the network with the least cross-entropy for the image; `linear`, the
            convex combination with the least cross-entropy for the batch, by gradient steps.
        temperature: T, above zero.
        weight: λ ≥ 0; 1 in the paper.
    """

    def __init__(
        self,
        networks: int = 2,
        ensemble: Literal["min-logit", "naive", "linear"] = "min-logit",
        temperature: float = 2.0,
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        if networks < 2:
            raise ValueError(f"networks must be at least 2, got {networks}")
        check_positive("temperature", temperature)
        check_not_negative("weight", weight)
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
        hard = [cross_entropy(z, batch.labels) for z in logits]
        with torch.no_grad():
            stacked = torch.stack(logits).float()
            teacher = ENSEMBLES[self.ensemble](stacked, batch.labels)
            targets = (teacher / self.temperature).softmax(dim=1)
        soft = [distillation_loss(z, targets, self.temperature) for z in logits]
        terms = {
            "cross_entropy": hard[0],
            "peers_cross_entropy": torch.stack(hard[1:]).sum(),
            "distillation": self.weight * torch.stack(soft).sum(),
        }
        return Step(torch.stack(list(terms.values())).sum(), logits[0], terms)


def min_logit(logits: Float[Tensor, "k n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, "n c"]:
    """Per class the least logit of any network, the label's being zero in each."""
    own = labels[None, :, None].expand(len(logits), -1, 1)
    return (logits - logits.gather(2, own)).amin(dim=0)


def naive(logits: Float[Tensor, "k n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, "n c"]:
    """For each image the logits of the network that knows its label best."""
    own = labels[None, :, None].expand(len(logits), -1, 1)
    best = logits.log_softmax(dim=2).gather(2, own)[:, :, 0].argmax(dim=0)
    return logits[best, torch.arange(len(labels), device=labels.device)]


def linear(logits: Float[Tensor, "k n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, "n c"]:
    """The convex combination whose cross-entropy over the batch is least.

    A convex problem in K numbers: exponentiated gradient, which keeps them on the simplex.
    """
    weights = logits.new_full((len(logits),), 1 / len(logits))
    truth = nn.functional.one_hot(labels, logits.shape[2]).to(logits.dtype)
    scale = logits.std().clamp(min=1e-6)
    for _ in range(100):
        z = torch.einsum("k,knc->nc", weights, logits)
        gradient = torch.einsum("knc,nc->k", logits, z.softmax(dim=1) - truth) / len(labels)
        weights = (weights.log() - gradient / scale).softmax(dim=0).clamp(min=1e-12)
    return torch.einsum("k,knc->nc", weights, logits)


ENSEMBLES = {"min-logit": min_logit, "naive": naive, "linear": linear}
