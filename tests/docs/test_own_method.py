"""The page on writing one's own method and data source, by its own files and commands."""

import csv
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers.images import picture
from helpers.processes import run
from helpers.training_runs import same, saved, weights

from torchbake.cli.main import main
from torchbake.data import DataRecipe, open_source

PAGE = (Path(__file__).parents[2] / "docs" / "own-method.md").read_text()
COMMANDS = [
    line for block in re.findall("```bash\n(.*?)```", PAGE, re.S) for line in block.split("\n")
]


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """A folder of the user's, with the page's files; what this process imports is forgotten."""
    files = re.findall('```\\w+ title="(.*?)"\n(.*?)```', PAGE, re.S)
    for name, content in files:
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in [Path(name).stem for name, _ in files]:
        if name not in before:
            sys.modules.pop(name, None)


def command(start):
    """The page's first command that begins so, as the words that start it here."""
    line = next(line for line in COMMANDS if line.startswith(start))
    launcher, *words = shlex.split(line)
    # The installed script, which unlike `python -m` does not put the working directory on the path.
    return [str(Path(sys.executable).with_name(launcher)), *words]


def test_trains_resumes_and_compares(scratch):
    began = subprocess.Popen(
        command("torchbake train mine.yaml"), stderr=subprocess.PIPE, text=True
    )
    metrics, deadline = scratch / "runs" / "mine" / "metrics.jsonl", time.monotonic() + 200
    while not (metrics.is_file() and metrics.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    began.terminate()
    _, message = began.communicate(timeout=100)
    assert began.returncode == 130, message
    assert not (scratch / "runs" / "mine" / "result.json").exists()

    assert "from step" in run(command("torchbake train mine.yaml --resume"), scratch)
    told = run(command("torchbake compare"), scratch)
    assert "| mymethod:ClassMeans, strength=2.0 |" in told
    assert "| cross-entropy |" in told
    compared = scratch / "runs" / "compare-mine"
    folders = sorted(path.name for path in compared.iterdir() if path.is_dir())
    assert folders == ["cross-entropy-seed0", "mymethod,ClassMeans,strength=2-seed0"]
    # Cut off and resumed, it ends where the comparison's uninterrupted run does.
    assert same(weights(scratch / "runs" / "mine"), weights(compared / folders[1]))


def test_trains_on_two_ranks(scratch):
    run([*command("torchrun"), "--training.max_steps", "4"], scratch)
    means = saved(scratch / "runs" / "two-ranks")["method"]["means"]
    torch.testing.assert_close(means.sum(dim=1), torch.ones(10))
    assert not torch.equal(means, torch.full((10, 10), 0.1))


def test_evaluates_and_reports_in_one_process(scratch, capsys):
    first = command("torchbake train digits/bake")[1:]
    main([*first, "--training.max_steps", "5"])
    capsys.readouterr()
    for data in ([], ["--data", "mydata:my_digits"]):
        main(["evaluate", "runs/first", *data])
        assert re.search(r"top1 \d+\.\d+", capsys.readouterr().out)
    for words in (["report", "runs/first"], ["inspect", "runs/first"], ["audit", "runs/first"]):
        main(words)
    assert "mymethod:ClassMeans" in (scratch / "runs" / "first" / "report.html").read_text()


def test_opens_photos_of_a_table(scratch):
    rows = [("a.png", "dog", "train"), ("b.png", "cat", "train"), ("c.png", "dog", "test")]
    for number, (name, _, _) in enumerate(rows):
        picture(number).save(scratch / name)
    with (scratch / "photos.csv").open("w") as table:
        csv.writer(table).writerows([("file", "label", "split"), *rows])
    source = open_source(DataRecipe(name="myfiles:my_photos", folder="."))
    assert source.classes == ["cat", "dog"]
    assert source.train.labels.tolist() == [1, 0]
    assert source.test.labels.tolist() == [1]
    assert source.train.name_of(1) == "b.png"
    assert source.train.load(1)[:, 0, 0].tolist() == [20, 235, 7]
