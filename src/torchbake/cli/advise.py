"""`torchbake advise`: which method is worth it on somebody's data, within a given time."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from .common import DEFAULT_RECIPE, add_jobs, check_least, name_run, refuse_ranks
from .recipe_help import add_help_recipe, print_recipe_help

if TYPE_CHECKING:
    from ..analysis.advise.advise import Advice


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "advise",
        help="find out within a given time which method is worth it on your data",
        description="Train several methods on equal numbers of images, choose among them on "
        "validation images, confirm the best on test images with fresh seeds, and say which to "
        "use. Given again, a stopped advice goes on.",
        epilog="Every key of the recipe is an option, too, for all methods: --model resnet18. "
        "--help-recipe explains all keys.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "what",
        nargs="?",
        metavar="RECIPE | PATH",
        help="name of a shipped recipe, a YAML file, or photos of yours: a folder, or a CSV, TSV "
        f"or JSONL table of their paths and classes (default: {DEFAULT_RECIPE})",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=30.0,
        metavar="N",
        help="time that the whole may take (default: 30.0)",
    )
    parser.add_argument(
        "--methods",
        metavar="M,M,…",
        help="methods to choose among, with settings after colons as in compare; cross-entropy is "
        "always one (default: cross-entropy, label smoothing, CutMix, BAKE, BAKE without partners, "
        "BAKE+)",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="most seeds of each round (default: as many as there is time for)",
    )
    add_jobs(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the runs and what they come to (default: runs/advise-RECIPE)",
    )
    add_help_recipe(parser)
    parser.set_defaults(takes_keys=True)
    return parser


def run(options: argparse.Namespace) -> None:
    """Give the advice, print it, and write it down."""
    started = time.monotonic()
    refuse_ranks("advise")
    from ..analysis.advise.advise import give_advice
    from ..analysis.advise.candidates import BASELINE, NAMES
    from ..analysis.advise.diary import Request

    methods = list(NAMES) if options.methods is None else options.methods.split(",")
    if options.help_recipe:
        print_recipe_help(*(variant.partition(":")[0] for variant in methods))
        return
    check_least(options, 1, "jobs")
    if options.seeds is not None:
        check_least(options, 2, "seeds")
    if not 0 < options.minutes <= 1e6:
        raise UserError("--minutes: expected a number above 0, at most 1000000")
    if BASELINE not in methods:
        methods.insert(0, BASELINE)
    if len(methods) < 2:
        raise UserError("--methods: name at least one beside cross-entropy")
    what = options.what or DEFAULT_RECIPE
    out = options.out or Path("runs") / f"advise-{name_run(what)}"
    request = Request(
        what=what,
        overrides=[list(pair) for pair in options.overrides],
        methods=methods,
        minutes=options.minutes,
        seeds=options.seeds,
    )
    advice = give_advice(
        request, out, options.jobs, started, lambda: _resolve(what, options.overrides), _say
    )
    _tell(advice, out)


def _say(line: str) -> None:
    print(line.encode("utf-8", "replace").decode(), flush=True)  # names may not be Unicode


def _resolve(what: str, overrides: list[tuple[str, str]]) -> tuple[str, list[tuple[str, str]]]:
    """The recipe and its keys: those of photos are chosen as `train` does."""
    from ..training.starting import find_photos

    plan = find_photos(what, overrides)
    for line in plan.lines:
        _say(line)
    return plan.recipe, plan.overrides


def _tell(advice: "Advice", out: Path) -> None:
    """Print the tables and the verdict, and write them."""
    from rich.console import Console

    from ..analysis.advise.advise import summarise
    from ..analysis.advise.tables import (
        CORRECTION,
        correct_rows,
        format_confirmation,
        format_selection,
        write_command,
    )
    from ..analysis.compare.figures import compare_runs, name_variants, read_runs
    from ..analysis.compare.tables import format_comparison, write_comparison
    from ..analysis.pages.report import write_report
    from ..analysis.pages.scatter import draw_comparison
    from ..training.environment import describe_environment
    from ..training.files import write_text
    from ..training.run_records import dump_json

    record, design = advice.diary.record, advice.diary.get_design()
    assert design is not None
    named = {
        variant: [run.folder for run in advice.runs.list_confirmed(variant, design.images)]
        for variant in advice.confirmed
    }
    folders = [folder for own in named.values() for folder in own]
    if not folders:
        raise UserError(f"--minutes: {record.request.minutes:g} did not suffice for any result")
    names = dict(zip(folders, name_variants(folders), strict=True))
    records = read_runs(folders, list(names.values()))
    baseline = names[next(iter(named.values()))[0]]
    rows = compare_runs(records, baseline, unequal=False)
    rows = correct_rows(
        rows,
        advice.differences,
        {names[own[0]]: variant for variant, own in named.items() if own},
    )
    overrides = [(key, value) for key, value in record.request.overrides]
    command = write_command(record.request.what, overrides, advice.verdict.variant)
    for table in (
        format_selection(advice),
        format_comparison(rows, "last", CORRECTION),
        format_confirmation(advice),
    ):
        if table:
            _say(f"\n{table}")
    written = write_comparison(
        out, records, rows, describe_environment(), draw_comparison(rows), CORRECTION
    )
    best = named.get(advice.verdict.variant) or folders
    ordered = [best[0], *(folder for folder in folders if folder is not best[0])]
    left_out = write_report(ordered, out / "report.html", Console(stderr=True), baseline=baseline)
    write_text(out / "advice.json", dump_json(summarise(advice, command), indent=1) + "\n")
    share = design.images / advice.size.whole
    if share < 1:
        _say(
            f"\nthe runs were {share:.0%} as long as the recipe's; what is ahead in short runs "
            "need not be so in long ones"
        )
    _say("\n".join([*left_out, "", advice.verdict.sentence, f"train it in full: {command}"]))
    _say(f"written to {', '.join(map(str, [out / 'advice.json', *written]))}")
    _say(
        f"a page to look at: {out / 'report.html'}; {advice.diary.used / 60:.1f} of "
        f"{record.request.minutes:g} minutes used"
    )
