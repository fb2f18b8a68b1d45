"""The log of a run: records for programs, lines and a progress bar for people."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .files import explaining_failures
from .run_folder import RunFolder
from .run_records import dump_json
from .trackers import Tracker, Trackers


class Log:
    """Writes metrics.jsonl, train.log, what trackers are sent, and the progress of a run.

    On a terminal a progress bar shows the last figures; elsewhere each record is a plain line.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        console: Console,
        total: int,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        """`folder` is None on the ranks that write nothing."""
        self.console = console
        self.total = total
        self._files = [] if folder is None else [folder.metrics, folder.log]
        self._trackers = Trackers(list(trackers), self.say)
        self._bar = Progress(
            TextColumn("{task.percentage:>3.0f}%"),
            BarColumn(bar_width=24),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total)
        self._status = {"train": "", "eval": ""}

    @contextmanager
    def showing(self, step: int) -> Iterator[None]:
        """Show the progress bar while the block runs, starting from this step."""
        self._bar.update(self._task, completed=step)
        failed = True
        try:
            with self._bar:
                yield
            failed = False
        finally:
            self._trackers.close(failed)

    def record(self, kind: str, step: int, images: int, **values: float) -> None:
        """Write a record of kind `train` or `eval`, and show it."""
        whole = {"kind": kind, "step": step, "images": images, **values}
        self._append(0, dump_json(whole))
        self._trackers.log(kind, step, values)
        line = _format_training(values) if kind == "train" else _format_evaluation(values)
        self.say(f"step {step:,}/{self.total:,}  {images:,} images  {line}", shown=kind == "eval")
        self._status[kind] = line
        self._bar.update(self._task, description="  ".join(filter(None, self._status.values())))

    def keep(self, kind: str, step: int, images: int, **values: int) -> None:
        """Write a record of another kind, and show nothing."""
        self._append(0, dump_json({"kind": kind, "step": step, "images": images, **values}))

    def say(self, line: str, *, shown: bool = True) -> None:
        """Write a line to train.log and the console; to a terminal only if `shown`."""
        self._append(1, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}")
        if shown or not self.console.is_terminal:
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _append(self, file: int, line: str) -> None:
        if self._files:
            path = self._files[file]
            # A user's own code may say what is not Unicode.
            with (
                explaining_failures(path),
                path.open("a", encoding="utf-8", errors="backslashreplace") as stream,
            ):
                stream.write(line + "\n")

    def advance(self, step: int) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=step)


def _format_training(values: dict[str, float]) -> str:
    terms = [
        f"{name} {value:.3f}"
        for name, value in values.items()
        if name not in ("loss", "lr", "train_top1", "images_per_second", "seconds_left")
    ]
    return (
        f"loss {values['loss']:.3f} ({', '.join(terms)})  lr {values['lr']:.4g}  "
        f"train top-1 {values['train_top1']:.1f}%  {values['images_per_second']:,.0f} images/s  "
        f"{_format_duration(values['seconds_left'])} left"
    )


def _format_evaluation(values: dict[str, float]) -> str:
    line = (
        f"test top-1 {values['top1']:.2f}%  top-5 {values['top5']:.2f}%  "
        f"NLL {values['nll']:.4f}  ECE {values['ece']:.2f}%"
    )
    if "validation_top1" in values:
        line += f"  validation top-1 {values['validation_top1']:.2f}%"
    if "ema_top1" in values:
        line += f"  EMA top-1 {values['ema_top1']:.2f}%"
    return line


def _format_duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
