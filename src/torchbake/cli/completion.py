"""`torchbake completion`: print a script that completes commands and options in a shell."""

import argparse
from typing import Any

SHELLS = ("bash", "zsh", "tcsh")


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "completion",
        help="print a script that completes commands and options in your shell",
        description="Print a script that completes commands and options in your shell. In bash: "
        'eval "$(torchbake completion bash)".',
        allow_abbrev=False,
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell to print it for")
    return parser


def run(options: argparse.Namespace) -> None:
    """Print the script."""
    import shtab

    print(shtab.complete(options.whole_parser, shell=options.shell))
