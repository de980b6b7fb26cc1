"""The shell in a browser: every page opens by its link, without a console error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from test_drawn import segmented

from fallow.studio.app import PARTS
from fallow.studio.desk import Desk


def test_every_page_opens(page: Any) -> None:
    page.wait_for_selector("html[data-shown]")
    links = page.locator("#pages a")
    assert links.count() == len(PARTS)
    for place in range(links.count()):
        name = links.nth(place).get_attribute("data-page")
        links.nth(place).click()
        page.wait_for_selector(f'html[data-shown="{name}"]')
        assert links.nth(place).get_attribute("aria-current") == "page"
    assert "token" not in page.url
    page.keyboard.press("?")
    assert page.locator("dialog dt").count() >= 2


def test_keys_are_spelt_as_people_know_them(page: Any) -> None:
    page.goto(page.url.split("#")[0] + "#/collection")
    page.wait_for_selector('html[data-shown="collection"]')
    page.keyboard.press("?")
    keys = page.locator("dialog dt").all_inner_texts()
    assert keys[-2:] == ["?", "Alt + 1"]  # those of every page last
    assert {"Ctrl + A", "Esc", "L"} <= set(keys)


def test_a_run_without_its_pictures_says_so(visit: Any, start: Any, tmp_path: Path) -> None:
    pictures, run = segmented(tmp_path)
    for given, count in ((None, 1), (pictures, 0)):
        running = start(Desk.opened(run, given))
        page = visit(next(running))
        page.wait_for_selector("html[data-shown]")
        assert page.get_by_text("open it with --pictures").count() == count
        page.close()  # or it asks a studio that is gone
        next(running, None)
