"""A comparison's runs on several GPUs."""

import io
from pathlib import Path

import pytest
import torch
from helpers.card_report import note_card
from rich.console import Console

from torchbake.analysis.compare.cards import Cards, list_visible_cards
from torchbake.analysis.compare.plan import plan_runs
from torchbake.analysis.compare.run import run_missing
from torchbake.recipe import Recipe, TrainingRecipe


def recipe_on(device):
    return Recipe(training=TrainingRecipe(device=device))


def test_each_run_gets_the_gpu_with_the_fewest():
    cards = Cards(["0", "1", "2"])
    taken = [cards.take(recipe_on(device)) for device in ("auto", "cuda", "auto", "auto")]
    assert taken == ["0", "1", "2", "0"]
    cards.give_back("1")
    assert [cards.take(recipe_on("auto")) for _ in range(2)] == ["1", "1"]


def test_a_device_that_the_recipe_names_is_left_as_it_is():
    for device in ("cuda:1", "cpu", "mps"):
        assert Cards(["0", "1"]).take(recipe_on(device)) is None
    for names in ([], ["0"]):
        assert Cards(names).take(recipe_on("auto")) is None


@pytest.mark.parametrize(
    ("given", "count", "expected"),
    [
        (None, 0, []),
        (None, 2, ["0", "1"]),
        ("3, 5,7", 3, ["3", "5", "7"]),
        ("GPU-1a,GPU-2b,-1,4", 2, ["GPU-1a", "GPU-2b"]),  # what follows -1 does not count
        ("", 0, []),
    ],
)
def test_gpus_are_named_as_the_environment_names_them(monkeypatch, given, count, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert list_visible_cards() == expected


def test_runs_side_by_side_see_a_gpu_each(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    short = [("training.max_steps", "1")]
    runs = plan_runs("digits/bake", short, ["cross-entropy"], 2, None, tmp_path)
    text = io.StringIO()
    assert run_missing(runs, tmp_path, 2, Console(file=text, width=200), note_card) == []
    seen = {Path(run.folder.path, "card.txt").read_text() for run in runs}
    told = {card for card in ("4", "6") if f" on GPU {card}: top-1" in text.getvalue()}
    assert seen == told == {"4", "6"}
