"""A run folder as an object."""

import html
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._trust import trusting
from ..errors import UserError
from ..inference.load import load
from ..inference.predictor import Predictor
from ..models.classifier import Classifier
from ..recipe import Recipe
from ..training.results import choose_figures
from ..training.run_folder import RunFolder
from ..training.weights_file import load_described, read_description

if TYPE_CHECKING:
    import pandas


class Run:
    """A run folder: its recipe, figures, weights and report.

    >>> run = torchbake.Run("runs/my")
    >>> run.figures["top1"]
    97.66

    Args:
        path: a folder that `torchbake train` or `torchbake.train` wrote.
        trust: import the code that it names as `module:object`, when that is needed.

    Raises:
        UserError: it is not a run folder.
    """

    def __init__(self, path: str | os.PathLike[str], *, trust: bool = False) -> None:
        self.path = Path(path).expanduser()
        self._folder = RunFolder(self.path)
        with trusting(trust):
            self._folder.read_recipe()

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe that it was trained with."""
        return self._folder.read_recipe()

    @property
    def figures(self) -> dict[str, float]:
        """The figures of the evaluation that stands for the run, as `metrics.jsonl` names them.

        Top-1, top-5 and ECE are in percent, NLL in nats.

        Raises:
            UserError: the run is not finished.
        """
        if not self._folder.result.is_file():
            raise UserError(f"{self.path}: is not finished; go on with resume=True")
        return choose_figures(self.recipe, self._folder.read_result())

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """All records of `metrics.jsonl`: of kind `train` or `eval`, each with its step."""
        return self._folder.read_metrics()

    def to_dataframe(self) -> "pandas.DataFrame":
        """The records of `metrics` as a table of pandas, one row each.

        Raises:
            UserError: pandas is not installed.
        """
        return import_pandas().DataFrame(self.metrics)

    @property
    def report(self) -> "Report":
        """The page of the run, which shows itself in a notebook.

        Raises:
            UserError: it has not been written yet.
        """
        return Report(self._folder.report)

    def load(self, *, ema: bool = False, device: str | None = None) -> Predictor:
        """A predictor of its network: `torchbake.load` of the run."""
        return load(self.path, ema=ema, device=device)

    def load_model(self, *, ema: bool = False) -> Classifier:
        """Its network with the trained weights, on the CPU and in evaluation mode.

        Args:
            ema: with the moving average of the weights.

        Raises:
            UserError: there are no weights, or the network cannot be made.
        """
        weights = self._folder.find_weights(ema=ema)
        return load_described(weights, read_description(weights, self.recipe)).eval()

    def __repr__(self) -> str:
        if not self._folder.result.is_file():
            return f"Run({str(self.path)!r}, not finished)"
        return f"Run({str(self.path)!r}, top-1 {self.figures['top1']:.2f} %)"


class Report:
    """A page of runs, which shows itself in a notebook.

    Args:
        path: its file.

    Raises:
        UserError: it is not there.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise UserError(f"{path}: has not been written; torchbake report writes it")
        self.path = path

    def __repr__(self) -> str:
        return f"Report({str(self.path)!r})"

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:40em;border:0"></iframe>'


def import_pandas() -> Any:
    """The module pandas.

    Raises:
        UserError: it is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise UserError("a data frame needs the package pandas: pip install pandas") from None
    return pandas
