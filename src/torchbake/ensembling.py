"""Batch knowledge ensembling: soft targets from the other images of a mini-batch.

Ge et al., "Self-distillation with Batch Knowledge Ensembling Improves ImageNet Classification",
arXiv 2104.13298. Pure functions of tensors; the targets carry no gradient.
"""

import torch
import torch.distributed as dist
from torch.nn import functional as F

from ._shapes import Float, Tensor


def affinities(features: Float[Tensor, "n d"], temperature: float = 1.0) -> Float[Tensor, "n n"]:
    """How much each image listens to each other one (arXiv 2104.13298, section 3, Â).

    Cosine similarities divided by `temperature`, then a softmax over each row with the diagonal
    left out. Rows sum to one and the diagonal is zero. A feature vector of zeros is equally
    similar to all others. A single image (n = 1) has no others: its row is zero.

    Args:
        features: (n, d) pooled features, floating point.
        temperature: above zero; 1 is the paper's choice, smaller values listen to fewer images.
    """
    _check_positive("temperature", temperature)
    unit = F.normalize(features, dim=1)
    similarity = unit @ unit.T / temperature
    if len(features) == 1:
        return torch.zeros_like(similarity)
    similarity.fill_diagonal_(-torch.inf)
    return similarity.softmax(dim=1)


def propagate(
    affinity: Float[Tensor, "n n"], predictions: Float[Tensor, "n c"], omega: float
) -> Float[Tensor, "n c"]:
    """Ensemble the predictions along the affinities until nothing changes (section 3).

    Solves Q = ω Â Q + (1 − ω) P, that is Q = (1 − ω) (I − ω Â)⁻¹ P.

    Args:
        affinity: (n, n), every row a distribution.
        predictions: (n, c), every row a distribution.
        omega: in [0, 1), the share of the others; 0 returns `predictions`.
    """
    _check_omega(omega)
    if omega == 0 or len(predictions) == 1:
        return predictions
    # Â maps a constant column to itself, so the mean prediction passes through unchanged, and
    # solving only for what differs from it keeps float32 exact where 1 / (1 − ω) is large.
    mean = predictions.mean(dim=0)
    system = torch.eye(len(affinity), dtype=affinity.dtype, device=affinity.device)
    system = system.sub_(affinity, alpha=omega)
    # The system is never singular, so the check that would wait for the device is left out.
    difference, _ = torch.linalg.solve_ex(system, predictions - mean)
    # Rounding may leave a probability of zero a hair below it, where a logarithm is undefined.
    return (mean + (1 - omega) * difference).clamp_(min=0)


@torch.no_grad()
def bake_targets(
    logits: Float[Tensor, "n c"],
    features: Float[Tensor, "n d"],
    *,
    temperature: float = 4.0,
    omega: float = 0.5,
    affinity_temperature: float = 1.0,
    group: "dist.ProcessGroup | None" = None,
) -> Float[Tensor, "n c"]:
    """The soft targets Q of a mini-batch (arXiv 2104.13298, section 3).

    P = softmax(logits / T); Â from the features (see `affinities`);
    Q = (1 − ω) (I − ω Â)⁻¹ P. Every row of Q is a distribution. One image alone gets Q = P.

    Inputs are detached and the work is done in float32 (float64 for float64 inputs), also under
    autocast; no gradient flows through the result.

    Args:
        logits: (n, c) class scores of any floating type.
        features: (n, d) pooled features before the classifier, of any floating type.
        temperature: T, above zero; softens the predictions. The paper uses 4.
        omega: ω in [0, 1), the share of the others in the target. The paper uses 0.5, and 0.9 on
            some small data sets.
        affinity_temperature: T_a, above zero. The paper has none (1); smaller values make the
            ensemble local.
        group: a torch.distributed process group across which the images of all ranks teach each
            other; ranks may bring different n. None: this process's images alone.

    Returns:
        (n, c) targets for this rank's images, float32 (float64 for float64 inputs).

    Raises:
        TypeError: an input is not floating point.
        ValueError: shapes that do not fit, or a setting outside its range.
    """
    _check_inputs(logits, features)
    _check_positive("temperature", temperature)
    _check_positive("affinity_temperature", affinity_temperature)
    _check_omega(omega)
    dtype = torch.promote_types(torch.float32, torch.promote_types(logits.dtype, features.dtype))
    with torch.autocast(logits.device.type, enabled=False):
        predictions = (logits.to(dtype) / temperature).softmax(dim=1)
        if omega == 0:
            return predictions
        features = features.to(dtype)
        if group is None:
            return propagate(affinities(features, affinity_temperature), predictions, omega)
        predictions, own = _all_gather(predictions, group)
        features, _ = _all_gather(features, group)
        return propagate(affinities(features, affinity_temperature), predictions, omega)[own]


def _all_gather(
    rows: Float[Tensor, "n k"], group: "dist.ProcessGroup"
) -> tuple[Float[Tensor, "all k"], slice]:
    """The rows of all ranks in rank order, and where this rank's are among them."""
    count = torch.tensor([len(rows)], device=rows.device)
    counts = [torch.empty_like(count) for _ in range(group.size())]
    dist.all_gather(counts, count, group=group)
    sizes = [int(c) for c in counts]
    padded = rows.new_zeros(max(sizes), rows.shape[1])
    padded[: len(rows)] = rows
    gathered = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(gathered, padded, group=group)
    start = sum(sizes[: group.rank()])
    joined = torch.cat([part[:size] for part, size in zip(gathered, sizes, strict=True)])
    return joined, slice(start, start + len(rows))


def _check_inputs(logits: Tensor, features: Tensor) -> None:
    for name, value in (("logits", logits), ("features", features)):
        if value.ndim != 2 or 0 in value.shape:
            raise ValueError(
                f"{name} must have two dimensions, none of them empty, got {tuple(value.shape)}"
            )
        if not value.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {value.dtype}")
    if len(logits) != len(features):
        raise ValueError(
            f"logits and features must be of the same images, got {len(logits)} rows of logits "
            f"and {len(features)} of features"
        )


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be above 0 and finite, got {value}")


def _check_omega(omega: float) -> None:
    if not 0 <= omega < 1:
        raise ValueError(f"omega must be in [0, 1), got {omega}")
