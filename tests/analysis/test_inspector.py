"""Who teaches whom: what the page is given, and what it makes of it in a real browser."""

import base64
import io
import math
import os

import numpy as np
import pytest
import torch
from helpers.browser import faults_of_access, no_wider_than_its_window, without_picture
from helpers.reference import clustered
from helpers.training_runs import QUIET, recipe
from PIL import Image

from torchbake.analysis.outputs import Outputs, compute_outputs, restore_pictures
from torchbake.analysis.pages.inspect import (
    Settings,
    draw_batch,
    inspect_batch,
    make_remark,
    read_settings,
)
from torchbake.analysis.pages.render import render
from torchbake.analysis.pages.sprites import make_sprite
from torchbake.analysis.pages.user_images import UNLABELLED, find_images
from torchbake.cli.main import main
from torchbake.ensembling.targets import bake_targets
from torchbake.errors import UserError
from torchbake.sampling.class_groups import ClassGroupedBatchSampler
from torchbake.training.loop import train
from torchbake.training.opened_run import open_run

CLASSES = [f"<b>class</b> {number} & 'co'" for number in range(10)]
PAPER = Settings(4.0, 0.5, 1.0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A short run on the digits."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    train(recipe(("method.affinity_temperature", "0.3")), folder, console=QUIET)
    return folder


def outputs(n, labels=None):
    logits, features, own = clustered(n)
    return Outputs(torch.arange(n), own if labels is None else labels, logits, features)


def grey(n, side=8):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (n, 1, side, side), generator=generator, dtype=torch.uint8)


def floats(text):
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), "<f4").copy())


def written(tmp_path, given, notes=()):
    path = tmp_path / "page.html"
    values = {"name": "run", "about": "", "notes": notes, "inspector": given}
    path.write_text(render("inspect.html", **values), encoding="utf-8")
    return path


def test_what_the_page_is_given_is_sorted_by_class_and_complete():
    labels = torch.tensor([2, 0, UNLABELLED, 2, 1])
    made = outputs(5, labels)
    made.logits[2] = torch.eye(10)[0]
    names = list("abcde")
    given = inspect_batch(made, grey(5), CLASSES, names, PAPER)
    order = [1, 2, 4, 0, 3]
    assert given["names"] == [names[k] for k in order]
    assert given["labels"] == [0, UNLABELLED, 1, 2, 2]
    assert given["groups"] == [0, 0, 1, 2, 2]
    assert torch.equal(floats(given["logits"]).view(5, 10), made.logits[order])
    unit = torch.nn.functional.normalize(made.features[order].double(), dim=1)
    above = [float(unit[i] @ unit[j]) for i in range(5) for j in range(i + 1, 5)]
    torch.testing.assert_close(floats(given["similarities"]), torch.tensor(above))


@pytest.mark.parametrize("side", [8, 40])
def test_sprite_holds_every_picture(side):
    pictures = grey(7, side)
    made = make_sprite(pictures.expand(7, 3, side, side))
    kind, encoded = made.uri.split(";base64,")
    assert kind == ("data:image/png" if side == 8 else "data:image/jpeg")
    whole = np.array(Image.open(io.BytesIO(base64.b64decode(encoded))))
    for number in range(7):
        row, column = divmod(number, made.columns)
        top, left = row * made.cell, column * made.cell
        cut = whole[top : top + made.side, left : left + made.side, 0].astype(int)
        difference = abs(cut - pictures[number, 0].numpy().astype(int))
        assert difference.max() == 0 if side == 8 else difference.mean() < 8


def test_batch_is_the_first_of_the_training_in_class_groups(finished):
    opened = open_run(finished, console=QUIET)
    batch = draw_batch(opened, 64)
    labels = opened.data.source.train.labels[batch]
    assert len(batch) == 64
    trained = ClassGroupedBatchSampler(
        opened.data.source.train.labels, 64, partners=3, seed=opened.recipe.seed
    )
    assert torch.equal(batch, trained.batches(0)[0])
    # 30 images a class make seven groups of four, and a smaller one.
    assert sum(len(set(group)) == 1 for group in labels.view(-1, 4).tolist()) >= 12
    assert read_settings(opened.recipe) == Settings(4.0, 0.5, 0.3)
    assert read_settings(recipe(("method", "cross-entropy"))) == PAPER
    assert read_settings(recipe(("method", "bake-plus"))) == Settings(4.0, 0.5, 0.05)


def test_targets_that_the_run_was_not_taught_are_named_as_such():
    assert make_remark(recipe(("method", "bake-plus"))) == ""
    assert "not trained with BAKE" in make_remark(recipe(("method", "cross-entropy")))
    assert "further settings" in make_remark(
        recipe(("method", "bake-variants"), ("method.memory", "100"))
    )


def test_outputs_that_are_too_large_lie_in_a_file(finished, monkeypatch):
    opened = open_run(finished, console=QUIET)
    train_images = opened.data.source.train
    chosen = torch.arange(0, 300, 3)
    kept = compute_outputs(opened, train_images, chosen, QUIET)
    monkeypatch.setattr("torchbake.analysis.outputs.IN_MEMORY", 0)
    from_file = torch.from_file
    files = []
    monkeypatch.setattr(torch, "from_file", lambda *a, **k: files.append(a) or from_file(*a, **k))
    mapped = compute_outputs(opened, train_images, chosen, QUIET)
    assert len(files) == 2
    assert torch.equal(kept.labels, train_images.labels[chosen])
    assert torch.equal(kept.logits, mapped.logits)
    assert torch.equal(kept.features, mapped.features)
    images = opened.data.pixels[0][chosen]
    assert torch.equal(restore_pictures(opened, train_images, chosen), images)


def targets(page, n):
    rows = page.evaluate("n => Array.from({ length: n }, (_, i) => [...torchbake.target(i)])", n)
    return torch.tensor(rows, dtype=torch.float64)


def test_sliders_recompute_what_python_computes(tmp_path, opened_page):
    n = 40
    made = outputs(n)
    order = made.labels.argsort(stable=True)
    names = [f"image {k}" for k in range(n)]
    path = written(tmp_path, inspect_batch(made, grey(n), CLASSES, names, PAPER))
    with opened_page(path) as page:

        def compare():
            settings = page.evaluate("torchbake.settings")
            settings = {name: float(value) for name, value in settings.items()}
            expected = bake_targets(made.logits[order], made.features[order], **settings)
            assert (targets(page, n) - expected).abs().max() < 1e-5
            return settings

        assert compare() == PAPER._asdict()
        shown = page.locator("[data-part=classes]").inner_text()
        matrix = page.evaluate("document.querySelector('[data-part=matrix]').toDataURL()")
        for name, value, expected in (
            ("temperature", "1.5", 1.5),
            ("omega", "0.9", 0.9),
            ("affinity_temperature", "-1.5", 10**-1.5),
            ("temperature", "20", 20),
            ("omega", "0", 0),
            ("omega", "0.95", 0.95),
            ("affinity_temperature", "-2", 0.01),
        ):
            slider = page.locator(f"[data-part={name}]")
            slider.fill(value)
            assert compare()[name] == pytest.approx(expected)
            now = page.locator("[data-part=classes]").inner_text()
            assert now != shown
            shown = now
        assert page.evaluate("document.querySelector('[data-part=matrix]').toDataURL()") != matrix
        before = page.evaluate("torchbake.settings.temperature")
        page.locator("[data-part=temperature]").press("ArrowLeft")
        assert page.evaluate("torchbake.settings.temperature") < before
        page.get_by_role("button", name="Back to the recipe").click()
        assert compare() == PAPER._asdict()


def test_shares_that_are_nearly_alike_are_explained(tmp_path, opened_page):
    n = 40
    made = outputs(n)
    names = [f"dogs/a-long_name of {k}.jpeg" for k in range(n)]
    path = written(tmp_path, inspect_batch(made, grey(n), CLASSES, names, PAPER))
    with opened_page(path) as page:
        note = page.locator("[data-part=alike]")
        assert f"to all {n - 1} others nearly alike" in note.inner_text()
        assert "divided by Tₐ = 1, give shares that differ by a factor of" in note.inner_text()
        page.locator("[data-part=affinity_temperature]").fill("-2")
        assert not note.is_visible()
        # Names may be broken behind a slash, never within their suffix.
        suffix = page.locator("[data-part=name] .suffix")
        assert suffix.inner_text() == ".jpeg"
        assert suffix.evaluate("one => getComputedStyle(one).whiteSpace") == "nowrap"


def test_pictures_are_chosen_by_mouse_and_keyboard(tmp_path, opened_page):
    n = 40
    made = outputs(n)
    names = [f"image {k}.png" for k in range(n)]
    given = inspect_batch(made, grey(n), CLASSES, names, PAPER)
    with opened_page(written(tmp_path, given)) as page:
        name = page.locator("[data-part=name]")
        options = page.get_by_role("option")
        assert options.count() == n
        assert name.inner_text() == given["names"][0]
        assert without_picture(page) == 0
        options.nth(17).click()
        assert name.inner_text() == given["names"][17]
        assert page.locator("[data-part=label]").inner_text() == CLASSES[given["labels"][17]]
        assert options.nth(17).get_attribute("aria-selected") == "true"
        grid = page.get_by_role("listbox")
        grid.focus()
        for key, expected in (("ArrowRight", 18), ("ArrowLeft", 17), ("End", n - 1), ("Home", 0)):
            page.keyboard.press(key)
            assert name.inner_text() == given["names"][expected]
            assert grid.get_attribute("aria-activedescendant") == f"picture-{expected}"
        page.keyboard.press("ArrowDown")
        below = name.inner_text()
        assert below != given["names"][0]
        page.keyboard.press("ArrowUp")
        assert name.inner_text() == given["names"][0]

        weights = page.evaluate("[...torchbake.weights(0)]")
        assert sum(weights) == pytest.approx(1)
        teachers = sorted(range(1, n), key=lambda k: -weights[k])[:8]
        buttons = page.locator("[data-part=teachers] button")
        assert [buttons.nth(k).get_attribute("title") for k in range(8)] == [
            given["names"][k] for k in teachers
        ]
        buttons.first.click()
        assert name.inner_text() == given["names"][teachers[0]]

        marks = page.get_by_role("application")
        box = marks.bounding_box()
        across, down = (5.5 / n) * box["width"], (30.5 / n) * box["height"]
        marks.hover(position={"x": across, "y": down})
        pair = page.locator("[data-part=pair]")
        assert f"{given['names'][30]} " in pair.inner_text()
        assert f"listens to {given['names'][5]} " in pair.inner_text()
        marks.click(position={"x": across, "y": down})
        assert name.inner_text() == given["names"][30]
        marks.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        assert f"listens to {given['names'][6]} " in pair.inner_text()
        page.keyboard.press("Enter")
        assert name.inner_text() == given["names"][31]


def test_names_are_text_and_the_page_fits(tmp_path, opened_page):
    made = outputs(12, torch.tensor([0, 1, UNLABELLED] * 4))
    names = [f"{k} <img src=x onerror=alert(1)>.png" for k in range(12)]
    classes = ["</script><script>alert(2)</script>", *CLASSES[1:]]
    path = written(tmp_path, inspect_batch(made, grey(12), classes, names, PAPER), ["<i>note</i>"])
    for width, scheme in ((1200, "light"), (375, "dark")):
        with opened_page(path, width=width, scheme=scheme) as page:
            assert page.locator("[data-part=name]").inner_text() in names
            assert page.locator("img, b, i").count() == 0
            assert page.get_by_text(classes[0]).count() > 0
            assert no_wider_than_its_window(page)
            dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert dark == {"light": "rgb(255, 255, 255)", "dark": "rgb(23, 24, 26)"}[scheme]
            pixel = page.evaluate(
                "[...document.querySelector('[data-part=matrix]').getContext('2d')"
                ".getImageData(0, 0, 1, 1).data]"
            )
            assert pixel[:3] == ([255] * 3 if scheme == "light" else [23, 24, 26])


def test_one_picture_alone_teaches_itself(tmp_path, opened_page):
    given = inspect_batch(outputs(1), grey(1), CLASSES, ["alone"], PAPER)
    with opened_page(written(tmp_path, given)) as page:
        assert page.evaluate("[...torchbake.weights(0)]") == [1]
        assert page.locator("[data-part=teachers] li").count() == 0
        assert (
            "100.0\u00a0% is its own prediction" in page.locator("[data-part=shares]").inner_text()
        )


def test_own_pictures_are_found_labelled_and_thinned(tmp_path):
    for number, folder in enumerate(["3/deeper", "3", "other", "."]):
        for index in range(3):
            path = tmp_path / folder / f"{number}{index}.PNG"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (9, 7), (index, 0, 0)).save(path)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "other" / "broken.jpg").write_bytes(b"\xff\xd8\xff no")
    found = find_images(tmp_path, [str(k) for k in range(10)], 1, 100)
    assert found.names == sorted(found.names)
    assert found.found == 13
    assert [reason for reason in found.broken if "broken.jpg" in reason] == found.broken
    assert len(found.broken) == 1
    labels = dict(zip(found.names, found.split.labels.tolist(), strict=True))
    labelled = {name for name, label in labels.items() if label != UNLABELLED}
    assert labelled == {
        *("3/deeper/00.PNG", "3/deeper/01.PNG", "3/deeper/02.PNG"),
        *("3/10.PNG", "3/11.PNG", "3/12.PNG"),
    }
    assert {labels[name] for name in labelled} == {3}
    assert found.split.load(0).shape == (1, 7, 9)
    below = find_images(tmp_path / "3", [str(k) for k in range(10)], 1, 100)
    assert set(below.split.labels.tolist()) == {3}
    assert len(find_images(tmp_path, ["a"], 3, 4).names) == 4
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no pictures in"):
        find_images(tmp_path / "empty", ["a"], 3, 4)
    with pytest.raises(UserError, match="there is no folder"):
        find_images(tmp_path / "nowhere", ["a"], 3, 4)
    (tmp_path / "empty" / "broken.png").write_bytes(b"no")
    with pytest.raises(UserError, match=r"no picture in .* can be read"):
        find_images(tmp_path / "empty", ["a"], 3, 4)


def test_slider_reaches_the_recipe_and_focus_stays_with_the_pictures(tmp_path, opened_page):
    made = outputs(12)
    settings = Settings(4.0, 0.5, 0.002)
    pictures = torch.zeros(12, 1, 8, 8, dtype=torch.uint8)
    inspector = inspect_batch(made, pictures, CLASSES, [f"{k}" for k in range(12)], settings)
    path = tmp_path / "page.html"
    page_text = render("inspect.html", name="a", about="", notes=[], inspector=inspector)
    path.write_text(page_text, encoding="utf-8")
    with opened_page(path) as page:
        slider = page.locator("[data-part=affinity_temperature]")
        assert float(slider.input_value()) == pytest.approx(math.log10(0.002))
        assert slider.get_attribute("aria-valuetext") == "0.002"
        slider.fill("-1")
        assert slider.get_attribute("aria-valuetext") == "0.1"
        page.locator(".teachers button").first.focus()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.dataset.part") == "grid"


def test_inspect_shows_a_folder_of_pictures(finished, tmp_path, capsys, opened_page):
    folder = tmp_path / os.fsdecode(b'my <b>pictures & "more" \xff')
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (30, 20), (40 * number, 0, 0)).save(folder / f"{number}.jpg")
    (folder / "x.jpg").write_bytes(b"broken")
    main(["inspect", str(finished), "--images", str(folder)])
    printed = capsys.readouterr().out
    assert "left out: " in printed
    assert "x.jpg" in printed
    with opened_page(finished / "inspect.html") as page:
        assert faults_of_access(page) == []
        assert page.get_by_role("option").count() == 6
        assert page.locator("[data-part=label]").inner_text() == "no label"
        assert "x.jpg" in page.locator(".note").inner_text()
        assert page.evaluate("torchbake.settings.affinity_temperature") == 0.3
    main(["inspect", str(finished), "--size", "32", "--out", str(tmp_path / "batch.html")])
    with opened_page(tmp_path / "batch.html") as page:
        assert page.get_by_role("option").count() == 32
