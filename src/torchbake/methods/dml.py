"""DML, deep mutual learning (Zhang et al., arXiv 1706.00384)."""

import torch
from torch import nn

from ..batch import Batch
from ..losses.distillation import distillation_loss
from ..ranges import AtLeastTwo, NotNegative
from .base import Method, Step, Task


class DML(Method):
    """Several networks, each with cross-entropy and the mean KL from the others' predictions.

    L_k = CE_k + λ / (K − 1) Σ_l KL(p_l ‖ p_k) at temperature 1 (section 2). All networks are
    updated at once from the same predictions, where the paper's algorithm 1 updates them in turns.
    The first network is the one that is evaluated and saved.

    Args:
        networks: K ≥ 2, of one kind and initialised differently; 2 in most of the paper.
        weight: λ ≥ 0; 1 in the paper.
    """

    weighs_classes = True

    def __init__(self, networks: AtLeastTwo = 2, weight: NotNegative = 1.0) -> None:
        super().__init__()
        self.networks = networks
        self.weight = weight

    def setup(self, task: Task) -> None:
        self.peers = nn.ModuleList(task.make_network(k) for k in range(1, self.networks))

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        logits = [network(batch.images).logits for network in (model, *self.peers)]
        own, others = (
            self.compute_cross_entropy(logits[0], batch.labels),
            torch.stack([self.compute_cross_entropy(z, batch.labels) for z in logits[1:]]).sum(),
        )
        with torch.no_grad():
            predictions = [z.float().softmax(dim=1) for z in logits]
        mutual = [
            distillation_loss(z, p, temperature=1.0)
            for k, z in enumerate(logits)
            for j, p in enumerate(predictions)
            if j != k
        ]
        distance = torch.stack(mutual).sum() / (self.networks - 1)
        terms = {
            "cross_entropy": own,
            "peers_cross_entropy": others,
            "distillation": self.weight * distance,
        }
        return Step(own + others + terms["distillation"], logits[0], terms)
