"""Batch knowledge ensembling: soft targets from the other images of a mini-batch.

Ge et al., "Self-distillation with Batch Knowledge Ensembling Improves ImageNet Classification",
arXiv 2104.13298. Pure functions of tensors; the targets carry no gradient.
"""

import torch
from torch.nn import functional as F

from .._checks import check_omega, check_positive
from .._shapes import Float, Tensor
from .plan import Solver, check_solver, plan_plain_steps, predict_costs
from .solvers import solve_lu


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
    steps = plan_plain_steps(omega).products
    if solver == "auto":
        n, c = predictions.shape
        iteration, factorisation = predict_costs(n, c, steps, predictions.device.type)
        solver = "direct" if factorisation < iteration else "fixed_point"
    if solver == "direct":
        return solve_lu(affinity.clone(), predictions, omega)
    targets = predictions
    for _ in range(steps):
        targets = torch.addmm(predictions, affinity, targets, beta=1 - omega, alpha=omega)
    return targets
