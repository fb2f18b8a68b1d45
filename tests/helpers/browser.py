"""A real browser for tests of pages: Debian's Chromium, driven by Playwright."""

import shutil
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser():
    """Chromium, started once."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened_page(browser):
    """Opens a file's page; nothing may be fetched, and nothing may go wrong in it."""

    @contextmanager
    def opened(path, *, width=1200, height=900, scheme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        page = context.new_page()
        told, asked = [], []
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("dialog", lambda dialog: told.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.absolute().as_uri())
        try:
            yield page
        finally:
            context.close()
        assert told == []
        requests = {url for url in asked if not url.startswith(("data:", "blob:"))}
        assert requests == {path.absolute().as_uri()}

    return opened


def no_wider_than_its_window(page):
    """Whether nothing has to be scrolled sideways."""
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def faults_of_access(page):
    """What axe-core finds in the page that would keep somebody from using it."""
    from axe_playwright_python.sync_playwright import Axe

    return [fault["help"] for fault in Axe().run(page).response["violations"]]


def without_picture(page):
    """How many elements that are to show a picture show none."""
    return page.evaluate(
        """[...document.querySelectorAll(".picture")].filter((one) => {
            const image = getComputedStyle(one).backgroundImage;
            return !image.startsWith('url("data:image/');
        }).length"""
    )
