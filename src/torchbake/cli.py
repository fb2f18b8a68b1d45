"""The command line: `torchbake train | compare | report | inspect | audit | profile | …`.

Heavy modules are imported by the command that needs them, so that help is instant.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from . import __version__, audit_command, commands, prepare_command, report_command
from .commands import DEFAULT_RECIPE
from .errors import Stopped, UserError, did_you_mean


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
    subcommands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    train = subcommands.add_parser(
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
    train.set_defaults(command=commands.train)

    compare = subcommands.add_parser(
        "compare",
        help="train methods side by side on equal terms, or compare runs that exist",
        description="Train several methods with several seeds, on equal numbers of images, and "
        "print one table; what is finished already is not done again. With run folders in place "
        "of a recipe: the table of these runs.",
        epilog="Any key of the recipe is an option, for all methods: --training.epochs 10.",
        allow_abbrev=False,
    )
    compare.add_argument(
        "what", nargs="*", metavar="RECIPE | RUN …", help=f"(default: {DEFAULT_RECIPE})"
    )
    compare.add_argument(
        "--methods",
        metavar="M,M,…",
        help="methods, with settings after colons: cross-entropy,bake,bake:omega=0.9:partners=1 "
        "(default: cross-entropy,bake)",
    )
    compare.add_argument(
        "--seeds", type=int, metavar="N", help="seeds from 0 to N - 1 (default: 1)"
    )
    compare.add_argument(
        "--budget",
        metavar="images | anchors | N",
        help="what an epoch counts, or how many images every run sees (default: the recipe's)",
    )
    compare.add_argument("--baseline", metavar="METHOD", help="(default: cross-entropy)")
    compare.add_argument(
        "--unequal",
        action="store_true",
        help="compare also what has seen different numbers of images, and mark it",
    )
    compare.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="runs at a time (default: 1)"
    )
    compare.add_argument("--out", type=Path, metavar="DIR", help="(default: runs/compare-RECIPE)")
    compare.set_defaults(command=commands.compare)

    profile = subcommands.add_parser(
        "profile",
        help="see where the time of a training step goes",
        description="Train as a recipe says for a few steps, without keeping anything of it, and "
        "see where their time goes: a table, a picture, and a trace for ui.perfetto.dev.",
        epilog="Any key of the recipe is an option: --training.batch_size 512.",
        allow_abbrev=False,
    )
    profile.add_argument("recipe", nargs="?", metavar="RECIPE", help=f"(default: {DEFAULT_RECIPE})")
    profile.add_argument(
        "--steps",
        type=int,
        default=50,
        metavar="N",
        help="that are timed, and as many more in turns with them that are not (default: 50)",
    )
    profile.add_argument(
        "--warmup", type=int, default=10, metavar="N", help="steps before them (default: 10)"
    )
    profile.add_argument(
        "--trace-steps", type=int, default=3, metavar="N", help="in the trace (default: 3)"
    )
    profile.add_argument("--out", type=Path, metavar="DIR", help="(default: runs/profile-RECIPE)")
    profile.set_defaults(command=commands.profile)

    prepare_command.add_parser(subcommands)

    pack = subcommands.add_parser(
        "pack",
        help="encode a data set's images anew, smaller, for faster epochs",
        description="Write a data set's images as JPEG files of limited size into a folder of "
        "Arrow files, which is trained on with --data hf:OUT. What cannot be read is left out and "
        "listed.",
        epilog="Keys of a recipe's data section are options: --data.image_column photo.",
        allow_abbrev=False,
    )
    pack.add_argument(
        "source", metavar="SOURCE", help="a folder with train/ and val/ or test/, or a data.name"
    )
    pack.add_argument("out", type=Path, metavar="OUT", help="the folder to be made")
    pack.add_argument(
        "--short-side",
        type=int,
        default=256,
        metavar="N",
        help="pixels to which an image's shorter side is limited (default: 256)",
    )
    pack.add_argument(
        "--quality", type=int, default=90, metavar="N", help="of JPEG, 1 to 95 (default: 90)"
    )
    pack.add_argument("--overwrite", action="store_true", help="replace packed images at OUT")
    pack.set_defaults(command=commands.pack)

    evaluate = subcommands.add_parser(
        "evaluate", help="measure a run's model on its test images", allow_abbrev=False
    )
    evaluate.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    evaluate.add_argument("--ema", action="store_true", help="the average of the weights")
    evaluate.add_argument("--data", metavar="NAME", help="in place of the run's data.name")
    evaluate.add_argument("--device", metavar="NAME", help="in place of the run's training.device")
    evaluate.set_defaults(command=commands.evaluate)

    report_command.add_parsers(subcommands)
    audit_command.add_parser(subcommands)

    listing = subcommands.add_parser("list", help="list what there is by name")
    listing.add_argument("what", choices=["recipes", "models", "methods", "datasets"])
    listing.set_defaults(command=commands.list_names)
    return parser


_OWN_OPTIONS = {
    "train": "out seed resume overwrite baseline print-recipe",
    "compare": "methods seeds budget baseline unequal jobs out",
    "profile": "steps warmup trace-steps out",
    "pack": "short-side quality overwrite",
}


def _split_overrides(given: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Options that are keys of a recipe, taken out of the arguments of a command."""
    if not given or given[0] not in _OWN_OPTIONS:
        return given, []
    from .recipe import Recipe

    own = [f"--{name}" for name in (*_OWN_OPTIONS[given[0]].split(), "help")]
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


if __name__ == "__main__":
    main()
