"""Predictions as CSV, JSON, JSON lines, or a table to be looked at."""

import csv
import json
from abc import ABC, abstractmethod
from typing import IO, Any, ClassVar, Protocol, cast, runtime_checkable

from .images import to_line, to_unicode
from .predictor import Prediction, Predictor

DIGITS = 6
"""Digits of a probability after the point."""


@runtime_checkable
class TextFile(Protocol):
    """What is written to."""

    def write(self, text: str, /) -> Any: ...
    def isatty(self) -> bool: ...


class Writer(ABC):
    """Writes predictions to a text file as they come.

    Args:
        predictor: whose predictions they are.
        top_k: number of classes that are written for each image.
    """

    suffix: ClassVar[str]

    def __init__(self, file: TextFile, predictor: Predictor, top_k: int) -> None:
        self.file = file
        self.predictor = predictor
        self.top_k = min(top_k, len(predictor.classes))

    @abstractmethod
    def write(self, path: str, prediction: Prediction) -> None:
        """Add an image's prediction."""

    def finish(self, unreadable: dict[str, str]) -> None:  # noqa: B027 (most have nothing to add)
        """End the file.

        Args:
            unreadable: by the paths of images without prediction, what is wrong with them.
        """


class CSVWriter(Writer):
    """A header and a row an image: `path,label,confidence,label_2,confidence_2,…`."""

    suffix = ".csv"

    def __init__(self, file: TextFile, predictor: Predictor, top_k: int) -> None:
        super().__init__(file, predictor, top_k)
        self._csv = csv.writer(file, lineterminator="\n")
        further = [f"{name}_{k}" for k in range(2, self.top_k + 1) for name in FIELDS]
        self._csv.writerow(["path", *FIELDS, *further])

    def write(self, path: str, prediction: Prediction) -> None:
        row = [to_unicode(path)]
        for label, confidence in prediction.top:
            row += [to_unicode(label), f"{confidence:.{DIGITS}f}"]
        self._csv.writerow(row)


FIELDS = ("label", "confidence")


class LinesWriter(Writer):
    """A JSON object a line and image: `path`, `label`, `confidence`, `top`."""

    suffix = ".jsonl"

    def write(self, path: str, prediction: Prediction) -> None:
        self.file.write(_dump(_describe(path, prediction)) + "\n")


class JSONWriter(Writer):
    """One JSON object: `calibrated`, `temperature`, `predictions`, `unreadable`."""

    suffix = ".json"

    def __init__(self, file: TextFile, predictor: Predictor, top_k: int) -> None:
        super().__init__(file, predictor, top_k)
        about = {"calibrated": predictor.calibrated, "temperature": predictor.temperature}
        self.file.write(_dump(about)[:-1] + ', "predictions": [')
        self._between = "\n"

    def write(self, path: str, prediction: Prediction) -> None:
        self.file.write(self._between + _dump(_describe(path, prediction)))
        self._between = ",\n"

    def finish(self, unreadable: dict[str, str]) -> None:
        rows = [{"path": path, "error": error} for path, error in unreadable.items()]
        self.file.write('\n], "unreadable": ' + _dump(rows) + "}\n")


class TableWriter(Writer):
    """A table for people, written at the end."""

    suffix = ".txt"

    def __init__(self, file: TextFile, predictor: Predictor, top_k: int) -> None:
        super().__init__(file, predictor, top_k)
        self._rows: list[tuple[str, Prediction]] = []

    def write(self, path: str, prediction: Prediction) -> None:
        self._rows.append((path, prediction))

    def finish(self, unreadable: dict[str, str]) -> None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table()
        table.add_column("path", overflow="fold")
        table.add_column("label", overflow="fold")
        table.add_column("confidence %", justify="right")
        if self.top_k > 1:
            table.add_column("then", overflow="fold")
        for path, prediction in self._rows:
            further = [f"{to_line(label)} {100 * p:.1f}" for label, p in prediction.top[1:]]
            cells = [to_line(path), to_line(prediction.label), f"{100 * prediction.confidence:.1f}"]
            cells += [", ".join(further)] * (self.top_k > 1)
            table.add_row(*map(Text, cells))
        # A file has no width; one too narrow would cut the words.
        width = None if self.file.isatty() else 200
        Console(file=cast(IO[str], self.file), width=width).print(table)


WRITERS: dict[str, type[Writer]] = {
    "csv": CSVWriter,
    "jsonl": LinesWriter,
    "json": JSONWriter,
    "table": TableWriter,
}
"""By the names of their formats."""


def _describe(path: str, prediction: Prediction) -> dict[str, Any]:
    top = [{"label": label, "confidence": round(p, DIGITS)} for label, p in prediction.top]
    return {"path": path, **top[0], "top": top}


def _dump(value: Any) -> str:
    """JSON on one line; what is not Unicode in it becomes JSON's escapes, which lead back to it."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
