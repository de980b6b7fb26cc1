"""Drawing in a browser: a brush corrects a mask, key points are dragged, both become versions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect
from test_drawn import segmented

from fallow import verbs
from fallow.studio.desk import Desk, Verbs
from fallow.studio.drawn import Drawn

WAIT = 15_000


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Any]) -> Iterator[Any]:
    pictures, run = segmented(tmp_path_factory.mktemp("drawing"))
    known = Verbs(verbs.names(), verbs.declaration, verbs.summary, verbs.by_purpose())
    yield from start(Desk.opened(run, pictures, verbs=known))


@pytest.fixture
def easel(page: Any, studio: Any) -> Iterator[Any]:
    page.goto(page.url.split("#")[0] + "#/findings?draw=0")
    page.wait_for_selector('.page-findings[data-easel="0"]', timeout=WAIT)
    yield page
    while studio.desk.changes.done:
        studio.desk.undo()


def at(easel: Any, x: float, y: float) -> tuple[float, float]:
    """Where a place of the picture (8 x 6) lies on the page."""
    box = easel.locator(".easel canvas").bounding_box()
    scale = min((box["width"] - 32) / 8, (box["height"] - 32) / 6)
    across, down = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    return across + (x - 4) * scale, down + (y - 3) * scale


def drag(easel: Any, *places: tuple[float, float]) -> None:
    easel.mouse.move(*at(easel, *places[0]))
    easel.mouse.down()
    for place in places[1:]:
        easel.mouse.move(*at(easel, *place), steps=12)
    easel.mouse.up()


def saved(easel: Any) -> None:
    before = easel.locator(".page-findings").get_attribute("data-saved")
    easel.keyboard.press("Control+s")
    page = easel.locator(".page-findings")
    expect(page).to_have_attribute("data-saved", re.compile(r"\d"), timeout=WAIT)
    if before is not None:
        expect(page).not_to_have_attribute("data-saved", before, timeout=WAIT)


def brush(easel: Any, width: int) -> None:
    script = "(node, value) => { node.value = value; node.dispatchEvent(new Event('input')); }"
    easel.locator(".kit [type=range]").evaluate(script, width)


def test_a_brush_corrects_the_mask(easel: Any, studio: Any) -> None:
    drawn = Drawn(studio.desk)
    expected = drawn.mask(0)
    brush(easel, 1)
    drag(easel, (0.5, 0.5), (6.5, 0.5))
    expected[0, :7] = 1
    saved(easel)
    np.testing.assert_array_equal(drawn.mask(0), expected)
    drag(easel, (2.5, 5.5), (2.5, 4.5))
    easel.keyboard.press("Control+z")  # on the easel, before anything is saved
    easel.keyboard.press("1")
    drag(easel, (2.5, 2.5), (4.5, 2.5))
    expected[2, 2:5] = 0
    saved(easel)
    np.testing.assert_array_equal(drawn.mask(0), expected)
    assert drawn.version(0, "mask_version") == 2


def test_keys_work_while_the_brush_has_the_focus(easel: Any) -> None:
    save, mask = easel.get_by_role("button", name="Save"), easel.locator(".kit [type=range]")
    drag(easel, (2.5, 2.5), (4.5, 2.5))
    expect(save).to_be_enabled()
    mask.focus()
    easel.keyboard.press("Control+z")
    expect(save).to_be_disabled()  # nothing is left to save
    easel.keyboard.press("Control+y")
    expect(save).to_be_enabled()
    easel.keyboard.press("Control+z")


def test_the_next_picture_follows(easel: Any) -> None:
    easel.keyboard.press("n")
    easel.wait_for_selector('.page-findings[data-easel="1"]', timeout=WAIT)
    expect(easel.get_by_role("button", name="The next picture (N)")).to_be_disabled()
    easel.get_by_role("button", name="The picture before (P)").click()
    easel.wait_for_selector('.page-findings[data-easel="0"]', timeout=WAIT)


def test_masks_are_painted_by_keys(easel: Any, studio: Any) -> None:
    drawn = Drawn(studio.desk)
    before = drawn.mask(0)
    brush(easel, 40)
    easel.locator(".easel canvas").focus()
    easel.keyboard.press(" ")
    saved(easel)
    assert before.sum() < drawn.mask(0).sum() == 48


def test_what_was_drawn_is_saved_when_the_easel_is_left(easel: Any, studio: Any) -> None:
    brush(easel, 40)
    drag(easel, (4, 3), (5, 3))
    version = studio.desk.version
    easel.keyboard.press("Escape")
    easel.wait_for_selector('.grid .cell[data-row="1"]', timeout=WAIT)
    expect(easel.locator("#toasts")).to_contain_text("version", timeout=WAIT)
    assert studio.desk.version == version + 1
    assert (Drawn(studio.desk).mask(0) == 1).all()


def test_key_points_are_added_dragged_and_hidden(easel: Any, studio: Any) -> None:
    drawn = Drawn(studio.desk)
    easel.get_by_role("radio", name="Key points").check()
    easel.get_by_label("Name of one more point").fill("nose")
    easel.keyboard.press("Enter")
    easel.mouse.click(*at(easel, 2, 1))
    drag(easel, (2, 1), (5, 4))
    saved(easel)
    (nose,) = drawn.points(0)
    assert nose.name == "nose"
    assert (nose.x, nose.y) == pytest.approx((4.5, 3.5), abs=0.1)
    easel.locator(".easel canvas").focus()
    easel.keyboard.press("ArrowLeft")
    saved(easel)
    assert drawn.points(0)[0].x == pytest.approx(3.5, abs=0.1)
    easel.keyboard.press("Delete")
    saved(easel)
    assert drawn.points(0)[0].x is None


def test_all_drawings_are_written_for_the_next_run(easel: Any, studio: Any) -> None:
    brush(easel, 40)
    drag(easel, (4, 3), (5, 3))
    saved(easel)
    easel.keyboard.press("Escape")
    easel.get_by_role("button", name="Write them for the next run").click()
    easel.wait_for_selector("#toasts >> text=1 mask in", timeout=WAIT)
    assert (studio.desk.run / "corrected" / "masks" / "a.png").is_file()
    easel.locator('.grid .cell[data-row="1"]').click()
    easel.wait_for_selector('.page-findings[data-easel="1"]', timeout=WAIT)


def test_axe_finds_nothing(easel: Any, findings_of_axe: Any) -> None:
    assert findings_of_axe(easel) == []
    easel.get_by_role("radio", name="Key points").check()
    assert findings_of_axe(easel) == []


def test_what_was_drawn_fills_the_form_of_the_next_run(easel: Any, studio: Any) -> None:
    brush(easel, 40)
    drag(easel, (4, 3), (5, 3))
    saved(easel)
    easel.keyboard.press("Escape")
    easel.get_by_role("button", name="Write them for the next run").click()
    easel.get_by_role("link", name="Learn masks from them").click()
    folder = Drawn(studio.desk).folder
    # the first form imports every verb, which a busy machine takes its time for
    expect(easel.locator("#field-masks")).to_have_value(str(folder / "masks"), timeout=8 * WAIT)
    expect(easel.locator("#field-classes")).to_have_value(str(folder / "classes.yaml"))
    expect(easel.locator("#field-source")).to_have_value(studio.desk.images.source)


def test_masks_of_all_pictures_are_laid_on_and_taken_off(page: Any, studio: Any) -> None:
    page.goto(page.url.split("#")[0] + "#/findings?part=draw")
    tools = page.get_by_role("group", name="Masks")
    toggle = tools.get_by_role("button", name="Masks")
    expect(toggle).to_have_attribute("aria-pressed", "true", timeout=WAIT)
    page.wait_for_selector(".cell img.mask", timeout=WAIT)
    page.keyboard.press("m")
    expect(toggle).to_have_attribute("aria-pressed", "false")
    expect(tools.get_by_role("slider", name="Strength of masks")).to_have_value("0")
    page.keyboard.press("m")
    expect(toggle).to_have_attribute("aria-pressed", "true")
