"""Trials that must end well: with a value, or with a mistake explained in lines for people."""

import random
import resource
import string
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from torchbake.errors import UserError

LONGEST_LINE, MOST_LINES = 1000, 30


class Fault(Exception):
    """A trial that ended in another error, or in a message that is none."""


def try_to(act: Callable[[], Any]) -> Any:
    """What `act` returns, or the UserError that it raises, checked for how it reads.

    Raises:
        Fault: it raised something else, or a message that is no line for people.
    """
    try:
        return act()
    except UserError as error:
        lines = str(error).split("\n")
        good = all(0 < len(line) <= LONGEST_LINE and line.isprintable() for line in lines)
        if not good or len(lines) > MOST_LINES:
            raise Fault(f"no clear line: {str(error)[:300]!r}") from error
        return error
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {str(error)[:200]!r}"
        raise Fault(f"{what} in {where.filename}, line {where.lineno}") from error


def count_outcomes(what: str, trials: Iterable[Callable[[], Any]]) -> dict[str, Any]:
    """A row: how many trials gave a value, were refused, or were faults; the first ones printed."""
    row = {"case": what, "trials": 0, "read": 0, "refused": 0, "faults": 0}
    slowest, began = 0.0, time.process_time()
    for act in trials:
        start = time.perf_counter()
        row["trials"] += 1  # type: ignore[operator]
        try:
            outcome = "refused" if isinstance(try_to(act), UserError) else "read"
        except Fault as fault:
            outcome = "faults"
            if row["faults"] < 5:  # type: ignore[operator]
                print(f"{what}, trial {row['trials']}: {fault}")
        row[outcome] += 1  # type: ignore[operator]
        slowest = max(slowest, time.perf_counter() - start)
    return {
        **row,
        "seconds": round(time.process_time() - began, 1),
        "slowest_seconds": round(slowest, 3),
        "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def damage_bytes(source: random.Random, content: bytes) -> bytes:
    """Content with a flipped bit, cut off, emptied, doubled, or with other bytes in its midst."""
    if not content:
        return b"\0"
    place = source.randrange(len(content))
    kind = source.randrange(6)
    if kind == 0:
        flipped = content[place] ^ (1 << source.randrange(8))
        return content[:place] + bytes([flipped]) + content[place + 1 :]
    if kind == 1:
        return content[:place]
    if kind == 2:
        return b"" if source.random() < 0.3 else content[place:]
    if kind == 3:
        return content + content
    if kind == 4:
        return content[:place] + source.randbytes(source.randint(1, 20)) + content[place:]
    letters = source.choices(string.printable, k=source.randint(1, 9))
    return content[:place] + "".join(letters).encode() + content[place + len(letters) :]
