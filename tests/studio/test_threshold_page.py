"""Anomalies in a browser: the threshold decides what lies above, the heat what is marked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from fallow.images.samples import parts
from fallow.outcomes import save_picture
from fallow.studio.desk import Desk
from fallow.studio.spotted import scores

WAIT = 15_000


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Any]) -> Iterator[Any]:
    """A run of spot on a few plates."""
    from fallow.verbs.spot import spot

    folder, made = tmp_path_factory.mktemp("spot"), parts(9, seed=2, side=64)
    for row, label in enumerate(made.column("label")):
        save_picture(folder / "plates" / str(label) / f"{row}.png", made[row])
    spot(folder / "plates", encoder="tiny", out=folder / "run", settings={"size": 64})
    yield from start(Desk.opened(folder / "run", folder / "plates"))


@pytest.fixture
def anomalies(page: Any, studio: Any) -> Iterator[Any]:
    page.goto(page.url.split("#")[0] + "#/findings?part=spotted")
    page.wait_for_selector('.page-findings[data-heat="9"]', timeout=WAIT)
    yield page
    while studio.desk.changes.done:
        studio.desk.undo()


def move(page: Any, slider: str, value: float) -> None:
    """The slider, moved there."""
    script = "(node, value) => { node.value = value; node.dispatchEvent(new Event('input')); }"
    page.locator(slider).evaluate(script, value)


def test_the_threshold_decides_what_lies_above(anomalies: Any, studio: Any) -> None:
    found = scores(studio.desk)
    assert (np.diff(found) <= 0).all()
    for count in (0, 3, 9):
        edges = np.concatenate(
            [[found[0] + 0.01], (found[:-1] + found[1:]) / 2, [found[-1] - 0.01]]
        )
        move(anomalies, "#threshold", float(edges[count]))
        reached = float(anomalies.locator("#threshold").input_value())  # the slider goes in steps
        expected = int((found > reached).sum())
        assert abs(expected - count) <= 1
        assert anomalies.locator(".page-findings").get_attribute("data-above") == str(expected)
        assert anomalies.locator(".spotted.above").count() == expected
        assert anomalies.locator(".slider output").inner_text().startswith(f"{expected} of 9 above")


def test_keys_move_the_threshold(anomalies: Any) -> None:
    anomalies.locator("#threshold").focus()
    anomalies.keyboard.press("Home")
    assert anomalies.locator(".spotted.above").count() == 9
    text = anomalies.locator(".slider output").inner_text()
    assert text.endswith("among them 3 of 3 known odd")


MARKED = """[...document.querySelectorAll(".heat")].map(layer => {
  const seen = layer.getContext("2d").getImageData(0, 0, layer.width, layer.height).data;
  return seen.filter((value, k) => k % 4 === 3 && value).length / (layer.width * layer.height);
})"""


def test_less_heat_is_shown_from_a_higher_mark_on(anomalies: Any) -> None:
    shares = []
    for level in (0, 90, 180, 256):
        move(anomalies, "#heat", level)
        shares.append(np.array(anomalies.evaluate(MARKED)))
    assert (shares[0] == 1).all()
    assert all((less <= more).all() for more, less in pairwise(shares))
    assert 0 < shares[1].mean() < 1


def test_those_above_are_labelled_together(anomalies: Any, studio: Any) -> None:
    move(anomalies, "#threshold", float(scores(studio.desk)[1:3].mean()))
    above = int(anomalies.locator(".page-findings").get_attribute("data-above"))
    assert above in (1, 2, 3)
    anomalies.get_by_label("Label for those above").fill("defect")
    version = studio.desk.version
    anomalies.keyboard.press("Enter")
    anomalies.wait_for_selector(f'.page-findings[data-version="{version + 1}"]', timeout=WAIT)
    labels = studio.desk.table.column("label").to_pylist()
    assert [label == "defect" for label in labels] == [True] * above + [False] * (9 - above)


def test_axe_finds_nothing(anomalies: Any, findings_of_axe: Any) -> None:
    assert findings_of_axe(anomalies) == []
