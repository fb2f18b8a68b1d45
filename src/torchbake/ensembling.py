"""Batch knowledge ensembling: soft targets from the other images of a mini-batch.

Ge et al., "Self-distillation with Batch Knowledge Ensembling Improves ImageNet Classification",
arXiv 2104.13298. Pure functions of tensors; the targets carry no gradient.
"""

import torch
import torch.distributed as dist
from torch.nn import functional as F

from ._shapes import Float, Tensor
from .checks import check_group, check_omega, check_positive, check_solver
from .propagation import start_targets
from .solvers import Solver, by_lu, plain_steps, predicted_costs


def affinities(features: Float[Tensor, "n d"], temperature: float = 1.0) -> Float[Tensor, "n n"]:
    """How much each image listens to each other one (arXiv 2104.13298, section 3, Â).

    Cosine similarities divided by `temperature`, then a softmax over each row with the diagonal
    left out. Rows sum to one and the diagonal is zero. A feature vector of zeros is equally
    similar to all others. A single image (n = 1) has no others: its row is zero.

    Args:
        features: (n, d) pooled features, floating point.
        temperature: above zero; 1 is the paper's choice, smaller values listen to fewer images.
    """
    check_positive("temperature", temperature)
    unit = F.normalize(features, dim=1)
    similarity = unit @ unit.T / temperature
    if len(features) == 1:
        return torch.zeros_like(similarity)
    similarity.fill_diagonal_(-torch.inf)
    return similarity.softmax(dim=1)


def propagate(
    affinity: Float[Tensor, "n n"],
    predictions: Float[Tensor, "n c"],
    omega: float,
    solver: Solver = "auto",
) -> Float[Tensor, "n c"]:
    """Ensemble the predictions along the affinities until nothing changes (section 3).

    Solves Q = ω Â Q + (1 − ω) P, that is Q = (1 − ω) (I − ω Â)⁻¹ P.

    Args:
        affinity: (n, n), every row a distribution.
        predictions: (n, c), every row a distribution.
        omega: in [0, 1), the share of the others; 0 returns `predictions`.
        solver: see `bake_targets`. Less is known of affinities in general than of those between
            features, so that the fixed point takes more steps here.
    """
    check_omega(omega)
    check_solver(solver)
    if omega == 0 or len(predictions) == 1:
        return predictions
    steps = plain_steps(omega).products
    if solver == "auto":
        n, c = predictions.shape
        iteration, factorisation = predicted_costs(n, c, steps, predictions.device.type)
        solver = "direct" if factorisation < iteration else "fixed_point"
    if solver == "direct":
        return by_lu(affinity.clone(), predictions, omega)
    targets = predictions
    for _ in range(steps):
        targets = torch.addmm(predictions, affinity, targets, beta=1 - omega, alpha=omega)
    return targets


def bake_targets(
    logits: Float[Tensor, "n c"],
    features: Float[Tensor, "n d"],
    *,
    temperature: float = 4.0,
    omega: float = 0.5,
    affinity_temperature: float = 1.0,
    group: "dist.ProcessGroup | None" = None,
    solver: Solver = "auto",
    gather_dtype: torch.dtype | None = None,
    equal_counts: bool = False,
) -> Float[Tensor, "n c"]:
    """The soft targets Q of a mini-batch (arXiv 2104.13298, section 3).

    P = softmax(logits / T); Â from the features (see `affinities`);
    Q = (1 − ω) (I − ω Â)⁻¹ P. Every row of Q is a distribution. One image alone gets Q = P.

    Inputs are detached and the work is done in float32 (float64 for float64 inputs, and within,
    where sharp affinities with ω near 1 need it), also under autocast; no gradient flows through
    the result. On batches like a network's it is within 1e-6 of the exact Q, whatever the solver;
    docs/solvers.md has what strains that.

    Args:
        logits: (n, c) class scores of any floating type.
        features: (n, d) pooled features before the classifier, of any floating type.
        temperature: T, above zero; softens the predictions. The paper uses 4.
        omega: ω in [0, 1), the share of the others in the target. The paper uses 0.5, and 0.9 on
            some small data sets.
        affinity_temperature: T_a, above zero. The paper has none (1); smaller values make the
            ensemble local.
        group: a torch.distributed process group across which the images of all ranks teach each
            other; ranks may bring different n, none too. None: this process's images alone.
        solver: "fixed_point" iterates, as often as a bound that needs no look at the data says;
            across ranks each finds its own rows, and the ranks exchange after each product.
            "direct" factorises an N×N matrix, across ranks that of all images on every rank.
            "auto" takes what is predicted to be faster.
        gather_dtype: type in which features and predictions travel between ranks, such as
            torch.float16, to send less; the result is then less exact. None: the features in
            their own type, predictions in float32.
        equal_counts: every rank brings the same n, so that the ranks need not ask each other,
            which makes the process wait for the device.

    Returns:
        (n, c) targets for this rank's images, float32 (float64 for float64 inputs).

    Raises:
        TypeError: an input is no tensor or not floating point, or `group` no process group.
        ValueError: shapes that do not fit, or a setting outside its range.
    """
    check_group(group)
    finish = start_targets(
        logits,
        features,
        temperature=temperature,
        omega=omega,
        affinity_temperature=affinity_temperature,
        group=group,
        solver=solver,
        gather_dtype=gather_dtype,
        equal_counts=equal_counts,
    )
    return finish()[1]
