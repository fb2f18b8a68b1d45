"""Experiment trackers that are sent what metrics.jsonl records.

Each takes its own environment variables: WANDB_PROJECT and WANDB_MODE, MLFLOW_TRACKING_URI and
MLFLOW_EXPERIMENT_NAME, TRACKIO_PROJECT and TRACKIO_DIR.
"""

import io
import json
import os
import time
import uuid
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict
from importlib.util import find_spec
from typing import NamedTuple

from ..errors import UserError
from ..recipe import Recipe
from .files import write_text
from .run_folder import RunFolder, flatten_recipe

PROJECT = "torchbake"
"""The project, or MLflow's experiment, where the environment names none."""


class Tracker(NamedTuple):
    """A run at a tracker.

    Attributes:
        name: what the tracker is called.
        identity: what the tracker knows the run by, to go on with it.
        log: takes figures by name, such as `eval/top1`, and their step.
        close: ends the run; told whether it failed.
    """

    name: str
    identity: str
    log: Callable[[dict[str, float], int], None]
    close: Callable[[bool], None]


def open_trackers(recipe: Recipe, run: RunFolder) -> list[Tracker]:
    """Begin the run at each of the recipe's trackers, or go on with it there.

    The file `trackers.json` in the run folder keeps what each tracker knows the run by.

    Raises:
        UserError: a tracker's package is not installed, or the tracker refuses.
    """
    place = run.path / "trackers.json"
    known = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    opened = []
    for name in recipe.training.trackers:
        if find_spec(name) is None:
            raise UserError(
                f"training.trackers: {name} needs a package that is not installed: "
                f"pip install 'torchbake[{name}]'"
            )
        try:
            tracker = _OPENERS[name](recipe, run, known.get(name))
        except Exception as error:
            raise UserError(f"training.trackers: {name}: {_shorten(error)}") from error
        opened.append(tracker)
        known[name] = tracker.identity
    if opened:
        write_text(place, json.dumps(known, indent=1) + "\n")
    return opened


class Trackers:
    """Passes records on, and leaves out a tracker that fails: training does not end for it."""

    def __init__(self, trackers: list[Tracker], say: Callable[[str], None]) -> None:
        self._trackers = list(trackers)
        self._say = say

    def log(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Send the figures of a record."""
        named = {f"{kind}/{name}": value for name, value in values.items()}
        self._do(lambda tracker: tracker.log(named, step))

    def close(self, failed: bool) -> None:
        """End the run at all trackers."""
        self._do(lambda tracker: tracker.close(failed))
        self._trackers.clear()

    def _do(self, act: Callable[[Tracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                act(tracker)
            except Exception as error:
                self._trackers.remove(tracker)
                self._say(
                    f"warning: {tracker.name} gets no more records from here on: {_shorten(error)}"
                )


def _open_tensorboard(recipe: Recipe, run: RunFolder, known: str | None) -> Tracker:
    from torch.utils.tensorboard import SummaryWriter

    folder = run.path / "tensorboard"
    writer = SummaryWriter(str(folder))

    def log(values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    return Tracker("tensorboard", folder.name, log, lambda failed: writer.close())


def _open_wandb(recipe: Recipe, run: RunFolder, known: str | None) -> Tracker:
    import wandb

    identity = known or uuid.uuid4().hex[:8]
    begun = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=run.path.name,
        id=identity,
        resume="allow",
        dir=str(run.path),
        config=flatten_recipe(asdict(recipe)),
        settings=wandb.Settings(silent=True),
    )

    def log(values: dict[str, float], step: int) -> None:
        begun.log(values, step=step)

    return Tracker("wandb", identity, log, lambda failed: begun.finish(exit_code=int(failed)))


def _open_mlflow(recipe: Recipe, run: RunFolder, known: str | None) -> Tracker:
    import mlflow
    from mlflow.entities import Metric, Param

    client = mlflow.MlflowClient()
    identity = known
    if identity is None:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = client.get_experiment_by_name(name)
        group = client.create_experiment(name) if experiment is None else experiment.experiment_id
        identity = client.create_run(group, run_name=run.path.name).info.run_id
        keys = flatten_recipe(asdict(recipe))
        settings = [Param(key, str(value)[:500]) for key, value in keys.items()]
        for first in range(0, len(settings), 100):  # as many as it takes at a time
            client.log_batch(identity, params=settings[first : first + 100])
    else:
        client.update_run(identity, status="RUNNING")

    def log(values: dict[str, float], step: int) -> None:
        now = int(1000 * time.time())
        client.log_batch(identity, [Metric(key, v, now, step) for key, v in values.items()])

    def close(failed: bool) -> None:
        client.set_terminated(identity, "FAILED" if failed else "FINISHED")

    return Tracker("mlflow", identity, log, close)


def _open_trackio(recipe: Recipe, run: RunFolder, known: str | None) -> Tracker:
    import trackio

    # Trackio knows a run by its name.
    identity = known or f"{run.path.name}-{uuid.uuid4().hex[:6]}"
    with redirect_stdout(io.StringIO()):  # it greets
        begun = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=identity,
            resume="allow",
            config=flatten_recipe(asdict(recipe)),
            embed=False,
        )

    def log(values: dict[str, float], step: int) -> None:
        begun.log(values, step=step)

    def close(failed: bool) -> None:
        with redirect_stdout(io.StringIO()):
            begun.finish()

    return Tracker("trackio", identity, log, close)


_OPENERS: dict[str, Callable[[Recipe, RunFolder, str | None], Tracker]] = {
    "tensorboard": _open_tensorboard,
    "wandb": _open_wandb,
    "mlflow": _open_mlflow,
    "trackio": _open_trackio,
}


def _shorten(error: Exception) -> str:
    return f"{(str(error) or type(error).__name__).splitlines()[0][:200]}"
