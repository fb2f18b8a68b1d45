"""`data.on_error: skip`: which images are left out, that it is said, and that runs are exact."""

import io
import json

import pytest
import torch
from helpers.images import image_folder, parquet_files, picture
from helpers.training_runs import QUIET, StopAt, same, weights
from rich.console import Console

from torchbake.data.loading.open_data import open_data
from torchbake.errors import UserError
from torchbake.recipe import DataRecipe
from torchbake.training.loop import train
from torchbake.training.opened_run import evaluate_run
from torchbake.training.recipe_files import load_recipe
from torchbake.training.run_folder import RunFolder

FAULTS = {
    "train/cat/words.jpg": (b"These are words.", "unreadable"),
    "train/dog/cut.png": (None, "damaged"),
    "val/cat/empty.png": (b"", "unreadable"),
}


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHBAKE_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "photos"
    name = image_folder(root, (8, 8))
    picture(3, (60, 60)).save(root / "whole.png")
    for path, (content, _) in FAULTS.items():
        (root / path).write_bytes(
            content if content is not None else (root / "whole.png").read_bytes()[:120]
        )
    (root / "whole.png").unlink()
    return name


def open_with(name, **settings):
    told = []
    recipe = DataRecipe(name=name, image_size=8, workers=0, **settings)
    return open_data(recipe, lambda split, done, total: told.append((split, done, total))), told


@pytest.mark.parametrize("in_memory", [True, False])
def test_they_are_left_out_counted_and_named(photos, in_memory):
    data, told = open_with(photos, in_memory=in_memory, on_error="skip")
    assert {(image.name, image.kind) for image in data.left_out} == {
        (path, kind) for path, (_, kind) in FAULTS.items()
    }
    assert data.source.notes[-2:] == (
        "left out 2 of 10 training images that cannot be read: 1 damaged, 1 unreadable",
        "left out 1 of 9 test images that cannot be read: 1 unreadable",
    )
    assert (len(data.source.train), len(data.source.test)) == (8, 8)
    names = [data.source.train.name_of(index) for index in range(8)]
    assert not set(names) & set(FAULTS)
    assert [name.split("/")[1] for name in names] == [
        data.source.classes[label] for label in data.source.train.labels.tolist()
    ]
    assert ("training", 10, 10) in told
    if in_memory:
        assert data.pixels[0].shape == (8, 3, 8, 8)


def test_what_was_found_is_kept_until_a_file_changes(photos, tmp_path):
    first, _ = open_with(photos, on_error="skip")
    again, told = open_with(photos, on_error="skip")
    assert again.left_out == first.left_out
    assert not any(split == "training" and total == 10 for split, _, total in told)
    picture(5, (8, 8)).save(tmp_path / "photos" / "train/dog/cut.png")
    mended, _ = open_with(photos, on_error="skip")
    assert len(mended.left_out) == 2
    open_with(photos, on_error="skip", cache=False)  # which looks anew


def test_stop_names_the_first(photos):
    with pytest.raises(UserError, match=r"words\.jpg: cannot be read as an image"):
        open_with(photos)


def test_a_class_or_split_without_images_is_refused(photos, tmp_path):
    root = tmp_path / "photos"
    for path in (root / "train/cat").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"on_error: no training image of class 'cat' can be read:"):
        open_with(photos, on_error="skip")


def test_numbers_are_those_of_the_whole_data_set(photos):
    whole, _ = open_with(photos, on_error="skip")
    held, _ = open_with(photos, on_error="skip", validation=0.25)
    numbers = torch.cat([held.source.train.numbers, held.source.validation.numbers])
    assert numbers.sort().values.tolist() == whole.source.train.numbers.tolist()
    assert len(whole.source.train.numbers) == 8


def short(name, *more):
    settings = {
        "data": name,
        "data.image_size": "8",
        "data.on_error": "skip",
        "data.workers": "0",
        "model": "small_cnn",
        "training.batch_size": "4",
        "training.max_steps": "9",
        "training.epochs": "9",
        "training.checkpoint_every": "3",
        "training.log_every": "3",
        "method.partners": "1",
    }
    return load_recipe("digits/bake", [*settings.items(), *more])


@pytest.mark.parametrize("in_memory", ["true", "false"])
def test_runs_leave_them_out_and_go_on_exactly(photos, tmp_path, monkeypatch, in_memory):
    recipe = short(photos, ("data.in_memory", in_memory))
    printed = io.StringIO()
    train(recipe, tmp_path / "whole", console=Console(file=printed))
    assert "left out 1 of 9 test images that cannot be read: 1 unreadable" in printed.getvalue()
    result = RunFolder(tmp_path / "whole").read_result()
    assert result["test_images"] == 8
    assert result["left_out_images"] == {
        "training": {"unreadable": 1, "damaged": 1},
        "test": {"unreadable": 1},
    }
    listed = json.loads((tmp_path / "whole" / "skipped.json").read_text())
    assert {image["name"] for image in listed} == set(FAULTS)
    assert evaluate_run(tmp_path / "whole", console=QUIET)["nll"] == pytest.approx(
        result["last"]["nll"]
    )
    with monkeypatch.context() as patched:
        StopAt(patched, 5)
        with pytest.raises(RuntimeError, match="crash"):
            train(recipe, tmp_path / "cut", console=QUIET)
    train(recipe, tmp_path / "cut", resume=True, console=QUIET)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_a_run_does_not_go_on_with_other_images(photos, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        StopAt(patched, 5)
        with pytest.raises(RuntimeError, match="crash"):
            train(short(photos), tmp_path / "cut", console=QUIET)
    picture(5, (8, 8)).save(tmp_path / "photos" / "train/dog/cut.png")
    with pytest.raises(UserError, match=r"training image train/dog/cut\.png can be read, and 0"):
        train(short(photos), tmp_path / "cut", resume=True, console=QUIET)


def test_rows_of_a_table_are_left_out(tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hub"))
    name = parquet_files(tmp_path)
    path = next(tmp_path.glob("train*.parquet"))
    table = pyarrow.read_table(path)
    rows = table.to_pylist()
    rows[1]["image"] = {"bytes": b"words", "path": None}
    rows[5]["image"] = {"bytes": rows[5]["image"]["bytes"][:45], "path": None}
    rows[7]["image"] = {"bytes": None, "path": None}
    pyarrow.write_table(type(table).from_pylist(rows, schema=table.schema), path)
    data, _ = open_with(name, on_error="skip")
    found = {(image.split, image.number): image.kind for image in data.left_out}
    assert found == {
        ("training", 1): "unreadable",
        ("training", 5): "damaged",
        ("training", 7): "missing",
    }
    assert data.source.train.labels.tolist() == [0, 2, 0, 1, 0, 2]
