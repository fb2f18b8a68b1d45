"""`torchbake evaluate`: by class, by image, on other data, and on test images alone."""

import csv
import io
import json
import math
import shutil

import pytest
import torch
from helpers.commands import failing
from helpers.images import scenery
from helpers.training_runs import QUIET, recipe
from sklearn.metrics import balanced_accuracy_score, classification_report, log_loss

from torchbake.analysis.classes import count_confusion_matrix, measure_classes, measure_images
from torchbake.cli.main import main
from torchbake.data.sources.test_only import open_test
from torchbake.recipe import DataRecipe
from torchbake.training.loop import train
from torchbake.training.opened_run import evaluate_run

NAMES = ["ant", "bee", "cat"]


def make_folder(root, splits=("train", "test"), names=NAMES, size=(12, 12)):
    for split in splits:
        for name in names:
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(5):
                picture = scenery(*size, 10 * NAMES.index(name) + index)
                picture.save(folder / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on three classes of pictures, and their folder."""
    root = tmp_path_factory.mktemp("evaluate")
    own = recipe(
        ("data", f"imagefolder:{make_folder(root / 'data')}"),
        ("data.workers", "0"),
        ("data.image_size", "12"),
        ("data.crop_pct", "0.8"),
        ("model", "resnet8"),
        ("training.batch_size", "6"),
        ("training.epochs", "3"),
        ("method.partners", "1"),
    )
    final = train(own, root / "run", console=QUIET)
    return root / "run", root / "data", final


def evaluate(capsys, *arguments):
    main(["evaluate", *map(str, arguments)])
    return capsys.readouterr().out


def read_figures(printed):
    rows = [line.split() for line in printed.splitlines() if len(line.split()) == 2]
    return {name: float(value) for name, value in rows}


def test_a_class_may_be_called_as_a_split_is(trained, tmp_path):
    """CIFAR-100 has a class of trains; all pictures of such a folder are measured."""
    names = ["ant", "bee", "train"]
    for split in ("train", "test"):
        shutil.copytree(trained[1] / split, tmp_path / "data" / split)
        (tmp_path / "data" / split / "cat").rename(tmp_path / "data" / split / "train")
    split = open_test(DataRecipe(f"imagefolder:{tmp_path}/data/test"), names)
    assert len(split) == 3 * 5


def test_held_out_images_alone_are_evaluated(capsys, trained, tmp_path):
    """Of class folders without splits, those that the run was not trained on."""
    own = recipe(
        ("data", f"imagefolder:{trained[1] / 'train'}"),
        ("data.workers", "0"),
        ("data.image_size", "12"),
        ("data.test_share", "0.4"),
        ("model", "resnet8"),
        ("training.batch_size", "6"),
        ("training.epochs", "2"),
        ("method.partners", "1"),
    )
    final = train(own, tmp_path / "run", console=QUIET)
    figures = evaluate(capsys, tmp_path / "run", "--per-image", tmp_path / "images.csv")
    assert len((tmp_path / "images.csv").read_text().splitlines()) == 1 + 3 * 2
    assert math.isclose(read_figures(figures)["top1"], final["top1"], abs_tol=1e-3)


def test_figures_by_class_are_those_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (200,), generator=generator)
    predicted = torch.where(torch.rand(200, generator=generator) < 0.6, labels, 1)
    found = measure_classes(predicted, labels, [*NAMES, "dog"])  # no image is of a dog
    expected = classification_report(
        labels, predicted, target_names=NAMES, output_dict=True, labels=[0, 1, 2]
    )
    assert [row.label for row in found] == NAMES
    for row in found:
        own = expected[row.label]
        shares = (own["precision"], own["recall"], own["f1-score"])
        assert (row.precision, row.recall, row.f1) == pytest.approx([100 * s for s in shares])
        assert row.support == own["support"]
    # A class that is never predicted has no precision.
    assert measure_classes(torch.zeros_like(labels), labels, NAMES)[1][1:4] == (None, 0, 0)
    matrix = count_confusion_matrix(predicted, labels, 4)
    assert int(matrix.sum()) == 200
    assert int(matrix[2, 1]) == int(((labels == 2) & (predicted == 1)).sum())


def test_by_class_and_by_image(trained, tmp_path, capsys):
    run, data, final = trained
    out = tmp_path / "new" / "images.csv"
    printed = evaluate(capsys, run, "--per-class", "--per-image", out)
    figures = read_figures(printed)
    assert figures["top1"] == pytest.approx(final["top1"], abs=1e-3)
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row["path"] for row in rows] == [f"test/{n}/{k}.png" for n in NAMES for k in range(5)]
    assert [row["label"] for row in rows] == [name for name in NAMES for _ in range(5)]
    right = [row["label"] == row["prediction"] for row in rows]
    assert 100 * sum(right) / 15 == pytest.approx(figures["top1"], abs=1e-3)
    losses = [float(row["loss"]) for row in rows]
    assert sum(losses) / 15 == pytest.approx(figures["nll"], abs=1e-3)
    for row, hit in zip(rows, right, strict=True):
        if hit:
            assert float(row["loss"]) == pytest.approx(
                -math.log(float(row["confidence"])), abs=1e-3
            )
    truth, guess = [row["label"] for row in rows], [row["prediction"] for row in rows]
    balanced = 100 * balanced_accuracy_score(truth, guess)
    assert figures["balanced_accuracy"] == pytest.approx(balanced, abs=1e-3)
    for name in NAMES:
        assert any(name in line and " 5 " in line for line in printed.splitlines())
    # predict agrees to the image.
    capsys.readouterr()
    main(["predict", str(run), str(data / "test"), "--top-k", "1"])
    predicted = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["label"] for row in predicted] == guess
    for one, other in zip(predicted, rows, strict=True):
        assert float(one["confidence"]) == pytest.approx(float(other["confidence"]), abs=1e-5)


def test_as_json(trained, capsys):
    found = json.loads(evaluate(capsys, trained[0], "--per-class", "--format", "json"))
    assert found["top1"] == pytest.approx(trained[2]["top1"])
    assert [row["label"] for row in found["classes"]] == NAMES
    assert found["macro_f1"] == pytest.approx(sum(row["f1"] for row in found["classes"]) / 3)
    assert "classes" not in json.loads(evaluate(capsys, trained[0], "--format", "json"))


def test_a_temperature_scales_confidence_and_loss():
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    labels = logits.argmax(1).roll(1)
    found = measure_images(logits, labels, 0.5)
    expected = (logits / 0.5).double().softmax(1)
    assert torch.equal(found.predicted, logits.argmax(1))
    torch.testing.assert_close(found.confidence.double(), expected.amax(1))
    mean = log_loss(labels, expected.numpy(), labels=range(4))
    assert float(found.loss.mean()) == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("form", ["no train", "class folders", "subset", "parquet", "odd order"])
def test_other_data_with_the_same_class_names(trained, tmp_path, capsys, form):
    run, data, final = trained
    expected = [row["prediction"] for row in per_image(capsys, run, tmp_path)]
    own = tmp_path / "own"
    if form == "no train":
        shutil.copytree(data / "test", own / "val")
        name = f"imagefolder:{own}"
    elif form == "class folders":
        shutil.copytree(data / "test", own)
        name = f"imagefolder:{own}"
    elif form == "subset":
        shutil.copytree(data / "test", own / "test")
        shutil.rmtree(own / "test" / "ant")
        name, expected = f"imagefolder:{own}", expected[5:]
    else:
        from datasets import ClassLabel, Dataset, Features, Image

        order = ["cat", "unknown", "ant", "bee"] if form == "odd order" else sorted(NAMES)
        features = Features({"image": Image(), "label": ClassLabel(names=order)})
        records = [
            {
                "image": {"bytes": (data / "test" / n / f"{k}.png").read_bytes()},
                "label": order.index(n),
            }
            for n in NAMES
            for k in range(5)
        ]
        own.mkdir()
        Dataset.from_list(records, features=features).to_parquet(own / "test.parquet")
        name = f"parquet:{own}"
    rows = per_image(capsys, run, tmp_path, "--data", name)
    assert [row["prediction"] for row in rows] == expected
    if form != "subset":
        figures = evaluate_run(run, data_name=name, console=QUIET)
        assert figures["top1"] == pytest.approx(final["top1"], abs=1e-4)


def per_image(capsys, run, tmp_path, *arguments):
    evaluate(capsys, run, "--per-image", tmp_path / "images.csv", *arguments)
    return list(csv.DictReader(io.StringIO((tmp_path / "images.csv").read_text())))


def test_training_images_need_not_be_there(trained, tmp_path, capsys):
    run, data, final = trained
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(data / "test", tmp_path / "data" / "test")
    text = (run / "recipe.yaml").read_text()
    (tmp_path / "run" / "recipe.yaml").write_text(text.replace(str(data), f"{tmp_path}/data"))
    figures = read_figures(evaluate(capsys, tmp_path / "run"))
    assert figures["top1"] == pytest.approx(final["top1"], abs=1e-3)
    assert figures["nll"] == pytest.approx(final["nll"], abs=1e-3)


@pytest.mark.parametrize("validation", ["true", "0.2"])
def test_nor_need_validation_images(tmp_path, capsys, validation):
    data = make_folder(tmp_path / "data", ["train", "val", "test"])
    own = recipe(
        ("data", f"imagefolder:{data}"),
        ("data.validation", validation),
        ("data.interpolation", "bicubic"),
        ("data.image_size", "10"),
        ("data.workers", "0"),
        ("model", "resnet8"),
        ("training.batch_size", "6"),
        ("training.max_steps", "2"),
        ("method.partners", "1"),
    )
    final = train(own, tmp_path / "run", console=QUIET)
    shutil.rmtree(data / "train")
    shutil.rmtree(data / "val")
    figures = read_figures(evaluate(capsys, tmp_path / "run"))
    for name in ("top1", "nll", "nll_scaled", "temperature"):
        assert figures[name] == pytest.approx(final[name], abs=1e-3)
    # The confidence of predict is scaled by the temperature that evaluate used.
    rows = per_image(capsys, tmp_path / "run", tmp_path)
    capsys.readouterr()
    main(["predict", str(tmp_path / "run"), str(data / "test"), "--top-k", "1"])
    printed = capsys.readouterr()
    assert "not calibrated" not in printed.err
    for one, other in zip(csv.DictReader(io.StringIO(printed.out)), rows, strict=True):
        assert one["label"] == other["prediction"]
        assert float(one["confidence"]) == pytest.approx(float(other["confidence"]), abs=1e-5)


def test_a_split_of_ones_choice(trained, tmp_path, capsys):
    run, data, final = trained
    own = tmp_path / "own"
    shutil.copytree(data / "test", own / "holiday")
    name = f"imagefolder:{own}"
    figures = read_figures(evaluate(capsys, run, "--data", name, "--split", "holiday"))
    assert figures["top1"] == pytest.approx(final["top1"], abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--data", "imagefolder:{tmp}/other"], "1 of the data set's 4 are not among them: dog"),
        (["--data", "imagefolder:{tmp}/nowhere"], "there is no folder"),
        (["--data", "imagefolder:{tmp}/other", "--split", "x"], "split: expected"),
        (["--data", "digits"], "10 of the data set's 10 are not among them: 0, 1, 2, 3, 4 …"),
        (["--per-image", "{tmp}"], "--per-image: {tmp} is a folder; expected a file's name"),
    ],
)
def test_mistakes_end_in_one_line(trained, tmp_path, capsys, arguments, told):
    other = make_folder(tmp_path / "other", ["test"])
    shutil.copytree(other / "test" / "cat", other / "test" / "dog")
    given = [word.format(tmp=tmp_path) for word in arguments]
    line = failing(capsys, "evaluate", str(trained[0]), *given)
    assert told.format(tmp=tmp_path) in line
    assert len(line.splitlines()) == 1


def test_classes_that_the_recipe_chose_are_kept_of_other_data(tmp_path, capsys):
    make_folder(tmp_path / "data", ["train", "test", "val"])
    own = recipe(
        ("data", f"imagefolder:{tmp_path / 'data'}"),
        ("data.classes", "[cat, ant]"),
        ("data.workers", "0"),
        ("model", "resnet8"),
        ("training.batch_size", "4"),
        ("training.max_steps", "2"),
        ("method.partners", "1"),
    )
    train(own, tmp_path / "run", console=QUIET)
    for more in ((), ("--data", f"imagefolder:{tmp_path / 'data'}", "--split", "val")):
        rows = per_image(capsys, tmp_path / "run", tmp_path, *more)
        assert [row["label"] for row in rows] == ["ant"] * 5 + ["cat"] * 5
