"""Comparisons: run, killed, resumed, refused, marked."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from helpers.processes import run
from helpers.training_runs import same, weights
from rich.console import Console

from torchbake.analysis.advise.runs import write_no_page
from torchbake.analysis.compare.figures import compare_runs, read_runs
from torchbake.analysis.compare.plan import plan_runs
from torchbake.analysis.compare.run import run_missing
from torchbake.analysis.compare.tables import format_comparison
from torchbake.analysis.pages.scatter import draw_comparison
from torchbake.cli.main import main
from torchbake.errors import UserError
from torchbake.training.checkpoint import list_checkpoints
from torchbake.training.run_folder import RunFolder

COMPARE = [sys.executable, "-m", "torchbake", "compare"]
SHORT = ["--training.epochs", "3", "--training.eval_every", "3"]


def record(variant, seed, top1, **changes):
    values = {
        "variant": variant,
        "seed": seed,
        "top1": top1,
        "nll": 0.5,
        "ece": 3.0,
        "images": 1000,
        "teacher_images": 0,
        "forwards": 2000,
        "seconds": 4.0,
        "peak_memory": 2**20,
        "trained_parameters": 10,
        "report": "last",
        "run": f"{variant}-{seed}",
        "commit": "abc",
    }
    return {**values, **changes}


def test_means_errors_and_the_paired_test():
    records = [record("cross-entropy", seed, top1) for seed, top1 in enumerate([80.0, 82.0, 84.0])]
    records += [record("bake", seed, top1) for seed, top1 in enumerate([81.0, 84.0, 87.0])]
    bake, baseline = compare_runs(records, None, unequal=False)
    assert (bake.variant, baseline.variant) == ("bake", "cross-entropy")
    assert bake.top1 == pytest.approx((84.0, 3 / 3**0.5))
    # Differences 1, 2, 3: mean 2, standard error 1 / √3, t = 3.4641 of 2 degrees, p = 0.0742.
    assert bake.difference == pytest.approx((2.0, 0.07418), abs=1e-4)
    assert baseline.difference is None
    assert bake.forwards_per_image == 2
    one = compare_runs(records[:1], None, unequal=False)[0]
    assert "80.00 |" in format_comparison([one], "last")


@pytest.mark.parametrize("number", [1, 3, 40])
def test_in_the_picture_every_name_has_room(number):
    records = [record(f"kd:a={k}", s, 80.0 + 0.02 * s) for k in range(number) for s in range(2)]
    rows = compare_runs(records, None, unequal=False)
    svg = ElementTree.fromstring(draw_comparison(rows))
    texts = [element for element in svg.iter() if element.tag.endswith("text")]
    names = [text for text in texts if (text.text or "").startswith("kd")]
    assert len(names) == number
    heights = [float(name.get("y")) for name in names]
    assert all(below - above > 17 for above, below in pairwise(heights))
    assert 10 < heights[0] <= heights[-1] < float(svg.get("height"))
    assert max(float(name.get("x")) for name in names) + 50 < float(svg.get("width"))
    assert {"seconds of training", "top-1 % (the axis starts at 80)"} <= {t.text for t in texts}
    points = [element for element in svg.iter() if element.tag.endswith("circle")]
    assert "80.01 ± 0.01 %, 4.0 ± 0.0 s" in points[0][0].text


def test_other_budgets_are_refused_or_marked():
    records = [record("cross-entropy", 0, 80.0), record("bake", 0, 85.0, images=4000)]
    with pytest.raises(UserError, match=r"cross-entropy 1,000; bake 4,000\); --unequal compares"):
        compare_runs(records, None, unequal=False)
    rows = compare_runs(records, None, unequal=True)
    table = format_comparison(rows, "best-on-test")
    assert "| bake ‡ |" in table
    assert "| cross-entropy |" in table
    assert "not on equal terms" in table
    assert "best epoch on test" in table
    with pytest.raises(UserError, match="there is no 'cs-kd' among"):
        compare_runs(records, "cs-kd", unequal=True)


def test_a_plan_names_variants_budgets_and_teachers(tmp_path):
    variants = ["kd-ensemble", "cross-entropy", "bake:omega=0.9:data.mixup=0.2", "tf-kd-self"]
    runs = plan_runs("digits/bake", [("training.epochs", "2")], variants, 2, "640", tmp_path)
    names = [run.folder.path.name for run in runs]
    assert names[:2] == ["cross-entropy-seed0", "bake,omega=0.9,data.mixup=0.2-seed0"]
    assert sorted(names[4:]) == [
        "kd-ensemble-seed0",
        "kd-ensemble-seed1",
        "tf-kd-self-seed0",
        "tf-kd-self-seed1",
    ]
    by_name = {run.folder.path.name: run.recipe for run in runs}
    mixed = by_name["bake,omega=0.9,data.mixup=0.2-seed0"]
    assert mixed.method["omega"] == 0.9
    assert mixed.data.mixup == 0.2
    assert mixed.training.max_steps == 10
    own = str(tmp_path / "cross-entropy-seed1")
    assert by_name["tf-kd-self-seed1"].method["teacher"] == own
    other = str(tmp_path / "cross-entropy-seed0")
    assert by_name["kd-ensemble-seed1"].method["teachers"] == (own, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "bake,bak"], "method.name: unknown method 'bak'; did you mean 'bake'"),
        (["--methods", "bake,bake"], "--methods: names a method twice: bake,bake"),
        (["--methods", "bake:omega"], "--methods: expected KEY=VALUE in 'bake:omega'"),
        (["--methods", "kd"], "--methods: 'kd' needs a teacher: add cross-entropy"),
        (
            ["--methods", "dlb:data.mixup=1"],
            "data.mixup: method 'dlb' cannot train on mixed images",
        ),
        (["--budget", "many"], "--budget: expected 'images', 'anchors' or a number of images"),
        (["--budget", "anchors"], "in epochs of anchors these methods see different numbers"),
        (["digits/bake-paper"], "in epochs of anchors these methods see different numbers"),
        (["--methods", ""], "--methods: expected names of methods, separated by commas"),
        (["--methods", "bake,"], "--methods: expected names of methods, separated by commas"),
        (["--seeds", "0"], "--seeds: expected a number of at least 1"),
        (["nowhere/*", "elsewhere"], "there is no folder nowhere/*"),
    ],
)
def test_mistakes_are_one_clear_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(["compare", *arguments])
    assert caught.value.code == 2
    line = capsys.readouterr().err.strip()
    assert message in line
    assert "\n" not in line


def running_with(setting):
    """The processes whose environment has the setting (Linux only; elsewhere none is found)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            found += [path.parent.name] if setting.encode() in path.read_bytes() else []
    return found


def test_killed_half_way_it_finishes_what_is_missing(tmp_path):
    """A real kill -9 of the comparison, which takes the run at work with it."""
    settings = ["--training.epochs", "20", "--training.checkpoint_every", "9"]
    options = ["--methods", "bake,dlb,kd,cross-entropy", "--seeds", "2", "--out", "runs"]
    command = [*COMPARE, "digits/bake", *settings, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCHBAKE_TEST": str(tmp_path)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
    cut = tmp_path / "runs" / "dlb-seed0"
    while not list_checkpoints(cut / "checkpoints"):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    first = tmp_path / "runs" / "bake-seed0" / "result.json"
    finished = first.stat().st_mtime_ns
    time.sleep(1)
    told = (cut / "metrics.jsonl").read_text()
    time.sleep(2)
    assert (cut / "metrics.jsonl").read_text() == told  # nobody goes on with it
    assert not (cut / "result.json").exists()
    deadline = time.monotonic() + 60
    while still_running := running_with(f"TORCHBAKE_TEST={tmp_path}"):
        assert time.monotonic() < deadline, still_running
        time.sleep(0.1)

    printed = run(command, tmp_path)
    assert "1 of 8 runs are finished already" in printed
    assert first.stat().st_mtime_ns == finished
    train = [sys.executable, "-m", "torchbake", "train", "digits/bake", *settings]
    run([*train, "--method", "dlb", "--seed", "0", "--out", "alone"], tmp_path)
    assert same(weights(tmp_path / "alone"), weights(cut))

    table = (tmp_path / "runs" / "comparison.md").read_text()
    assert table in printed
    with (tmp_path / "runs" / "comparison.csv").open() as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {"bake", "dlb", "kd", "cross-entropy"}
    assert {row["images"] for row in rows.values()} == {"5120"}
    assert rows["kd"]["teacher_images"] == "5120"
    assert float(rows["dlb"]["forwards_per_image"]) == pytest.approx(2 - 64 / 5120)
    assert "cross-entropy" in (tmp_path / "runs" / "comparison.svg").read_text()
    assert len(json.loads((tmp_path / "runs" / "comparison.json").read_text())["rows"]) == 8

    # The table of runs that exist, one of them not finished.
    (tmp_path / "runs" / "dlb-seed1" / "result.json").unlink()
    existing = [*COMPARE, "runs", "--out", "again"]
    done = subprocess.run(existing, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "runs/dlb-seed1: not finished" in done.stderr
    assert (tmp_path / "again" / "comparison.md").read_text() in done.stdout


def test_a_failed_run_is_reported_and_the_rest_goes_on(tmp_path):
    options = ["--methods", "cross-entropy:optimizer.lr=1e6,cross-entropy", *SHORT]
    done = subprocess.run(
        [*COMPARE, *options], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2
    assert "failed: weights are not finite after step " in done.stdout
    assert "| cross-entropy | " in done.stdout
    failed = "runs/compare-digits-bake/cross-entropy,optimizer.lr=1e6-seed0: not finished"
    assert failed in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_the_papers_protocol_is_marked_as_such(tmp_path):
    options = ["digits/bake-paper", "--unequal", "--training.epochs", "3"]
    printed = run([*COMPARE, *options], tmp_path)
    rows = [[cell.strip() for cell in line.split("|")] for line in printed.splitlines()]
    table = {row[1]: row for row in rows if len(row) > 8}
    assert table["method"][2] == "top-1 %, best epoch on test"
    assert (table["bake ‡"][8], table["cross-entropy"][8]) == ("3,456", "768")
    assert "not on equal terms" in printed


def test_asked_to_stop_it_leaves_checkpoints(tmp_path):
    command = [*COMPARE, "--training.epochs", "5000", "--training.log_every", "1", "--out", "runs"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "runs" / "cross-entropy-seed0" / "metrics.jsonl"
    while not metrics.exists() or not metrics.read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)  # as a launcher that passes it on would
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; the same command goes on from there" in errors
    assert "Traceback" not in errors
    assert list_checkpoints(metrics.parent / "checkpoints")


def test_at_the_deadline_runs_are_stopped_with_a_checkpoint(tmp_path):
    endless = [("training.epochs", "100000"), ("training.log_every", "1")]
    runs = plan_runs("digits/bake", endless, ["bake", "cross-entropy"], 1, None, tmp_path)
    quick = plan_runs("digits/bake", [("training.epochs", "1")], ["dlb"], 1, None, tmp_path)
    seconds = []
    began = time.monotonic()
    failures = run_missing(
        [*quick, *runs],
        tmp_path,
        1,
        Console(quiet=True),
        write_no_page,
        timed=lambda run, taken: seconds.append(taken),
        deadline=began + 20,
    )
    assert failures == []
    assert quick[0].folder.result.is_file()
    assert len(seconds) == 1
    assert 0 < seconds[0] < 20 <= time.monotonic() - began
    assert not any(run.folder.result.is_file() for run in runs)
    assert list(runs[0].folder.checkpoints.glob("step-*"))
    assert not runs[1].folder.path.exists()


def test_variants_are_named_by_what_sets_them_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {
        "a": [],
        "b": ["--method.omega", "0.9"],
        "c": ["--data.label_noise", "0.2"],
        "d": ["--seed", "1", "--training.ema_decay", "0.9"],
    }
    for name, own in settings.items():
        main(["train", *SHORT, "--out", f"runs/{name}", *own])
    records = read_runs([RunFolder(Path("runs") / name) for name in settings])
    assert [(r["variant"], r["seed"]) for r in records] == [
        ("bake", 0),
        ("bake, omega=0.9", 0),
        ("bake, data.label_noise=0.2", 0),
        ("bake, training.ema_decay=0.9", 1),
        ("bake, training.ema_decay=0.9 (EMA)", 1),
    ]
    main(["train", *SHORT, "--out", "runs/e"])
    with pytest.raises(UserError, match="runs/a and runs/e are the same: bake, seed 0"):
        read_runs([RunFolder(Path("runs") / name) for name in ("a", "e")])
    own = ["--data.classes", "['1', '2']", "--seed", "4", "--training.batch_size", "32"]
    main(["train", *SHORT, "--out", "runs/f", *own])
    with pytest.raises(UserError, match=r"cannot be compared: data.classes is"):
        read_runs([RunFolder(Path("runs") / name) for name in ("a", "f")])
