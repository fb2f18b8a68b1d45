"""Finished runs side by side: figures, costs, and whether they may be compared."""

import json
import math
import statistics
from dataclasses import asdict
from inspect import signature
from pathlib import Path
from typing import NamedTuple

from ..._trust import is_withheld
from ...errors import UserError
from ...methods.find import find_method
from ...recipe import Recipe
from ...training.results import choose_figures
from ...training.resume_keys import FREE_KEYS
from ...training.run_folder import RunFolder, flatten_recipe
from .seeds import Record, average, average_if_known, compare_pairs

FIGURES = ("top1", "nll", "ece")
BY_CLASS = ("balanced_accuracy", "macro_f1")
"""Runs of earlier versions have none of them."""
SCALED = ("nll_scaled", "ece_scaled")
"""After temperature scaling; runs of earlier versions have none of them."""
_QUESTION = ("data.name", "data.classes", "data.test_split", "training.report")
"""What runs must agree in to be answers to one question."""

_DEFAULTS = flatten_recipe(asdict(Recipe()))


class Row(NamedTuple):
    """One variant over its seeds: (mean, standard error) of each figure, and what it cost.

    Attributes:
        difference: of top-1 from the baseline's, over the seeds of both, and the p-value of a
            paired t-test; None for the baseline itself and for fewer than two seeds.
        unequal: whether it has seen another number of images than the baseline.
        nll_scaled, ece_scaled, balanced_accuracy, macro_f1: None where a run has none.
        scaled_by: how the temperatures were fitted, on the `validation` images or by cross-fitting
            on two `halves` of the test images; or both, for different seeds.
        selected: whether its evaluations were chosen on validation images.
    """

    variant: str
    seeds: int
    top1: tuple[float, float]
    nll: tuple[float, float]
    ece: tuple[float, float]
    difference: tuple[float, float] | None
    images: int
    teacher_images: int
    forwards_per_image: float
    seconds: tuple[float, float]
    peak_memory: float
    trained_parameters: int
    unequal: bool
    nll_scaled: tuple[float, float] | None = None
    ece_scaled: tuple[float, float] | None = None
    scaled_by: tuple[str, ...] = ()
    selected: bool = False
    balanced_accuracy: tuple[float, float] | None = None
    macro_f1: tuple[float, float] | None = None

    @property
    def shown_error(self) -> float:
        """The standard error of top-1 as it is drawn: 0 for a single seed, which has none."""
        return 0.0 if math.isnan(self.top1[1]) else self.top1[1]


def find_runs(paths: list[Path]) -> list[RunFolder]:
    """The run folders among these, and those right below a folder that is none.

    Raises:
        UserError: a path that is no folder, or one without a run.
    """
    found = []
    for path in paths:
        if not path.is_dir():
            raise UserError(f"there is no folder {path}")
        own = [path] if (path / "recipe.yaml").is_file() else sorted(path.iterdir())
        runs = [RunFolder(folder) for folder in own if (folder / "recipe.yaml").is_file()]
        if not runs:
            raise UserError(f"{path}: neither a run folder nor a folder of some")
        found += runs
    return found


def name_variants(folders: list[RunFolder]) -> list[str]:
    """What sets each run apart, finished or not.

    That is its method, the method's settings that are not the default, and keys of the recipe in
    which the runs differ, where they are not the default.

    Raises:
        UserError: runs that answer different questions.
    """
    recipes = [folder.read_recipe() for folder in folders]
    flat = [flatten_recipe(asdict(recipe)) for recipe in recipes]
    differing = [
        key
        for key in dict.fromkeys(key for recipe in flat for key in recipe)
        if not key.startswith("method.")
        and key not in ("seed", *(k for k in FREE_KEYS if k not in _QUESTION))
        and len({json.dumps(recipe.get(key)) for recipe in flat}) > 1
    ]
    for key in _QUESTION:
        if key in differing:
            values = " and ".join(sorted({str(recipe.get(key)) for recipe in flat}))
            raise UserError(f"these runs cannot be compared: {key} is {values}")
    names = []
    for recipe, keys in zip(recipes, flat, strict=True):
        own = [f"{k}={keys.get(k)}" for k in differing if keys.get(k) != _DEFAULTS.get(k)]
        names.append(", ".join([*label_method(recipe), *own]))
    return names


def read_runs(folders: list[RunFolder], variants: list[str] | None = None) -> list[Record]:
    """A record of each finished run.

    Args:
        variants: their names; None for those of `name_variants`.

    Raises:
        UserError: runs that answer different questions, or two of one variant and seed.
    """
    records: list[Record] = []
    for folder, variant in zip(folders, variants or name_variants(folders), strict=True):
        recipe = folder.read_recipe()
        result = folder.read_result()
        selected = recipe.training.select != "last"
        figures = choose_figures(recipe, result)
        environment = folder.read_environment()
        record = {
            "variant": variant,
            "seed": recipe.seed,
            "report": recipe.training.report,
            "run": str(folder.path),
            "commit": environment["commit"],
            "selected": selected,
            **_pick_figures(figures, ""),
            **{k: v for k, v in result.items() if isinstance(v, int | float)},
        }
        records.append(record)
        if all(f"ema_{name}" in figures for name in FIGURES):
            averaged = {"variant": f"{variant} (EMA)", **_pick_figures(figures, "ema_")}
            records.append({**record, **averaged})
    named: dict[tuple[str, int], Record] = {}
    for record in records:
        other = named.setdefault((record["variant"], record["seed"]), record)
        if other is not record:
            raise UserError(
                f"{other['run']} and {record['run']} are the same: {record['variant']}, seed "
                f"{record['seed']}"
            )
    return records


def _pick_figures(figures: Record, prefix: str) -> Record:
    """The figures of a network, and how those after scaling were fitted."""
    own = {name: figures[prefix + name] for name in FIGURES}
    own |= {name: figures[prefix + name] for name in BY_CLASS if prefix + name in figures}
    if all(prefix + name in figures for name in SCALED):
        own |= {name: figures[prefix + name] for name in SCALED}
        own["scaled_by"] = "validation" if f"{prefix}temperature" in figures else "halves"
    return own


def label_method(recipe: Recipe) -> list[str]:
    """The method's name and its settings that are not the default."""
    name = recipe.method["name"]
    defaults = {} if is_withheld(name) else signature(find_method(name)).parameters
    settings = [
        f"{key}={value}"
        for key, value in recipe.method.items()
        if key not in ("name", "teacher", "teachers")
        and (key not in defaults or value != defaults[key].default)
    ]
    return [recipe.method["name"], *settings]


def find_baseline(records: list[Record], given: str | None = None) -> str:
    """The variant that the others are measured against: cross-entropy if there, else the first.

    Args:
        given: another one.

    Raises:
        UserError: there is no such variant.
    """
    variants = list(dict.fromkeys(record["variant"] for record in records))
    if given is None:
        return "cross-entropy" if "cross-entropy" in variants else variants[0]
    if given not in variants:
        raise UserError(f"--baseline: there is no '{given}' among {'; '.join(variants)}")
    return given


def compare_runs(records: list[Record], baseline: str | None, *, unequal: bool) -> list[Row]:
    """One row a variant, best top-1 first.

    Args:
        baseline: see `find_baseline`.
        unequal: compare also runs that have seen different numbers of images.

    Raises:
        UserError: an unknown baseline, or numbers of images that differ.
    """
    variants = list(dict.fromkeys(record["variant"] for record in records))
    baseline = find_baseline(records, baseline)
    seen = {
        variant: sorted({r["images"] for r in records if r["variant"] == variant})
        for variant in variants
    }
    mixed = any(len(images) > 1 for images in seen.values())
    differ = mixed or len({images[0] for images in seen.values()}) > 1
    early = any(record.get("stopped_early") for record in records)
    if differ and not (unequal and (early or not mixed)):
        told = "; ".join(f"{v} {' and '.join(f'{i:,}' for i in s)}" for v, s in seen.items())
        raise UserError(
            f"these runs have seen different numbers of images ({told}); --unequal compares "
            "variants nevertheless, and marks them"
        )
    base = {r["seed"]: r["top1"] for r in records if r["variant"] == baseline}
    rows = []
    for variant in variants:
        own = [record for record in records if record["variant"] == variant]
        pairs = [(r["top1"], base[r["seed"]]) for r in own if r["seed"] in base]
        rows.append(
            Row(
                variant=variant,
                seeds=len(own),
                top1=average(own, "top1"),
                nll=average(own, "nll"),
                ece=average(own, "ece"),
                difference=None if variant == baseline else compare_pairs(pairs),
                images=round(statistics.fmean(record["images"] for record in own)),
                teacher_images=max(record["teacher_images"] for record in own),
                forwards_per_image=own[0]["forwards"] / own[0]["images"],
                seconds=average(own, "seconds"),
                peak_memory=statistics.fmean(record["peak_memory"] for record in own),
                trained_parameters=own[0]["trained_parameters"],
                unequal=seen[variant] != seen[baseline],
                nll_scaled=average_if_known(own, "nll_scaled"),
                ece_scaled=average_if_known(own, "ece_scaled"),
                scaled_by=tuple(sorted({r["scaled_by"] for r in own if "scaled_by" in r})),
                selected=any(record.get("selected") for record in own),
                balanced_accuracy=average_if_known(own, "balanced_accuracy"),
                macro_f1=average_if_known(own, "macro_f1"),
            )
        )
    return sorted(rows, key=lambda row: -row.top1[0])
