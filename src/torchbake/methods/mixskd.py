"""MixSKD, self-distillation from Mixup (Yang et al., arXiv 2208.05768)."""

import torch
from torch import nn
from torch.nn import functional as F

from .._shapes import Float, Int, Tensor
from ..batch import Batch
from ..losses.distillation import distillation_loss
from ..models.stages import HeadOutput, StageHead, Taps, count_channels, find_stages, pool
from ..ranges import Positive
from .base import Method, Step, Task


class MixSKD(Method):
    """A mixed image's prediction and the mix of its two images' predictions teach each other.

    A mixed image is x̃ = μ x_i + (1 − μ) x_j, with μ ~ Beta(α, α). Maps and logits are mixed alike:
    "mixed" below means μ times what x_i gives plus 1 − μ times what x_j gives (section 3). The loss
    is the sum of

    * `cross_entropy`: of the network and of the heads on its inner stages, for x and for x̃;
    * `features`: the mean squared distance of maps, mixed and of x̃, at each stage;
    * `discriminators`: binary cross-entropy of recognising which of the two kinds a map is;
    * `heads`: T² KL of each head's prediction, mixed and of x̃, both ways;
    * `teacher`: cross-entropy of a classifier on all stages' maps, the self-teacher, with the mixed
      label, and T² KL of the network's prediction of either kind from the self-teacher's of the
      other.

    Targets have no gradient. Only the network remains after training. The published script for
    CIFAR leaves the self-teacher and the discriminators untrained; here both are trained.

    Args:
        alpha: α of the Beta distribution, above zero; 0.4 in the published code on CIFAR, 0.1 on
            ImageNet.
        temperature: T, above zero; 3 in the paper.
        stages: the layers whose outputs are the stages, the last included; by default the
            network's.
    """

    weighs_classes = True

    def __init__(
        self,
        alpha: Positive = 0.4,
        temperature: Positive = 3.0,
        stages: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.temperature = temperature
        self.stages = stages

    def setup(self, task: Task) -> None:
        self._draw = torch.compiler.disable(draw_mix)  # slow to import
        network = task.network.get_submodule("network")
        self._taps = Taps(network, find_stages(network, self.stages))
        device = next(network.parameters()).device
        task.network.eval()(torch.zeros((1, *task.image_shape), device=device))
        *inner, last = self._taps.take_maps()
        width, classes = count_channels(last), task.num_classes
        self.heads = nn.ModuleList(StageHead(stage, last, width, classes) for stage in inner)
        self.teacher = _SelfTeacher(width * (len(inner) + 1), width, classes)
        self.discriminators = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, 1))
            for _ in range(len(inner) + 1)
        )

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        n = len(batch.labels)
        share, other = self._draw(self.alpha, n, batch.labels.device)
        images = torch.cat([batch.images, batch.images.lerp(batch.images[other], 1 - share)])

        def mix(values: Tensor) -> Tensor:
            return values.lerp(values[other], 1 - share)

        final = model(images).logits
        *inner, last = self._taps.take_maps()
        outputs = [head(stage) for head, stage in zip(self.heads, inner, strict=True)]
        outputs.append(HeadOutput(last, pool(last), final))
        maps = [(mix(o.maps[:n]), o.maps[n:]) for o in outputs]
        logits = [(mix(o.logits[:n].float()), o.logits[n:]) for o in outputs]
        truth = mix(F.one_hot(batch.labels, final.shape[1]).float())
        hard = [self.compute_cross_entropy(o.logits[:n], batch.labels) for o in outputs]
        hard += [self.compute_cross_entropy(o.logits[n:], truth) for o in outputs]
        teachers = [self.teacher([pair[kind] for pair in maps]) for kind in (0, 1)]
        terms = {
            "cross_entropy": torch.stack(hard).sum(),
            "features": torch.stack([F.mse_loss(a.float(), b.float()) for a, b in maps]).sum(),
            "discriminators": self._discriminate(maps),
            "heads": self._distil([*logits[:-1], *[(b, a) for a, b in logits[:-1]]]),
            "teacher": torch.stack([self.compute_cross_entropy(z, truth) for z in teachers]).sum()
            + self._distil([(logits[-1][0], teachers[1]), (logits[-1][1], teachers[0])]),
        }
        return Step(torch.stack(list(terms.values())).sum(), final[:n], terms)

    def _distil(self, pairs: list[tuple[Tensor, Tensor]]) -> Float[Tensor, ""]:
        """The sum of T² KL over pairs of logits: of those that learn, and those that teach."""
        losses = []
        for logits, teacher in pairs:
            targets = (teacher.detach().float() / self.temperature).softmax(dim=1)
            losses.append(distillation_loss(logits, targets, self.temperature))
        return torch.stack(losses).sum()

    def _discriminate(self, maps: list[tuple[Tensor, Tensor]]) -> Float[Tensor, ""]:
        """Cross-entropy of recognising which maps were mixed, summed over the stages."""
        losses = []
        for discriminator, pair in zip(self.discriminators, maps, strict=True):
            scores = discriminator(pool(torch.cat(pair)))[:, 0].float()
            kinds = torch.ones_like(scores)
            kinds[len(kinds) // 2 :] = 0
            losses.append(F.binary_cross_entropy_with_logits(scores, kinds))
        return torch.stack(losses).sum()


def draw_mix(alpha: float, n: int, device: torch.device) -> tuple[float, Int[Tensor, " n"]]:
    """A share μ ~ Beta(α, α), and which image each of n is mixed with.

    Drawn on the host, so that they are the same on all devices; a GPU gets the order from pinned
    memory, and nobody waits for it.
    """
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    on_cuda = device.type == "cuda"
    other = torch.randperm(n, pin_memory=on_cuda)
    return share, other.to(device, non_blocking=on_cuda)


class _SelfTeacher(nn.Module):
    """A classifier on the maps of all stages: 1×1 convolution, normalisation, ReLU, pooling."""

    def __init__(self, channels: int, width: int, num_classes: int) -> None:
        super().__init__()
        self.fusion = nn.Linear(channels, width, bias=False)  # of places: a 1×1 convolution
        self.norm = nn.BatchNorm1d(width)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, maps: list[Tensor]) -> Float[Tensor, "n c"]:
        if maps[0].ndim == 4:
            maps = [stage.flatten(2).transpose(1, 2) for stage in maps]
        fused = self.fusion(torch.cat(maps, dim=2))
        active = self.norm(fused.transpose(1, 2)).relu()
        return self.classifier(active.mean(dim=2))
