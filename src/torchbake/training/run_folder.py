"""The folder of a run: created, refused, continued or replaced."""

import json
import shutil
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .._digests import check_weights
from .._trust import withhold
from ..data.sources.labels import read_label_text
from ..errors import UserError
from ..recipe import DataRecipe, Recipe
from .environment import describe_environment
from .files import explaining_failures, write_text
from .lock import LOCK
from .network_input import KEYS
from .recipe_files import dump_recipe, list_code, make_recipe
from .resume_keys import GROWING_KEYS, may_change
from .run_records import (
    Environment,
    Result,
    dump_json,
    read_json,
    read_lines,
    restore_numbers,
)
from .yaml_text import read_yaml_file


class RunFolder:
    """`recipe.yaml`, `environment.json`, `metrics.jsonl`, `train.log`, `checkpoints/`, …"""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.yaml"
        self.environment = path / "environment.json"
        self.metrics = path / "metrics.jsonl"
        self.log = path / "train.log"
        self.checkpoints = path / "checkpoints"
        self.weights = path / "model.safetensors"
        self.ema_weights = path / "model_ema.safetensors"
        self.start = path / "started-from.json"  # what model.weights gave
        self.labels = path / "trained-labels.csv"  # a copy of data.labels
        self.time_plan = path / "time-plan.json"  # of training.time_limit
        self.result = path / "result.json"
        self.report = path / "report.html"

    def check(self, recipe: Recipe, *, resume: bool, overwrite: bool) -> None:
        """Check that a run of this recipe may use the folder; changes nothing.

        Raises:
            UserError: it exists and neither `resume` nor `overwrite` is set, it is not a run
                folder, or it holds a run of another recipe.
        """
        if resume and overwrite:
            raise UserError("--resume and --overwrite exclude each other")
        if not self.path.exists() or (self.path.is_dir() and not self._list_content()):
            return
        if not self.recipe.is_file():
            raise UserError(f"{self.path} exists and is not a run folder; choose another --out")
        if resume:
            self._check_same(recipe)
        elif not overwrite:
            raise UserError(
                f"{self.path} exists: continue it with --resume, replace it with --overwrite, "
                "or choose another --out"
            )

    def open(self, recipe: Recipe, *, overwrite: bool) -> None:
        """Make the folder for this recipe, replace it, or make it ready to go on."""
        labels = None if overwrite or not self.labels.is_file() else self.labels
        if labels is None and recipe.data.labels is not None:
            labels = Path(recipe.data.labels).expanduser()
        labels_text = None if labels is None else read_label_text(labels)
        if overwrite and self.path.exists():
            self._empty()
        # The recipe is written first: it is what makes this a run folder.
        if not self.recipe.is_file():
            write_text(self.recipe, dump_recipe(recipe))
        elif self.grows(recipe):
            self.result.unlink()  # it is not finished any more
            write_text(self.recipe, dump_recipe(self._lengthen(recipe)))
        # The file may be written anew while it is at work, by another audit.
        if labels_text is not None and not self.labels.is_file():
            write_text(self.labels, labels_text)
        if not self.environment.is_file():
            text = json.dumps(describe_environment(), indent=2, ensure_ascii=False)
            write_text(self.environment, text + "\n")

    def _list_content(self) -> list[Path]:
        """All but the lock of who is at work here."""
        return [path for path in self.path.iterdir() if path.name != LOCK]

    def _empty(self) -> None:
        """Remove all but the lock; the recipe last, without which it is no run folder any more."""
        with explaining_failures(self.path):
            for path in sorted(self._list_content(), key=lambda path: path == self.recipe):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def grows(self, recipe: Recipe) -> bool:
        """Whether this recipe makes the finished run longer."""
        return self.result.is_file() and self._lengthen(recipe) != self.read_recipe()

    def _lengthen(self, recipe: Recipe) -> Recipe:
        """The run's recipe with the length of another one."""
        before = self.read_recipe()
        keys = [key.removeprefix("training.") for key in GROWING_KEYS]
        length = {key: getattr(recipe.training, key) for key in keys}
        training = replace(before.training, **length)
        return replace(before, training=training)

    def read_recipe(self) -> Recipe:
        """The recipe that this run was started with."""
        if not self.recipe.is_file():
            raise UserError(f"{self.path} is not a run folder: it has no recipe.yaml")
        overlay = read_yaml_file(self.recipe)
        training = overlay.get("training")
        # What is cut off would have its default.
        if not isinstance(training, dict) or "report" not in training:
            raise UserError(f"{self.recipe}: damaged: cut before its end, 'training.report'")
        withhold(list_code(overlay), self.recipe)
        try:
            return make_recipe(overlay)
        except UserError as error:
            raise UserError(f"{self.recipe}: {error}") from None

    def find_weights(self, *, ema: bool = False) -> Path:
        """The file of the finished run's weights.

        Args:
            ema: of their moving average.

        Raises:
            UserError: it is not there, or is not what the run wrote.
        """
        path = self.ema_weights if ema else self.weights
        if not path.is_file():
            hint = "has training.ema_decay been set?" if ema else "finish it with train --resume"
            raise UserError(f"{self.path}: there is no {path.name} yet; {hint}")
        noted = None
        with suppress(UserError):  # what else is damaged shows where it is needed
            noted = self.read_result().get("weights_sha256") if self.result.is_file() else None
        check_weights(path, noted.get(path.name) if isinstance(noted, dict) else None)
        return path

    def read_result(self) -> dict[str, Any]:
        """What a finished run came to (see `run_records.Result`)."""
        return restore_numbers(read_json(self.result, Result))

    def read_environment(self) -> dict[str, Any]:
        """Where and when the run began (see `run_records.Environment`)."""
        return read_json(self.environment, Environment)

    def own_data(self, recipe: Recipe) -> DataRecipe:
        """The data of this run's recipe, with the labels that it began with."""
        if recipe.data.labels is None or not self.labels.is_file():
            return recipe.data
        return replace(recipe.data, labels=str(self.labels))

    def read_metrics(self) -> list[dict[str, Any]]:
        """The records written so far; a line cut short by a crash ends them."""
        return restore_numbers(read_lines(self.metrics)) if self.metrics.is_file() else []

    def forget_after(self, step: int) -> None:
        """Drop the records of steps after the checkpoint, which will be trained again."""
        kept = [record for record in self.read_metrics() if record["step"] <= step]
        write_text(self.metrics, "".join(dump_json(record) + "\n" for record in kept))

    def _check_same(self, recipe: Recipe) -> None:
        before, now = flatten_recipe(asdict(self.read_recipe())), flatten_recipe(asdict(recipe))
        for key in KEYS:
            if now[f"data.{key}"] is None:
                now[f"data.{key}"] = before[f"data.{key}"]
        if before["data.labels"] is not None and now["data.labels"] == str(self.labels):
            now["data.labels"] = before["data.labels"]
        differing = [
            f"{key} was {before.get(key)!r}, is {now.get(key)!r}"
            for key in sorted(before | now)
            if before.get(key) != now.get(key) and not may_change(key)
            if not (self.result.is_file() and _is_more(key, before.get(key), now.get(key)))
        ]
        if differing:
            longer = any(_is_more(key, before.get(key), now.get(key)) for key in GROWING_KEYS)
            unfinished = longer and not self.result.is_file()
            raise UserError(
                f"{self.path} is a run of another recipe: {'; '.join(differing)}"
                + "; finish it first, then make it longer" * unfinished
            )
        labels = None if recipe.data.labels is None else Path(recipe.data.labels).expanduser()
        if labels is None or not (labels.is_file() and self.labels.is_file()):
            return
        if read_label_text(labels) != read_label_text(self.labels):
            raise UserError(
                f"{labels} has changed since this run began: continue with the run's own "
                f"copy, --data.labels {self.labels}"
            )


def _is_more(key: str, before: Any, now: Any) -> bool:
    """Whether a key makes the run longer; None sets no limit."""
    return key in GROWING_KEYS and before is not None and (now is None or now > before)


def flatten_recipe(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one level of dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in section.items():
        if isinstance(value, dict):
            flat |= flatten_recipe(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat
