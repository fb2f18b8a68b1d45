"""The demo as its own process, and Chromium that drops a picture on it."""

import re
import subprocess
import sys

import pytest
import torch
from helpers.images import photographs, scenery
from helpers.training_runs import QUIET

import torchbake
from torchbake.demo.neighbours import Explorer
from torchbake.training.loop import train
from torchbake.training.opened_run import open_run
from torchbake.training.recipe_files import load_recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo")
    overrides = {
        "data.name": photographs(root / "data", (80, 60)),
        "data.image_size": "32",
        "data.crop": "resized",
        "data.workers": "0",
        "model.name": "resnet8",
        "training.max_steps": "2",
        "training.batch_size": "4",
    }
    train(load_recipe("digits/bake", list(overrides.items())), root / "run", console=QUIET)
    return root / "run"


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """A copy of a training image, lossless, turned so that only its EXIF orientation helps."""
    path = tmp_path_factory.mktemp("picture") / "bird.png"
    image = scenery(80, 60, 3).transpose(2)  # turned by 90 degrees, back by orientation 6
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    return path


def test_answers_are_those_of_predict_and_the_nearest_come_first(run, picture):
    opened = open_run(run, device_name="cpu", console=QUIET)
    answer = Explorer(opened, QUIET).ask(picture, 3)
    prediction = torchbake.load(run, device="cpu")(picture)
    assert max(answer.probabilities, key=answer.probabilities.get) == prediction.label
    values = torch.tensor(list(answer.probabilities.values()))
    assert torch.allclose(values, prediction.probabilities, atol=1e-6)
    similarities = [neighbour.similarity for neighbour in answer.neighbours]
    assert similarities == sorted(similarities, reverse=True)
    # Image 3 of the training images of class b is the very picture, but for JPEG.
    assert similarities[0] > 0.99
    assert answer.neighbours[0].label == "b"
    few = Explorer(opened, QUIET, limit=2)
    assert len(few.ask(picture, 3).neighbours) == 2


def test_a_picture_dropped_in_the_browser_is_predicted(run, picture, browser, tmp_path):
    served = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "torchbake", "demo", str(run), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        told = served.stdout.readline()
        address = re.match(r"open (http://127\.0\.0\.1:\d+/)", told)
        assert address, told + served.stdout.read()
        context = browser.new_context(viewport={"width": 1200, "height": 900})
        page, asked = context.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address[1])
        page.locator("input[type=file]").first.set_input_files(str(picture))
        prediction = torchbake.load(run, device="cpu")(picture)
        shown = page.get_by_test_id("label-output-value")
        shown.wait_for(timeout=60_000)
        assert shown.inner_text().strip() == prediction.label
        page.get_by_text(re.compile(r"^b +\(0\.99\d\)$|^b +\(1\.000\)$")).first.wait_for()
        page.screenshot(path=str(tmp_path / "demo.png"))
        context.close()
        local = (address[1], "data:", "blob:")
        assert [url for url in asked if not url.startswith(local)] == []
    finally:
        served.terminate()  # a shell's background jobs ignore SIGINT
        served.wait(30)
        served.stdout.close()
