"""The map in a browser: the lasso takes what it encloses, labels and exclusions are undone."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fallow.studio.atlas import places

WAIT = 15_000


@pytest.fixture
def atlas(page: Any, studio: Any) -> Iterator[Any]:
    """The map, shown; what a test changed is taken back."""
    before = studio.desk.version
    page.goto(page.url.split("#")[0] + "#/map")
    page.wait_for_selector("html[data-shown=map]", timeout=WAIT)
    page.wait_for_selector(".page-map[data-shown]")
    yield page
    while studio.desk.version > before and studio.desk.changes.done:
        studio.desk.undo()


def to_page(atlas: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Where places of the map lie on the page, when everything is shown."""
    box = atlas.locator(".field canvas").nth(1).bounding_box()
    pad = 30  # as View has it

    def placed(points: np.ndarray) -> np.ndarray:
        size = np.array([box["width"], box["height"]])
        return np.array([box["x"], box["y"]]) + pad + points * (size - 2 * pad)

    return placed


def draw(atlas: Any, corners: np.ndarray) -> None:
    """Drag along a line that returns to its start."""
    atlas.mouse.move(*corners[0])
    atlas.mouse.down()
    for corner in [*corners[1:], corners[0]]:
        atlas.mouse.move(*corner, steps=6)
    atlas.mouse.up()


def enclosed(atlas: Any, studio: Any) -> np.ndarray:
    """Draw around the left half of the map; the rows that lie there."""
    points = places(studio.desk.base)
    corners = to_page(atlas)(np.array([[-0.03, -0.03], [0.5, -0.03], [0.5, 1.03], [-0.03, 1.03]]))
    atlas.get_by_role("button", name="Lasso").click()
    draw(atlas, corners)
    return np.flatnonzero(points[:, 0] < 0.5)


def saved(atlas: Any, name: str) -> list[dict[str, str]]:
    with atlas.expect_download() as waiting:
        atlas.get_by_role("button", name=name, exact=True).click()
    return list(csv.DictReader(Path(waiting.value.path()).open(encoding="utf-8")))


def test_the_lasso_takes_what_it_encloses(atlas: Any, studio: Any) -> None:
    expected = enclosed(atlas, studio)
    assert 5 < len(expected) < len(studio.desk) - 5
    atlas.wait_for_selector(f'.page-map[data-chosen="{len(expected)}"]', timeout=WAIT)
    rows = saved(atlas, "Export")
    assert {row["id"] for row in rows} == {studio.desk.ids[row] for row in expected}


def test_labels_by_lasso_are_undone(atlas: Any, studio: Any) -> None:
    before = studio.desk.table.column("label").to_pylist()
    expected = set(enclosed(atlas, studio).tolist())
    atlas.get_by_label("Label", exact=True).fill("moss")
    atlas.keyboard.press("Enter")
    atlas.wait_for_selector(".page-map[data-version]")
    after = studio.desk.table.column("label").to_pylist()
    assert after == ["moss" if row in expected else one for row, one in enumerate(before)]
    atlas.locator(".page-map h2").first.click()
    version = studio.desk.version
    atlas.keyboard.press("Control+z")
    atlas.wait_for_selector(f'.page-map[data-version="{version + 1}"]', timeout=WAIT)
    assert studio.desk.table.column("label").to_pylist() == before


def test_what_is_excluded_is_left_out_of_the_export(atlas: Any, studio: Any) -> None:
    expected = set(enclosed(atlas, studio).tolist())
    atlas.get_by_role("button", name="Exclude").click()
    atlas.wait_for_selector('.page-map[data-chosen="0"][data-version]', timeout=WAIT)
    rows = saved(atlas, "Export all as CSV")
    assert {row["id"] for row in rows} == {
        key for row, key in enumerate(studio.desk.ids) if row not in expected
    }


def test_pictures_are_chosen_without_a_mouse(atlas: Any, studio: Any) -> None:
    canvas = atlas.locator(".field canvas").nth(1)
    canvas.focus()
    atlas.keyboard.press("a")
    atlas.wait_for_selector(f'.page-map[data-chosen="{len(studio.desk)}"]', timeout=WAIT)
    atlas.keyboard.press("Escape")
    atlas.wait_for_selector('.page-map[data-chosen="0"]')
    canvas.focus()
    atlas.keyboard.press(" ")
    atlas.wait_for_selector('.page-map[data-chosen="1"]')
    canvas.focus()
    atlas.keyboard.press("Enter")
    atlas.wait_for_selector(".panel .facts dt:nth-child(1)", timeout=WAIT)


def test_a_colour_is_chosen_by_its_legend(atlas: Any, studio: Any) -> None:
    labels = studio.desk.table.column("label").to_pylist()
    atlas.get_by_label("Colour by").select_option("label")
    atlas.locator(".legend-row button", has_text="ring").click()
    atlas.get_by_role("button", name="Choose these").click()
    atlas.wait_for_selector(f'.page-map[data-chosen="{labels.count("ring")}"]', timeout=WAIT)


def test_a_dot_shows_its_picture_and_opens(atlas: Any, studio: Any) -> None:
    row = int(np.argmin(places(studio.desk.base)[:, 0]))
    x, y = to_page(atlas)(places(studio.desk.base)[row])
    atlas.mouse.move(x, y)
    atlas.wait_for_selector(".hover img[src]", timeout=WAIT)
    atlas.mouse.click(x, y)
    name = str(studio.desk.base.column("path")[row].as_py()).split("/")[-1]
    atlas.wait_for_selector(".panel .large img[src]", timeout=WAIT)
    assert atlas.locator(".panel h2").inner_text() == name


def test_axe_finds_nothing(atlas: Any, findings_of_axe: Any) -> None:
    assert findings_of_axe(atlas) == []
    atlas.locator(".field canvas").nth(1).focus()
    atlas.keyboard.press("a")
    atlas.wait_for_selector(".strip .pick img", timeout=WAIT)
    assert findings_of_axe(atlas) == []
