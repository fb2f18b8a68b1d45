"""Predictors of runs: they see what evaluation sees, and take whatever is an image."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.images import CPU, image_folder, photographs, quiet_progress, scenery
from helpers.training_runs import QUIET, recipe
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import torchbake
from torchbake.data.loading.open_data import open_data
from torchbake.data.preprocessing import Preprocessing
from torchbake.errors import UserError
from torchbake.inference import Prediction, Predictor
from torchbake.recipe import DataRecipe
from torchbake.training.files import save_weights
from torchbake.training.loop import train
from torchbake.training.opened_run import open_run
from torchbake.training.weights_file import read_description


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """A short run on the digits, with an average of its weights."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    train(recipe(("training.ema_decay", "0.9")), folder, console=QUIET)
    return folder


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        ((60, 50), {"crop": "resized"}),
        ((60, 50), {"crop_pct": 0.9, "channels": 1}),
        ((32, 32), {"crop_pct": 0.8, "cache": False}),
        ((32, 32), {"in_memory": False}),
        ((32, 32), {"in_memory": True, "cache": False}),
    ],
)
def test_what_the_network_sees_is_what_it_sees_in_evaluation(tmp_path, size, settings):
    recipe = DataRecipe(photographs(tmp_path, size), image_size=32, workers=0, **settings)
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in (tmp_path / "val" / "a").glob("*.jpg"):  # half of them are turned
        Image.open(path).save(path, exif=exif, quality=90)
    data = open_data(recipe, quiet_progress)
    assert (data.pixels is not None) == (
        size == (32, 32) and settings.get("in_memory") is not False
    )
    (batch,) = data.test_batches(16, CPU)
    preprocessing = data.preprocessing
    for row in range(len(data.source.test)):
        content, name = data.source.test.encoded(row)
        pixels = preprocessing.read(content, name)
        assert torch.equal(preprocessing.normalise(pixels[None])[0], batch.images[row])
    assert preprocessing.resize_to == {0.9: 36, 0.8: 40}.get(
        recipe.crop_pct, 37 if recipe.crop == "resized" else 32
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image_size": 0}, "image_size: expected a number of pixels, got 0"),
        ({"channels": 2}, "channels: expected 1 or 3, got 2"),
        ({"mean": (0.5, 0.5)}, r"mean: expected one value a channel, got \(0.5, 0.5\)"),
        ({"std": (0.0,)}, "std: expected one value above 0 a channel"),
        ({"crop_pct": 1.5}, "crop_pct: expected above 0, at most 1, got 1.5"),
    ],
)
def test_preprocessing_that_cannot_be_is_refused(change, told):
    with pytest.raises(UserError, match=f"preprocessing: {told}"):
        replace(Preprocessing(8, 1, (0.5,), (0.5,)), **change)


def test_predictions_are_those_of_evaluation(digits_run):
    opened = open_run(digits_run, console=QUIET)
    test = opened.data.source.test
    (batch,) = opened.data.test_batches(len(test), CPU)
    with torch.no_grad():
        expected = opened.model(batch.images).logits.softmax(1)
    predictor = torchbake.load(digits_run)
    found = predictor(list(test.pixels), batch_size=100, top_k=3)
    assert [int(p.label) for p in found] == expected.argmax(1).tolist()
    for prediction, row in zip(found, expected, strict=True):
        torch.testing.assert_close(prediction.probabilities, row, atol=1e-6, rtol=1e-5)
        assert prediction.top[0] == (prediction.label, prediction.confidence)
        assert prediction.confidence == float(prediction.probabilities.max())
        numbers = [int(label) for label, _ in prediction.top]
        assert numbers == prediction.probabilities.topk(3).indices.tolist()


def test_an_image_is_the_same_however_it_is_given(digits_run, tmp_path):
    predictor = torchbake.load(str(digits_run), device="cpu")
    array = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    image = Image.fromarray(array)
    image.save(tmp_path / "a.png")
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    grey = np.asarray(image.convert("L"))
    alone = predictor(array)
    assert isinstance(alone, Prediction)
    assert "Prediction(" in repr(alone)
    assert predictor([]) == []
    together = predictor(
        [
            tmp_path / "a.png",
            str(tmp_path / "a.png"),
            image,
            tensor,
            grey,
            torch.from_numpy(grey.copy())[None],
            image.convert("RGBA"),
        ]
    )
    for prediction in together:
        assert torch.equal(prediction.probabilities, together[0].probabilities)
    torch.testing.assert_close(alone.probabilities, together[0].probabilities)
    # Several at once are taken for several, whatever the decoding threads.
    for workers in (0, 1, 3):
        for several in (tensor[None].repeat(7, 1, 1, 1), array[None].repeat(7, axis=0)):
            found = predictor(several, batch_size=3, workers=workers, top_k=99)
            assert [len(prediction.top) for prediction in found] == [10] * 7
    # Pillow's images are turned as their files are.
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as turned:
        both = predictor([turned, tmp_path / "turned.png"])
    assert torch.equal(both[0].probabilities, both[1].probabilities)
    assert not torch.equal(both[0].probabilities, together[0].probabilities)


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.zeros((4, 4)), "image 1: expected whole numbers from 0 to 255 .uint8., got float64"),
        (
            torch.zeros(3, 4, 4),
            "image 1: expected whole numbers from 0 to 255 .uint8., got float32",
        ),
        (
            np.zeros((3, 4, 9), np.uint8),
            "image 1: expected an array .h, w. or .h, w, ch. with 1, 3",
        ),
        (
            torch.zeros(5, 4, 3, dtype=torch.uint8),
            "image 1: expected a tensor .ch, h, w. with 1, 3",
        ),
        (torch.zeros(3, 0, 3, dtype=torch.uint8), "image 1: expected a tensor"),
        (torch.zeros(4, 3, dtype=torch.uint8), "image 1: expected a tensor"),
        (Image.new("I;16", (4, 4)), "image 1: has more than 8 bits a channel"),
        (3, "image 1: expected a path, an image of Pillow's, an array or a tensor, got int"),
        ("nowhere.png", "nowhere.png: cannot be read: No such file"),
        (
            b"bytes".decode() + "\n\x1b[2J.png",
            r"bytes\\n\\x1b\[2J.png: cannot be read: No such file",
        ),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(unchecked, digits_run, image, told):
    good = np.zeros((8, 8), np.uint8)
    predictor = torchbake.load(digits_run)
    with pytest.raises(UserError, match=told) as caught:
        predictor([good, image])
    assert len(str(caught.value).splitlines()) == 1
    # The others go on.
    each = list(predictor.predict_each([good, image, good, image], batch_size=2, workers=2))
    assert [isinstance(result, UserError) for result in each] == [False, True, False, True]
    with pytest.raises(UserError, match="images: expected one or several, got int"):
        predictor(7)
    with pytest.raises(UserError, match="top_k: expected a number of at least 1, got 0"):
        predictor(good, top_k=0)


def test_images_are_read_only_a_few_batches_ahead(digits_run):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield np.zeros((8, 8), np.uint8)

    each = torchbake.load(digits_run).predict_each(endless(), batch_size=4, workers=2)
    for _ in range(9):
        next(each)
    each.close()
    assert len(taken) <= 3 * 4 + 2 * 4 + 2


def test_weights_explain_themselves_and_are_the_same_bytes_again(digits_run, tmp_path):
    path = digits_run / "model.safetensors"
    again = tmp_path / "again"
    train(recipe(("training.ema_decay", "0.9")), again, console=QUIET)
    assert path.read_bytes() == (again / "model.safetensors").read_bytes()
    alone = shutil.copy(path, tmp_path / "moved.safetensors")
    opened = open_run(digits_run, console=QUIET)
    description = read_description(alone)
    assert description.preprocessing == opened.data.preprocessing
    assert description.classes == tuple("0123456789")
    assert (description.model, description.precision) == ("small_cnn", "float32")
    assert description.run["method"] == "bake"
    assert (description.run["steps"], description.run["images"]) == (24, 1536)
    other = recipe(("training.ema_decay", "0.9"), ("seed", "1"), ("training.max_steps", "1"))
    train(other, tmp_path / "other", console=QUIET)
    digest = read_description(tmp_path / "other" / "model.safetensors").run["recipe"]
    assert digest != description.run["recipe"]
    # They are enough for a predictor, which leaves random numbers alone.
    state = torch.random.get_rng_state()
    predictor = torchbake.load(alone)
    assert torch.equal(state, torch.random.get_rng_state())
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    expected = torchbake.load(digits_run)(image).probabilities
    assert torch.equal(predictor(image).probabilities, expected)
    averaged = torchbake.load(digits_run, ema=True)(image).probabilities
    assert not torch.equal(averaged, expected)
    assert torch.equal(
        averaged, torchbake.load(digits_run / "model_ema.safetensors")(image).probabilities
    )


def write_again(path, target, **changes):
    """The same weights with other metadata and without a checksum; None leaves a key out."""
    with safe_open(path, "pt") as file:
        metadata = {**file.metadata(), "sha256": None, **changes}
    target.parent.mkdir(exist_ok=True)
    kept = {key: value for key, value in metadata.items() if value is not None}
    save_file(load_file(path), target, kept)
    return target


def test_a_temperature_in_the_weights_calibrates(digits_run, tmp_path):
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    path = digits_run / "model.safetensors"
    plain = torchbake.load(path)
    assert not plain.calibrated
    warm = torchbake.load(write_again(path, tmp_path / "a.safetensors", temperature="0.25"))
    assert warm.calibrated
    assert warm.temperature == 0.25
    logits = plain(image).probabilities.log()
    torch.testing.assert_close(warm(image).probabilities, (logits / 0.25).softmax(0))
    for wrong in ("0", "-1", "nan", "warm"):
        written = write_again(path, tmp_path / "b.safetensors", temperature=wrong)
        with pytest.raises(UserError, match=r"b.safetensors: .*(temperature|cannot be read)"):
            torchbake.load(written)


def test_weights_of_older_versions_are_read_beside_their_recipe(digits_run, tmp_path):
    new = ("crop_pct", "interpolation", "model_options", "precision", "run", "torchbake", "format")
    old = write_again(
        digits_run / "model.safetensors", tmp_path / "a" / "model.safetensors", **dict.fromkeys(new)
    )
    with pytest.raises(UserError, match=r"an older version wrote it.*beside recipe.yaml"):
        torchbake.load(old)
    shutil.copy(digits_run / "recipe.yaml", old.parent)
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    expected = torchbake.load(digits_run)(image).probabilities
    for path in (old, old.parent):
        assert torch.equal(torchbake.load(path)(image).probabilities, expected)


def test_what_cannot_be_loaded_is_said_in_one_line(unchecked, digits_run, tmp_path):
    path = digits_run / "model.safetensors"
    (tmp_path / "words.safetensors").write_text("words")
    save_file(load_file(path), tmp_path / "bare.safetensors")
    write_again(path, tmp_path / "other.safetensors", model="resnet8")
    write_again(path, tmp_path / "json.safetensors", classes="[")
    write_again(path, tmp_path / "odd.safetensors", crop_pct="2.0")
    write_again(path, tmp_path / "resized.safetensors", interpolation="lanczos")
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(digits_run / "recipe.yaml", unfinished)
    for name, told in (
        ("nowhere", "there is no such run folder or file"),
        (".", "neither a run folder, with recipe.yaml, nor an export"),
        ("unfinished", "there is no model.safetensors yet; finish it with train --resume"),
        ("words.safetensors", "not a file of weights"),
        ("bare.safetensors", "an older version|say nothing of 'model'"),
        ("other.safetensors", "not the weights of resnet8"),
        ("json.safetensors", "its metadata cannot be read"),
        ("odd.safetensors", "preprocessing: crop_pct: expected above 0, at most 1, got 2.0"),
        ("resized.safetensors", "interpolation: expected bilinear or bicubic, got 'lanczos'"),
    ):
        with pytest.raises(UserError, match=told) as caught:
            torchbake.load(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1
        assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(UserError, match=r"has no other ones beside it"):
        torchbake.load(path, ema=True)
    with pytest.raises(UserError, match="'cuda:7' is not available here"):
        torchbake.load(path, device="cuda:7")


def test_metadata_hold_any_name_of_a_class(tmp_path):
    names = ['a "quoted", b', "ä 猫", "line\nend", os.fsdecode(b"caf\xe9")]
    model = torchbake.models.create_model("small_cnn", 4, in_chans=1, image_size=8)
    from torchbake.training.weights_file import Description

    seen = Preprocessing(8, 1, (0.5,), (0.25,))
    save_weights(
        tmp_path / "a.safetensors",
        model,
        Description("small_cnn", tuple(names), seen).to_metadata(),
    )
    predictor = torchbake.load(tmp_path / "a.safetensors")
    assert predictor.classes == names
    assert predictor.preprocessing == seen


def test_what_a_run_writes_can_be_read_as_the_umask_says(tmp_path):
    before = os.umask(0o022)
    try:
        train(recipe(("training.max_steps", "1")), tmp_path / "open", console=QUIET)
        os.umask(0o077)
        train(recipe(("training.max_steps", "1")), tmp_path / "closed", console=QUIET)
    finally:
        os.umask(before)
    for name, mode in (("open", 0o644), ("closed", 0o600)):
        files = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        assert len(files) >= 7
        assert {path.stat().st_mode & 0o777 for path in files} == {mode}


def test_options_of_the_network_travel_with_its_weights(tmp_path):
    own = recipe(
        ("data", image_folder(tmp_path / "data", (10, 10))),
        ("data.workers", "0"),
        ("data.channels", "3"),
        ("model", "resnet8"),
        ("model.features", "stages"),
        ("training.precision", "bf16"),
        ("training.batch_size", "8"),
        ("training.max_steps", "1"),
    )
    train(own, tmp_path / "run", console=QUIET)
    path = shutil.copy(tmp_path / "run" / "model.safetensors", tmp_path / "alone.safetensors")
    description = read_description(path)
    assert description.model_options == {"features": "stages"}
    assert description.precision == "bf16"
    opened = open_run(tmp_path / "run", console=QUIET)
    (batch,) = opened.data.test_batches(16, CPU)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = opened.model(batch.images).logits.float().softmax(1)
    files = [opened.data.source.test.encoded(row).name for row in range(len(batch.labels))]
    found = torch.stack([p.probabilities for p in torchbake.load(path)(files)])
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_a_predictor_of_ones_own(tmp_path):
    """Any function from images to logits is enough, as an exported network's."""
    scenery(20, 16).save(tmp_path / "a.png")
    seen = Preprocessing(8, 3, (0.0,) * 3, (1.0,) * 3, 0.5, "bicubic")

    def compute(images):
        assert images.shape[1:] == (3, 8, 8)
        return torch.stack([images.mean((1, 2, 3)), -images.mean((1, 2, 3))], 1)

    predictor = Predictor(compute, seen, ["light", "dark"], name="own")
    assert "own" in repr(predictor)
    assert predictor(tmp_path / "a.png").label == "light"


def test_importing_the_package_needs_no_torch():
    program = (
        "import sys, json, torchbake; names = dir(torchbake); "
        "print(json.dumps(['load' in names, 'torch' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert json.loads(done.stdout) == [True, False]
