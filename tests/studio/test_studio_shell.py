"""The shell in a browser: every page opens by its link, without a console error."""

from __future__ import annotations

from typing import Any

from fallow.studio.app import PARTS


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
