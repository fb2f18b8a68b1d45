"""Labels set right by a file, `data.labels`."""

import csv
import io
import shutil
from dataclasses import replace

import PIL.Image
import pytest
import torch
from helpers.images import image_folder, quiet_progress
from helpers.training_runs import QUIET, StopAt, recipe, same, weights

from torchbake.data.loading.open_data import open_data
from torchbake.data.sources.labels import Correction, format_csv, read_labels
from torchbake.errors import UserError
from torchbake.recipe import DataRecipe
from torchbake.training.loop import train
from torchbake.training.opened_run import evaluate_run, open_run


def written(path, *rows):
    path.write_text(format_csv(Correction(*row) for row in rows), encoding="utf-8")
    return str(path)


def digits(path, **settings):
    return open_data(DataRecipe(labels=path, **settings), quiet_progress)


def test_images_are_corrected_and_left_out(tmp_path):
    before = open_data(DataRecipe(label_noise=0.2), quiet_progress).source.train
    names = [str(int(label)) for label in before.labels]
    rows = [(0, "", names[0], "5"), (7, "", names[7], ""), (299, "", names[299], names[299])]
    data = digits(written(tmp_path / "a.csv", *rows), label_noise=0.2)
    train = data.source.train
    kept = torch.tensor([i for i in range(300) if i != 7])
    assert train.numbers.equal(kept)
    assert train.labels.tolist() == [5, *before.labels[kept][1:].tolist()]
    assert train.clean_labels.equal(before.clean_labels[kept])
    assert train.load(7).equal(before.load(8))
    assert data.pixels[0].equal(before.pixels[kept])
    assert len(data.source.test) == 1497


def test_nothing_is_renumbered_where_all_images_stay(tmp_path):
    path = written(tmp_path / "a.csv", (0, "", "0", "5"))
    train = digits(path).source.train
    assert train.numbers is None
    assert train.labels[:2].tolist() == [5, 0]


def test_what_is_written_is_read_back(tmp_path):
    odd = ['a,b "c"', "line\nbreak", "<script>", " ä ", "=1+1", ""]
    rows = [(i, name, name or "x", name) for i, name in enumerate(odd)]
    path = tmp_path / "a.csv"
    written(path, *rows)
    assert read_labels(path) == [Correction(*row) for row in rows]
    # As a spreadsheet writes it: a mark at the start, and other ends of lines.
    text = io.StringIO()
    csv.writer(text).writerows([("index", "file", "given", "label"), (3, "", "3", ""), ()])
    path.write_bytes(b"\xef\xbb\xbf" + text.getvalue().encode())
    assert read_labels(path) == [Correction(3, "", "3", "")]


HEADER = "index,file,given,label\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the header 'index,file,given,label', found nothing"),
        ("index,label\n1,2\n", "expected the header .*, found 'index,label'"),
        (HEADER + "1,2,3\n", "row 2: expected 4 fields, found 3"),
        (HEADER + "-1,,0,1\n", "row 2: index: expected a number from 0 on, got '-1'"),
        (HEADER + "²,,0,1\n", "row 2: index: expected a number from 0 on, got '²'"),
        (HEADER + "1,,0,1\n1,,0,2\n", "row 3: image 1 is listed twice"),
        (HEADER + "300,,0,1\n", "image 300: there are 300 training images, numbered from 0"),
        (HEADER + "0,,1,2\n", "image 0: is '0' in the data, '1' in the file, which is of other"),
        (HEADER + "0,,0,ten\n", "image 0: label: there is no class 'ten'"),
        (HEADER + '0,,0,"1\n', "not a CSV file"),
        (HEADER + "".join(f"{i},,0,\n" for i in range(30)), "no training image of class '0'"),
        (HEADER + "\udcff", "cannot be read: not UTF-8"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path, text, message):
    path = tmp_path / "a.csv"
    if text is not None:
        path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=message) as caught:
        digits(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_of_a_folder_are_known_by_their_names(tmp_path):

    image_folder(tmp_path / "pets", (16, 16))
    recipe = DataRecipe(name=f"imagefolder:{tmp_path / 'pets'}", image_size=8, channels=3)
    plain = open_data(recipe, quiet_progress)
    train = plain.source.train
    name = train.name_of(1)
    assert name.startswith("train/")
    given, other = plain.source.classes[0], plain.source.classes[1]
    path = written(tmp_path / "a.csv", (0, "", given, ""), (1, name, given, other))
    changed = open_data(replace(recipe, labels=path), quiet_progress)
    assert changed.source.train.name_of(0) == name
    assert int(changed.source.train.labels[0]) == 1
    assert changed.source.train.load(0).equal(train.load(1))
    # A file that came before it since shows.
    path = written(tmp_path / "a.csv", (0, name, given, other))
    with pytest.raises(UserError, match=f"image 0: is .* in the data, .*{name}.* in the file"):
        open_data(replace(recipe, labels=path), quiet_progress)


def test_a_run_keeps_the_labels_that_it_was_trained_with(tmp_path, monkeypatch):
    path = written(tmp_path / "a.csv", (0, "", "0", "5"), (1, "", "0", ""))
    short = recipe(("data.labels", path), ("training.checkpoint_every", "5"))
    train(short, tmp_path / "whole", console=QUIET)
    with monkeypatch.context() as patch:
        StopAt(patch, 7)
        with pytest.raises(RuntimeError, match="crash"):
            train(short, tmp_path / "cut", console=QUIET)
    kept = (tmp_path / "a.csv").read_text()
    written(tmp_path / "a.csv", (0, "", "0", "6"), (1, "", "0", ""))
    with pytest.raises(UserError, match=r"a\.csv has changed since this run began"):
        train(short, tmp_path / "cut", resume=True, console=QUIET)
    # What is finished is evaluated with its own copy.
    opened = open_run(tmp_path / "whole", console=QUIET)
    assert opened.data.source.train.labels[0] == 5
    assert len(opened.data.source.train) == 299
    evaluate_run(tmp_path / "whole", console=QUIET)
    # So is one that was cut off: with the file as it was, without it, or with the copy's name.
    copy = str(tmp_path / "cut" / "trained-labels.csv")
    others = [tmp_path / name for name in ("gone", "named")]
    for other in others:
        shutil.copytree(tmp_path / "cut", other)
    with pytest.raises(UserError, match=r"is a run of another recipe: data\.labels"):
        train(replaced(short, copy), tmp_path / "named", resume=True, console=QUIET)
    copy = str(tmp_path / "named" / "trained-labels.csv")
    train(replaced(short, copy), tmp_path / "named", resume=True, console=QUIET)
    (tmp_path / "a.csv").unlink()
    train(short, tmp_path / "gone", resume=True, console=QUIET)
    (tmp_path / "a.csv").write_text(kept)
    train(short, tmp_path / "cut", resume=True, console=QUIET)
    for other in (tmp_path / "cut", *others):
        assert same(weights(tmp_path / "whole"), weights(other))


def replaced(recipe, labels):
    return replace(recipe, data=replace(recipe.data, labels=labels))


def test_a_file_of_labels_in_a_run_folder_is_not_its_own(tmp_path):
    train(recipe(("training.max_steps", "1")), tmp_path / "run", console=QUIET)
    written(tmp_path / "run" / "labels.csv", (0, "", "0", ""))
    assert len(open_run(tmp_path / "run", console=QUIET).data.source.train) == 300


def test_a_class_without_a_name_cannot_be_told_from_leaving_out(tmp_path):
    from datasets import ClassLabel, Dataset, Features, Image

    features = Features({"image": Image(), "label": ClassLabel(names=["", "b"])})
    rows = {"image": [PIL.Image.new("RGB", (8, 8))] * 4, "label": [0, 0, 1, 1]}
    for split in ("train", "test"):
        Dataset.from_dict(rows, features=features).to_parquet(tmp_path / f"{split}.parquet")
    path = written(tmp_path / "a.csv", (2, "", "b", ""))
    recipe = DataRecipe(name=f"parquet:{tmp_path}/*.parquet", labels=path)
    with pytest.raises(UserError, match="a class of the data has an empty name"):
        open_data(recipe, quiet_progress)


def test_a_run_may_be_replaced_by_one_with_the_labels_in_its_folder(tmp_path):
    train(recipe(("training.max_steps", "1")), tmp_path / "run", console=QUIET)
    path = written(tmp_path / "run" / "new.csv", (0, "", "0", "5"))
    short = recipe(("training.max_steps", "1"), ("data.labels", path))
    train(short, tmp_path / "run", overwrite=True, console=QUIET)
    assert open_run(tmp_path / "run", console=QUIET).data.source.train.labels[0] == 5
