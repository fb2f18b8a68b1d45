"""The contact sheet of an audit in a real browser."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from helpers.audits import FILES, ODD, odd_audit
from helpers.browser import faults_of_access, no_wider_than_its_window, without_picture
from helpers.images import quiet_progress

from torchbake.analysis.audit.page import make_page
from torchbake.data.sources.labels import Correction, read_labels


@pytest.fixture
def sheet(tmp_path):
    """The page of an audit of images and classes with odd names, and the audit."""
    audit = odd_audit(tmp_path)
    path = tmp_path / "audit.html"
    path.write_text(make_page(audit, 12), encoding="utf-8")
    return path, audit


def downloaded(page, path):
    with page.expect_download() as download:
        page.get_by_role("button", name="Download labels.csv").click()
    assert download.value.suggested_filename == "labels.csv"
    download.value.save_as(path)
    return read_labels(path)


def counts(page):
    return page.locator("#counts").text_content()


def current(page):
    return page.locator("article.current h2 .rank").text_content()


def test_decided_by_mouse(sheet, opened_page, tmp_path):
    path, audit = sheet
    with opened_page(path) as page:
        assert counts(page) == "0 of 12 decided: 0 kept, 0 changed, 0 dropped"
        cards = page.locator("article")
        first = cards.nth(0)
        assert first.locator("h2").text_content() == f"1 {FILES[0]}"
        assert ODD[0] in first.locator("dl").text_content()
        first.get_by_text("drop", exact=True).click()
        cards.nth(1).get_by_text("keep", exact=True).click()
        # Choosing a class is deciding to change.
        select = cards.nth(2).locator("select")
        assert select.locator("option").count() == 1
        select.focus()
        assert select.locator("option").all_text_contents() == ODD
        given = audit.classes[int(audit.train.labels[2])]
        chosen = next(name for name in ODD if name != given)
        select.select_option(chosen)
        assert counts(page) == "3 of 12 decided: 1 kept, 1 changed, 1 dropped"
        assert downloaded(page, tmp_path / "labels.csv") == [
            Correction(0, FILES[0], ODD[0], ""),
            Correction(2, FILES[2], given, chosen),
        ]
        # They are there when the page is opened again.
        page.reload()
        assert counts(page) == "3 of 12 decided: 1 kept, 1 changed, 1 dropped"
        assert cards.nth(2).locator("select").input_value() == chosen


def test_decided_by_keyboard(sheet, opened_page, tmp_path):
    path, audit = sheet
    order = audit.order[:12].tolist()
    with opened_page(path) as page:
        for key in ("c", "d", "k", "ArrowDown", "j", "ArrowUp", "c"):
            page.keyboard.press(key)
        assert current(page) == "6"
        assert counts(page) == "4 of 12 decided: 1 kept, 2 changed, 1 dropped"
        found = {row.index: row for row in downloaded(page, tmp_path / "labels.csv")}
        names = audit.classes
        assert found.keys() == {order[0], order[1], order[4]}
        for place in (0, 4):
            index = order[place]
            assert found[index].label == names[int(audit.suspicion.suggested[index])]
            assert found[index].given == names[int(audit.train.labels[index])]
        assert found[order[1]].label == ""
        for _ in range(20):
            page.keyboard.press("j")
        assert current(page) == "12"
        # In a list of classes letters choose a class, and with a modifier they are the browser's.
        page.locator("article").nth(7).locator("select").focus()
        page.keyboard.press("d")
        page.locator("article").nth(8).get_by_label("keep").focus()
        page.keyboard.press("Control+d")
        page.get_by_role("button", name="Download labels.csv").focus()
        page.keyboard.press("d")
        assert counts(page).startswith("4 of 12")
        # A key that is held decides once.
        page.locator("article").nth(6).focus()
        for _ in range(3):
            page.keyboard.down("d")
        assert counts(page).startswith("5 of 12")


def test_a_class_chosen_by_mouse_is_not_changed_by_the_next_key(sheet, opened_page):
    path, _ = sheet
    with opened_page(path) as page:
        select = page.locator("article").nth(2).locator("select")
        select.dispatch_event("pointerdown")
        select.focus()
        select.select_option(ODD[1])
        page.keyboard.press("ArrowDown")
        assert select.input_value() == ODD[1]
        assert current(page) == "4"


def test_decisions_on_images_that_are_not_on_the_page_stay(sheet, opened_page, tmp_path):
    path, audit = sheet
    with opened_page(path) as page:
        for key in "ddddd":
            page.keyboard.press(key)
        # The page of fewer images stands at the same place, as one that is made anew does.
        path.write_text(make_page(audit, 2), encoding="utf-8")
        page.reload()
        page.keyboard.press("k")
        assert counts(page).startswith("2 of 2 decided: 1 kept, 0 changed, 1 dropped; and 3 on")
        found = [row.index for row in downloaded(page, tmp_path / "labels.csv")]
        assert found == sorted(audit.order[1:5].tolist())
        path.write_text(make_page(audit, 12), encoding="utf-8")
        page.reload()
        assert counts(page) == "5 of 12 decided: 1 kept, 0 changed, 4 dropped"


def test_a_page_that_is_given_an_empty_storage_replaces_nothing_in_it(sheet, browser):
    path, _ = sheet
    # A file of its own, lest the browser takes it from its cache.
    blind = path.with_name("blind.html")
    text = path.read_text(encoding="utf-8").replace("Object.keys(localStorage)", "[]")
    blind.write_text(text, encoding="utf-8")
    handler = partial(SimpleHTTPRequestHandler, directory=path.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, browser.new_context() as context:
        Thread(target=server.serve_forever, daemon=True).start()

        def opened(file, keys):
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{server.server_port}/{file.name}")
            before = counts(page)
            for key in keys:
                page.keyboard.press(key)
            return before

        opened(path, "d")
        assert opened(blind, "jjk").startswith("0 of 12")
        assert opened(path, "") == "2 of 12 decided: 1 kept, 0 changed, 1 dropped"
        server.shutdown()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone_and_follows_the_colours(sheet, opened_page, scheme):
    path, _ = sheet
    with opened_page(path, width=375, height=700, scheme=scheme) as page:
        assert no_wider_than_its_window(page)
        assert faults_of_access(page) == []
        assert without_picture(page) == 0
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, colour[4:-1].split(","))) > 384) == (scheme == "light")
        page.keyboard.press("c")
        assert page.locator(".bar").bounding_box()["y"] >= 0


def test_works_where_nothing_can_be_stored(sheet, opened_page, tmp_path):
    path, _ = sheet
    refusing = path.read_text(encoding="utf-8").replace(
        '"use strict";',
        '"use strict"; Object.defineProperty(window, "localStorage", '
        '{ get() { throw new DOMException("refused", "SecurityError"); } });',
    )
    path.write_text(refusing, encoding="utf-8")
    with opened_page(path) as page:
        page.keyboard.press("d")
        assert "this browser cannot keep your decisions" in counts(page)
        assert len(downloaded(page, tmp_path / "labels.csv")) == 1


def test_the_file_that_is_downloaded_is_one_to_train_on(tmp_path, opened_page):
    from helpers.training_runs import QUIET, recipe

    from torchbake.analysis.audit.rank import audit_run
    from torchbake.data.loading.open_data import open_data
    from torchbake.recipe import DataRecipe
    from torchbake.training.loop import train
    from torchbake.training.opened_run import open_run

    train(recipe(("data.label_noise", "0.2")), tmp_path / "run", console=QUIET)
    opened = open_run(tmp_path / "run", console=QUIET)
    audit = audit_run(opened, ema=False, rounds=1, seed=0, console=QUIET)
    (tmp_path / "audit.html").write_text(make_page(audit, 5), encoding="utf-8")
    with opened_page(tmp_path / "audit.html") as page:
        for key in "ccdkc":
            page.keyboard.press(key)
        assert len(downloaded(page, tmp_path / "labels.csv")) == 4
    settings = DataRecipe(label_noise=0.2, labels=str(tmp_path / "labels.csv"))
    changed = open_data(settings, quiet_progress).source.train
    assert len(changed) == 299
