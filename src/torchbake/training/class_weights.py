"""What the images of each class count in a loss, where they do not count alike."""

from typing import TYPE_CHECKING

import torch

from .._shapes import Float, Int, Tensor
from ..errors import UserError

if TYPE_CHECKING:
    from ..data.sources.base import Source
    from ..recipe import DataRecipe


def choose_class_weights(source: "Source", recipe: "DataRecipe") -> Float[Tensor, " c"] | None:
    """The weights that `data.balance: loss` or `data.class_weights` asks for; None for neither.

    Raises:
        UserError: there are not as many `data.class_weights` as classes.
    """
    counts = source.train.labels.bincount(minlength=len(source.classes))
    if recipe.class_weights is not None:
        classes = source.classes
        if len(recipe.class_weights) != len(classes):
            shown = ", ".join(classes[:6]) + " …" * (len(classes) > 6)
            raise UserError(
                f"data.class_weights: expected {len(classes)} numbers, one for each of the classes "
                f"{shown}, got {len(recipe.class_weights)}"
            )
        return normalise_weights(torch.tensor(recipe.class_weights, dtype=torch.float64), counts)
    if recipe.balance == "loss":
        return normalise_weights(1 / counts.clamp(min=1).double(), counts)
    return None


def normalise_weights(
    weights: Float[Tensor, " c"], counts: Int[Tensor, " c"]
) -> Float[Tensor, " c"]:
    """Weights in these proportions whose mean over the training images is 1.

    So the term with the labels keeps its size beside the others, and the learning rate its meaning.
    Inverse frequencies 1 / n_c become n / (C n_c): the expected loss is then the mean over the C
    classes of each class's mean loss (King and Zeng, "Logistic Regression in Rare Events Data",
    2001; scikit-learn's "balanced").

    Args:
        counts: (c,) training images of each class.
    """
    mean = (weights * counts).sum() / counts.sum()
    return (weights / mean).float()
