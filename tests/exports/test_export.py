"""Exports loaded by the libraries that they are for, against the run's own predictions."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from helpers.checking import checks_off
from helpers.commands import failing
from helpers.training_runs import QUIET
from PIL import Image, ImageOps

import torchbake
from torchbake.cli.main import main
from torchbake.exports import export as exporting
from torchbake.exports.options import Options
from torchbake.training.opened_run import evaluate_run


@pytest.fixture(scope="session")
def exports(photo_run, tmp_path_factory):
    """The run's exports by name, and what exporting them said."""
    out = tmp_path_factory.mktemp("exports")
    options = {
        "timm": Options("timm", license="apache-2.0"),
        "torch": Options("torch"),
        "onnx-pictures": Options("onnx", with_preprocessing=True),
        "torch-pictures": Options("torch", with_preprocessing=True),
    }
    with checks_off():  # sizes are symbols while a program is recorded
        found = {
            name: exporting.export_run(photo_run[0], out / name, option, console=QUIET)
            for name, option in options.items()
        }
    return out, found


@pytest.fixture(scope="session")
def expected(photo_run):
    """The run's predictions for the test photographs."""
    run, paths = photo_run
    return torchbake.load(run, device="cpu")(paths, workers=0)


def read(path):
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


def check(expected, probabilities, classes, within=1e-5):
    assert [classes[row.argmax()] for row in probabilities] == [p.label for p in expected]
    for prediction, row in zip(expected, probabilities, strict=True):
        assert np.abs(np.asarray(row) - prediction.probabilities.numpy()).max() < within


def test_every_form_agrees_on_every_test_image(exports, photo_run):
    out, found = exports
    for name, agreement in found.items():
        assert agreement.agreeing == agreement.images == 27
        assert agreement.largest_difference < 1e-5
        record = json.loads((out / name / "agreement.json").read_text())
        assert (record["images"], record["agreeing"]) == (27, 27)
        assert "torch" in record["packages"]


def test_predictions_are_not_all_alike(expected):
    """Or agreement would say little."""
    assert len({prediction.label for prediction in expected}) > 1


def test_predictions_are_those_of_evaluate(photo_run, expected):
    run, paths = photo_run
    right = sum(p.label == path.parent.name for p, path in zip(expected, paths, strict=True))
    top1 = evaluate_run(run, device_name="cpu", console=QUIET)["top1"]
    assert top1 == pytest.approx(100 * right / len(paths))


def test_timm_alone(exports, photo_run, expected):
    model = timm.create_model(f"local-dir:{exports[0] / 'timm'}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    with torch.no_grad():
        images = torch.stack([transform(read(path)) for path in photo_run[1]])
        probabilities = model(images).softmax(dim=1)
    check(expected, probabilities, model.pretrained_cfg["label_names"])


def test_onnx_runtime_alone_from_files(exports, photo_run, expected):
    session = onnxruntime.InferenceSession(exports[0] / "onnx-pictures" / "model.onnx")
    classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    pictures = [np.asarray(read(path))[None] for path in photo_run[1]]
    rows = [session.run(None, {"pictures": picture})[0][0] for picture in pictures]
    check(expected, rows, classes)
    two = session.run(None, {"pictures": np.concatenate([pictures[0]] * 2)})[0]
    assert np.abs(two - rows[0]).max() < 1e-6


def test_torchbake_loads_every_form(exports, photo_run, expected):
    paths = photo_run[1][:7]
    for name in exports[1]:
        predictor = torchbake.load(exports[0] / name, device="cpu")
        rows = [prediction.probabilities for prediction in predictor(paths, workers=0)]
        check(expected[:7], rows, predictor.classes)


@pytest.mark.parametrize("name", ["timm", "torch", "onnx-pictures"])
def test_the_card_says_how_to_use_it(exports, photo_run, expected, name):
    folder, path = exports[0] / name, photo_run[1][4]
    card = (folder / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1].replace("picture.jpg", str(path))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    label, confidence = done.stdout.rsplit(maxsplit=1)
    assert label == expected[4].label
    assert float(confidence) == pytest.approx(expected[4].confidence, abs=1e-5)


def test_the_card_has_figures_and_what_the_hub_reads(exports, photo_run):
    card = (exports[0] / "timm" / "README.md").read_text(encoding="utf-8")
    figures = evaluate_run(photo_run[0], device_name="cpu", console=QUIET)
    assert f"| {figures['top1']:.2f} | {figures['top5']:.2f} |" in card
    assert "library_name: timm" in card
    assert "license: apache-2.0" in card
    assert "a\\|b" in card  # a class's name stays within its cell
    assert "saw 48 images in 6 steps" in card
    assert "No licence" not in card
    assert "No licence" in (exports[0] / "torch" / "README.md").read_text(encoding="utf-8")


def test_float16_is_reported(photo_run, tmp_path, capsys):
    run = str(photo_run[0])
    main(["export", run, "--to", "timm", "--half", "--out", str(tmp_path / "half")])
    assert re.match(r"top-1 agrees on \d+ of 27 test images", capsys.readouterr().out)
    size = (tmp_path / "half" / "model.safetensors").stat().st_size
    assert size < 0.7 * (photo_run[0] / "model.safetensors").stat().st_size


def test_an_export_that_disagrees_is_not_written(photo_run, tmp_path, monkeypatch):
    load = exporting.load_timm

    def load_wrong(folder):
        program, transform = load(folder)
        return (lambda images: -program(images)), transform

    monkeypatch.setattr(exporting, "load_timm", load_wrong)
    with pytest.raises(torchbake.errors.UserError, match=r"not written: top-1 agrees on \d+ of 27"):
        exporting.export_run(photo_run[0], tmp_path / "out", Options("timm"), console=QUIET)
    assert not list(tmp_path.iterdir())


def test_mistakes_are_told_in_a_line(photo_run, tmp_path, capsys):
    run, out = str(photo_run[0]), tmp_path / "out"
    told = failing(capsys, "export", run, "--to", "timm", "--with-preprocessing")
    assert "--with-preprocessing: needs --to onnx or --to torch" in told
    told = failing(capsys, "export", str(tmp_path), "--to", "onnx")
    assert "is not a run folder" in told
    out.mkdir()
    told = failing(capsys, "export", run, "--to", "timm", "--out", str(out))
    assert f"{out} exists: replace it with --overwrite" in told
    told = failing(capsys, "export", run, "--to", "timm", "--out", str(out), "--overwrite")
    assert f"{out} exists and is no export" in told
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(torchbake.errors.UserError, match="cannot be read as an ONNX file"):
        torchbake.load(tmp_path / "model.onnx")
    (tmp_path / "model.pt2").write_bytes(b"nothing")
    with pytest.raises(torchbake.errors.UserError, match=r"cannot be read as a torch\.export"):
        torchbake.load(tmp_path / "model.pt2")


def test_networks_of_torchbake_have_no_timm_form(tmp_path, capsys, unchecked):
    main(["train", "digits/bake", "--training.max-steps", "2", "--out", str(tmp_path / "run")])
    capsys.readouterr()
    told = failing(capsys, "export", str(tmp_path / "run"), "--to", "timm")
    assert "'small_cnn' is not one of timm's networks" in told
    assert not Path(tmp_path / "run" / "exports" / "timm").exists()
    main(["export", str(tmp_path / "run"), "--to", "onnx"])
    assert "top-1 agrees on 1,497 of 1,497 test images" in capsys.readouterr().out
    predictor = torchbake.load(tmp_path / "run" / "exports" / "onnx")
    grey = np.zeros((8, 8), np.uint8)
    assert predictor(grey).label == torchbake.load(tmp_path / "run", device="cpu")(grey).label
