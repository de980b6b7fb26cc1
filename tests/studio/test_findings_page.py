"""Findings in a browser: copies, doubts and groups are decided on, and every decision is undone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fallow.studio.desk import Desk

WAIT = 15_000
KNOWN = {
    "exact_duplicates": [[2, 4], [6, 8, 10]],
    "changed_copies": [{"items": [12, 14], "keep": 14, "changes": ["half the size", None]}],
    "outliers": [20, 21],
}  # fmt: skip


@pytest.fixture(scope="module")
def studio(
    explored: Path, tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Any]
) -> Iterator[Any]:
    """A run of explore that found what is known here."""
    run = tmp_path_factory.mktemp("findings") / "explore"
    shutil.copytree(explored, run, ignore=shutil.ignore_patterns("studio"))
    desk = Desk.opened(run, explored.parent / "pictures")
    first, second = labelled(desk)[:2]
    suspects = [doubt(desk, first, "star", [4], []), doubt(desk, second, "dots", [], [5])]
    desk.findings = {**desk.findings, **KNOWN, "suspects": suspects}
    yield from start(desk)


def labelled(desk: Desk) -> list[int]:
    return np.flatnonzero(desk.base.column("label").is_valid().to_numpy()).tolist()


def doubt(desk: Desk, row: int, suggested: str, arguing: list[int], against: list[int]) -> Any:
    """A label that looks wrong, as explore says it."""
    label = desk.base.column("label")[row].as_py()
    return {"item": row, "label": label, "suggested": suggested, "confidence": 0.93,
            "for": arguing, "against": against}  # fmt: skip


@pytest.fixture
def part(page: Any, studio: Any) -> Iterator[Callable[[str], Any]]:
    """A section of the findings, shown; what a test decided is taken back."""

    def opened(key: str) -> Any:
        page.goto(page.url.split("#")[0] + f"#/findings?part={key}")
        page.wait_for_selector(f'.page-findings[data-drawn="{key}"]', timeout=WAIT)
        return page

    yield opened
    while studio.desk.changes.done:
        studio.desk.undo()


def cells(studio: Any, name: str) -> list[Any]:
    table = studio.desk.table
    return table.column(name).to_pylist() if name in table.column_names else [None] * len(table)


def excluded(studio: Any) -> list[int]:
    return [row for row, cell in enumerate(cells(studio, "excluded")) if cell]


def decided(page: Any, version: int) -> None:
    page.wait_for_selector(f'.page-findings[data-version="{version}"]', timeout=WAIT)


def test_one_copy_is_kept_and_the_decision_undone(part: Any, studio: Any) -> None:
    page, version = part("copies:exact"), studio.desk.version
    assert page.locator(".card").count() == 2
    page.locator(".card").nth(1).get_by_role("button", name="Keep this one").nth(1).click()
    decided(page, version + 1)
    assert excluded(studio) == [6, 10]
    assert page.locator(".sections [aria-current] .count").inner_text() == "1"
    page.keyboard.press("Control+z")
    decided(page, version + 2)
    assert excluded(studio) == []


def test_both_copies_stay(part: Any, studio: Any) -> None:
    page, version = part("copies:changed"), studio.desk.version
    assert page.locator(".change").inner_text() == "half the size"
    assert page.locator(".tile-figure").first.locator(".mark").inner_text() == "proposed to keep"
    page.locator(".card").focus()
    page.keyboard.press("k")  # keep both
    decided(page, version + 1)
    assert excluded(studio) == []
    assert page.locator(".card.decided .verdict").inner_text() == "kept all"


def test_the_proposed_ones_are_kept_in_one_go(part: Any, studio: Any) -> None:
    page, version = part("copies:exact"), studio.desk.version
    page.get_by_role("button", name="Keep one of each").click()
    page.locator("dialog").get_by_role("button", name="Keep one of each").click()
    decided(page, version + 1)
    assert excluded(studio) == [4, 8, 10]


def test_doubtful_labels_are_accepted_or_confirmed(part: Any, studio: Any) -> None:
    page, version = part("suspects"), studio.desk.version
    first, second = labelled(studio.desk)[:2]
    given = cells(studio, "label")[first]
    assert page.locator(".turn").first.inner_text().split()[:3] == [given, "→", "star"]
    page.locator(".card").first.focus()
    page.keyboard.press("a")
    decided(page, version + 1)
    assert cells(studio, "label")[first] == "star"
    page.wait_for_selector(":focus .turn b:text-is('dots')")
    page.keyboard.press("k")
    decided(page, version + 2)
    assert cells(studio, "label_seen")[second] == "yes"
    assert page.locator(".sections [data-part=suspects] .count").inner_text() == "done"


def test_a_name_labels_a_group(part: Any, studio: Any) -> None:
    page, version = part("groups"), studio.desk.version
    before, group = cells(studio, "label"), cells(studio, "group")
    card = page.locator(".card").first
    number = int(card.locator("h3").first.inner_text().split()[-1]) - 1
    card.locator("form input").first.fill("tile")
    card.get_by_role("button", name="Label them").first.click()
    decided(page, version + 1)
    assert cells(studio, "label") == [
        "tile" if of == number and label is None else label
        for of, label in zip(group, before, strict=True)
    ]


def test_a_picture_is_seen_large(part: Any, studio: Any) -> None:
    page = part("copies:exact")
    page.get_by_role("button", name="See picture 2 large").first.click()
    page.wait_for_selector("dialog .whole[src]", timeout=WAIT)
    name = cells(studio, "path")[2].split("/")[-1]
    assert page.locator("dialog h2").inner_text() == name
    page.get_by_role("link", name="Show on the map").click()
    page.wait_for_selector("html[data-shown=map]", timeout=WAIT)
    assert page.locator("dialog").count() == 0


def test_pictures_to_label_next_are_labelled(part: Any, studio: Any) -> None:
    page, version = part("next"), studio.desk.version
    page.locator(".grid .cell").first.click()
    page.locator("#label").fill("fern")
    page.keyboard.press("Enter")
    decided(page, version + 1)
    row = cells(studio, "label").index("fern")
    assert page.locator(f'.grid .cell[data-row="{row}"] b').inner_text() == "fern"


def test_strays_are_excluded(part: Any, studio: Any) -> None:
    page, version = part("outliers"), studio.desk.version
    page.locator(".grid .cell").first.click()
    page.get_by_role("button", name="Exclude").click()
    decided(page, version + 1)
    assert excluded(studio) == [20]


def test_every_section_opens_on_a_tablet_in_the_dark(part: Any) -> None:
    page = part("copies:exact")
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 820, "height": 1100})
    keys = page.locator(".sections a").evaluate_all("all => all.map(one => one.dataset.part)")
    assert keys[-1] == "draw"
    for key in keys:
        part(key)
        assert page.evaluate("document.querySelector('.body').scrollWidth") <= 820


@pytest.mark.parametrize("key", ["copies:exact", "suspects", "groups", "outliers", "draw"])
def test_axe_finds_nothing(part: Any, findings_of_axe: Any, key: str) -> None:
    assert findings_of_axe(part(key)) == []
