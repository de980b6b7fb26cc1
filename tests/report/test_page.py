"""Pages escape what files say and stand alone."""

from __future__ import annotations

import re

import numpy as np
import pytest
from report_sample import Outline

from fallow.report.page import Html, Page, data, element, escape, facts, show, static, table


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>.jpg", '"><img src=x onerror=alert(1)>.jpg', "a&b'c.jpg"],
)
def test_names_survive_escaping_as_text(name: str) -> None:
    page = Page(name, subtitle=name)
    page.section(name, table([name], [[name]]), element("a", name, title=name), intro=name)
    outline = Outline(page.html())
    assert outline.count("script") == 1  # the page's own
    assert outline.count("img") == 0
    assert sum(name in words for words in outline.words) >= 5
    assert ("title", name) in [pair for _, attrs in outline.tags for pair in attrs.items()]


def test_undecodable_and_control_characters_become_printable() -> None:
    name = b"caf\xe9\x07.jpg".decode("utf-8", "surrogateescape")
    text = escape(name)
    assert text.encode()  # would raise on a lone surrogate
    assert "\x07" not in text
    assert text.startswith("caf")


def test_markup_is_not_escaped_twice() -> None:
    assert element("p", Html("<b>x</b>"), " & ", None) == "<p><b>x</b> &amp; </p>"


def test_data_cannot_close_its_script() -> None:
    text = data({"path": "</script><script>alert(1)//", "bad": float("inf")}, "data")
    assert text.count("</script>") == 1
    assert '"bad":null' in text


def test_page_loads_nothing_from_elsewhere() -> None:
    page = Page("plain")
    page.section("Numbers", facts({"a": 1}))
    text = page.html()
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text)
    assert "url(http" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_only_the_shipped_scripts_are_allowed_to_run() -> None:
    policy = re.search(r"script-src ([^;]+)", Page("x", scripts=["explore.js"]).html())
    assert policy is not None
    assert policy.group(1).count("sha256-") == 2
    assert "unsafe" not in policy.group(1)


def test_headings_are_in_order_and_the_page_says_its_language() -> None:
    page = Page("title")
    page.section("One", "text")
    page.section("Two")
    outline = Outline(page.html())
    assert [tag for tag, _ in outline.tags if tag in ("h1", "h2", "h3")] == ["h1", "h2", "h2"]
    assert ("html", {"lang": "en"}) in outline.tags
    assert [attrs["href"] for tag, attrs in outline.tags if tag == "a"] == [
        "#content", "#one", "#two"
    ]  # fmt: skip


def test_empty_section_says_so() -> None:
    page = Page("title")
    page.section("Outliers", None, empty="No image stands far from the others.", tools="Copy")
    text = page.html()
    assert "No image stands far from the others." in text
    assert ">Copy" not in text


def test_table_sets_numbers_to_the_right_and_missing_ones_too() -> None:
    text = table(["run", "k-NN"], [["a", 0.5], ["b", None]])
    assert text.count('class="number"') == 3  # heading and both cells
    assert "–" in text


def test_numbers_are_shown_for_readers() -> None:
    assert show(np.float32(0.25)) == "0.25"
    assert show(np.int64(12345)) == "12,345"
    assert show({"a": 1, "b_c": None}) == "a 1, b c –"


def test_static_files_ship_with_the_package() -> None:
    assert all(len(static(name)) > 1000 for name in ("page.css", "page.js", "explore.js"))
    assert "prefers-color-scheme: dark" in static("page.css")
    assert "@media print" in static("page.css")
    assert ":focus-visible" in static("page.css")
