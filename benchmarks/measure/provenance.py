"""Figures with where they come from: what every benchmark writes to results/."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from torchbake.training.environment import describe_environment

# Taken at the start: the working tree may change while a benchmark runs.
_ENVIRONMENT = describe_environment()


def write_results(name: str, rows: list[dict[str, Any]]) -> None:
    """Write rows and the environment to results/NAME.json, or into $OUT where that is set."""
    folder = os.environ.get("OUT", str(Path(__file__).parents[2] / "results"))
    path = Path(folder) / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    environment = _ENVIRONMENT | {"command": " ".join([_name_program(), *sys.argv[1:]])}
    text = json.dumps({"environment": environment, "rows": rows}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    print(f"written to {path}")


def _name_program() -> str:
    """How this program is started from the repository, wherever that is."""
    program, root = Path(sys.argv[0]).resolve(), Path(__file__).resolve().parents[2]
    if not program.is_relative_to(root):
        return f"python {sys.argv[0]}"
    return "python -m " + ".".join(program.relative_to(root).with_suffix("").parts)
