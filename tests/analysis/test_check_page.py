"""The page of a check in a real browser."""

import pytest
from helpers.browser import faults_of_access, no_wider_than_its_window, without_picture
from helpers.faulty import faulty_folder, sound_folder

from torchbake.analysis.check.check import check_data
from torchbake.analysis.check.page import make_page
from torchbake.recipe import DataRecipe


@pytest.fixture(scope="module")
def page_of_faults(tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    faulty_folder(root / "data")
    odd = root / "data" / "train" / "emu" / "<img src=x onerror=alert(1)>.jpg"
    odd.write_bytes(b"no picture")
    check = check_data(DataRecipe(f"imagefolder:{root / 'data'}"))
    (root / "check.html").write_text(make_page(check, 24), encoding="utf-8")
    return root / "check.html", check


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_shows_every_finding_with_its_pictures(page_of_faults, opened_page, scheme):
    path, check = page_of_faults
    with opened_page(path, width=375, height=700, scheme=scheme) as page:
        assert no_wider_than_its_window(page)
        assert faults_of_access(page) == []
        assert without_picture(page) == 0
        assert page.locator("section").count() == len(check.findings)
        assert page.locator(".level.serious").count() == check.problems
        for number, finding in enumerate(check.findings):
            section = page.locator("section").nth(number)
            assert finding.about.title in section.locator("h2").text_content()
            assert section.locator(".thing").count() == len(finding.items)
            assert section.locator("li.group").count() == len(
                {i.group for i in finding.items} - {0}
            )
            readable = finding.kind not in ("unreadable", "damaged", "too-deep")
            pictures = [item for item in finding.items if item.index is not None and readable]
            assert section.locator(".picture").count() == len(pictures)


def test_few_pictures_of_each_finding_and_none_where_nothing_is_found(tmp_path, opened_page):
    root = sound_folder(tmp_path / "data")
    check = check_data(DataRecipe(f"imagefolder:{root}"))
    (tmp_path / "check.html").write_text(make_page(check, 24), encoding="utf-8")
    with opened_page(tmp_path / "check.html") as page:
        assert "Nothing found." in page.locator("main").text_content()
        assert faults_of_access(page) == []
    for number in range(5):
        (root / "train" / "cat" / f"words{number}.txt").write_text("")
        for label in ("cat", "dog"):
            copy = (root / "train" / label / f"{number}.jpg").read_bytes()
            (root / "val" / label / f"copy{number}.jpg").write_bytes(copy)
    check = check_data(DataRecipe(f"imagefolder:{root}"))
    (tmp_path / "check.html").write_text(make_page(check, 5), encoding="utf-8")
    with opened_page(tmp_path / "check.html") as page:
        copies, files = page.locator("section").all()
        assert copies.locator("li.group").count() == 2  # and no half of a third
        assert "and 16 more" in copies.text_content()
        assert files.locator(".thing").count() == 5
        assert "more" not in files.text_content()
