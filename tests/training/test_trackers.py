"""What experiment trackers are sent, read back by the real ones, offline."""

import json
import sqlite3
import struct
import sys
from contextlib import closing

import pytest
from helpers.processes import run
from helpers.training_runs import QUIET, recipe

from torchbake.errors import UserError
from torchbake.training.loop import train
from torchbake.training.run_folder import RunFolder
from torchbake.training.trackers import Tracker, Trackers

TRACKERS = "[tensorboard, wandb, mlflow, trackio]"
SHORT = ["--training.log_every", "2", "--training.batch_size", "32", "--training.trackers"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where a run is that all trackers followed, and that was made longer once."""
    folder = tmp_path_factory.mktemp("tracked")
    environment = {
        "WANDB_MODE": "offline",
        "MLFLOW_TRACKING_URI": f"file:{folder / 'mlruns'}",
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "TRACKIO_DIR": str(folder / "trackio"),
    }
    command = [sys.executable, "-m", "torchbake", "train", "digits/bake", "--out", "run"]
    for more in (["--training.max_steps", "6"], ["--training.max_steps", "10", "--resume"]):
        run([*command, *SHORT, TRACKERS, *more], folder, **environment)
    return folder


@pytest.fixture(scope="module")
def losses(place):
    """The run's own records, by step."""
    records = RunFolder(place / "run").read_metrics()
    found = {r["step"]: r["loss"] for r in records if r["kind"] == "train"}
    assert list(found) == [2, 4, 6, 8, 10]
    return found


@pytest.fixture(scope="module")
def identities(place):
    return json.loads((place / "run" / "trackers.json").read_text())


def test_tensorboard_has_the_records(place, losses):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(place / "run" / "tensorboard"))
    events.Reload()
    found = {event.step: event.value for event in events.Scalars("train/loss")}
    assert found == pytest.approx(losses)
    assert "eval/top1" in events.Tags()["scalars"]


def test_mlflow_has_one_run_with_the_records(place, losses, identities, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient

    client = MlflowClient(f"file:{place / 'mlruns'}")
    (found,) = client.search_runs([client.get_experiment_by_name("torchbake").experiment_id])
    assert (found.info.run_id, found.info.status) == (identities["mlflow"], "FINISHED")
    assert found.data.params["method.name"] == "bake"
    history = client.get_metric_history(found.info.run_id, "train/loss")
    assert {metric.step: metric.value for metric in history} == pytest.approx(losses)


def read_wandb(path):
    """The records of wandb's file: a LevelDB log behind a header of 7 bytes."""
    data, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:  # what is left of a block holds no record
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def test_wandb_has_one_run_with_the_records(place, losses, identities):
    from wandb.proto.wandb_internal_pb2 import Record

    found = {}
    name = f"run-{identities['wandb']}.wandb"
    for path in sorted((place / "run" / "wandb").glob(f"offline-*/{name}")):
        for data in read_wandb(path):
            record = Record.FromString(data)
            items = {i.key or "/".join(i.nested_key): i.value_json for i in record.history.item}
            if "train/loss" in items:
                found[record.history.step.num] = float(items["train/loss"])
    assert found == pytest.approx(losses)


def test_trackio_has_one_run_with_the_records(place, losses, identities):
    with closing(sqlite3.connect(place / "trackio" / "torchbake.db")) as base:
        rows = base.execute("SELECT run_name, step, metrics FROM metrics").fetchall()
    assert {name for name, *_ in rows} == {identities["trackio"]}
    values = {step: json.loads(text) for _, step, text in rows if b"train/loss" in text}
    assert {step: value["train/loss"] for step, value in values.items()} == pytest.approx(losses)


def test_a_tracker_that_cannot_be_reached_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"training.trackers: mlflow: .*127\.0\.0\.1") as caught:
        train(recipe(("training.trackers", "[mlflow]")), tmp_path / "run", console=QUIET)
    assert "\n" not in str(caught.value)


def test_a_tracker_that_fails_is_left_out_and_the_others_go_on():
    def fail(values, step):
        raise ConnectionError("gone\nmore")

    kept, closed, said = [], [], []
    good = Tracker("good", "1", lambda values, step: kept.append((values, step)), closed.append)
    bad = Tracker("bad", "1", fail, closed.append)
    trackers = Trackers([bad, good], said.append)
    for step in (1, 2):
        trackers.log("train", step, {"loss": 0.5})
    trackers.close(failed=False)
    assert kept == [({"train/loss": 0.5}, 1), ({"train/loss": 0.5}, 2)]
    assert said == ["warning: bad gets no more records from here on: gone"]
    assert closed == [False]


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("torchbake.training.trackers.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'torchbake\[wandb\]'"):
        train(recipe(("training.trackers", "[wandb]")), tmp_path / "run", console=QUIET)
