"""What a run has written as JSON, read with every value checked that a reader relies on.

The files lie on disks for years, are copied, edited and cut. Whatever is wrong with one ends in a
line that names the file and the value.
"""

import json
import math
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from annotated_types import Ge, Gt, Le

from ..errors import UserError, shorten

LARGEST_FILE = 2**26
"""Bytes of a file that is read as one value; a run's have thousands."""

Count = Annotated[int, Ge(0), Le(10**18)]
# Pages draw them; a float32 is not larger by much.
Number = Annotated[float, Ge(-1e39), Le(1e39), pydantic.AllowInfNan(False)] | None
"""None is written where a figure was no number."""


class _Open(pydantic.BaseModel):
    """What a reader relies on; whatever else is there is let be."""

    model_config = pydantic.ConfigDict(extra="allow", strict=True)


class Figures(_Open):
    """An evaluation: the figures that tables show, and whatever else was measured."""

    top1: Number
    nll: Number
    ece: Number
    # Those of the averaged weights, where there are any.
    ema_top1: Number = 0.0
    ema_nll: Number = 0.0
    ema_ece: Number = 0.0


class Result(_Open):
    """`result.json`."""

    images: Annotated[int, Gt(0), Le(10**18)]
    forwards: Count
    teacher_images: Count
    trained_parameters: Count
    peak_memory: Count
    seconds: Number
    last: Figures
    best_on_test: Figures


class Environment(_Open):
    """`environment.json`."""

    commit: str | None
    started: str


class EvalRecord(_Open):
    """A line of `metrics.jsonl` of an evaluation."""

    __pydantic_extra__: dict[str, Number] = pydantic.Field(init=False)
    kind: Literal["eval"]
    step: Count
    images: Count
    top1: Number
    top5: Number
    nll: Number
    ece: Number


class TrainRecord(_Open):
    """A line of `metrics.jsonl` of training steps."""

    __pydantic_extra__: dict[str, Number] = pydantic.Field(init=False)
    kind: Literal["train"]
    step: Count
    images: Count
    images_per_second: Number = 0.0


class LongerRecord(_Open):
    """A line of `metrics.jsonl` where a finished run was made longer, to `total` steps."""

    __pydantic_extra__: dict[str, Number] = pydantic.Field(init=False)
    kind: Literal["longer"]
    step: Count
    images: Count


class LeftOutRecord(_Open):
    """A line of `metrics.jsonl` of a step whose update was left out."""

    __pydantic_extra__: dict[str, Number] = pydantic.Field(init=False)
    kind: Literal["left-out"]
    step: Count
    images: Count


Line = Annotated[
    EvalRecord | TrainRecord | LongerRecord | LeftOutRecord, pydantic.Discriminator("kind")
]


def dump_json(value: Any, indent: int | None = None) -> str:
    """The text of a value; JSON has no NaN and no infinity, for which it has null."""
    return json.dumps(_replace_numbers(value), indent=indent, allow_nan=False)


def _replace_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _replace_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_numbers(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def restore_numbers(value: Any) -> Any:
    """A value as it was before `dump_json`, with NaN for null."""
    if isinstance(value, dict):
        return {key: restore_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [restore_numbers(inner) for inner in value]
    return math.nan if value is None else value


def read_json(path: Path, kind: Any) -> Any:
    """The value in a file, as it is there, if it is of a kind.

    Raises:
        UserError: it cannot be read, is not JSON, or is not of this kind.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > LARGEST_FILE:
        raise UserError(f"{path}: damaged: larger than {LARGEST_FILE:,} bytes")
    try:
        return _parse(content, kind)
    except ValueError as error:
        raise UserError(f"{path}: damaged: {error}") from None


def read_lines(path: Path, kind: Any = Line) -> list[Any]:
    """The values of a file's lines; a last one without its end, cut short by a crash, is left out.

    Raises:
        UserError: it cannot be read, or a line is not JSON of this kind.
    """
    try:
        *lines, rest = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    values = []
    for number, line in enumerate(lines, start=1):
        try:
            values.append(_parse(line, kind))
        except ValueError as error:
            raise UserError(f"{path}: damaged: line {number}: {error}") from None
    if rest:
        with suppress(ValueError):
            values.append(_parse(rest, kind))
    return values


def _parse(content: bytes, kind: Any) -> Any:
    """The value of a text; ValueError, in one line, if it is not of this kind."""
    try:
        value = json.loads(content.decode(), parse_constant=_refuse)
        if b"\\u" in content:  # which can stand for half a character
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {shorten(str(error), 120)}") from None
    try:
        _make_adapter(kind).validate_python(value)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(shorten(str(part), 40) for part in first["loc"]) or "the whole"
        given = shorten(repr(first["input"]), 60)
        message = shorten(first["msg"], 120)
        raise ValueError(f"{place}: {message[0].lower()}{message[1:]}, got {given}") from None
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


@cache
def _make_adapter(kind: Any) -> Any:
    return pydantic.TypeAdapter(kind)
