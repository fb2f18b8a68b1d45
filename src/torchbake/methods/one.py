"""ONE, knowledge distillation by an on-the-fly native ensemble (Lan et al., arXiv 1806.04606)."""

import torch
from torch import nn

from .._shapes import Float, Tensor
from ..batch import Batch
from ..ensembling.precision import disable_autocast
from ..errors import UserError
from ..losses.distillation import distillation_loss
from ..models.stages import Taps, count_channels, find_stages, pool
from ..ranges import AtLeastTwo, Positive
from .base import Method, Step, Task


class ONE(Method):
    """Branches on shared lower stages learn from their own gated ensemble (section 3).

    Σ_i CE_i + CE_e + T² Σ_i KL(p_e ‖ p_i), with the ensemble's logits z_e = Σ_i g_i z_i and the
    gate g = softmax(ReLU(BN(linear(pooled shared features)))). The network itself is branch 0,
    which is evaluated and saved; each further branch has a last stage and a classifier of its own,
    and nothing of what a network may have between its last stage and the pooling.
    The published code lets the KL terms grow over the first 80 epochs, the paper's loss does not.

    Args:
        branches: at least 2, the network's own included; 3 in the paper.
        temperature: T, above zero; 3 in the paper.
        stage: the layer that branches have of their own, by default the last stage.
    """

    weighs_classes = True

    def __init__(
        self, branches: AtLeastTwo = 3, temperature: Positive = 3.0, stage: str | None = None
    ) -> None:
        super().__init__()
        self.branches = branches
        self.temperature = temperature
        self.stage = stage

    def setup(self, task: Task) -> None:
        network = task.network.get_submodule("network")
        name = find_stages(network, self.stage and [self.stage])[-1]
        self._taps = Taps(network, [name], inputs=True)
        shape = (1, *task.image_shape)
        device = next(network.parameters()).device
        task.network.eval()(torch.zeros(shape, device=device))
        (shared,) = self._taps.take()
        maps = self._taps.as_maps(shared)
        # Stages of networks that are initialised differently.
        fresh = [task.make_network(k).get_submodule("network") for k in range(1, self.branches)]
        self.stages = nn.ModuleList(dict(net.named_modules())[name] for net in fresh)
        if not any(weight.ndim > 1 for weight in self.stages.parameters()):
            raise UserError(
                f"method.stage: layer '{name}' has no convolution or linear layer; name an earlier "
                "one that branches have of their own"
            )
        width = count_channels(self._taps.as_maps(self.stages[0].eval()(shared)))
        self.classifiers = nn.ModuleList(
            nn.Linear(width, task.num_classes) for _ in range(1, self.branches)
        )
        self.gate = nn.Sequential(
            nn.Linear(count_channels(maps), self.branches), nn.BatchNorm1d(self.branches), nn.ReLU()
        )

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        logits = [model(batch.images).logits]
        (shared,) = self._taps.take()
        for stage, classifier in zip(self.stages, self.classifiers, strict=True):
            logits.append(classifier(pool(self._taps.as_maps(stage(shared)))))
        gate = self.gate(pool(self._taps.as_maps(shared)))
        ensemble = combine_gated(gate, torch.stack(logits))
        with torch.no_grad():
            targets = (ensemble / self.temperature).softmax(dim=1)
        soft = [distillation_loss(z, targets, self.temperature) for z in logits]
        hard = [self.compute_cross_entropy(z, batch.labels) for z in (*logits, ensemble)]
        terms = {
            "cross_entropy": hard[0],
            "branches_cross_entropy": torch.stack(hard[1:]).sum(),
            "distillation": torch.stack(soft).sum(),
        }
        return Step(torch.stack(list(terms.values())).sum(), logits[0], terms)


def combine_gated(
    gate: Float[Tensor, "n k"], logits: Float[Tensor, "k n c"]
) -> Float[Tensor, "n c"]:
    """The branches' logits weighted by the softmax of their gates, in float32 or wider."""
    kind = torch.promote_types(torch.float32, logits.dtype)
    with disable_autocast(logits.device.type):
        weights = gate.to(kind).softmax(dim=1)
        return torch.einsum("nk,knc->nc", weights, logits.to(kind))
