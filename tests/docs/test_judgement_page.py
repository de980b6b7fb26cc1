"""The page on judgement sums up every question over its sets, and says what was not measured."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "make.py"


@pytest.fixture
def make():
    spec = importlib.util.spec_from_file_location("docs_make_judged", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def line(work, peer, ours, theirs):
    return {
        "work": work, "peer": peer, "peer_version": "1", "fallow": ours, "peer_value": theirs,
        "machine": {"processor": "a processor", "cores": 2},
    }  # fmt: skip


def test_measures_are_summed_over_sets(make):
    lines = [
        line("copies in a: recall, 0 false pairs", "other", 0.9, 0.5),
        line("copies in b: recall, 2 false pairs", "other", 0.7, 0.8),
        line("labels of a, 5% exchanged (random): precision", "other", 1.0, 0.0),
    ]
    page = make.judgement({"judgement_copies": lines}, {}, make.grid)
    assert "| recall | other | 0.800 | 0.650 | 0.800 | 0.650 | 1 of 2 |" in page
    assert "| precision, 5% exchanged (random) | other |" in page
    without = make.judgement({}, {}, make.grid)  # of each question it is said
    missing = "Not measured beside others yet."
    assert page.count(missing) == without.count(missing) - 1


def test_what_was_left_out_is_beside_what_was_chosen(make):
    rows = {"left out": [{"set": "a", "chosen on the others": 0.5, "on it": 0.25}]}
    page = make.judgement(
        {"judgement_groups": [line("groups of a: NMI", "k-means", 0.5, 0.4)]},
        {"judgement_groups": rows},
        make.grid,
    )
    assert "| a | 0.500 | 0.250 |" in page
