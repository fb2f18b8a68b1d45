"""Run files that are cut, changed or something else: a line of what is wrong, or what is whole."""

import json
import re

import pytest
from benchmarks.measure.torture_config import READERS, draw_run_files, make_run
from benchmarks.measure.trials import try_to
from helpers.commands import failing
from helpers.training_runs import QUIET, recipe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchbake.cli.main import main
from torchbake.errors import UserError
from torchbake.training.loop import train
from torchbake.training.run_folder import RunFolder

DAMAGES = {
    "emptied": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "not UTF-8": lambda content: b"\xff" + content,
    "null": lambda content: b"null\n",
    "a list": lambda content: b"[1, 2]\n",
    "another mapping": lambda content: b'{"a": 1}\n',
    "deep": lambda content: b"[" * 100_000 + b"\n",
    "half a character": lambda content: b'{"commit": null, "started": "\\ud800"}\n',
}
READ_BY = {
    "recipe.yaml": ("report", "compare", "evaluate", "inspect", "audit"),
    "environment.json": ("report", "compare", "audit"),
    "metrics.jsonl": ("report", "compare"),
    "result.json": ("report", "compare"),
    "model.safetensors": ("evaluate", "inspect", "audit"),
}
# A last line without its end is what a crash leaves; without records there is less to show.
HARMLESS = {("metrics.jsonl", damage) for damage in ("emptied", "cut", "zeros")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(recipe(("training.epochs", "2"), ("training.log_every", "1")), folder, console=QUIET)
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", READ_BY)
def test_every_command_names_the_file(finished, tmp_path, monkeypatch, capsys, name, damage):
    monkeypatch.chdir(tmp_path)
    path = finished / name
    whole = path.read_bytes()
    commands = READ_BY[name]
    if name == "environment.json":  # an audit reads it last
        commands = commands[: 3 if damage == "cut" else 2]
    path.write_bytes(DAMAGES[damage](whole))
    try:
        for command in commands:
            if (name, damage) in HARMLESS:
                main([command, str(finished)])
                continue
            message = failing(capsys, command, str(finished))
            assert message.startswith("torchbake: error: ")
            assert message.count("\n") == 0
            assert name in message
            assert len(message) < 500
    finally:
        path.write_bytes(whole)


@given(st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_fuzzed_run_files_are_read_or_explained(tmp_path_factory, source):
    folder = tmp_path_factory.getbasetemp() / "fuzzed-run"
    run = RunFolder(folder) if folder.is_dir() else make_run(folder)
    (attempt,) = draw_run_files(source, 1, run)
    try_to(attempt)


def test_what_a_run_writes_is_what_is_read(finished):
    run = RunFolder(finished)
    for name, read in READERS.items():
        assert read(run), name
    assert run.read_result() == json.loads(run.result.read_text())
    lines = run.metrics.read_text().splitlines()
    assert run.read_metrics() == [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("result.json", "images", 0, r"images: input should be greater than 0, got 0"),
        ("result.json", "seconds", "fast", "seconds: input should be a valid number, got 'fast'"),
        ("result.json", "seconds", 1e300, "seconds: input should be less than or equal to 1000"),
        ("result.json", "forwards", True, "forwards: input should be a valid integer, got True"),
        ("result.json", "last", {"top1": 3.0}, r"last\.nll: field required"),
        ("result.json", "last", None, "last: input should be a valid dictionary"),
        ("environment.json", "started", None, "started: input should be a valid string"),
    ],
)
def test_values_of_another_kind_are_named(tmp_path, name, key, value, message):
    run = make_run(tmp_path / "run")
    content = json.loads((run.path / name).read_text())
    (run.path / name).write_text(json.dumps({**content, key: value}))
    with pytest.raises(UserError, match=f"^{re.escape(str(run.path / name))}: damaged: {message}"):
        READERS[name](run)


def test_a_crash_may_cut_the_last_line_and_no_other(tmp_path):
    run = make_run(tmp_path / "run")
    first, second = run.metrics.read_text().splitlines(keepends=True)
    for cut in (second[:9], second[:-1], "\x00" * 50):
        run.metrics.write_text(first + cut)
        assert len(run.read_metrics()) == (2 if cut == second[:-1] else 1)
    for damaged in ("\n", "{}\n", second[:9] + "\n", second.replace("0.31", "NaN")):
        run.metrics.write_text(first + damaged + second)
        with pytest.raises(UserError, match=r"metrics\.jsonl: damaged: line 2: "):
            run.read_metrics()


def test_a_recipe_that_was_cut_has_no_defaults_for_the_rest(tmp_path):
    run = make_run(tmp_path / "run")
    whole = run.recipe.read_text()
    recipe = run.read_recipe()
    for length in range(0, len(whole), 7):
        run.recipe.write_text(whole[:length])
        found = try_to(run.read_recipe)
        assert isinstance(found, UserError) or found == recipe
