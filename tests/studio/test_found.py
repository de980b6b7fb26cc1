"""What people decide on is read from findings and from what was decided since."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from fallow.studio import found

TABLE = pa.table(
    {
        "path": ["a.png", "b.png", "c.png", "d.png", "e.png"],
        "width": [640, 320, 64, 64, 64],
        "height": [480, 240, 64, 64, 64],
        "bytes": [91_200, 4_000, 900, 900, 900],
        "group": [0, 0, 0, 1, 1],
        "subgroup": [0, 0, 1, 2, 2],
        "focus": [0.5, 0.0123456, 0.4, 0.4, 0.4],
        "outlier": [0.1, 0.2, 0.97, 0.1, 0.1],
        "label": pa.array(["oak", "ash", None, None, None], pa.string()),
    }
)
FOUND: dict[str, Any] = {
    "exact_duplicates": [[2, 4]],
    "changed_copies": [{"items": [1, 0], "keep": 0, "changes": ["half the size", None]}],
    "much_alike": [{"items": [3, 4], "keep": 3}],
    "suspects": [
        {"item": 1, "label": "ash", "suggested": "oak", "confidence": 0.9, "for": [0]}
    ],
    "outliers": [2],
    "quality": {"blurry": [1], "dark": []},
    "groups": [
        {
            "group": 0, "size": 3, "apart": ["green"], "representatives": [0, 2],
            "inside": [
                {"group": 0, "size": 2, "apart": [], "representatives": [0, 1], "inside": []},
                {"group": 1, "size": 1, "apart": ["dark"], "representatives": [2], "inside": []},
            ],
        },
        {"group": 1, "size": 2, "apart": [], "representatives": [3, 4], "inside": []},
    ],
}  # fmt: skip


def told(**columns: list[str | None]) -> pa.Table:
    """The table after people said something."""
    table = TABLE
    for name, cells in columns.items():
        column = pa.array(cells, pa.string())
        if name in table.column_names:
            table = table.drop_columns([name])
        table = table.append_column(name, column)
    return table


def test_changes_of_copies_are_words_beside_the_picture_to_keep() -> None:
    (one,) = found.copies(FOUND, TABLE, "changed")
    assert (one.rows, one.keep, one.said) == ([0, 1], 0, ["", "half the size"])
    assert one.sizes == ["640 × 480, 91.2 KB", "320 × 240, 4 KB"]
    assert found.copies(FOUND, TABLE, "alike")[0].keep is None


@pytest.mark.parametrize(
    ("columns", "decided"),
    [
        ({}, False),
        ({"excluded": [None, None, "yes", None, None]}, True),
        ({"excluded": ["yes", None, None, None, None]}, False),
        ({"copies_seen": [None, None, "yes", None, "yes"]}, True),
        ({"copies_seen": [None, None, "yes", None, None]}, False),
    ],
)
def test_a_set_of_copies_is_decided_by_what_is_left(columns: Any, decided: bool) -> None:
    assert found.copies(FOUND, told(**columns), "exact")[0].decided is decided


@pytest.mark.parametrize(
    ("columns", "decided"),
    [
        ({}, False),
        ({"label": ["oak", "oak", None, None, None]}, True),
        ({"label_seen": [None, "yes", None, None, None]}, True),
    ],
)
def test_a_doubt_ends_with_a_correction_or_a_confirmation(columns: Any, decided: bool) -> None:
    assert found.doubts(FOUND, told(**columns))[0].decided is decided


def test_groups_come_with_their_members_and_what_they_are_called() -> None:
    first, second = found.groups(FOUND, TABLE)
    assert (first.key, first.size, first.named, first.labels) == (
        "group:0",
        3,
        2,
        {"ash": 1, "oak": 1},
    )
    assert [inner.key for inner in first.inside] == ["subgroup:0", "subgroup:1"]
    assert [inner.size for inner in first.inside] == [2, 1]
    assert (second.decided, second.title) == (False, "Group 2")
    named = told(label=["oak", "oak", "oak", "elm", "elm"])
    assert all(one.decided for one in found.groups(FOUND, named))
    assert found.members(TABLE, "group:1") == [3, 4]
    assert found.members(TABLE, "path:a.png") == []


def test_finer_groups_are_those_of_the_finest_level() -> None:
    alone = {"group": 7, "size": 2, "representatives": [0, 1], "inside": []}  # holds one finer one
    between = {"group": 8, "size": 3, "representatives": [2], "inside": [
        {"group": 1, "size": 1, "representatives": [2], "inside": []},
        {"group": 2, "size": 2, "representatives": [4, 3], "inside": []},
    ]}  # fmt: skip
    whole = {"group": 0, "size": 5, "representatives": [0], "inside": [alone, between]}
    (one,) = found.groups({"groups": [whole]}, TABLE)
    assert [(inner.key, inner.size) for inner in one.inside] == [
        ("subgroup:0", 2), ("subgroup:1", 1), ("subgroup:2", 2)]  # fmt: skip


def test_new_groups_of_discover_are_named_by_their_own_names() -> None:
    table = pa.table({"row": [7, 8, 9], "group": ["oak", "new 1", "new 1"]})
    groups = [
        {"name": "oak", "new": False, "shown": [7]},
        {"name": "new 1", "new": True, "shown": [9, 8], "confidence": 0.75},
    ]
    (one,) = found.groups({"groups": groups}, table)
    assert (one.key, one.size, one.shown, one.said) == ("group:new 1", 2, [2, 1], "75% sure")


def test_the_next_to_label_stand_for_most_of_those_without() -> None:
    assert [one.row for one in found.to_label(FOUND, TABLE)] == [3, 2, 4]
    gone = told(excluded=[None, None, None, "yes", None])
    assert [one.row for one in found.to_label(FOUND, gone)] == [4, 2]
    dark = {**FOUND, "quality": {"dark": [3]}}
    assert [(one.row, one.said) for one in found.to_label(dark, TABLE)] == [
        (4, "2 like it, 0 labelled"), (2, "1 like it, 0 labelled")]  # fmt: skip
    assert found.to_label({}, TABLE) == []


def test_segment_says_itself_which_mask_is_wanted_next() -> None:
    table = pa.table({"disagreement": [0.25, 0.125, 0.5], "given": [False, False, True]})
    assert [(one.row, one.said) for one in found.to_label({}, table)] == [
        (0, "25.0% in doubt"), (1, "12.5% in doubt")]  # fmt: skip


def test_pose_says_whose_points_are_wanted_next() -> None:
    table = pa.table({"doubt": [4.0, 2.5], "given": [False, True]})
    assert [one.said for one in found.to_label({}, table)] == ["points move by 4.0 %"]


def test_discover_names_what_could_go_either_way() -> None:
    table = pa.table({"row": [5, 6], "group": ["oak", "ash"]})
    either = [{"row": 6, "group": "ash", "second": "oak"}, {"row": 99, "group": "a", "second": "b"}]
    assert [(one.row, one.said) for one in found.to_label({"either": either}, table)] == [
        (1, "ash or oak")]  # fmt: skip


def test_strays_and_poor_pictures_come_with_their_measure() -> None:
    assert [one.said for one in found.outliers(FOUND, TABLE)] == ["0.97 strange"]
    assert [one.said for one in found.poor(FOUND, TABLE, "blurry")] == ["0.0123 focus"]
    assert found.poor(FOUND, TABLE, "dark") == []
