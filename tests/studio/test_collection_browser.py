"""The collection in a browser: the grid, filters, search by picture, labels, without a mouse."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
from studio_running import HOSTILE, started

from fallow.images.samples import shapes
from fallow.outcomes import save_picture
from fallow.studio.desk import Desk


def shown(page: Any, studio: Any, words: str = "") -> Any:
    """The page with its grid drawn."""
    page.goto(f"http://127.0.0.1:{studio.port}/#/collection{words}")
    page.reload()
    page.wait_for_selector('html[data-shown="collection"]')
    page.wait_for_selector(".grid .cell img")
    return page


def state(page: Any, text: str) -> None:
    says(page, "#state", text)


def says(page: Any, selector: str, text: str) -> None:
    """Wait until the first such element has a text (the policy forbids scripts that would)."""
    page.locator(selector).filter(has_text=text).first.wait_for(state="attached")


def labels(page: Any, tmp_path: Path) -> dict[str, str]:
    """What the button exports."""
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Export labels").click()
    waiting.value.save_as(tmp_path / "labels.csv")
    with open(tmp_path / "labels.csv", encoding="utf-8", newline="") as file:
        return {row["path"]: row["label"] for row in csv.DictReader(file)}


def test_pictures_are_shown_and_names_are_text(page: Any, studio: Any) -> None:
    shown(page, studio)
    state(page, "48 pictures")
    page.locator(".cell .said b").nth(3).wait_for()
    path = studio.desk.table.column("path")[0].as_py()
    assert path == HOSTILE
    assert path in page.locator(".cell").first.inner_text()
    assert page.locator(".cell").first.locator("img").count() == 1
    width = page.evaluate("document.querySelector('.grid img').naturalWidth")
    assert width == 48


def test_keys_move_open_and_close(page: Any, studio: Any) -> None:
    shown(page, studio)
    for key in ("ArrowRight", "ArrowDown", "End", "Home", "ArrowRight"):
        page.keyboard.press(key)
    assert page.locator(".grid").get_attribute("aria-activedescendant") == "cell-1"
    page.keyboard.press("Shift+ArrowRight")
    assert page.locator('.cell[aria-selected="true"]').count() == 2
    page.keyboard.press("Enter")
    page.wait_for_selector(".one .neighbour img[src]")
    assert page.locator(".one .neighbour").count() == 10
    name = studio.desk.table.column("path")[2].as_py()
    assert page.locator(".one h2").get_attribute("title") == name
    page.keyboard.press("Escape")  # the choice first, then the panel
    page.keyboard.press("Escape")
    assert page.locator(".one").is_hidden()


def test_filters_leave_what_they_say(page: Any, studio: Any) -> None:
    shown(page, studio)
    page.get_by_role("button", name=re.compile("^ring")).first.click()
    state(page, "6 of 48 pictures")
    assert "ring" in page.url
    page.locator("#where").fill("width > 1000")
    page.keyboard.press("Enter")
    page.wait_for_selector(".empty-state")
    page.get_by_role("button", name="Show all").click()
    state(page, "48 pictures")
    page.locator("#where").fill("widht > 10")
    page.keyboard.press("Enter")
    says(page, ".wrong", "did you mean width?")
    # the answer 400 is an error to the console, and the sentence is what people see
    page.errors[:] = [each for each in page.errors if "400" not in each]


def test_an_address_brings_its_filter(page: Any, studio: Any) -> None:
    shown(page, studio, "?where=label+is+null&sort=-path")
    state(page, "24 of 48 pictures")
    assert page.locator("#where").input_value() == "label is null"
    first = page.locator(".cell").first
    order = sorted(
        (path for path, label in zip(studio.desk.table.column("path").to_pylist(),
                                     studio.desk.table.column("label").to_pylist(), strict=True)
         if label is None), reverse=True)  # fmt: skip
    first.filter(has_text=order[0].split("/")[-1]).wait_for()


def test_a_wrong_address_says_so_where_pictures_would_be(page: Any, studio: Any) -> None:
    page.goto(f"http://127.0.0.1:{studio.port}/#/collection?where=widht+%3E+10")
    page.reload()
    says(page, ".field-of-pictures [role=alert]", "did you mean width?")
    page.get_by_role("button", name="Show all").click()
    state(page, "48 pictures")
    page.errors[:] = [each for each in page.errors if "400" not in each]


def test_enter_presses_the_button_in_focus(page: Any, studio: Any) -> None:
    shown(page, studio)
    page.get_by_role("button", name=re.compile("^ring")).first.focus()
    page.keyboard.press("Enter")  # not the picture at hand
    state(page, "6 of 48 pictures")
    assert page.locator(".one").is_hidden()


def test_groups_are_called_as_on_the_map(page: Any, studio: Any) -> None:
    shown(page, studio)
    held = [one for one in studio.desk.table.column("group").to_pylist() if one is not None]
    chips = page.locator('[data-column="group"] .chip')
    names = {"none" if one < 0 else str(one + 1) for one in held}
    assert {chips.nth(k).inner_text().split()[0] for k in range(chips.count())} <= names


def test_a_dropped_picture_finds_its_like(page: Any, studio: Any, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    shown(page, studio)
    path = save_picture(tmp_path / "mine.png", studio.desk.images[7])
    page.locator("input[type=file]").set_input_files(path)
    page.wait_for_selector(".searched img")
    assert "mine.png" in page.locator(".searched p").inner_text()
    own = studio.desk.rows.tolist().index(7)
    expect(page.locator(".cell").first).to_have_attribute("data-row", str(own))
    page.get_by_role("button", name="End search").click()
    page.wait_for_selector(".searched", state="hidden")
    # the same by dragging, as a mouse would
    page.evaluate(
        """data => {
          const file = new File([Uint8Array.from(data)], "dragged.png", { type: "image/png" });
          const carried = new DataTransfer();
          carried.items.add(file);
          for (const name of ["dragover", "drop"])
            window.dispatchEvent(new DragEvent(name, { dataTransfer: carried, cancelable: true }));
        }""",
        list(path.read_bytes()),
    )
    says(page, ".searched p", "most like dragged.png")


def test_no_picture_at_all_is_said(page: Any, studio: Any, tmp_path: Path) -> None:
    shown(page, studio)
    (tmp_path / "text.png").write_text("no picture")
    page.locator("input[type=file]").set_input_files(tmp_path / "text.png")
    page.wait_for_selector("#toasts .problem")
    assert "holds text, not an image" in page.locator("#toasts .problem").inner_text()
    page.errors[:] = [each for each in page.errors if "400" not in each]


def test_labels_by_keyboard_undone_and_exported(page: Any, studio: Any, tmp_path: Path) -> None:
    shown(page, studio)
    assert page.locator(".labelling output").inner_text() == "this picture"
    before, version = labels(page, tmp_path), studio.desk.version
    paths = studio.desk.table.column("path").to_pylist()
    page.locator(".grid").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("l")
    page.keyboard.type("new moon")
    page.keyboard.press("Enter")
    page.wait_for_selector(f'.labelling[data-version="{version + 1}"]')
    says(page, ".cell b", "new moon")
    assert labels(page, tmp_path) == before | {paths[0]: "new moon", paths[1]: "new moon"}
    assert page.get_by_role("button", name=re.compile("^new moon")).count() == 1  # a filter, too
    page.keyboard.press("Escape")
    page.keyboard.press("Control+z")
    page.wait_for_selector(f'.labelling[data-version="{version + 2}"]')
    assert labels(page, tmp_path) == before
    page.keyboard.press("Control+y")
    page.wait_for_selector(f'.labelling[data-version="{version + 3}"]')
    assert labels(page, tmp_path)[paths[0]] == "new moon"
    page.get_by_role("button", name="Undo").click()
    page.wait_for_selector(f'.labelling[data-version="{version + 4}"]')
    assert labels(page, tmp_path) == before
    page.locator(".grid").focus()
    page.keyboard.press("Home")
    page.keyboard.press("1")  # the commonest
    page.wait_for_selector(f'.labelling[data-version="{version + 5}"]')
    studio.desk.undo()


def test_axe_finds_nothing(page: Any, studio: Any, findings_of_axe: Any) -> None:
    shown(page, studio)
    page.keyboard.press("Enter")
    page.wait_for_selector(".one .neighbour img[src]")
    assert findings_of_axe(page) == []


def test_a_tablet_shows_all_of_it(page: Any, studio: Any) -> None:
    page.set_viewport_size({"width": 820, "height": 1100})
    shown(page, studio)
    assert page.evaluate("document.documentElement.scrollWidth") == 820
    page.get_by_role("button", name="Filters").click()
    page.get_by_role("button", name=re.compile("^ring")).first.click()
    state(page, "6 of 48 pictures")
    page.get_by_role("button", name="Filters").click()
    page.locator(".cell").first.dblclick()
    page.wait_for_selector(".one .neighbour img[src]")
    box = page.locator(".one").bounding_box()
    assert box["x"] + box["width"] <= 820


def test_a_hundred_thousand_scroll_as_a_hundred_do(visit: Any) -> None:
    many = shapes(8, side=24).select(np.resize(np.arange(8), 100_000))
    running = started(Desk.opened(many))
    page = visit(next(running))
    state(page, "100,000 pictures")
    for key, place in (("End", 99_999), ("Home", 0), ("PageDown", None), ("End", 99_999)):
        page.keyboard.press(key)
        page.wait_for_selector(".cell.here img")
        if place is not None:
            assert page.locator(".cell.here").get_attribute("id") == f"cell-{place}"
        assert page.locator(".cell").count() < 120
    assert page.locator("#cell-99999").get_attribute("aria-setsize") == "100000"
    page.keyboard.press("Control+a")
    page.locator(".labelling output").filter(has_text="100,000 pictures").wait_for()
    next(running, None)
