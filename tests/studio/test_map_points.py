"""The map's columns: places, colours of any column, and what was chosen as CSV."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fallow.problems import Problem
from fallow.studio.atlas import NAMED, NONE, OTHER, colourable, coloured, exported, places


def test_places_fill_the_map_whatever_their_scale() -> None:
    table = pa.table({"x": [-3.0, 5.0, 1.0], "y": [1e6, 1e6 + 1, float("nan")]})
    found = places(table)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0, 0], [1, 1], [0.5, 0.5]])
    with pytest.raises(Problem, match="these pictures have no places yet"):
        places(pa.table({"id": ["a"]}))


def test_one_freak_does_not_take_all_the_colours() -> None:
    values = np.append(np.linspace(0, 1, 200), [1e9, np.nan])
    found = coloured(pa.table({"sharpness": values}), "sharpness")
    assert found.legend.kind == "measure"
    assert (found.legend.low, found.legend.high) == pytest.approx((0.02, 0.98), abs=0.01)
    assert found.codes[[0, 200, 201]].tolist() == [0, 255, NONE]
    assert found.legend.missing == 1
    assert (np.diff(found.codes[:200].astype(int)) >= 0).all()


def test_groups_are_called_as_people_count() -> None:
    found = coloured(pa.table({"group": [1, 0, 1, -1]}), "group")
    assert found.codes.tolist() == [0, 1, 0, NONE]
    assert found.legend.names == ["Group 2", "Group 1"]


def test_of_several_flags_the_first_counts() -> None:
    flags = pa.array([["blurry", "dark"], [], None, ["dark"]], pa.list_(pa.string()))
    found = coloured(pa.table({"flags": flags}), "flags")
    assert found.codes.tolist() == [0, NONE, NONE, 1]


def test_names_keep_their_colours_when_labels_change() -> None:
    before = pa.table({"label": ["oak", "oak", "ash", None]})
    after = pa.table({"label": ["ash", "ash", "ash", "elm"]})
    found = coloured(after, "label", before)
    assert found.legend.names == ["oak", "ash", "elm"]
    assert found.legend.counts == [0, 3, 1]
    assert found.codes.tolist() == [1, 1, 1, 2]


def test_of_very_many_names_the_rest_is_one_colour() -> None:
    names = [f"kind {k}" for k in range(NAMED + 44) for _ in range(4)]
    found = coloured(pa.table({"label": names}), "label")
    assert len(found.legend.names) == NAMED
    assert found.legend.other == int((found.codes == OTHER).sum()) == 44 * 4


@pytest.mark.parametrize(
    ("column", "offered"),
    [
        ([f"{k}.png" for k in range(300)], False),  # each has its own
        (["a"] * 300, True),
        ([None] * 300, False),
        ([True, False] * 150, True),
        (list(range(300)), True),
        ([{"a": 1}] * 300, False),
        ([[0.5]] * 300, False),
    ],
)
def test_only_columns_that_tell_pictures_apart_are_offered(column: Any, offered: bool) -> None:
    assert ("thing" in colourable(pa.table({"thing": column}))) is offered


def test_a_column_that_is_not_there_is_refused_in_a_sentence() -> None:
    with pytest.raises(Problem, match="the map has no colours by labl: did you mean label"):
        coloured(pa.table({"label": ["oak"]}), "labl")


def test_names_with_commas_and_quotes_stay_one_cell() -> None:
    table = pa.table({"path": ['a "b", c.png'], "flags": [["dark"]], "label": ["ö\nk"]})
    assert exported(table, [0]).decode() == '"path","label"\n"a ""b"", c.png","ö\nk"\n'
