"""What a comparison consists of: its runs, from variants of methods and seeds."""

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...errors import UserError
from ...methods import METHODS
from ...methods.find import find_method
from ...recipe import Recipe
from ...training.recipe_files import load_recipe, make_method
from ...training.run_folder import RunFolder

TEACHERS = 3
"""Networks that teach a method of several teachers, where there are so many seeds."""


@dataclass(frozen=True)
class Run:
    """One run of a comparison; those that teach it come first."""

    folder: RunFolder
    recipe: Recipe
    taught: bool


def plan_runs(
    name: str,
    overrides: Iterable[tuple[str, str]],
    variants: list[str],
    seeds: int,
    budget: str | None,
    out: Path,
    *,
    first_seed: int = 0,
) -> list[Run]:
    """The runs of `variants` × `seeds`, seed after seed, from `first_seed` on.

    Args:
        name, overrides: the recipe, see `load_recipe`.
        variants: a method's name, with settings of its own after colons, `bake:omega=0.9` or
            `mymodule:MyMethod:strength=2`; a setting with a dot is any key of the recipe,
            `bake:data.cutmix=1`. What needs a teacher and names none is taught by the runs of
            cross-entropy.
        budget: `images` or `anchors`, what an epoch counts; or a number of images for each run;
            None: as the recipe says.
        out: the folder of their folders.

    Raises:
        UserError: a recipe or setting that is not right, or a teacher that there is not.
    """
    if not all(variants):
        raise UserError("--methods: expected names of methods, separated by commas")
    if len(set(variants)) != len(variants):
        raise UserError(f"--methods: names a method twice: {','.join(variants)}")
    common = list(overrides)
    if budget in ("images", "anchors"):
        common.append(("training.epoch", budget))
    runs = []
    for seed in range(first_seed, first_seed + seeds):
        for variant in variants:
            method, settings = parse_variant(variant)
            own = [("method", method), ("seed", str(seed)), *settings]
            teacher = _teacher_setting(method, own)
            if teacher is not None:
                teachers = [first_seed + (seed - first_seed + k) % seeds for k in range(TEACHERS)]
                own.append(make_teacher_override(teacher, variants, teachers[:seeds], out, variant))
            recipe = load_recipe(name, [*common, *own])
            if recipe.training.time_limit is not None:
                raise UserError(
                    "training.time_limit: in equal times runs see different numbers of images; "
                    "give --budget N instead"
                )
            if budget not in ("images", "anchors", None):
                recipe = load_recipe(name, [*common, *own, *_lasting(budget, recipe)])
            folder = RunFolder(out / _name_folder(variant, seed))
            runs.append(Run(folder, recipe, teacher is not None))
    return sorted(runs, key=lambda run: run.taught)


def check_budgets(runs: list[Run]) -> None:
    """Refuse, before anything is run, what would see different numbers of images.

    Raises:
        UserError: epochs of anchors, of methods with different numbers of partners; or patience.
    """
    partners = {
        make_method(run.recipe.method).partners
        for run in runs
        if run.recipe.training.epoch == "anchors" and run.recipe.training.max_steps is None
    }
    if any(run.recipe.training.patience is not None for run in runs):
        raise UserError(
            "training.patience: runs that end early see different numbers of images; --unequal "
            "compares them nevertheless, and marks them"
        )
    if len(partners) > 1:
        raise UserError(
            "--budget: in epochs of anchors these methods see different numbers of images; "
            "--unequal compares them nevertheless, and marks them"
        )


def parse_variant(variant: str) -> tuple[str, list[tuple[str, str]]]:
    """A variant's method, and its settings as overrides; names and values may hold colons."""
    method, *parts = variant.split(":")
    if method not in METHODS and parts and "=" not in parts[0]:
        method = f"{method}:{parts.pop(0)}"  # module:Class of a user's own
    settings: list[tuple[str, str]] = []
    for part in parts:
        key, equals, value = part.partition("=")
        if equals:
            settings.append((key if "." in key else f"method.{key}", value))
        elif settings:  # of a value such as imagefolder:pets
            settings[-1] = (settings[-1][0], f"{settings[-1][1]}:{part}")
        else:
            raise UserError(f"--methods: expected KEY=VALUE in '{variant}', got '{part}'")
    return method, settings


def _name_folder(variant: str, seed: int) -> str:
    return f"{variant.replace(':', ',').replace('/', '_')}-seed{seed}"


def _teacher_setting(method: str, given: list[tuple[str, str]]) -> str | None:
    """The setting that names the method's teachers, if it has one that is not given."""
    settings = inspect.signature(find_method(method)).parameters
    for name in ("teacher", "teachers"):
        if name in settings:
            return None if f"method.{name}" in dict(given) else name
    return None


def make_teacher_override(
    setting: str, variants: list[str], seeds: list[int], out: Path, variant: str
) -> tuple[str, str]:
    """The runs of cross-entropy as teachers: that of the first seed, or for several of all."""
    if "cross-entropy" not in variants:
        raise UserError(
            f"--methods: '{variant}' needs a teacher: add cross-entropy to the methods, or name "
            f"a run folder: {variant}:{setting}=RUN"
        )
    folders = [str(out / _name_folder("cross-entropy", seed)) for seed in seeds]
    value = folders[0] if setting == "teacher" else f"[{', '.join(map(repr, folders))}]"
    return f"method.{setting}", value


def _lasting(budget: str, recipe: Recipe) -> list[tuple[str, str]]:
    """Overrides that make a run see so many images."""
    size = recipe.training.batch_size
    if not budget.isdecimal() or int(budget) < size:
        raise UserError(
            f"--budget: expected 'images', 'anchors' or a number of images from one batch of "
            f"{size} on, got '{budget}'"
        )
    steps = int(budget) // size
    # Epochs enough, whatever an epoch is; the schedule ends with the last step.
    return [("training.max_steps", str(steps)), ("training.epochs", str(steps))]
