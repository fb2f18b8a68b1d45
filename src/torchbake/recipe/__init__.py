"""What a training run is made of: typed, frozen, and checked before anything starts."""

from .data import DataRecipe
from .model import ModelRecipe
from .training import OptimizerRecipe, ScheduleRecipe, TrainingRecipe
from .whole import Recipe

__all__ = [
    "DataRecipe",
    "ModelRecipe",
    "OptimizerRecipe",
    "Recipe",
    "ScheduleRecipe",
    "TrainingRecipe",
]
