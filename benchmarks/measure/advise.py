"""Whether advice keeps its time, and what it says where the answer is known from ten seeds.

    uv run python -m benchmarks.measure.advise --minutes 10
    uv run python -m benchmarks.measure.advise --minutes 10 --cub100 ../shared/data --cub-minutes 60

On the digits, with their labels as they are and with a fifth of them wrong, the verdict should
agree with the tables of ten seeds in docs/comparison.md. With --cub100, also on photographs of
birds, fine-tuning a pretrained network; --cub-methods chooses among fewer methods there. The time
is that of the whole command, on a machine that may do other work, too. Broken off, the same
command goes on.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.measure.provenance import write_results


def main() -> None:
    options = _options()
    cases: dict[str, tuple[float, list[str]]] = {
        "digits": (options.minutes, ["digits/bake"]),
        "digits, 20 % of the labels wrong": (
            options.minutes,
            ["digits/bake", "--data.label_noise", "0.2"],
        ),
    }
    if options.cub100 is not None:
        weights = options.cub100 / "weights" / "tf_efficientnet_lite0.safetensors"
        words = ["photos/finetune", "--data", f"parquet:{options.cub100}/cub100/*.parquet"]
        words += ["--model.pretrained", "false", "--model.weights", str(weights)]
        words += ["--data.image_size", "160", "--training.epochs", "20"]
        if options.cub_methods is not None:
            words += ["--methods", options.cub_methods]
        cases["cub100, fine-tuned"] = (options.cub_minutes, words)
    rows = [
        _advise(name, minutes, words, options.runs / str(number))
        for number, (name, (minutes, words)) in enumerate(cases.items())
    ]
    write_results("advise", rows)


def _advise(name: str, minutes: float, words: list[str], out: Path) -> dict[str, Any]:
    began = time.perf_counter()
    command = ["advise", *words, "--minutes", str(minutes), "--out", str(out)]
    subprocess.run([sys.executable, "-m", "torchbake", *command], check=True)
    wall = (time.perf_counter() - began) / 60
    told = json.loads((out / "advice.json").read_text(encoding="utf-8"))
    # Where an earlier process did a part, the advice knows the time of both.
    used = max(wall, told["used_minutes"])
    print(f"{name}: {used:.2f} of {minutes:g} minutes; {told['verdict']}")
    return {
        "case": name,
        "command": " ".join(["torchbake", *command]),
        "asked_minutes": minutes,
        "used_minutes": round(used, 3),
        "images": told["images"],
        "share_of_a_whole_run": told["images"] / told["images_of_a_whole_run"],
        "seeds_for_choosing": max(len(row["validation_top1"]) for row in told["selection"]),
        "seeds_for_confirming": max(len(row["test_top1"]) for row in told["confirmation"]),
        "differences": told["differences"],
        "verdict": told["verdict"],
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="for each case of the digits")
    parser.add_argument("--cub100", type=Path, metavar="DIR", help="folder of cub100 and weights")
    parser.add_argument("--cub-minutes", type=float, default=60.0, help="for cub100")
    parser.add_argument("--cub-methods", metavar="M,M,…", help="methods for cub100")
    parser.add_argument("--runs", type=Path, default=Path("runs/advise"), help="folder of the runs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
