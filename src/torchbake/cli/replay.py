"""`torchbake replay`: repeat one step of a run, and look at its numbers."""

import argparse
from pathlib import Path
from typing import Any

from .common import add_device, check_file, check_least, refuse_ranks


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "replay",
        help="repeat one step of a run, and look at its numbers",
        description="Repeat one step of a run from its last checkpoint before that step, and show "
        "the images, the loss terms, the norms of the gradients, and what was the first number "
        "that is not finite. The run folder is not changed.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument(
        "--step",
        type=int,
        required=True,
        metavar="N",
        help="number of the step, from 1, as the log has it (required)",
    )
    parser.add_argument(
        "--top",
        type=int,
        default=10,
        metavar="N",
        help="number of gradients and images to show (default: 10)",
    )
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="format of what is printed; JSON has all gradients and images (default: text)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="also write all of it as JSON (default: no)"
    )
    add_device(parser)
    return parser


def run(options: argparse.Namespace) -> None:
    """Print what the step came to."""
    from rich.console import Console

    from ..training.files import write_text
    from ..training.replay import replay_step
    from ..training.run_records import dump_json

    refuse_ranks("replay")
    check_least(options, 1, "step", "top")
    if options.out is not None:
        check_file(options.out)
    seen = replay_step(
        options.run, options.step, device_name=options.device, console=Console(stderr=True)
    )
    text = dump_json(seen, indent=1)
    if options.out is not None:
        write_text(options.out, text + "\n")
    if options.format == "json":
        print(text)
        return
    for line in _describe(seen, options.top):
        print(line.encode("utf-8", "replace").decode())


def _describe(seen: dict[str, Any], top: int) -> list[str]:
    from ..training.nonfinite import name_image

    lines = [f"step {seen['step']:,}, learning rate {seen['lr']:.4g}"]
    lines += [f"loss {seen['loss']:.6g}"]
    lines += [f"  {name} {value:.6g}" for name, value in seen["terms"].items()]
    lines.append(f"norm of the gradients {seen['gradient_norm']:.6g}; the largest:")
    ordered = sorted(seen["gradients"].items(), key=_rank_norm, reverse=True)
    lines += [f"  {name} {norm:.6g}" for name, norm in ordered[:top]]
    if seen["first"] is None:
        lines.append("all numbers are finite")
    else:
        lines.append(f"the first that is not finite: {seen['first']}")
        lines += [f"  then {what}" for what in seen["not_finite"][1 : top + 1]]
    if seen["left_out"]:
        lines.append("its update is left out (training.on_nonfinite)")
    images = sorted(seen["images"], key=lambda image: image.get("finite", True))
    lines.append(f"{len(images)} images, number in the training split, name, label:")
    for image in images[:top]:
        fault = "" if image.get("finite", True) else "  (its logits are not finite)"
        lines.append(f"  {image['index']}  {name_image(image)}  {image['label']}{fault}")
    return [*lines, *["  …"] * (len(images) > top)]


def _rank_norm(named: tuple[str, float]) -> float:
    norm = named[1]
    return norm if norm == norm else float("inf")
