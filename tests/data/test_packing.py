import os
import signal
import subprocess
import sys
import time

import datasets
import numpy as np
import pytest
from helpers.commands import failing
from helpers.images import encoded, photographs, scenery
from PIL import Image

from torchbake.cli.main import main
from torchbake.data.preparing.packing import pack
from torchbake.data.sources.registry import open_source
from torchbake.errors import UserError
from torchbake.recipe import DataRecipe


def mixed_folder(root):
    """Files of all sorts; which of them can be read, and which are small JPEG files already."""
    contents = {
        "a/small.jpg": encoded(scenery(80, 60)),
        "a/large.jpg": encoded(scenery(500, 300)),
        "a/tall.jpg": encoded(scenery(90, 2000)),
        "a/grey.jpg": encoded(scenery(80, 60).convert("L")),
        "a/print.jpg": encoded(scenery(80, 60).convert("CMYK")),
        "b/slow.jpg": encoded(scenery(80, 60), progressive=True),
        "b/sharp.png": encoded(scenery(120, 90), "PNG"),
        "b/clear.png": encoded(scenery(80, 60).convert("RGBA"), "PNG"),
        "b/few.png": encoded(scenery(80, 60).convert("P"), "PNG"),
        "b/cut.jpg": encoded(scenery(80, 60))[:-200],
        "b/deep.png": encoded(Image.fromarray(np.full((9, 9), 7000, np.uint16)), "PNG"),
        "b/words.jpg": b"not an image",
        "b/nothing.jpg": b"",
    }
    for split in ("train", "test"):
        for name, content in contents.items():
            path = root / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return contents


def test_all_that_can_be_read_is_packed_and_the_rest_listed(tmp_path):
    contents = mixed_folder(tmp_path / "data")
    recipe = DataRecipe(f"imagefolder:{tmp_path / 'data'}", workers=2)
    packed = pack(recipe, tmp_path / "out", short_side=60)
    assert packed.images == {"train": 9, "test": 9}
    assert packed.kept == 2 * 2
    listed = (tmp_path / "out" / "skipped.txt").read_text().splitlines()
    assert sorted(listed) == sorted(packed.skipped)
    for name, reason in {
        "cut.jpg": "cannot be read as an image: image file is truncated",
        "deep.png": "has more than 8 bits a channel",
        "words.jpg": "cannot be read as an image",
        "nothing.jpg": "cannot be read as an image",
    }.items():
        assert sum(f"b/{name}: {reason}" in line for line in listed) == 2

    tables = datasets.load_from_disk(str(tmp_path / "out"))
    assert tables["train"].features["label"].names == ["a", "b"]
    test = tables["test"]
    assert test["label"][:] == [0] * 5 + [1] * 4
    # The order of a folder: grey, large, print, small, tall; clear, few, sharp, slow.
    sizes = [(80, 60), (100, 60), (80, 60), (80, 60), (60, 1333), *[(80, 60)] * 4]
    assert [image.size for image in test["image"]] == sizes
    assert [image.mode for image in test["image"]] == ["L", *["RGB"] * 8]
    raw = test.cast_column("image", datasets.Image(decode=False))["image"]
    assert raw[0]["bytes"] == contents["a/grey.jpg"]
    assert raw[3]["bytes"] == contents["a/small.jpg"]
    assert all(row["bytes"].startswith(b"\xff\xd8") for row in raw)
    shrunk = np.asarray(test[1]["image"]).astype(int)
    expected = np.asarray(scenery(500, 300).resize((100, 60), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(shrunk - expected).mean() < 4

    # Training images are the same ones, in another order.
    train = tables["train"].cast_column("image", datasets.Image(decode=False))
    assert train["label"][:] != test["label"][:]
    pairs = [(row["image"]["bytes"], row["label"]) for row in train]
    assert sorted(pairs) == sorted(
        zip((row["bytes"] for row in raw), test["label"][:], strict=True)
    )


def test_what_is_packed_is_trained_on(tmp_path, monkeypatch, capsys):
    photographs(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    main(["pack", "data", "small", "--short-side", "40"])
    told = capsys.readouterr().out
    assert "packed 8 train and 8 test images, 0 of them as they were" in told
    assert "train on them with --data hf:small" in told
    assert not (tmp_path / "small" / "skipped.txt").exists()
    source = open_source(DataRecipe(f"hf:{tmp_path}/small"))
    assert source.classes == ["a", "b"]
    assert source.train.load(0).shape == (3, 40, 53)
    keys = "--data hf:small --data.crop resized --data.image_size 32 --training.batch_size 4"
    keys += " --training.max_steps 2 --method.partners 1 --model resnet20 --data.channels 3"
    main(["train", "digits/bake", *keys.split()])
    assert "bake on hf:small: 8 training and 8 test images of 2 classes" in capsys.readouterr().out
    # Packed again it stays as it is.
    main(["pack", "hf:small", "again", "--short-side", "40"])
    assert "16 of them as they were" in capsys.readouterr().out


def test_images_in_memory_are_packed_too(tmp_path):
    recipe = DataRecipe("digits", images_per_class=5, workers=0)
    packed = pack(recipe, tmp_path / "out")
    assert packed.images == {"train": 50, "test": 1497}
    source = open_source(DataRecipe(f"hf:{tmp_path}/out", channels=1))
    assert source.train.labels.bincount().tolist() == [5] * 10
    assert source.train.load(0).shape == (1, 8, 8)


def test_a_folder_is_replaced_only_when_told_and_only_by_a_whole_one(tmp_path):
    photographs(tmp_path / "data")
    recipe = DataRecipe(f"imagefolder:{tmp_path / 'data'}", workers=0)
    out = tmp_path / "out"
    pack(recipe, out, short_side=40)
    with pytest.raises(UserError, match="out is there already; replace it with --overwrite"):
        pack(recipe, out)
    with pytest.raises(UserError, match="data is there already, and not of packed images"):
        pack(recipe, tmp_path / "data", overwrite=True)
    for path in (tmp_path / "data" / "val").rglob("*.jpg"):
        path.write_bytes(b"broken")
    with pytest.raises(UserError, match=r"no test image can be read, the first: .*/val/a/0.jpg"):
        pack(recipe, out, short_side=30, overwrite=True)
    assert open_source(DataRecipe(f"hf:{out}")).test.load(0).shape == (3, 40, 53)
    photographs(tmp_path / "data")
    pack(recipe, out, short_side=30, overwrite=True)
    assert open_source(DataRecipe(f"hf:{out}")).test.load(0).shape == (3, 30, 40)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_packing_that_is_cut_off_leaves_nothing_at_its_place(tmp_path, number):
    name = photographs(tmp_path / "data")
    content = (tmp_path / "data" / "train" / "a" / "0.jpg").read_bytes()
    for copy in range(800):
        (tmp_path / "data" / "train" / "a" / f"copy{copy}.jpg").write_bytes(content)
    code = "import sys; from torchbake.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "pack", name, "out", "--data.workers", "2"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever runs the tests may ignore it, and it would be inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    part = tmp_path / ".out.part"
    deadline = time.monotonic() + 120
    # The first images are written: an interrupt in the midst of a fork would be lost.
    while not any(path.stat().st_size > 100_000 for path in part.glob("*.arrow")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    if number == signal.SIGINT:
        process.send_signal(number)
    else:
        os.killpg(process.pid, number)
    error = process.communicate(timeout=60)[1]
    assert not (tmp_path / "out").exists()
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert error.strip().splitlines()[-1] == "torchbake: stopped"
        assert "Traceback" not in error
        assert not part.exists()
    packed = pack(DataRecipe(name, workers=2), tmp_path / "out", short_side=50)
    assert packed.images == {"train": 808, "test": 8}
    assert not part.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("pack data out --quality 99", "--quality: expected a number from 1 to 95"),
        ("pack data out --short-side 0", "--short-side: expected a number of at least 1"),
        ("pack nowhere out", "data.name: unknown data set 'nowhere'"),
        ("pack imagefolder:nowhere out", "there is no folder nowhere"),
        (
            "pack digits out --shortside 3",
            "unknown option --shortside; did you mean",
        ),
    ],
)
def test_mistakes_are_told_in_a_line(tmp_path, capsys, monkeypatch, arguments, message):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    error = failing(capsys, *arguments.split())
    assert message in error
    assert len(error.splitlines()) == 1
