"""A whole recipe."""

from dataclasses import dataclass, field
from typing import Any

from ..ranges import Seed
from .data import DataRecipe
from .model import ModelRecipe
from .section import Section
from .training import OptimizerRecipe, ScheduleRecipe, TrainingRecipe


@dataclass(frozen=True)
class Recipe(Section):
    """The whole experiment.

    Attributes:
        description: one sentence on what the recipe trains.
        seed: random seed for the initial weights, the batches and the augmentation.
        method: `name`, as in `torchbake list methods` or `module:Class` for a class of yours, and
            the settings of that method.
    """

    description: str = ""
    seed: Seed = 0
    data: DataRecipe = field(default_factory=DataRecipe)
    model: ModelRecipe = field(default_factory=ModelRecipe)
    method: dict[str, Any] = field(default_factory=lambda: {"name": "bake"})
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)
