"""The claim of FYI in its smallest form, on digits, which need no archive."""

from __future__ import annotations

from dataclasses import replace

from claims.fyi import CELLS, DIGITS, Plan, run


def test_every_comparison_becomes_an_entry(tmp_path):
    cell = next(cell for cell in CELLS if cell.data == DIGITS)
    plan = Plan(cells=(replace(cell, most=3),), width=8, real=8, networks=1, longest=2, fewest=2)
    entries = run(tmp_path, 0.01, plan)
    assert [(one.method, one.baseline) for one in entries] == [
        ("host", "fyi"),
        ("host", "random real"),
    ]
    for one in entries:
        assert len(one.seeds) == 3
        assert 2 <= one.budget["steps"] <= 3
        assert one.settings["evaluation_mirrors"] is False
        assert set(one.observed) == {"fyi", "random flips", "host", "random real"}
        assert all(0 <= share <= 1 for pair in one.seeds for share in pair)
    # the rows of a seed begin as the same images, and differ by what is done to them
    index = entries[0].observed
    assert index["fyi"]["asymmetry"] != index["host"]["asymmetry"]
