"""Parquet files with odd columns, odd labels, paths, or bytes that are damaged."""

import io
import random

import pyarrow
import pyarrow.parquet
import pytest
from benchmarks.measure.torture_tables import draw_parquet
from benchmarks.measure.trials import try_to
from helpers.images import encoded, parquet_files, picture

from torchbake.data.sources.registry import open_source
from torchbake.errors import UserError
from torchbake.recipe import DataRecipe

GOOD = [{"bytes": encoded(picture(n, (8, 8)), "PNG"), "path": None} for n in range(4)]


@pytest.fixture(autouse=True)
def own_hub(tmp_path, monkeypatch):
    """What `datasets` makes of the files goes nowhere else."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hub")


def write(folder, images=GOOD, labels=(0, 1, 0, 1), test_labels=None):
    for split, own in (("train", labels), ("test", test_labels or labels)):
        table = pyarrow.table({"image": images, "label": list(own)})
        pyarrow.parquet.write_table(table, folder / f"{split}.parquet")
    return DataRecipe(
        name=f"parquet:{folder}/*.parquet", image_column="image", label_column="label"
    )


@pytest.mark.parametrize(
    "images",
    [[1, 2, 3, 4], [0.5] * 4, [{"other": 1}] * 4, [{"bytes": 1, "path": 2}] * 4, [True] * 4],
)
def test_columns_without_images_are_refused(tmp_path, images):
    with pytest.raises(UserError, match=r"column 'image' holds no image files: it is of type ."):
        open_source(write(tmp_path, images))


def test_images_that_are_missing_are_named(tmp_path):
    images = [GOOD[0], None, {"bytes": None, "path": None}, {"bytes": b"", "path": None}]
    train = open_source(write(tmp_path, images)).train
    assert train.load(0).shape == (3, 8, 8)
    for index in (1, 2):
        with pytest.raises(UserError, match=f"image {index} is missing"):
            train.load(index)
    with pytest.raises(UserError, match="image 3: cannot be read as an image"):
        train.load(3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, -1, 0, 1], "column 'label' holds -1, which stands for 'no label'"),
        ([7] * 4, r"has 1 class\(es\), '7'; expected two or more"),
        ([0.5] * 4, "must hold whole numbers or text, has double|float64"),
        ([[1]] * 4, "must hold whole numbers or text"),
        ([0, None, 1, 1], "labels must be from 0 to 1, found -1 to 1"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path, labels, message):
    with pytest.raises(UserError, match=message):
        open_source(write(tmp_path, labels=labels))


@pytest.mark.parametrize("name", ["train", "birds"])
def test_a_single_split_gives_its_test_images(tmp_path, name):
    """By what they hold: neither their order nor what else is there changes much."""
    rows = [(encoded(picture(n % 13, (8, 8 + n // 13)), "PNG"), "ab"[n % 2]) for n in range(20)]
    rows += [rows[0]] * 5  # the same picture, on one side

    def opened(order, **settings):
        held = [rows[number] for number in order]
        images = [{"bytes": content, "path": None} for content, _ in held]
        table = pyarrow.table({"image": images, "label": [label for _, label in held]})
        (tmp_path / str(len(order))).mkdir(exist_ok=True)
        file = tmp_path / str(len(order)) / f"{name}.parquet"
        pyarrow.parquet.write_table(table, file)
        columns = {"image_column": "image", "label_column": "label"}
        return open_source(DataRecipe(name=f"parquet:{file}", **columns, **settings))

    def contents(split):
        return {split.encoded(number).content for number in range(len(split))}

    source = opened(range(25))
    train, test = contents(source.train), contents(source.test)
    assert not train & test
    assert len(source.train) + len(source.test) == 25
    assert 4 <= len(source.test) <= 9
    assert set(source.test.labels.tolist()) == {0, 1}
    assert f"a single split '{name}'; {len(source.test)} images, 20 % of each" in source.found
    assert len(contents(opened(list(range(24))[::-1]).test) ^ test) <= 2
    assert contents(opened(range(25), test_share_seed=1).test) != test
    assert source.test.load(0).shape[0] == 3
    with pytest.raises(UserError, match="has no validation split; expected a fraction"):
        opened(range(25), validation=True)
    with pytest.raises(UserError, match=r"no (test|train) split: expected "):
        opened(range(25), test_split="odd")


def test_classes_that_no_training_image_has_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"no training image has the label\(s\) '1000' of column"):
        open_source(write(tmp_path, test_labels=[0, 1, 0, 1000]))


def test_numbers_with_gaps_are_classes_and_that_is_said(tmp_path):
    source = open_source(write(tmp_path, labels=[0, 1000, 0, 7]))
    assert source.classes == ["0", "7", "1000"]
    (note,) = source.notes
    assert note.endswith(
        "holds 3 different numbers from 0 to 1,000: these are the classes, in this order"
    )
    assert open_source(write(tmp_path, labels=[2, 1, 0, 1])).notes == ()


def test_rows_name_files_beside_the_table_alone(tmp_path):
    secret = tmp_path / "secret.png"
    picture(1, (8, 8)).save(secret)
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    picture(2, (8, 8)).save(folder / "images" / "own.png")
    (folder / "images" / "link.png").symlink_to(secret)
    paths = ["images/own.png", str(folder / "images" / "own.png"), str(secret), "../secret.png"]
    paths += ["images/link.png", "/etc/passwd", "a\0b", "http://127.0.0.1/x.png", "images"]
    images = [{"bytes": None, "path": path} for path in paths]
    train = open_source(write(folder, images, labels=[0, 1, 0, 1, 0, 1, 0, 1, 0])).train
    for index in (0, 1):
        assert train.load(index)[:, 0, 0].tolist() == [40, 215, 7]
    for index in range(2, 7):
        with pytest.raises(UserError, match=f"image {index} is to be read from .* is not in "):
            train.load(index)
    for index in (7, 8):
        with pytest.raises(UserError, match="cannot be read"):
            train.load(index)


def test_texts_as_images_are_paths_within_the_same_limits(tmp_path):
    train = open_source(write(tmp_path, ["/etc/passwd"] * 4)).train
    with pytest.raises(UserError, match="is to be read from '/etc/passwd', which is not in"):
        train.load(0)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"nothing of the kind" * 9, None])
def test_damaged_files_are_named_with_the_cause(tmp_path, capfd, content):
    name = parquet_files(tmp_path)
    path = tmp_path / "test-00000-of-00001.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(UserError, match=r"test-00000.*: not a Parquet file, or a damaged one \(\d"):
        open_source(DataRecipe(name=name))
    assert capfd.readouterr().err == ""


def test_a_file_that_is_damaged_within_is_named(tmp_path, capfd):
    buffer = io.BytesIO()
    table = pyarrow.table({"image": GOOD * 50, "label": [0, 1, 0, 1] * 50})
    pyarrow.parquet.write_table(table, buffer, compression="zstd")
    content = bytearray(buffer.getvalue())
    for split in ("train", "test"):
        (tmp_path / f"{split}.parquet").write_bytes(content)
    content[100:160] = bytes(60)
    (tmp_path / "test.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"test\.parquet: not a Parquet file, or a damaged one"):
        open_source(DataRecipe(name=f"parquet:{tmp_path}", image_column="image"))
    assert capfd.readouterr().err == ""


def test_damaged_and_odd_tables_are_read_or_explained(tmp_path):
    for attempt in draw_parquet(random.Random(0), 12, tmp_path / "drawn"):
        try_to(attempt)
