"""What an advice has asked for, measured and decided so far, so that it can go on when killed."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import pydantic
from annotated_types import Ge

from ...errors import UserError
from ...training.files import write_text
from ...training.run_records import read_json
from .design import Cost, Design

Seconds = Annotated[float, Ge(0), pydantic.AllowInfNan(False)]

LOCK = ".advise.lock"
"""File in the output folder that an advice at work holds."""

RECENT = 3
"""Runs from whose time that of the next one of their kind is foreseen."""


class Request(pydantic.BaseModel):
    """What was asked for; all of it must stay as it is while an advice goes on."""

    model_config = pydantic.ConfigDict(strict=True)

    what: str
    overrides: list[list[str]]
    methods: list[str]
    minutes: float
    seeds: int | None


class Record(pydantic.BaseModel):
    """The file's content."""

    model_config = pydantic.ConfigDict(strict=True)

    request: Request
    recipe: str
    keys: list[list[str]]
    used: Seconds = 0.0
    costs: dict[str, list[float]] = {}
    walls: dict[str, list[float]] = {}
    design: list[int] | None = None
    dropped: dict[str, str] = {}
    kept: list[str] | None = None
    finalists: list[str] | None = None
    ranked: list[str] | None = None
    first_seeds: int = 0
    done: bool = False


class Diary:
    """The record in `advice-plan.json`, with the time that is used and left.

    Attributes:
        record: what is written.
    """

    def __init__(self, path: Path, record: Record, started: float) -> None:
        """`started`: when this process began, by `time.monotonic`."""
        self.path = path
        self.record = record
        self.started = started
        self._before = record.used

    @property
    def used(self) -> float:
        """Seconds so far, with those of earlier processes."""
        return self._before + time.monotonic() - self.started

    @property
    def left(self) -> float:
        """Seconds left of what was asked for; negative if it took longer."""
        return 60 * self.record.request.minutes - self.used

    def find_deadline(self, seconds: float) -> float:
        """When so many seconds of the whole are used, by `time.monotonic`."""
        return self.started + seconds - self._before

    def save(self) -> None:
        """Write all of it."""
        self.record.used = self.used
        write_text(self.path, json.dumps(self.record.model_dump(), indent=1) + "\n")

    def get_costs(self) -> dict[str, Cost]:
        """Of each variant that is still in."""
        return {variant: Cost(*values) for variant, values in self.record.costs.items()}

    def get_design(self) -> Design | None:
        """The design, once it is chosen."""
        return None if self.record.design is None else Design(*self.record.design)

    def note_wall(self, variant: str, seconds: float) -> None:
        """A run of the chosen length took so many seconds."""
        self.record.walls.setdefault(variant, []).append(seconds)

    def foresee(self, variant: str) -> float:
        """Seconds of the next run: as the last ones took, or as measured beforehand.

        Where there is none of its kind yet, the others tell how far the forecast is out.
        """
        own = self.record.walls.get(variant, [])[-RECENT:]
        if own:
            return sum(own) / len(own)
        design, costs = self.get_design(), self.get_costs()
        assert design is not None
        known = [
            seconds / costs[other].predict(design.images)
            for other, walls in self.record.walls.items()
            if other in costs
            for seconds in walls[-RECENT:]
        ]
        drift = sum(known) / len(known) if known else 1.0
        return drift * costs[variant].predict(design.images)


def open_diary(path: Path, request: Request, started: float, begin: Any) -> Diary:
    """The diary of this request: the one that is there, or a new one.

    Args:
        begin: called for a new one; the name of a recipe and its keys.

    Raises:
        UserError: the folder holds the advice of another request, or a damaged one.
    """
    if path.is_file():
        record = Record.model_validate(read_json(path, Record))
        if record.request != request:
            differing = [key for key, value in record.request if getattr(request, key) != value]
            raise UserError(
                f"{path.parent} holds the advice of another request (other "
                f"{' and '.join(differing)}); choose another --out"
            )
        return Diary(path, record, started)
    if path.parent.is_dir() and any(p.name != LOCK for p in path.parent.iterdir()):
        raise UserError(f"{path.parent} exists and holds no advice; choose another --out")
    recipe, keys = begin()
    record = Record(request=request, recipe=recipe, keys=[list(pair) for pair in keys])
    return Diary(path, record, started)
