"""Trials of runs that are killed at random moments and go on; see torture.py."""

import json
import os
import random
import shutil
import signal
import socket
import time
import traceback
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from rich.console import Console

from torchbake.errors import Stopped
from torchbake.methods import METHODS
from torchbake.training.checkpoint import list_checkpoints, load_checkpoint
from torchbake.training.loop import train
from torchbake.training.nested import flatten_state
from torchbake.training.recipe_files import load_recipe
from torchbake.training.run_folder import RunFolder

ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
CLOCKS = ("images_per_second", "seconds_left")
LONGEST = 120.0
"""Seconds after which a process that was asked to stop, or to finish, hangs."""

TAUGHT = {"kd": "teacher", "tf-kd-self": "teacher", "kd-ensemble": "teachers"}
LOADERS = ("in memory", "streamed", "streamed by 2 workers")


class Case(NamedTuple):
    """What is run."""

    method: str
    loader: str
    ranks: int


def run(count: int, seed: int, folder: Path) -> list[dict[str, Any]]:
    """A row of each loader and number of ranks: kills, runs, and runs that did not end the same."""
    source = random.Random(seed)
    _make_photos(folder / "photos")
    teacher = folder / "teacher"
    assert _wait(_start(_make_recipe(Case("cross-entropy", LOADERS[0], 1), folder), teacher, 1))
    whole: dict[Case, float] = {}
    rows: dict[str, dict[str, Any]] = {}
    kills = 0
    cases = [Case(m, loader, ranks) for m in METHODS for loader in LOADERS for ranks in (1, 2)]
    source.shuffle(cases)
    while kills < count:
        case = cases[len(whole) % len(cases)] if len(whole) < len(cases) else source.choice(cases)
        reference = folder / "whole" / f"{cases.index(case)}"
        print(time.monotonic(), case, flush=True)
        if case not in whole:
            began = time.monotonic()
            finished = _wait(_start(_make_recipe(case, folder), reference, case.ranks))
            assert finished, f"{case} does not run"
            whole[case] = time.monotonic() - began
        name = f"{case.loader}, {case.ranks} rank(s)"
        row = rows.setdefault(name, {"case": name, "trials": 0, "runs": 0, "asked": 0, "faults": 0})
        cut = folder / "cut"
        number, asked, fault = _kill_and_go_on(case, cut, whole[case], source, folder)
        fault = fault or _compare(RunFolder(reference), RunFolder(cut))
        kills += max(number, 1)
        row["trials"] += number
        row["asked"] += asked
        row["runs"] += 1
        if fault:
            print(f"{case}: {fault}")
            row["faults"] += 1
        shutil.rmtree(cut, ignore_errors=True)
    return [rows[name] for name in sorted(rows)]


def _make_photos(root: Path) -> None:
    source = np.random.default_rng(0)
    for split, each in (("train", 12), ("val", 4)):
        for name in ("cat", "dog", "emu"):
            place = root / split / name
            place.mkdir(parents=True)
            for number in range(each):
                pixels = source.integers(0, 256, (10, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")


def _make_recipe(case: Case, folder: Path) -> Any:
    settings = [
        *[("method", case.method), ("training.epochs", "3"), ("training.log_every", "2")],
        *[("training.checkpoint_every", "3"), ("training.ema_decay", "0.9")],
        *[("training.device", "cpu"), ("training.batch_size", "16")],
        *[("data.images_per_class", "12")],
    ]
    if case.loader != LOADERS[0]:
        workers = "2" if "workers" in case.loader else "0"
        settings += [
            *[("data", f"imagefolder:{folder / 'photos'}"), ("data.image_size", "8")],
            *[("data.channels", "1"), ("data.in_memory", "false"), ("data.workers", workers)],
            *[("data.crop", "pad"), ("data.flip", "true")],
        ]
    if case.method in TAUGHT:
        # A teacher of the same classes: its own run, of cross-entropy.
        key = TAUGHT[case.method]
        teacher = folder / ("teacher" if case.loader == LOADERS[0] else "teacher-photos")
        if not RunFolder(teacher).result.is_file():
            own = _make_recipe(case._replace(method="cross-entropy"), folder)
            assert _wait(_start(own, teacher, 1))
        settings.append((f"method.{key}", str(teacher) if key == "teacher" else f"[{teacher}]"))
    return load_recipe("digits/bake", settings)


def _start(recipe: Any, folder: Path, ranks: int) -> list[int]:
    """Processes that train, forked from this one, which has imported everything."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(ranks):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                if ranks > 1:
                    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                    os.environ |= {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
                    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
                train(recipe, folder, resume=True, console=Console(quiet=True))
                status = 0
            except (Stopped, KeyboardInterrupt):
                status = 130
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        started.append(child)
    return started


def _wait(processes: list[int], seconds: float = LONGEST) -> bool:
    """Whether all end well in time; what does not end is killed."""
    return all(status == 0 for status in _collect(processes, seconds))


def _collect(processes: list[int], seconds: float = LONGEST) -> list[int | None]:
    """The exit statuses; None of a process that had to be killed."""
    deadline = time.monotonic() + seconds
    statuses: list[int | None] = []
    for process in processes:
        while True:
            done, status = os.waitpid(process, os.WNOHANG)
            if done:
                statuses.append(os.waitstatus_to_exitcode(status))
                break
            if time.monotonic() > deadline:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                statuses.append(None)
                break
            time.sleep(0.005)
    return statuses


def _kill_and_go_on(
    case: Case, cut: Path, seconds: float, source: random.Random, folder: Path
) -> tuple[int, int, str]:
    """Kill a run a few times and let it finish: kills, those that asked first, and a fault."""
    recipe = _make_recipe(case, folder)
    kills = asked = 0
    for _ in range(source.randint(1, 3)):
        processes = _start(recipe, cut, case.ranks)
        time.sleep(source.random() * seconds * 1.05)
        kills += 1
        if source.random() < 0.5:
            for process in processes:
                os.kill(process, signal.SIGKILL)
            _collect(processes)
            continue
        asked += 1
        number = source.choice(ASKING)
        # A launcher tells all ranks; one alone may be told by somebody.
        alone = source.random() < 0.5 and RunFolder(cut).metrics.is_file()
        for process in processes[: 1 if alone else None]:
            os.kill(process, number)
        statuses = _collect(processes)
        # Ranks that are starting leave signals to the system, and the others wait for them.
        expected = {0, 130} if case.ranks == 1 else {0, 130, -number, 1, None}
        if not {*statuses} <= expected:
            return kills, asked, f"asked by {number.name} to stop, it ended with {statuses}"
        if RunFolder(cut).result.is_file():
            break
    statuses = _collect(_start(recipe, cut, case.ranks))
    fault = "" if {*statuses} == {0} else f"going on, it ended with {statuses}"
    return kills, asked, fault


def _compare(whole: RunFolder, cut: RunFolder) -> str:
    """What is not the same of two runs; empty if nothing is."""
    for name in ("model.safetensors", "model_ema.safetensors"):
        if (whole.path / name).read_bytes() != (cut.path / name).read_bytes():
            return f"{name} differs"
    states = []
    for run in (whole, cut):
        state = load_checkpoint(list_checkpoints(run.checkpoints)[0])
        for clock in ("seconds", "peak_memory"):
            del state["state"][clock]
        tensors, tree = flatten_state(state)
        content = {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
        states.append((content, json.dumps(tree)))
    if states[0] != states[1]:
        return "the last checkpoint differs"
    records = [
        [{k: v for k, v in record.items() if k not in CLOCKS} for record in run.read_metrics()]
        for run in (whole, cut)
    ]
    return "" if records[0] == records[1] else "metrics.jsonl differs"
