"""What the commands of the command line do, each a thin function.

Heavy modules are imported by the command that needs them, so that help is instant.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UserError

if TYPE_CHECKING:
    from .recipe import Recipe

DEFAULT_RECIPE = "digits/bake"


def train(options: argparse.Namespace) -> None:
    from .training.recipe_files import dump_recipe, load_recipe

    if options.recipe is None and options.resume and options.out is not None:
        options.recipe = str(options.out / "recipe.yaml")
    name = options.recipe or DEFAULT_RECIPE
    overrides = list(options.overrides)
    if options.seed is not None:
        overrides.append(("seed", str(options.seed)))
    recipe = load_recipe(name, overrides)
    if options.print_recipe:
        print(dump_recipe(recipe), end="")
        return
    out = options.out or Path("runs") / _run_name(name, options.seed)
    runs = [(out, recipe)]
    if options.baseline is not None:
        other = load_recipe(name, [*overrides, ("method", options.baseline)])
        if recipe.training.epoch == "anchors":
            raise UserError(
                "--baseline: compares on equal images, of which an epoch of anchors has more with "
                "partners; use --training.epoch images"
            )
        if other.method["name"] == recipe.method["name"]:
            raise UserError(f"--baseline: the run itself uses {other.method['name']}")
        runs.append((out.with_name(f"{out.name}-{other.method['name']}"), other))
    _run_all(runs, resume=options.resume, overwrite=options.overwrite)


def _run_all(runs: list[tuple[Path, "Recipe"]], *, resume: bool, overwrite: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from .analysis.report import write_report
    from .training.loop import train
    from .training.run_folder import RunFolder

    first = os.environ.get("RANK", "0") == "0"
    console = Console(quiet=not first)
    if first:
        for folder, recipe in runs:
            RunFolder(folder).check(recipe, resume=resume, overwrite=overwrite)
    table = Table("method", "images seen", "test top-1 %", "NLL", "ECE %", "seconds")
    for column in table.columns[1:]:
        column.justify = "right"
    for folder, recipe in runs:
        final = train(recipe, folder, resume=resume, overwrite=overwrite, console=console)
        for prefix, label in (("", ""), ("ema_", " (EMA)")):
            if f"{prefix}top1" in final:
                table.add_row(
                    recipe.method["name"] + label,
                    f"{final['images']:,}",
                    f"{final[prefix + 'top1']:.2f}",
                    f"{final[prefix + 'nll']:.4f}",
                    f"{final[prefix + 'ece']:.2f}",
                    f"{final['seconds']:.1f}",
                )
        if first and len(runs) > 1:  # the runs to come may fail
            write_report([RunFolder(folder)], RunFolder(folder).report, console)
    console.print(table)
    folders = [RunFolder(folder) for folder, _ in runs]
    for run in folders if first else []:
        others = [other for other in folders if other is not run]
        for line in write_report([run, *others], run.report, console):
            console.print(f"{run.report}: {line}", highlight=False, markup=False, soft_wrap=True)
    for folder, _ in runs:
        console.print(f"written to {folder}", highlight=False, soft_wrap=True)


def _run_name(recipe: str, seed: int | None) -> str:
    path = Path(recipe)
    name = path.stem if path.suffix in (".yaml", ".yml") else recipe.replace("/", "-")
    return name if seed is None else f"{name}-seed{seed}"


def evaluate(options: argparse.Namespace) -> None:
    from rich.console import Console

    from .training.evaluate import evaluate_run

    figures = evaluate_run(
        options.run,
        ema=options.ema,
        data_name=options.data,
        device_name=options.device,
        console=Console(stderr=True),
    )
    for name, value in figures.items():
        print(f"{name} {value:.4f}")


def list_names(options: argparse.Namespace) -> None:
    """Names, one a line; on a terminal with a word about each where there is one."""
    about: dict[str, str] = {}
    if options.what == "recipes":
        from .training.recipe_files import list_recipes, load_recipe

        about = {name: load_recipe(name).description for name in list_recipes()}
    elif options.what == "models":
        from .models import list_models

        about = dict.fromkeys(list_models(), "")
    elif options.what == "methods":
        from .methods import METHODS

        about = {name: (METHODS[name].__doc__ or "").splitlines()[0] for name in sorted(METHODS)}
    else:
        from .data.sources import SOURCES

        about = {
            f"{name}:{kind.takes_place}".rstrip(":"): kind.about for name, kind in SOURCES.items()
        }
    width = max(map(len, about))
    for name, words in about.items():
        print(f"{name:{width}}  {words}".rstrip() if sys.stdout.isatty() else name)


def pack(options: argparse.Namespace) -> None:
    """Encode a data set anew, so that it is decoded faster, and tell what came of it."""
    from rich.console import Console

    from .data.packing import SKIPPED
    from .data.packing import pack as pack_data
    from .training.recipe_files import load_recipe

    if options.short_side < 1:
        raise UserError("--short-side: expected a number of pixels from 1 on")
    if not 1 <= options.quality <= 95:
        raise UserError("--quality: expected a number from 1 to 95")
    name = options.source
    if ":" not in name and Path(name).is_dir():
        name = f"imagefolder:{name}"
    recipe = load_recipe(DEFAULT_RECIPE, [("data", name), *options.overrides]).data
    with Console(stderr=True).status(f"opening {name}") as status:
        packed = pack_data(
            recipe,
            options.out,
            short_side=options.short_side,
            quality=options.quality,
            overwrite=options.overwrite,
            progress=lambda split, done, total: status.update(
                f"packing the {split} images: {done:,} of {total:,}"
            ),
        )
    counts = " and ".join(f"{count:,} {split}" for split, count in packed.images.items())
    print(f"packed {counts} images, {packed.kept:,} of them as they were")
    if packed.skipped:
        print(f"left out {len(packed.skipped):,}, listed in {options.out / SKIPPED}; the first:")
        print("\n".join(packed.skipped[:3]))
    print(f"train on them with --data hf:{options.out}")


def profile(options: argparse.Namespace) -> None:
    """Time the phases of a recipe's training step, and write what came of it."""
    from rich.console import Console

    from .analysis.profile import as_markdown, check_folder, summarised, write_profile
    from .training.profiling import measure, write_trace
    from .training.recipe_files import load_recipe

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("profile is one process; run it without torchrun")
    if options.steps < 1:
        raise UserError("--steps: expected a number from 1 on")
    if options.warmup < 0 or options.trace_steps < 0:
        raise UserError("--warmup, --trace-steps: expected a number from 0 on")
    name = options.recipe or DEFAULT_RECIPE
    recipe = load_recipe(name, options.overrides)
    out = options.out or Path("runs") / f"profile-{_run_name(name, None)}"
    check_folder(out)
    times, training = measure(
        recipe, steps=options.steps, warmup=options.warmup, console=Console(stderr=True)
    )
    summary = summarised(recipe, times)
    print(as_markdown(summary))
    written = write_profile(out, summary)
    if options.trace_steps:
        written.append(out / "trace.json.gz")
        write_trace(written[-1], training, options.trace_steps)
    print("written to " + ", ".join(map(str, written)))
    if out / "profile.svg" not in written:
        print("no picture: it needs matplotlib: pip install 'torchbake[plot]'")


def compare(options: argparse.Namespace) -> None:
    """Do the runs that are missing, and put all of them side by side."""
    from rich.console import Console

    from .analysis.comparison import baseline_of, compared, find_runs, read_runs
    from .analysis.experiments import run_missing
    from .analysis.planning import check_budgets, plan
    from .analysis.report import write_report
    from .analysis.tables import as_markdown, write_comparison
    from .training.run_folder import describe_environment

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("compare is one process, which starts its own; run it without torchrun")
    environment = describe_environment()
    paths = [Path(name) for name in options.what or [DEFAULT_RECIPE]]
    failures: list[str] = []
    if any(path.is_dir() for path in paths):
        if options.methods or options.overrides or options.seeds is not None or options.budget:
            raise UserError("runs that exist take no --methods, --seeds, --budget or recipe keys")
        out = options.out or Path("runs") / "comparison"
        folders = find_runs(paths)
        failures = [f"{f.path}: not finished" for f in folders if not f.result.is_file()]
    else:
        if len(paths) > 1:
            raise UserError(f"there is no folder {next(p for p in paths if not p.is_dir())}")
        name = str(paths[0])
        out = options.out or Path("runs") / f"compare-{_run_name(name, None)}"
        seeds = 1 if options.seeds is None else options.seeds
        if seeds < 1 or options.jobs < 1:
            raise UserError("--seeds, --jobs: expected a number from 1 on")
        variants = (options.methods or "cross-entropy,bake").split(",")
        runs = plan(name, options.overrides, variants, seeds, options.budget, out)
        if not options.unequal:
            check_budgets(runs)
        failures = run_missing(runs, out, options.jobs, Console())
        folders = [run.folder for run in runs]
    finished = [folder for folder in folders if folder.result.is_file()]
    if finished:
        records = read_runs(finished)
        baseline = baseline_of(records, options.baseline)
        rows = compared(records, baseline, unequal=options.unequal)
        print(as_markdown(rows, records[0]["report"]))
        written = write_comparison(out, records, rows, environment)
        best = next(Path(r["run"]) for r in records if r["variant"] == rows[0].variant)
        ordered = sorted(finished, key=lambda folder: folder.path != best)
        left_out = write_report(
            ordered, out / "report.html", Console(stderr=True), baseline=baseline
        )
        print("\n".join([*left_out, "written to " + ", ".join(map(str, written))]))
        print(f"a page to look at: {out / 'report.html'}")
        if written[-1].suffix != ".svg":
            print("no picture: it needs matplotlib: pip install 'torchbake[plot]'")
    if failures:
        raise UserError("\n".join(["these runs are missing in the table:", *failures]))
