"""The command line: `torchbake train | evaluate | list`.

Heavy modules are imported by the command that needs them, so that help is instant.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .errors import Stopped, UserError, did_you_mean

if TYPE_CHECKING:
    from .recipe import Recipe

DEFAULT_RECIPE = "digits/bake"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; a user's mistake ends in one line and exit status 2."""
    message, status = _run(list(sys.argv[1:] if arguments is None else arguments))
    # The error is gone by now, and with it what its frames held, such as worker processes.
    if message:
        print(message, file=sys.stderr)
        raise SystemExit(status)


def _run(given: list[str]) -> tuple[str, int]:
    """Run one command; what to print where it fails, and the exit status."""
    parser = _parser()
    try:
        given, overrides = _split_overrides(given)
        options = parser.parse_args(given)
        options.overrides = overrides
        options.command(options)
    except UserError as error:
        return "\n".join(f"torchbake: error: {line}" for line in str(error).splitlines()), 2
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "torchbake"):
            raise
        return f"torchbake: error: needs the package {missing}: pip install 'torchbake[train]'", 2
    except Stopped as stop:
        return f"torchbake: {stop}", 130
    except KeyboardInterrupt:
        return "torchbake: stopped", 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has had enough
    except OSError as error:
        if error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        return f"torchbake: error: {where}{error.strerror}", 2
    return "", 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="torchbake",
        description="Train image classifiers in which the images of a batch teach each other.",
    )
    parser.add_argument("--version", action="version", version=f"torchbake {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    train = commands.add_parser(
        "train",
        help="train a classifier as a recipe says",
        description="Train a classifier as a recipe says. Under torchrun, on several devices.",
        epilog="Any key of the recipe is an option: --method.omega 0.9, --data.name cifar100, "
        "--training.epochs 10; a section's own name is its name: --method cross-entropy. "
        "--print-recipe shows all keys.",
        allow_abbrev=False,
    )
    train.add_argument(
        "recipe",
        nargs="?",
        metavar="RECIPE",
        help=f"a shipped recipe's name or a YAML file (default: {DEFAULT_RECIPE})",
    )
    train.add_argument("--out", type=Path, metavar="DIR", help="run folder (default: runs/RECIPE)")
    train.add_argument("--seed", type=int, metavar="N", help="of everything random")
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    train.add_argument("--overwrite", action="store_true", help="replace an existing run folder")
    train.add_argument(
        "--baseline",
        nargs="?",
        const="cross-entropy",
        metavar="METHOD",
        help="then train the same recipe with this method (default: cross-entropy), on the same "
        "number of images, and print both",
    )
    train.add_argument(
        "--print-recipe", action="store_true", help="print the whole recipe as YAML, and end"
    )
    train.set_defaults(command=_train)

    evaluate = commands.add_parser(
        "evaluate", help="measure a run's model on its test images", allow_abbrev=False
    )
    evaluate.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    evaluate.add_argument("--ema", action="store_true", help="the average of the weights")
    evaluate.add_argument("--data", metavar="NAME", help="in place of the run's data.name")
    evaluate.add_argument("--device", metavar="NAME", help="in place of the run's training.device")
    evaluate.set_defaults(command=_evaluate)

    listing = commands.add_parser("list", help="list what there is by name")
    listing.add_argument("what", choices=["recipes", "models", "methods", "datasets"])
    listing.set_defaults(command=_list)
    return parser


def _split_overrides(given: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Options that are keys of a recipe, taken out of the arguments of `train`."""
    if not given or given[0] != "train":
        return given, []
    from .recipe import Recipe

    own = ["--out", "--seed", "--resume", "--overwrite", "--baseline", "--print-recipe", "--help"]
    sections = [field.name for field in fields(Recipe)]
    rest, overrides = [], []
    words = iter(given)
    for word in words:
        option, equals, value = word.partition("=")
        if not option.startswith("--") or option in own or option == "--":
            rest.append(word)
            continue
        key = option[2:].replace("-", "_") if "." in option else option[2:]
        if key.partition(".")[0] not in sections and "." not in key:
            known = [*own, *(f"--{section}" for section in sections)]
            raise UserError(f"unknown option {option}{did_you_mean(option, known)}")
        if not equals:
            following = next(words, None)
            if following is None or following.startswith("--"):
                raise UserError(f"{option}: expected a value")
            value = following
        overrides.append((key, value))
    return rest, overrides


def _train(options: argparse.Namespace) -> None:
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
        if first:
            write_report(RunFolder(folder))
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
    console.print(table)
    for folder, _ in runs:
        console.print(f"written to {folder}", highlight=False, soft_wrap=True)


def _run_name(recipe: str, seed: int | None) -> str:
    path = Path(recipe)
    name = path.stem if path.suffix in (".yaml", ".yml") else recipe.replace("/", "-")
    return name if seed is None else f"{name}-seed{seed}"


def _evaluate(options: argparse.Namespace) -> None:
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


def _list(options: argparse.Namespace) -> None:
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


if __name__ == "__main__":
    main()
