"""BYOT, be your own teacher (Zhang et al., arXiv 1905.08094)."""

import torch
from torch import nn

from ..batch import Batch
from ..losses.distillation import distillation_loss
from ..models.stages import StageHead, Taps, find_stages
from ..ranges import NotNegative, Positive, Share
from .base import Method, Step, Task


class BYOT(Method):
    """Classifiers on inner stages learn from the label and from the network's last one (section 3).

    CE of the network + Σ_i [(1 − α) CE_i + α KL(p ‖ p_i) + λ ‖F_i − F‖²], KL at temperature T and
    without T². The last term is a sum over features and a mean over the batch; p and F, the
    network's own prediction and pooled features, teach without gradient. Heads are dropped after
    training.
    The paper gives no α, λ and T: the defaults are those of the authors' later code, where λ
    weighs the distance itself, not its square.

    Args:
        alpha: α in [0, 1].
        weight: λ ≥ 0, of the distance of features.
        temperature: T, above zero.
        stages: the layers whose outputs are the stages, the last included; by default the
            network's.
    """

    weighs_classes = True

    def __init__(
        self,
        alpha: Share = 0.3,
        weight: NotNegative = 0.03,
        temperature: Positive = 3.0,
        stages: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.weight = weight
        self.temperature = temperature
        self.stages = stages

    def setup(self, task: Task) -> None:
        network = task.network.get_submodule("network")
        self._taps = Taps(network, find_stages(network, self.stages))
        device = next(network.parameters()).device
        task.network.eval()(torch.zeros((1, *task.image_shape), device=device))
        *inner, last = self._taps.take_maps()
        self.heads = nn.ModuleList(
            StageHead(stage, last, task.num_features, task.num_classes) for stage in inner
        )

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        features, logits = model(batch.images)
        stages = self._taps.take_maps()[:-1]
        with torch.no_grad():
            targets = (logits.float() / self.temperature).softmax(dim=1)
        hard, soft, distance = [], [], []
        for head, stage in zip(self.heads, stages, strict=True):
            output = head(stage)
            hard.append(self.compute_cross_entropy(output.logits, batch.labels))
            divergence = distillation_loss(output.logits, targets, self.temperature)
            soft.append(divergence / self.temperature**2)
            gap = output.features.float() - features.detach().float()
            distance.append(gap.square().sum(dim=1).mean())
        terms = {
            "cross_entropy": self.compute_cross_entropy(logits, batch.labels),
            "heads_cross_entropy": (1 - self.alpha) * torch.stack(hard).sum(),
            "distillation": self.alpha * torch.stack(soft).sum(),
            "features": self.weight * torch.stack(distance).sum(),
        }
        return Step(torch.stack(list(terms.values())).sum(), logits, terms)
