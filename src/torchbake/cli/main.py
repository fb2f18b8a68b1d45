"""The command line: one module a command, each with its parser and what it does.

Heavy modules are imported by the command that needs them, so that help is instant.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from .._trust import trusting
from ..errors import Stopped, UserError
from . import (
    advise,
    audit,
    check,
    compare,
    completion,
    demo,
    evaluate,
    export,
    inspect,
    list_names,
    pack,
    predict,
    prepare,
    profile,
    push,
    replay,
    report,
    train,
)

COMMANDS = (
    train,
    compare,
    advise,
    evaluate,
    predict,
    export,
    push,
    demo,
    report,
    inspect,
    audit,
    check,
    replay,
    profile,
    prepare,
    pack,
    list_names,
    completion,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; a user's mistake ends in one line and exit status 2."""
    message, status = _run(list(sys.argv[1:] if arguments is None else arguments))
    # The error is gone by now, and with it what its frames held, such as worker processes.
    if message:
        print(message, file=sys.stderr)
        raise SystemExit(status)


def _run(given: list[str]) -> tuple[str, int]:
    """Run one command; what to print where it fails, and the exit status."""
    parser, commands = make_parser()
    try:
        command = commands.get(given[0]) if given else None
        overrides: list[tuple[str, str]] = []
        if command is not None and command.get_default("takes_keys"):
            given, overrides = _split_overrides(given, command)
        options = parser.parse_args(given)
        options.overrides = overrides
        options.whole_parser = parser
        with trusting(getattr(options, "trust", False)):
            options.run_command(options)
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
    except RuntimeError as error:
        from ..data.loading.workers import explain_dead_worker
        from ..training.memory import is_out_of_memory, shorten

        if (told := explain_dead_worker(error)) is not None:
            return f"torchbake: error: {told}", 2
        if not is_out_of_memory(error):
            raise
        return (
            "torchbake: error: out of memory on the device: smaller batches take less, and "
            f"--training.device or --device takes another ({shorten(error)})"
        ), 2
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has had enough
    except OSError as error:
        if error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        return f"torchbake: error: {where}{error.strerror}", 2
    return "", 0


class _ShowVersion(argparse.Action):
    """Prints what a report of a fault should name."""

    def __call__(self, parser: argparse.ArgumentParser, *rest: Any) -> None:
        from ..training.environment import describe_versions

        print(describe_versions())
        parser.exit()


def make_parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser, and those of the commands by their names."""
    parser = argparse.ArgumentParser(
        prog="torchbake",
        description="Train image classifiers by batch knowledge ensembling: the images of a batch "
        "teach each other.",
    )
    parser.add_argument(
        "--version",
        action=_ShowVersion,
        nargs=0,
        help="show the versions of torchbake and torch, and the device, and exit",
    )
    subcommands: Any = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        made = command.add_parser(subcommands)
        made.set_defaults(run_command=command.run)
    return parser, dict(subcommands.choices)


def _split_overrides(
    given: list[str], command: argparse.ArgumentParser
) -> tuple[list[str], list[tuple[str, str]]]:
    """Options that are keys of a recipe, taken out of the arguments of a command."""
    from ..recipe import Recipe

    own = [option for action in command._actions for option in action.option_strings]
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
            from ..training.key_mistakes import suggest_option

            raise UserError(f"unknown option {option}{suggest_option(option, own)}")
        if not equals:
            following = next(words, None)
            if following is None or following.startswith("--"):
                raise UserError(f"{option}: expected a value")
            value = following
        overrides.append((key, value))
    return rest, overrides
