"""`torchbake audit`: labels that the others contradict."""

import csv
import json
import re
import sys
from dataclasses import replace

import pytest
import torch
from helpers.audits import FILES, ODD, odd_audit
from helpers.images import quiet_progress
from helpers.processes import run
from helpers.training_runs import QUIET

from torchbake import bake_targets
from torchbake.analysis.audit import score
from torchbake.analysis.audit.page import make_page
from torchbake.analysis.audit.rank import COLUMNS, audit_run, make_corrections, write_audit
from torchbake.analysis.audit.score import find_nearest, measure_ranking, score_labels
from torchbake.cli.main import main
from torchbake.data.loading.open_data import open_data
from torchbake.data.sources.labels import Correction, read_labels
from torchbake.errors import UserError
from torchbake.randomness import make_generator
from torchbake.recipe import DataRecipe
from torchbake.training.loop import train
from torchbake.training.opened_run import open_run
from torchbake.training.recipe_files import load_recipe


def outputs(n=12, c=3, d=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, c, generator=generator, dtype=torch.float64)
    features = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return logits, features, torch.randint(c, (n,), generator=generator)


def literal(logits, features, labels, batches, temperature, affinity_temperature):
    """What the other images of each batch say of each image, one by one, averaged."""
    n, c = logits.shape
    says = torch.zeros(n, c, dtype=torch.float64)
    for batch in batches:
        for i in batch:
            others = [j for j in batch if j != i]
            cosines = [torch.cosine_similarity(features[i], features[j], dim=0) for j in others]
            weights = (torch.stack(cosines) / affinity_temperature).softmax(dim=0)
            for weight, j in zip(weights, others, strict=True):
                says[i] += weight * (logits[j] / temperature).softmax(dim=0)
    return says


def test_the_score_is_as_it_is_written():
    logits, features, labels = outputs()
    found = score_labels(
        logits, features, labels, temperature=2.0, affinity_temperature=0.3, batch_size=5, rounds=2
    )
    says = torch.zeros(12, 3, dtype=torch.float64)
    for number in range(2):
        order = torch.randperm(12, generator=make_generator("suspicion", 0, number)).tolist()
        batches = [order[:4], order[4:8], order[8:]]  # of one size, none above 5
        says += literal(logits, features, labels, batches, 2.0, 0.3) / 2
    for i, label in enumerate(labels.tolist()):
        assert float(found.given[i]) == pytest.approx(float(says[i, label]))
        assert float(found.score[i]) == pytest.approx(1 - float(says[i, label]))
        rest = {c: float(says[i, c]) for c in range(3) if c != label}
        best = max(rest, key=rest.get)
        assert int(found.suggested[i]) == best
        assert float(found.probability[i]) == pytest.approx(rest[best])


def test_it_is_the_first_order_of_the_targets_part_of_the_others():
    logits, features, labels = outputs(50)
    omega = 1e-4
    targets = bake_targets(
        logits, features, temperature=1.0, omega=omega, affinity_temperature=0.05
    )
    of_others = (targets - (1 - omega) * logits.softmax(dim=1)) / omega
    found = score_labels(logits, features, labels)
    own = of_others.gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(found.given, own, atol=1e-3, rtol=0)


def test_one_batch_needs_one_round_and_seeds_count_in_several():
    logits, features, labels = outputs(40)
    one = score_labels(logits, features, labels, rounds=1)
    assert score_labels(logits, features, labels, rounds=7, seed=3).score.equal(one.score)
    many = score_labels(logits, features, labels, batch_size=8, rounds=2)
    assert score_labels(logits, features, labels, batch_size=8, rounds=2).score.equal(many.score)
    other = score_labels(logits, features, labels, batch_size=8, rounds=2, seed=1)
    assert not other.score.equal(many.score)


def test_settings_out_of_range_are_refused():
    for settings in ({"batch_size": 1}, {"rounds": 0}, {"temperature": 0.0}):
        with pytest.raises(ValueError, match=r"must be|need"):
            score_labels(*outputs(), **settings)


@pytest.mark.parametrize("at_once", [7, 100])
def test_nearest_are_those_with_the_highest_cosines(monkeypatch, at_once):
    monkeypatch.setattr(score, "AT_ONCE", at_once)
    _, features, _ = outputs(30)
    rows = torch.tensor([3, 0, 29])
    found = find_nearest(features.float(), rows, 4)
    for row, near in zip(rows.tolist(), found.tolist(), strict=True):
        cosines = torch.cosine_similarity(features[row][None], features, dim=1)
        cosines[row] = -2
        assert near == cosines.argsort(descending=True)[:4].tolist()
    assert find_nearest(features[:3].float(), torch.tensor([1]), 4).shape == (1, 2)


def test_quality_of_a_ranking():
    from sklearn.metrics import roc_auc_score

    score = torch.tensor([0.9, 0.8, 0.8, 0.3, 0.1, 0.2])
    wrong = torch.tensor([True, False, True, False, True, False])
    quality = measure_ranking(score, wrong, (1, 100))
    assert quality["auroc"] == pytest.approx(roc_auc_score(wrong, score))
    assert quality["precision@1"] == 1
    assert quality["precision@3"] == pytest.approx(2 / 3)
    assert "precision@100" not in quality


@pytest.fixture(scope="module")
def noisy_run(tmp_path_factory):
    """The digits with a fifth of their labels flipped, trained for 30 epochs."""
    folder = tmp_path_factory.mktemp("runs") / "noisy"
    settings = [("training.epochs", "30"), ("training.eval_every", "30")]
    noisy = load_recipe("digits/bake", [*settings, ("data.label_noise", "0.2")])
    train(noisy, folder, console=QUIET)
    return folder


def wrong_in(settings):
    split = open_data(settings, quiet_progress).source.train
    return int((split.labels != split.clean_labels).sum())


def test_flipped_digits_are_found_and_set_right(noisy_run, tmp_path, capsys, monkeypatch):
    main(["audit", str(noisy_run), "--out", str(tmp_path / "first"), "--correct", "40"])
    printed = capsys.readouterr().out
    auroc = float(re.search(r"auroc ([\d.]+)", printed)[1])
    assert auroc > 0.9
    assert float(re.search(r"precision at 60 ([\d.]+)", printed)[1]) > 0.7
    assert printed.count("│") == 7 * 10
    counts = re.search(r"wrong labels: (\d+), with labels.csv (\d+)", printed)
    before, after = int(counts[1]), int(counts[2])
    assert before == 60
    assert after < 35

    # The table holds all images once, the same in CSV and JSON.
    with (tmp_path / "first" / "audit.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert sorted(int(row["index"]) for row in rows) == list(range(300))
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    whole = json.loads((tmp_path / "first" / "audit.json").read_text(encoding="utf-8"))
    assert [[str(value) for value in row] for row in whole["rows"][:3]] == [
        list(row.values()) for row in rows[:3]
    ]
    assert whole["quality"]["auroc"] == pytest.approx(auroc, abs=5e-4)
    assert whole["settings"]["affinity_temperature"] == 0.05
    assert {"run", "run_commit", "environment"} <= whole.keys()

    # Again: the very same. Not over what is there, unless asked to.
    with pytest.raises(SystemExit):
        main(["audit", str(noisy_run), "--out", str(tmp_path / "first")])
    assert "audit.csv exists: replace it with --overwrite" in capsys.readouterr().err
    table = (tmp_path / "first" / "audit.csv").read_bytes()
    main(["audit", str(noisy_run), "--out", str(tmp_path / "first"), "--overwrite"])
    assert (tmp_path / "first" / "audit.csv").read_bytes() == table
    assert (tmp_path / "first" / "labels.csv").is_file()

    # Trained with the corrections; what a second audit drops is added to them.
    path = str(tmp_path / "first" / "labels.csv")
    data = DataRecipe(label_noise=0.2, labels=path)
    assert wrong_in(data) == after
    short = ["--training.epochs", "10", "--training.eval_every", "10", "--data.label_noise", "0.2"]
    monkeypatch.chdir(tmp_path)
    main(["train", "digits/bake", *short, "--data.labels", path, "--out", "second"])
    main(["audit", "second", "--drop", "20"])
    both = read_labels(tmp_path / "second" / "audit" / "labels.csv")
    first = {row.index: row for row in read_labels(tmp_path / "first" / "labels.csv")}
    assert 40 < len(both) <= 60
    assert sum(row.label == "" for row in both) == 20
    assert all(row == first[row.index] for row in both if row.label)
    third = open_data(replace(data, labels="second/audit/labels.csv"), quiet_progress).source.train
    assert len(third) == 280
    # Numbers in a third audit are those of the data, before anything was dropped.
    more = ["--data.labels", "second/audit/labels.csv", "--out", "third"]
    main(["train", "digits/bake", *short, *more])
    main(["audit", "third", "--correct", "10"])
    numbers = [row.index for row in read_labels(tmp_path / "third" / "audit" / "labels.csv")]
    assert set(numbers) >= {row.index for row in both}
    with (tmp_path / "third" / "audit" / "audit.csv").open(encoding="utf-8") as file:
        listed = {int(row["index"]) for row in csv.DictReader(file)}
    assert listed == set(range(300)) - {row.index for row in both if not row.label}
    open_data(replace(data, labels="third/audit/labels.csv"), quiet_progress)


def test_names_are_text_wherever_they_stand(tmp_path):
    audit = odd_audit(tmp_path)
    page = make_page(audit, 20)
    assert "<script>alert" not in page
    assert "<img" not in page
    assert page.count("</script>") == 2
    assert page.count("<article") == 20
    # One option a card, whatever the number of classes.
    assert page.count("<option") == 20
    assert "://" not in page
    corrections = make_corrections(audit, 5, drop=False)
    written = write_audit(tmp_path / "out", audit, page, corrections)
    names = ["audit.csv", "audit.json", "audit.html", "labels.csv"]
    assert written == [tmp_path / "out" / name for name in names]
    assert read_labels(tmp_path / "out" / "labels.csv") == corrections
    assert {correction.file for correction in corrections} >= set(FILES)
    with (tmp_path / "out" / "audit.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows[:3]] == FILES
    text = (tmp_path / "out" / "audit.json").read_text(encoding="utf-8")
    assert json.loads(text)["quality"] is None
    assert "NaN" not in text


def test_a_class_is_not_emptied(tmp_path):
    audit = odd_audit(tmp_path, n=8)
    with pytest.raises(UserError, match="--drop: 8 would leave no training image of class"):
        make_corrections(audit, 8, drop=True)


def test_what_was_corrected_before_is_kept(tmp_path):
    audit = odd_audit(tmp_path)
    path = tmp_path / "before.csv"
    path.write_text('index,file,given,label\n0,," ä  b",<script>alert(1)</script>\n9,,"&amp;",\n')
    data = audit.opened.data
    data = replace(data, recipe=replace(data.recipe, labels=str(path)))
    kept = torch.tensor([i for i in range(31) if i != 9])
    train_split = replace(data.source.train, numbers=kept)
    data = replace(data, source=replace(data.source, train=train_split))
    audit = audit._replace(opened=audit.opened._replace(data=data))
    found = {row.index: row for row in make_corrections(audit, 1, drop=False)}
    assert found[9] == Correction(9, "", "&amp;", "")
    assert found[0].given == " ä  b"  # as the data say, not as it was trained with
    assert found[0].label not in ("", ODD[0])
    assert audit.number(9) == 10


def test_outputs_that_are_no_numbers_are_one_clear_line(noisy_run):
    opened = open_run(noisy_run, console=QUIET)
    with torch.no_grad():
        next(opened.model.parameters()).fill_(float("nan"))
    with pytest.raises(UserError, match="outputs are not finite numbers"):
        audit_run(opened, ema=False, rounds=1, seed=0, console=QUIET)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is not a run folder"),
        (["RUN", "--top", "0"], "--top: expected a number from 1 on"),
        (["RUN", "--rounds", "0"], "--rounds: expected a number from 1 on"),
        (["RUN", "--correct", "301"], "--correct: expected a number from 1 to the 300 training"),
        (["RUN", "--drop", "0"], "--drop: expected a number from 1 to the 300 training images"),
        (["RUN", "--drop", "1", "--correct", "1"], "--correct and --drop exclude each other"),
        (["RUN", "--ema"], "there is no model_ema.safetensors"),
        (["RUN", "--drop", "300"], "--drop: 300 would leave no training image of class '0'"),
    ],
)
def test_a_mistake_is_one_clear_line(noisy_run, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    given = [str(noisy_run) if word == "RUN" else word for word in arguments]
    with pytest.raises(SystemExit) as caught:
        main(["audit", *given, "--out", "out"])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


def test_where_nothing_can_be_written_is_told_before_the_images_are_looked_at(
    noisy_run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("torchbake.training.opened_run.open_run", None)
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit):
        main(["audit", str(noisy_run), "--out", str(tmp_path / "file")])
    assert "file is a file; expected a folder" in capsys.readouterr().err


def test_as_a_command_of_its_own(noisy_run, tmp_path):
    command = [sys.executable, "-m", "torchbake", "audit", str(noisy_run), "--out", "out"]
    printed = run([*command, "--top", "3"], tmp_path)
    assert "written to out/audit.csv, out/audit.json, out/audit.html" in printed
    page = (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    assert page.count("<article") == 3
