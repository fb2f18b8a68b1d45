"""From a recipe to a run folder."""

from typing import TYPE_CHECKING

from .._lazy import export_lazily

if TYPE_CHECKING:
    from .callbacks import Progress as Progress
    from .loop import train as train
    from .opened_run import evaluate_run as evaluate_run
    from .opened_run import open_run as open_run
    from .recipe_files import load_recipe as load_recipe

_HOMES = {
    "Progress": "callbacks",
    "evaluate_run": "opened_run",
    "load_recipe": "recipe_files",
    "open_run": "opened_run",
    "train": "loop",
}
__getattr__, _names = export_lazily(__name__, _HOMES)
__all__ = _names


def __dir__() -> list[str]:
    return __all__
