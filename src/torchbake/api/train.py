"""Training from Python."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ..analysis.pages.report import write_report
from ..training.callbacks import Callback
from ..training.loop import train as train_recipe
from ..training.recipe_files import load_recipe
from ..training.run_folder import RunFolder
from ..training.starting import start_from
from .overrides import choose_recipe, write_overrides
from .runs import Run


def train(
    recipe: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    init_from: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
) -> Run:
    """Train as `torchbake train` does, and write the same run folder.

    >>> run = torchbake.train("photos/finetune", data="photos", out="runs/photos")
    >>> run.figures["top1"]
    93.1

    Under torchrun, each process is one rank.

    Args:
        recipe: a shipped recipe, a YAML file, or photos: a folder or a table.
        out: the run folder.
        data: in place of the recipe's data: photos, or a data set as `data.name` has it.
        overrides: keys of the recipe, such as {"training.epochs": 10, "method": "bake"}.
        init_from: a finished run to start from, with its network and weights.
        resume: go on from the last checkpoint.
        overwrite: replace the run folder if there is one.
        callbacks: functions that are called at the end of each epoch and at each evaluation with
            a `torchbake.training.Progress`. What one raises ends the run; its last checkpoint
            stays.
        quiet: print nothing.

    Raises:
        UserError: what the command line would refuse, in one line.
        Stopped: a signal asked for it; a checkpoint was written first.
    """
    folder = RunFolder(Path(out).expanduser())
    keys = write_overrides(overrides)
    if init_from is not None:
        keys = [*start_from(Path(init_from), keys), *keys]
    name, keys = choose_recipe(recipe, data, keys)
    console = Console(quiet=quiet)
    train_recipe(
        load_recipe(name, keys),
        folder.path,
        resume=resume,
        overwrite=overwrite,
        console=console,
        callbacks=callbacks,
    )
    if os.environ.get("RANK", "0") == "0":
        for line in write_report([folder], folder.report, Console(quiet=True)):
            console.print(f"{folder.report}: {line}", highlight=False, markup=False)
    return Run(folder.path)
