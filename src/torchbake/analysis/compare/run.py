"""The runs of a comparison that are missing, done side by side."""

import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import active_children, connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from ...errors import Stopped, UserError
from ...models.networks import NETWORKS
from ...recipe import Recipe
from ...training.files import write_text
from ...training.run_folder import RunFolder
from .cards import VISIBLE, Cards, list_visible_cards
from .plan import Run

Report = Callable[[list[RunFolder], Path, Console], Any]
"""Writes a page of finished runs; a function of a module, since other processes call it."""

Working = dict[Any, tuple[BaseProcess, Connection, Run, str | None]]
"""Runs at work by their processes' sentinels, and their GPUs."""


def run_missing(
    runs: list[Run],
    out: Path,
    jobs: int,
    console: Console,
    report: Report,
    finished: Callable[[Run], None] = lambda run: None,
    *,
    timed: Callable[[Run, float], None] = lambda run, seconds: None,
    deadline: float = math.inf,
) -> list[str]:
    """Do the runs that are not finished, each in a process of its own; a line of each that failed.

    A run that was cut off goes on from its checkpoint; one that fails does not keep the others.

    Args:
        report: called in a run's process when it is finished.
        finished: called with each run as it is finished, in this process.
        timed: called with the seconds that its process took, too.
        deadline: when runs that are still at work are stopped, by `time.monotonic`; they leave
            checkpoints, and no further ones begin.

    Raises:
        UserError: another comparison is at work in `out`, or a run there is of another recipe.
        Stopped: SIGINT or SIGTERM; all runs at work have left a checkpoint.
    """
    for run in runs:
        run.folder.check(run.recipe, resume=True, overwrite=False)
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            return _do_runs(runs, jobs, console, report, finished, timed, deadline)
    except Timeout:
        raise UserError(f"{out}: another comparison is at work there") from None


def _do_runs(
    runs: list[Run],
    jobs: int,
    console: Console,
    report: Report,
    finished: Callable[[Run], None],
    timed: Callable[[Run, float], None],
    deadline: float,
) -> list[str]:
    missing = [run for run in runs if not run.folder.result.is_file()]
    done = len(runs) - len(missing)
    if done:
        console.print(f"{done} of {len(runs)} runs are finished already", highlight=False)
    context = get_context("forkserver")
    cards = Cards(list_visible_cards())
    # Imported once; each run's process is forked from there.
    preloads = [*_list_preloads([run.recipe for run in missing]), report.__module__]
    if not cards.names:
        preloads.append("torch._dynamo")  # torch's optimizers import it, which takes seconds
    context.set_forkserver_preload(preloads)
    # Several runs share the cores; one alone has what torch takes by itself.
    threads = max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else None
    working: Working = {}
    began: dict[Any, float] = {}
    failures: list[str] = []
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        while missing or working:
            while missing and len(working) < jobs and not _needs_one_of(missing[0], working):
                run = missing.pop(0)
                card = cards.take(run.recipe)
                ours, theirs = context.Pipe(duplex=False)
                process: BaseProcess = context.Process(
                    target=_do_run, args=(run.recipe, run.folder, threads, card, report, theirs)
                )
                with _hide_main():
                    process.start()
                theirs.close()
                working[process.sentinel] = process, ours, run, card
                began[process.sentinel] = time.monotonic()
            left = None if deadline == math.inf else max(0.0, deadline - time.monotonic())
            ended = connection.wait(list(working), left)
            if not ended:
                break
            for sentinel in ended:
                process, ours, run, card = working.pop(sentinel)
                process.join()
                line = _receive_outcome(process, ours)
                cards.give_back(card)
                done += 1
                name = run.folder.path.name + (f" on GPU {card}" if card is not None else "")
                told = f"{done}/{len(runs)} {name}: {line}"
                console.print(told, highlight=False, markup=False, soft_wrap=True)
                if run.folder.result.is_file():
                    finished(run)
                    timed(run, time.monotonic() - began[sentinel])
                else:
                    failures.append(f"{run.folder.path}: not finished")
    except KeyboardInterrupt:
        raise Stopped("stopped; the same command goes on from there") from None
    finally:
        _stop_all([process for process, *_ in working.values()])
        signal.signal(signal.SIGTERM, before)
    return failures


@contextmanager
def _hide_main() -> Iterator[None]:
    """Keep processes that start meanwhile from running the caller's script once more.

    A run needs nothing of it, and a script that does not look at `__name__` would compare again.
    """
    main: Any = sys.modules["__main__"]
    hidden = {name: vars(main).get(name) for name in ("__file__", "__spec__")}
    vars(main).update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        vars(main).update({name: value for name, value in hidden.items() if value is not None})


def _list_preloads(recipes: list[Recipe]) -> list[str]:
    """Modules that take long to import, and that the runs of these recipes import."""
    modules = ["torchbake.training.loop"]
    if any(recipe.model.name not in NETWORKS for recipe in recipes):
        modules.append("timm")
    kinds = {recipe.data.name.partition(":")[0] for recipe in recipes}
    if "digits" in kinds:
        modules.append("sklearn.datasets")
    if kinds - {"digits"}:
        modules.append("torchvision.transforms.v2.functional")
    return modules


def _interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM as Ctrl-C, but only the first, since launchers pass it on a second time."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _stop_all(processes: list[BaseProcess]) -> None:
    """Ask runs to stop behind their step, and wait; on a second Ctrl-C end them at once."""
    try:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
    except KeyboardInterrupt:
        for process in processes:
            process.kill()


def _needs_one_of(run: Run, working: Working) -> bool:
    """Whether the run is to be taught by one that may still be at work."""
    return run.taught and any(not other.taught for _, _, other, _ in working.values())


def _receive_outcome(process: BaseProcess, pipe: Connection) -> str:
    with pipe:
        try:
            return str(pipe.recv())
        except EOFError:
            return f"failed: its process ended with status {process.exitcode}"


def _do_run(
    recipe: Recipe,
    folder: RunFolder,
    threads: int | None,
    card: str | None,
    report: Report,
    pipe: Connection,
) -> None:
    """One run, in a process of its own; tells in one line what came of it."""
    if card is not None:
        os.environ[VISIBLE] = card  # CUDA reads it when it is first used, later than here
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    os.setpgid(0, 0)  # a terminal's Ctrl-C is for the comparison, which passes it on
    # Until training handles it: ended at once, this process would leave those that decode images.
    signal.signal(signal.SIGTERM, _interrupt)
    import torch

    from ...training.loop import train

    if threads is not None:
        torch.set_num_threads(threads)
    try:
        final = train(recipe, folder.path, resume=True, console=Console(quiet=True))
        line = f"top-1 {final['top1']:.2f} %, {final['seconds']:.1f} s"
        try:
            report([folder], folder.report, Console(quiet=True))
        except (OSError, UserError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            line += f" (no report.html: {reason})"
    except UserError as error:
        line = f"failed: {error}"
    except (Stopped, KeyboardInterrupt):
        line = "stopped"
    except Exception as error:
        error_file = folder.path / "error.txt"
        write_text(error_file, traceback.format_exc())
        what = (str(error) or type(error).__name__).splitlines()[0]
        line = f"failed: {what} (see {error_file})"
    with suppress(OSError):  # nobody may be there to be told
        pipe.send(line)


def _exit_with_parent() -> None:
    """A run does not outlive its comparison, which would start it a second time."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        for child in active_children():  # processes that decode images, which would stay
            child.kill()
        os._exit(1)
