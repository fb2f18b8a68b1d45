"""Â and Q as whole matrices, for experiments of your own. Gradients flow through both.

Ge et al., "Self-distillation with Batch Knowledge Ensembling Improves ImageNet Classification",
arXiv 2104.13298, section 3. Training needs neither: see `bake_targets`.
"""

import torch

from .._shapes import Float, Tensor
from .affinity import compute_affinities, normalise_rows
from .checks import check_omega, check_positive
from .direct import refuse_capture
from .plan import Solver, check_solver, count_plain_products, prefer_direct
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
    if len(features) == 1:
        return features.new_zeros(1, 1)
    return compute_affinities(normalise_rows(features), temperature)


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
    products = count_plain_products(omega)
    if solver in ("auto", "triton"):
        # As many products as for the sharpest affinities, of which as little is known.
        n, c = predictions.shape
        direct = prefer_direct(n, c, omega, 0.0, predictions.device.type)
        solver = "direct" if direct else "fixed_point"
    if solver == "direct":
        refuse_capture(predictions.device.type)
        return solve_lu(affinity.clone(), predictions, omega)
    targets = predictions
    for _ in range(products):
        targets = torch.addmm(predictions, affinity, targets, beta=1 - omega, alpha=omega)
    return targets
