"""Pages of runs: their figures, curves and errors, in files and in a real browser."""

import json
import math
import re
import shutil
import struct
from itertools import pairwise

import pytest
import torch
from helpers.browser import faults_of_access, no_wider_than_its_window, without_picture
from helpers.training_runs import QUIET, recipe
from PIL import Image

from torchbake.analysis.pages import charts
from torchbake.analysis.pages.diagnosis import count_confusions, measure_reliability
from torchbake.analysis.pages.render import make_breakable
from torchbake.analysis.pages.report import write_report
from torchbake.cli.main import main
from torchbake.errors import UserError
from torchbake.evaluation import Metrics
from torchbake.training.loop import train
from torchbake.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """BAKE and cross-entropy on the digits, two seeds each."""
    root = tmp_path_factory.mktemp("runs")
    for method in ("bake", "cross-entropy"):
        for seed in (0, 1):
            own = recipe(("method", method), ("seed", str(seed)))
            train(own, root / f"{method}-{seed}", console=QUIET)
    return root


def guessed():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(7, (300,), generator=generator)
    logits = 3 * torch.randn(300, 7, generator=generator)
    logits[torch.arange(300), labels] += 2
    return logits, labels


def test_reliability_adds_up_to_the_calibration_error():
    logits, labels = guessed()
    bins = measure_reliability(logits, labels)
    metrics = Metrics(torch.device("cpu"))
    metrics.add(logits, labels)
    assert sum(b.images for b in bins) == 300
    gap = sum(b.images * abs(b.confidence - b.accuracy) for b in bins) / 300
    assert 100 * gap == pytest.approx(metrics.result()["ece"], abs=1e-4)
    assert all(b.low <= b.confidence <= b.high for b in bins)


def test_confusions_by_hand():
    logits = torch.eye(3)[torch.tensor([0, 1, 1, 1, 2, 0, 0])] * torch.arange(1.0, 8)[:, None]
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    found = count_confusions(logits, labels, 2, 1)
    assert [(c.label, c.predicted, c.images) for c in found] == [(0, 1, 2), (2, 0, 2)]
    assert found[0].share == pytest.approx(2 / 3)
    assert [c.examples for c in found] == [[2], [6]]
    assert [c.images for c in count_confusions(logits, labels, 9, 1)] == [2, 2, 1]
    assert count_confusions(logits, logits.argmax(dim=1), 9, 1) == []


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-3, 250), (0.9991, 0.9992), (5, 5), (0, 0), (1e-9, 3e6), (-7, -6.99)]
)
def test_ticks_are_round_and_hold_the_values(low, high):
    values = charts.choose_ticks(float(low), float(high))
    assert values[0] <= low + 1e-12
    assert values[-1] >= high - 1e-12
    assert 2 <= len(values) <= 8
    steps = [b - a for a, b in pairwise(values)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-6)


def test_an_axis_begins_at_zero_or_says_that_it_does_not():
    for values, first, note in (
        ((0.4, 1.5), "0", ""),
        ((98.0, 99.0), "98", "vertical axis from 98, not from 0"),
        ((-2.0, 3.0), "-2", ""),
    ):
        chart = charts.draw_lines("loss", {"a": [[(0.0, values[0]), (1.0, values[1])]]})
        assert chart.y_ticks[0].text == first
        assert chart.note == note


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("a_b/c-1.jpeg", 'a_<wbr>b/<wbr>c-<wbr>1<wbr><span class="suffix">.jpeg</span>'),
        ("<b>_.x y", "&lt;b&gt;_<wbr>.x y"),
        (".jpg", ".jpg"),
    ],
)
def test_names_are_broken_outside_their_suffix(name, broken):
    assert make_breakable(name) == broken


def test_a_curve_is_the_mean_of_its_seeds_where_all_have_a_value():
    chart = charts.draw_lines(
        "loss",
        {
            "two": [[(0.0, 1.0), (10.0, 2.0), (20.0, 9.0)], [(0.0, 3.0), (10.0, 4.0)]],
            "one": [[(0.0, 0.0), (20.0, 0.0)]],
            "none": [[(0.0, math.nan), (10.0, math.inf)]],
        },
    )
    assert [line.name for line in chart.lines] == ["two", "one"]
    assert "two ends at 3;" in chart.about
    two, one = chart.lines
    assert [mark.text for mark in two.marks] == [
        "two, 0 images: 2 ± 1",
        "two, 10 images: 3 ± 1",
    ]
    assert two.band.count(",") == 4
    assert one.band == ""
    xs = [float(pair.split(",")[0]) for pair in one.points.split()]
    assert xs == [charts.LEFT, charts.WIDTH - charts.RIGHT]
    assert charts.draw_lines("loss", {"a": [[(0.0, 1.0)]]}) is None
    long = [(float(x), float(x)) for x in range(10_001)]
    (line,) = charts.draw_lines("loss", {"a": [long]}).lines
    assert line.points.count(",") <= charts.POINTS
    assert line.marks == []


def test_report_of_one_run_holds_its_figures(runs, tmp_path, capsys):
    out = tmp_path / "page.html"
    main(["report", str(runs / "bake-0"), "--out", str(out), "--size", "16"])
    assert "written to" in capsys.readouterr().out
    page = out.read_text()
    result = json.loads((runs / "bake-0" / "result.json").read_text())
    for figure in (f"{result['last']['top1']:.2f}%", f"{result['last']['nll']:.4f} nats"):
        assert figure in page
    for title in ("Test top-1, %", "Training distillation", "Learning rate", "Who teaches whom"):
        assert title in page
    assert not re.search(r"(src|href)=.https?:", page)
    assert re.search(r'"omega": 0\.5', page)
    found = re.search(r'id="confusion-data">(.*?)</script>', page)[1]
    cells = json.loads(found)["cells"]
    assert sum(images for _, _, images in cells) == 1497
    right = sum(images for label, guess, images in cells if label == guess)
    assert 100 * right / 1497 == pytest.approx(result["last"]["top1"], abs=1e-3)
    assert "Balanced accuracy" in page


def test_report_of_several_runs_compares_them(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["report", str(runs)])
    assert "runs/comparison/report.html" in capsys.readouterr().out
    page = (tmp_path / "runs" / "comparison" / "report.html").read_text()
    assert "Comparison of runs" in page
    for method in ("bake", "cross-entropy"):
        values = [
            json.loads((runs / f"{method}-{seed}" / "result.json").read_text())["last"]["top1"]
            for seed in (0, 1)
        ]
        error = abs(values[0] - values[1]) / 2
        assert f"{sum(values) / 2:.2f} ± {error:.2f}" in page
    assert 'class="band"' in page


def test_what_cannot_be_had_is_left_out_and_told(runs, tmp_path):
    unfinished = tmp_path / "unfinished"
    shutil.copytree(runs / "bake-0", unfinished)
    (unfinished / "result.json").unlink()
    assert write_report([RunFolder(unfinished)], tmp_path / "a.html", QUIET) == [
        f"{unfinished}: not finished"
    ]
    assert "Curves" in (tmp_path / "a.html").read_text()
    assert "Who teaches whom" not in (tmp_path / "a.html").read_text()
    both = [RunFolder(runs / "cross-entropy-0"), RunFolder(unfinished)]
    assert write_report(both, tmp_path / "b.html", QUIET, size=8) == [f"{unfinished}: not finished"]
    assert "bake (unfinished, not finished)" in (tmp_path / "b.html").read_text()

    # Two of them are not one variant with two seeds, and they answer a question, too.
    further = tmp_path / "further"
    shutil.copytree(unfinished, further)
    write_report([RunFolder(unfinished), RunFolder(further)], tmp_path / "d.html", QUIET)
    page = (tmp_path / "d.html").read_text()
    assert "bake (further, not finished)" in page
    assert 'class="band"' not in page
    text = (further / "recipe.yaml").read_text()
    (further / "recipe.yaml").write_text(text.replace("name: digits", "name: cifar10"))
    with pytest.raises(UserError, match=r"cannot be compared: data\.name is cifar10 and digits"):
        write_report([RunFolder(unfinished), RunFolder(further)], tmp_path / "d.html", QUIET)

    weightless = tmp_path / "weightless"
    shutil.copytree(runs / "bake-0", weightless)
    (weightless / "model.safetensors").write_bytes(struct.pack("<Q", 3) + b"{}x")
    (told,) = write_report([RunFolder(weightless)], tmp_path / "c.html", QUIET)
    assert "not a file of weights" in told
    assert "not a file of weights" in (tmp_path / "c.html").read_text()


def test_the_page_says_what_its_table_is_measured_by(runs, tmp_path):
    folders = [RunFolder(runs / f"{m}-{s}") for m in ("bake", "cross-entropy") for s in (0, 1)]
    write_report(folders, tmp_path / "a.html", QUIET)
    assert "over cross-entropy (p)" in (tmp_path / "a.html").read_text()
    write_report(folders, tmp_path / "a.html", QUIET, baseline="bake")
    assert "over bake (p)" in (tmp_path / "a.html").read_text()
    assert "best epoch on test" not in (tmp_path / "a.html").read_text()
    best = []
    for folder in folders:
        best.append(RunFolder(tmp_path / folder.path.name))
        shutil.copytree(folder.path, best[-1].path)
        text = best[-1].recipe.read_text().replace("report: last", "report: best-on-test")
        best[-1].recipe.write_text(text)
    write_report(best, tmp_path / "b.html", QUIET)
    page = (tmp_path / "b.html").read_text()
    assert "top-1 %, best epoch on test" in page
    assert "chosen on the test set; p of" in page


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["report", "{tmp}/nowhere"], "there is no folder"),
        (["report", "{tmp}"], "neither a run folder nor a folder of some"),
        (["report", "{run}", "--size", "1"], "--size: expected a number of at least 2"),
        (["report", "{run}", "--out", "{tmp}"], "is a folder; expected a file's name"),
        (["report", "{run}", "--out", "{run}/recipe.yaml/x.html"], "recipe.yaml is a file"),
        (["report", "{run}", "--device", "gpu"], "gpu"),
        (["inspect", "{tmp}"], "is not a run folder"),
        (["inspect", "{run}", "--ema"], "there is no model_ema.safetensors"),
        (["inspect", "{run}", "--images", "{tmp}/x"], "--images: there is no folder"),
    ],
)
def test_mistakes_end_in_one_line(runs, tmp_path, capsys, arguments, told):
    given = [word.format(tmp=tmp_path, run=runs / "bake-0") for word in arguments]
    with pytest.raises(SystemExit) as caught:
        main(given)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert told in line


def folder_of_odd_names(root):
    """Pictures of two classes whose names would do harm if they were taken as HTML."""
    names = ["<img src=x onerror=alert(1)>", "\"><script>alert('2')<&"]
    for split in ("train", "val"):
        for number, name in enumerate(names):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(12):
                shade = 20 * index if number else 255 - 20 * index
                Image.new("L", (8, 8), shade).save(folder / f"{index}.png")
    return names


def test_page_in_a_browser(tmp_path, opened_page):
    names = folder_of_odd_names(tmp_path / "<b>data")
    own = recipe(
        ("data", f"imagefolder:{tmp_path / '<b>data'}"),
        ("data.channels", "1"),
        ("data.workers", "0"),
        ("training.batch_size", "16"),
        ("training.epochs", "12"),
        ("training.log_every", "1"),
        ("method.partners", "1"),
    )
    run = RunFolder(tmp_path / "<i>run")
    train(own, run.path, console=QUIET)
    assert write_report([run], run.report, QUIET) == []
    with opened_page(run.report) as page:
        assert page.get_by_role("heading", level=1).inner_text() == "<i>run"
        assert "handwritten" not in page.locator("body").inner_text()  # the digits' description
        assert page.locator("img, i, b").count() == 0
        matrix = page.get_by_role("application", name="Confusion matrix of 2 classes")
        box = matrix.bounding_box()
        told = set()
        for x, y in ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)):
            matrix.hover(position={"x": x * box["width"], "y": y * box["height"]})
            told.add(page.locator("#confusion-cell").inner_text())
        assert len(told) == 4
        counts = [int(line.split()[0]) for line in told]
        assert sum(counts) == 24
        assert all(f"“{name}”" in " ".join(told) for name in names)
        last = page.locator("#confusion-cell").inner_text()
        matrix.press("ArrowLeft")
        assert page.locator("#confusion-cell").inner_text() in told - {last}
        page.keyboard.press("Shift+Tab")
        page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
        page.evaluate("document.body.tabIndex = -1; document.body.focus()")
        assert without_picture(page) == 0
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Figures"
        for name in names:
            assert page.get_by_text(name, exact=True).count() > 0
        assert page.get_by_role("option").count() == 24
        page.get_by_role("option").nth(20).click()
        assert page.locator("[data-part=label]").inner_text() == names[0]
        # Each picture has something to be read by, each chart says where it ends.
        assert page.locator("svg[role=img]:not([aria-label])").count() == 0
        assert page.locator("svg[aria-label*='ends at']").count() >= 6
        assert no_wider_than_its_window(page)
        assert faults_of_access(page) == []
        page.emulate_media(color_scheme="dark")
        assert faults_of_access(page) == []
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert dark == "rgb(23, 24, 26)"
        page.set_viewport_size({"width": 375, "height": 700})
        assert no_wider_than_its_window(page)
        page.emulate_media(media="print")
        assert not page.get_by_role("navigation").is_visible()
        if page.pdf()[:4] != b"%PDF":
            pytest.fail("the page cannot be printed")


def test_comparison_in_a_browser(runs, tmp_path, opened_page):
    folders = [RunFolder(runs / f"{m}-{s}") for m in ("bake", "cross-entropy") for s in (0, 1)]
    assert write_report(folders, tmp_path / "page.html", QUIET) == []
    for width in (1200, 375):
        with opened_page(tmp_path / "page.html", width=width) as page:
            assert no_wider_than_its_window(page)
            rows = page.locator("table").first.locator("tbody tr")
            assert rows.count() == 2
            assert {rows.nth(k).locator("th").inner_text() for k in (0, 1)} == {
                "bake",
                "cross-entropy",
            }
            assert page.locator("polygon.band").count() > 4
            # Numbers on the axes are no smaller than 11 pixels.
            sizes = page.locator(".charts svg text").evaluate_all(
                "all => all.map("
                "one => one.getScreenCTM().a * parseFloat(getComputedStyle(one).fontSize))"
            )
            assert min(sizes) >= 11
            assert page.get_by_text("images seen", exact=True).count() >= 6
            assert faults_of_access(page) == []
