"""Settings of a recipe that exclude or need each other."""

from typing import TYPE_CHECKING

from ..errors import UserError
from ..methods import METHODS
from ..recipe import Recipe

if TYPE_CHECKING:
    from ..methods.base import Method


def check_combinations(recipe: Recipe, method: "Method") -> None:
    """Raise UserError for settings that do not go together."""
    training, data, schedule = recipe.training, recipe.data, recipe.schedule
    part, rest = divmod(training.batch_size, training.accumulate)
    if rest or part <= method.partners:
        raise UserError(
            f"training.batch_size: {training.batch_size} images in {training.accumulate} part(s) "
            f"must give equal parts, each with room for groups of method.partners + 1 = "
            f"{method.partners + 1} images"
        )
    if training.accumulate > 1 and part % (method.partners + 1):
        raise UserError(
            f"training.accumulate: parts of {part} images would cut groups of "
            f"{method.partners + 1} (method.partners + 1)"
        )
    for key in ("mixup", "cutmix"):
        if getattr(data, key) and not method.mixes:
            able = ", ".join(name for name, kind in METHODS.items() if kind.mixes)
            raise UserError(
                f"data.{key}: method '{recipe.method['name']}' cannot train on mixed images; "
                f"{able} can"
            )
    if data.class_weights is not None and data.balance != "none":
        raise UserError("data.class_weights: give either this or data.balance")
    for key, given in (
        ("class_weights", data.class_weights is not None),
        ("balance", data.balance == "loss"),
    ):
        if given and not method.weighs_classes:
            raise UserError(
                f"data.{key}: method '{recipe.method['name']}' does not weigh classes "
                "(weighs_classes); data.balance: sampling works with every method"
            )
    for key in ("warmup_steps", "warmup"):
        if schedule.name == "one-cycle" and getattr(schedule, key):
            raise UserError(f"schedule.{key}: must be 0 for one-cycle, which rises by itself")
    if schedule.warmup_steps and schedule.warmup:
        raise UserError("schedule.warmup: give either this or schedule.warmup_steps")
    optimizer = recipe.optimizer
    if optimizer.name == "sgd" and optimizer.nesterov and not optimizer.momentum:
        raise UserError("optimizer.nesterov: needs optimizer.momentum above 0")
    if data.crop == "resized" and data.in_memory:
        raise UserError(
            "data.in_memory: cannot be true with data.crop: resized, which decodes each image anew"
        )
    if (data.mean is None) != (data.std is None):
        raise UserError("data.mean: give both data.mean and data.std, or neither")
    if data.validation is None and (training.select != "last" or training.patience is not None):
        key = "patience" if training.select == "last" else "select"
        raise UserError(
            f"training.{key}: needs validation images to choose by; set data.validation, to 0.1 "
            "for a tenth of the training images"
        )
    if training.select != "last" and training.report != "last":
        raise UserError(
            "training.report: best-on-test chooses on the test set; leave it at last with "
            f"training.select: {training.select}"
        )
    if training.cuda_graphs and not training.compile:
        raise UserError("training.cuda_graphs: needs training.compile: true")
    if training.cuda_graphs and training.accumulate > 1:
        # Replaying a graph overwrites the gradients that the last part left in its memory.
        raise UserError("training.cuda_graphs: needs training.accumulate 1")
    if recipe.model.pretrained and recipe.model.weights is not None:
        raise UserError("model.weights: give either this or model.pretrained: true")
    if recipe.model.classifier is not None and recipe.model.features is not None:
        raise UserError("model.features: name either model.classifier or model.features")
