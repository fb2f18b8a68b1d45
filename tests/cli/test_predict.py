"""`torchbake predict`: its formats, its files, and that it agrees with evaluation."""

import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.commands import failing
from helpers.images import CPU, photographs, scenery
from helpers.training_runs import QUIET, recipe
from PIL import Image

from torchbake.cli.main import main
from torchbake.training.loop import train
from torchbake.training.opened_run import open_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    train(recipe(("training.max_steps", "8")), folder, console=QUIET)
    return folder


@pytest.fixture
def pictures(tmp_path):
    """Five pictures below a folder, one with an odd name, and a file that is none."""
    folder = tmp_path / "pictures"
    (folder / "b").mkdir(parents=True)
    for number, name in enumerate(["z.png", 'b/c,"d".jpg', "b/e\nf.PNG", "a.webp", "b/g.gif"]):
        scenery(12, 10, number).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


def predict(capsys, *arguments, status=0):
    """Standard output and error of the command, and its exit status."""
    if status:
        with pytest.raises(SystemExit) as caught:
            main(["predict", *map(str, arguments)])
        assert caught.value.code == status
    else:
        main(["predict", *map(str, arguments)])
    return capsys.readouterr()


def test_top_1_is_that_of_evaluation_to_the_image(run, tmp_path, capsys):
    opened = open_run(run, console=QUIET)
    test = opened.data.source.test
    for row, pixels in enumerate(test.pixels):
        Image.fromarray(pixels[0].numpy()).save(tmp_path / f"{row:04}.png")
    predict(capsys, run, tmp_path, "--out", tmp_path / "out.csv", "--batch-size", 100)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_bytes().decode())))
    assert [row["path"] for row in rows] == [str(tmp_path / f"{k:04}.png") for k in range(1497)]
    (batch,) = opened.data.test_batches(len(test), CPU)
    with torch.no_grad():
        expected = opened.model(batch.images).logits.softmax(1)
    assert [int(row["label"]) for row in rows] == expected.argmax(1).tolist()
    confidence = torch.tensor([float(row["confidence"]) for row in rows])
    torch.testing.assert_close(confidence, expected.amax(1), atol=1e-5, rtol=0)
    main(["evaluate", str(run)])
    top1 = float(capsys.readouterr().out.split()[1])
    right = [int(r["label"]) == k for r, k in zip(rows, test.labels.tolist(), strict=True)]
    assert 100 * sum(right) / len(right) == pytest.approx(top1, abs=1e-4)


def test_photographs_are_predicted_as_in_evaluation(tmp_path, capsys):
    """Streamed ones that are resized, some of them turned, with a share cropped."""
    own = recipe(
        ("data", photographs(tmp_path / "data", (60, 50))),
        ("data.image_size", "24"),
        ("data.crop", "resized"),
        ("data.workers", "0"),
        ("model", "resnet8"),
        ("training.batch_size", "8"),
        ("training.max_steps", "3"),
        ("method.partners", "1"),
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in (tmp_path / "data" / "val" / "a").glob("*.jpg"):
        Image.open(path).save(path, exif=exif, quality=90)
    train(own, tmp_path / "run", console=QUIET)
    opened = open_run(tmp_path / "run", console=QUIET)
    (batch,) = opened.data.test_batches(16, CPU)
    with torch.no_grad():
        expected = opened.model(batch.images).logits.softmax(1)
    printed = predict(capsys, tmp_path / "run", tmp_path / "data" / "val", "--workers", 2).out
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert [r["path"] for r in rows] == [
        opened.data.source.test.encoded(k).name for k in range(len(batch.labels))
    ]
    assert [r["label"] for r in rows] == ["ab"[k] for k in expected.argmax(1).tolist()]
    confidence = torch.tensor([float(row["confidence"]) for row in rows])
    torch.testing.assert_close(confidence, expected.amax(1), atol=1e-5, rtol=0)


def test_all_formats_say_the_same(run, pictures, tmp_path, capsys):
    printed = predict(capsys, run, pictures, "--top-k", 3)
    assert "predicted 5 of 5 images; confidences are as trained, not calibrated" in printed.err
    rows = list(csv.reader(io.StringIO(printed.out)))
    columns = "path label confidence label_2 confidence_2 label_3 confidence_3"
    assert rows[0] == columns.split()
    names = ["a.webp", "z.png", 'b/c,"d".jpg', "b/e\nf.PNG", "b/g.gif"]
    assert [row[0] for row in rows[1:]] == [str(pictures / name) for name in names]
    assert all(float(row[2]) >= float(row[4]) >= float(row[6]) > 0 for row in rows[1:])
    lines = predict(capsys, run, pictures, "--top-k", 3, "--format", "jsonl").out.splitlines()
    for line, row in zip(map(json.loads, lines), rows[1:], strict=True):
        assert (line["path"], line["label"]) == (row[0], row[1])
        assert [t["label"] for t in line["top"]] == row[1::2]
        assert [t["confidence"] for t in line["top"]] == [float(p) for p in row[2::2]]
    out = tmp_path / "new" / "out.json"
    printed = predict(capsys, run, pictures, "--top-k", 3, "--out", out)
    assert printed.out == ""
    assert f"written to {out}" in printed.err
    whole = json.loads(out.read_text())
    assert whole["predictions"] == [json.loads(line) for line in lines]
    assert (whole["calibrated"], whole["temperature"], whole["unreadable"]) == (False, None, [])
    table = predict(capsys, run, pictures, "--format", "table", "--top-k", 99).out
    assert 'c,"d".jpg' in table
    assert "e\\nf.PNG" in table
    assert f"{100 * float(rows[1][2]):.1f}" in table


def test_names_that_are_not_utf_8_break_no_output(run, tmp_path, capsys):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\x1b[2J.png")
    scenery(12, 10).save(path)
    printed = predict(capsys, run, path)
    (row,) = csv.DictReader(io.StringIO(printed.out))
    assert row["path"] == f"{tmp_path}/caf\\udce9\x1b[2J.png"
    line = predict(capsys, run, path, "--format", "jsonl").out
    line.encode()
    assert json.loads(line)["path"] == path  # JSON leads back to the file
    table = predict(capsys, run, path, "--format", "table").out
    assert "\x1b[2J" not in table
    assert "caf\\udce9\\x1b[2J.png" in table


def test_files_that_cannot_be_read_are_told_and_the_others_go_on(run, pictures, tmp_path, capsys):
    broken = pictures / "b" / "broken.jpg"
    broken.write_bytes((pictures / "b" / 'c,"d".jpg').read_bytes()[:300])
    deep = tmp_path / "deep.png"
    Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(deep)
    out = tmp_path / "out.json"
    given = (pictures, deep, tmp_path / "nowhere.png", pictures / "notes.txt", "--out", out)
    printed = predict(capsys, run, *given, status=1)
    told = printed.err.splitlines()
    assert len(told) == 5
    assert told[0].startswith(f"torchbake: {broken}: cannot be read as an image: ")
    assert told[1] == f"torchbake: {deep}: has more than 8 bits a channel (I;16); expected 8"
    assert told[2].endswith("nowhere.png: cannot be read: No such file or directory")
    assert told[3].startswith(f"torchbake: {pictures}/notes.txt: cannot be read as an image: ")
    assert "predicted 5 of 9 images; 4 could not be read; written to" in told[4]
    whole = json.loads(out.read_text())
    assert len(whole["predictions"]) == 5
    assert [row["path"] for row in whole["unreadable"]][1:3] == [str(deep), str(given[2])]
    assert all(row["error"] for row in whole["unreadable"])


def test_what_stands_for_files(run, pictures, capsys, monkeypatch):
    def paths(*arguments, listed=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed)))
        printed = predict(capsys, run, *arguments).out
        return [row["path"] for row in csv.DictReader(io.StringIO(printed))]

    monkeypatch.chdir(pictures)
    assert paths("z.png", "a.webp", "z.png") == ["z.png", "a.webp"]
    assert paths("./*.png", "a.webp") == ["./z.png", "a.webp"]
    assert paths("**/*.PNG") == ["b/e\nf.PNG"]
    assert paths("?") == ["b/" + name for name in ('c,"d".jpg', "e\nf.PNG", "g.gif")]
    assert paths("-", "z.png", listed=b"a.webp\nb/g.gif\n") == ["a.webp", "b/g.gif", "z.png"]
    assert paths("-", listed=b"b/e\nf.PNG\0a.webp\0") == ["b/e\nf.PNG", "a.webp"]
    (pictures / "[x].png").write_bytes((pictures / "z.png").read_bytes())
    assert paths("[x].png") == ["[x].png"]
    (pictures / "b" / "loop").symlink_to(pictures)
    assert len(paths(".")) == 6


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{tmp}/none", "{pictures}"], "there is no such run folder or file"),
        (["{run}", "{tmp}/*.png"], "*.png: no file matches"),
        (["{run}", "{tmp}"], "no images in this folder (.jpg, .jpeg, "),
        (["{run}", "-"], "-: no file is listed on standard input"),
        (["{run}", "{pictures}", "--ema"], "there is no model_ema.safetensors"),
        (["{run}", "{pictures}", "--out", "{tmp}/a.xls"], "names no format: use .csv, .jsonl or"),
        (["{run}", "{pictures}", "--out", "{tmp}"], "is a folder; expected a file's name"),
        (["{run}", "{pictures}", "--top-k", "0"], "--top-k: expected a number of at least 1"),
        (["{run}", "{pictures}", "--batch-size", "0"], "--batch-size: expected a number of at"),
        (["{run}", "{pictures}", "--workers", "-1"], "--workers: expected a number of at least 0"),
        (["{run}", "{pictures}", "--device", "gpu"], "'gpu' is not available here"),
    ],
)
def test_mistakes_end_in_one_line(run, pictures, tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    empty = tmp_path / "empty"
    empty.mkdir()
    given = [word.format(run=run, tmp=empty, pictures=pictures) for word in arguments]
    line = failing(capsys, "predict", *given)
    assert told in line
    assert len(line.splitlines()) == 1
    assert list(empty.iterdir()) == []


def test_as_a_process_with_pipes(run, pictures):
    """The list from a pipe, bytes to a pipe; a file that is unreadable is told by the status."""
    listed = b"\0".join([os.fsencode(pictures / "z.png"), b"nowhere.png"])
    command = [sys.executable, "-m", "torchbake", "predict", str(run), "-", "--top-k", "1"]
    done = subprocess.run(
        command, input=listed, capture_output=True, env={**os.environ, "LC_ALL": "C"}, timeout=300
    )
    assert done.returncode == 1
    assert len(done.stdout.decode().splitlines()) == 2
    assert b"nowhere.png: cannot be read" in done.stderr
    assert b"Traceback" not in done.stderr
