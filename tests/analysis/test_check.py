"""What `torchbake check` finds, and what it does not."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.commands import failing
from helpers.faulty import faulty_folder, shape, sound_folder
from helpers.images import encoded

from torchbake.analysis.check.check import as_json, check_data
from torchbake.analysis.check.copies import find_same_pictures, hash_thumbnails
from torchbake.analysis.check.findings import KINDS
from torchbake.cli.main import main
from torchbake.data.sources.registry import open_source
from torchbake.errors import UserError
from torchbake.recipe import DataRecipe

CUB = Path("/work/shared/data/cub100")


def check_folder(root, **settings):
    return check_data(DataRecipe(f"imagefolder:{root}", **settings))


def names(check, kind):
    """What was found of a kind, in order."""
    return [item.name for f in check.findings if f.kind == kind for item in f.items]


def kinds(check):
    return [finding.kind for finding in check.findings]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """A faulty folder, what was planted in it, and its check."""
    root = tmp_path_factory.mktemp("faulty")
    planted = faulty_folder(root)
    return root, planted, check_folder(root)


def test_all_planted_faults_are_found_and_nothing_else(faulty):
    _, planted, check = faulty
    assert len(planted) >= 30
    assert {kind: sorted(names(check, kind)) for kind in kinds(check)} == {
        kind: sorted(found) for kind, found in planted.items()
    }


def test_serious_findings_come_first_and_say_what_is_wrong(faulty):
    _, planted, check = faulty
    serious = [KINDS[kind].serious for kind in kinds(check)]
    assert serious == sorted(serious, reverse=True)
    assert check.problems == sum(serious) == sum(KINDS[kind].serious for kind in planted)
    items = {(f.kind, item.name): item for f in check.findings for item in f.items}
    assert items["unreadable", "train/cat/nothing.png"].detail == "empty file"
    assert "truncated" in items["damaged", "train/cat/cut.jpg"].detail
    assert items["too-deep", "train/dog/xray.png"].detail.startswith("has more than 8 bits")
    assert items["single-colour", "val/cat/black.jpg"].detail == "#000000"
    assert items["tiny", "train/cat/tiny.jpg"].detail == "24 × 20"
    assert items["wrong-suffix", "train/emu/lies.jpg"].detail == "is PNG"
    assert items["few-images", "once"].detail == "1 train"
    assert items["near-splits", "val/emu/leak.jpg"].label == "emu"
    assert items["near-splits", "val/emu/leak.jpg"].split == "val"


def test_a_sound_folder_has_no_findings(tmp_path, capsys):
    sound_folder(tmp_path / "data")
    main(["check", str(tmp_path / "data")])
    printed = capsys.readouterr().out
    assert "nothing found" in printed
    assert "96 × 80" in printed
    main(["check", str(tmp_path / "data"), "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert found["findings"] == []
    assert found["images"] == {"train": 18, "val": 18}
    assert found["classes"]["cat"] == {"train": 6, "val": 6}
    assert found["formats"] == {"JPEG RGB": 36}


def test_classes_without_splits(tmp_path):
    sound_folder(tmp_path, splits=("",))
    (tmp_path / "readme.txt").write_text("of no class")
    check = check_folder(tmp_path)
    assert check.findings == []
    assert check.counts == {"train": [5, 5, 5], "test": [1, 1, 1]}
    leaked = shape(900)
    for number in range(40):
        leaked.save(tmp_path / "cat" / f"again{number}.jpg", quality=50 + number)
    assert kinds(check_folder(tmp_path)) == ["near-splits"]
    for name in ("cat", "dog"):  # nothing to hold out
        only = tmp_path / "few" / name
        only.mkdir(parents=True)
        shape(len(name) + ord(name[0])).save(only / "0.jpg")
    check = check_folder(tmp_path / "few")
    assert check.counts == {"all": [1, 1]}
    assert kinds(check) == ["few-images"]


def test_splits_in_capitals_and_alone(tmp_path):
    sound_folder(tmp_path, splits=("Train",))
    check = check_folder(tmp_path)
    assert kinds(check) == ["split-name", "one-split"]
    assert check.counts == {"Train": [5, 5, 5], "test": [1, 1, 1]}
    assert kinds(check_folder(tmp_path, train_split="Train")) == ["one-split"]


def place(root, *names):
    """Make pictures of these names, each another one; other names are tables of them."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".jpg":
            shape(number).save(path, quality=92)
        else:
            rows = [f"{p},{p.split('/')[-1][0]}" for p in names if p.endswith(".jpg")]
            path.write_text("\n".join(["path,label", *rows]))
    return root


LAYOUTS = {
    "splits": [f"{s}/{c}/{n}.jpg" for s in ("train", "val") for c in "ab" for n in range(3)],
    "train alone": [f"train/{c}/{n}.jpg" for c in "ab" for n in range(5)],
    "no splits": [f"{c}/{n}.jpg" for c in "ab" for n in range(5)],
    "nested": [f"animal/{c}/{n}.jpg" for c in "ab" for n in range(5)],
    "years": [f"{c}/{year}/{n}.jpg" for c in "ab" for year in (2019, 2020) for n in range(3)],
    "a class called train": [f"{c}/{n}.jpg" for c in ("a", "train") for n in range(5)],
    "flat": [f"{c}_{n}.jpg" for c in ("ape", "bat") for n in range(5)],
    "flat splits": [f"{s}/{c}{n}.jpg" for s in ("train", "test") for c in "ab" for n in range(3)],
    "table": ["t.csv", *(f"images/{c}{n}.jpg" for c in "ab" for n in range(5))],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_classes_and_splits_are_those_of_training(tmp_path, layout):
    root = place(tmp_path, *LAYOUTS[layout])
    kind = f"table:{root}/t.csv" if layout == "table" else f"imagefolder:{root}"
    check, source = check_data(DataRecipe(kind)), open_source(DataRecipe(kind))
    assert check.classes == source.classes
    test = next(name for name in check.splits if name != "train")
    for own, other in ((check.splits["train"], source.train), (check.splits[test], source.test)):
        images = [own.name_of(number) for number in range(len(own))]
        assert images == [other.name_of(number) for number in range(len(other))]
        assert own.labels.tolist() == other.labels.tolist()
    assert kinds(check) == (["one-split"] if layout == "train alone" else [])


def test_tables_and_flat_folders_are_given_by_their_path(tmp_path, capsys):
    place(tmp_path / "table", *LAYOUTS["table"])
    main(["check", str(tmp_path / "table" / "t.csv"), "--format", "json"])
    assert json.loads(capsys.readouterr().out)["images"] == {"train": 8, "test": 2}
    flat = place(tmp_path / "flat", *LAYOUTS["flat"])
    shape(99).save(flat / "holiday.jpg")
    (flat / "bat_9.jpg").write_bytes(b"no picture")
    with pytest.raises(SystemExit):
        main(["check", str(flat), "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert list(found["classes"]) == ["ape", "bat"]
    names = {f["kind"]: [item["name"] for item in f["items"]] for f in found["findings"]}
    assert names == {"unreadable": ["bat_9.jpg"], "stray-image": ["holiday.jpg"]}


def test_what_is_in_nested_folders_is_of_its_class(tmp_path):
    root = place(tmp_path, *LAYOUTS["nested"], "animal/a/._0.jpg", "animal/b/notes.txt")
    found = {f.kind: [(i.name, i.label) for i in f.items] for f in check_folder(root).findings}
    assert found == {
        "other-file": [("animal/b/notes.txt", "animal/b")],
        "hidden-image": [("animal/a/._0.jpg", "animal/a")],
    }


def test_all_usual_splits_are_compared(tmp_path):
    sound_folder(tmp_path, splits=("train", "val", "test"))
    for split in ("val", "test"):
        (tmp_path / split / "cat" / "same.jpg").write_bytes(encoded(shape(900)))
    check = check_folder(tmp_path)
    assert names(check, "duplicate-splits") == ["test/cat/same.jpg", "val/cat/same.jpg"]


def test_equal_files_are_copies_of_the_same_picture(tmp_path):
    """A copy of a training image is in the test split by a file that equals the original."""
    sound_folder(tmp_path)
    original, again = encoded(shape(900), quality=95), encoded(shape(900), quality=60)
    for name, content in {"train": original, "val": original}.items():
        (tmp_path / name / "cat" / "one.jpg").write_bytes(content)
    (tmp_path / "train" / "cat" / "two.jpg").write_bytes(again)
    check = check_folder(tmp_path)
    assert kinds(check) == ["duplicate-splits", "near-splits"]
    assert names(check, "duplicate-splits") == ["train/cat/one.jpg", "val/cat/one.jpg"]
    assert sorted(names(check, "near-splits")) == [
        "train/cat/one.jpg",
        "train/cat/two.jpg",
        "val/cat/one.jpg",
    ]


def test_links_in_a_circle_end(tmp_path):
    sound_folder(tmp_path)
    (tmp_path / "train" / "cat" / "again").symlink_to(tmp_path / "train" / "cat")
    assert check_folder(tmp_path).counts["train"] == [6, 6, 6]


def test_copies_are_found_and_others_are_not():
    """Of 300 pictures, each with a copy that was encoded anew, shrunk and brightened."""
    from PIL import ImageEnhance

    from torchbake.analysis.check.look import look_at_images
    from torchbake.data import make_encoded_split
    from torchbake.data.sources.base import Encoded

    files = []
    for number in range(300):
        bright = ImageEnhance.Brightness(shape(number).resize((70, 58))).enhance(1.12)
        files += [encoded(shape(number), quality=95), encoded(bright, quality=55)]
    labels = torch.zeros(600, dtype=torch.long)
    split = make_encoded_split(labels, lambda index: Encoded(files[index], ""), 3, [])
    looks = look_at_images(split, 3, 0, lambda done: None)
    groups = find_same_pictures(looks)
    np.testing.assert_array_equal(groups[::2], groups[1::2])
    assert len(np.unique(groups)) == 300
    assert len(np.unique(find_same_pictures(looks, 0.0))) == 600
    # Pairs are joined to groups now and then, which changes nothing.
    from torchbake.analysis.check import copies

    held, copies._PAIRS = copies._PAIRS, 3
    try:
        assert len(np.unique(find_same_pictures(looks))) == 300
    finally:
        copies._PAIRS = held


def test_candidates_are_all_pairs_that_differ_in_few_bits():
    from torchbake.analysis.check.copies import _find_candidates

    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, 1500, dtype=np.uint64)
    for number in range(200):  # copies that differ in up to 7 bits
        flipped = random.choice(64, number % 8, replace=False)
        hashes[number + 1000] = hashes[number] ^ np.uint64(sum(1 << int(bit) for bit in flipped))
    found = {tuple(sorted(pair)) for part in _find_candidates(hashes) for pair in part.T.tolist()}
    assert {(number, number + 1000) for number in range(200)} <= found
    differences = np.bitwise_count(hashes[:, None] ^ hashes)
    assert all(differences[pair] <= 12 for pair in found)


def test_hashes_are_of_structure_not_of_brightness():
    random = np.random.default_rng(0).integers(0, 200, (50, 16, 16), dtype=np.uint8)
    brighter = np.bitwise_count(hash_thumbnails(random) ^ hash_thumbnails(random + 40))
    assert brighter.max() <= 1  # the mean's own bit never changes
    others = np.bitwise_count(hash_thumbnails(random[1:]) ^ hash_thumbnails(random[:-1]))
    assert others.min() > 12


def test_tables_with_odd_labels(tmp_path, capsys):
    from datasets import Dataset, Features, Image, Value

    features = Features({"image": Image(), "label": Value("string")})
    labels = ["cat", "dog", None, "cat ", "dog", "cat", "Dog", "cat"]
    for split, numbers in (("train", range(8)), ("test", range(8, 14))):
        rows = [{"image": {"bytes": encoded(shape(n))}, "label": labels[n % 8]} for n in numbers]
        rows[1]["image"] = None if split == "train" else rows[1]["image"]
        Dataset.from_list(rows, features=features).to_parquet(tmp_path / f"{split}.parquet")
    with pytest.raises(SystemExit) as ended:
        main(["check", str(tmp_path), "--format", "json"])
    assert ended.value.code == 1
    found = json.loads(capsys.readouterr().out)
    assert found["data"] == f"parquet:{tmp_path}"
    by_kind = {finding["kind"]: finding["items"] for finding in found["findings"]}
    assert {item["index"] for item in by_kind["no-label"] if item["split"] == "train"} == {2}
    assert [item["name"] for item in by_kind["odd-class-name"]] == ["cat "]
    assert {item["name"] for item in by_kind["similar-classes"]} == {"cat", "cat ", "dog", "Dog"}
    assert by_kind["unreadable"][0]["detail"] == "image 1 is missing"
    assert by_kind["unreadable"][0]["name"] == "train image 1"


def test_pixels_and_small_pictures(tmp_path, monkeypatch):
    assert kinds(check_data(DataRecipe("digits"))) == []
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "from torchbake.data import Source, make_array_split\n"
        "def source(recipe):\n"
        "    x = np.random.default_rng(0).integers(0, 256, (8, 12, 12, 3), dtype=np.uint8)\n"
        "    x[3] = x[2]\n"
        "    x[5] = 7\n"
        "    train = make_array_split(x, [0, 0, 1, 0, 1, 1, 0, 1], recipe)\n"
        "    return Source(train, make_array_split(x[:2] // 2, [0, 1], recipe), ['a', 'b'])\n"
    )
    monkeypatch.chdir(tmp_path)
    check = check_data(DataRecipe("mine:source"))
    assert names(check, "duplicate-labels") == ["train image 2", "train image 3"]
    assert names(check, "single-colour") == ["train image 5"]
    assert check.sizes["median"] == [12, 12]
    assert check.formats == {}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere/at-all"], "there is no file or folder nowhere/at-all"),
        (["imagefolder:nowhere"], "there is no folder nowhere"),
        (["digit"], "unknown data set 'digit'; did you mean 'digits'?"),
        (["digits", "--distance", "2"], "--distance: expected a number from 0 to 1"),
        (["digits", "--show", "0"], "--show: expected a number of at least 1"),
        (["digits", "--data.labels", "x.csv"], "leave out data.labels"),
        (["empty"], "no images of a class in empty"),
        (["digits", "--out", "empty"], "empty is a folder"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, arguments, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    told = failing(capsys, "check", *arguments)
    assert line in told
    assert len(told.splitlines()) == 1


def test_the_table_names_examples(faulty, capsys):
    root, _, check = faulty
    with pytest.raises(SystemExit) as ended:
        main(["check", str(root), "--distance", "0"])
    assert ended.value.code == 1
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "problem" in printed
    assert f"problems of {check.problems - 2} kinds" in printed  # without near copies
    with pytest.raises(UserError, match="whole data set"):
        check_folder(root, images_per_class=2)
    assert json.loads(json.dumps(as_json(check)))["problems"] == check.problems


@pytest.mark.skipif(not CUB.is_dir(), reason="no cub100 at hand")
def test_real_photographs():
    """Four pairs of cub100 are the same photograph, as everybody sees who looks at them."""
    check = check_data(DataRecipe(f"parquet:{CUB}"))
    found = {f.kind: [(i.split, i.index) for i in f.items] for f in check.findings}
    assert found == {
        "near-splits": [
            ("train", 534),
            ("test", 957),
            ("train", 1049),
            ("test", 2370),
            ("train", 2996),
            ("test", 2900),
        ],
        "near": [("train", 326), ("train", 825)],
    }
