"""The pages of `match`: what they show, and what they say when there is nothing."""

from __future__ import annotations

import numpy as np

from fallow.report.match import pieces_page, sketches_page


def clear(height=20, width=30):
    return np.full((height, width, 4), 200, np.uint8)


def test_groups_joins_and_neighbours_are_shown_and_names_are_escaped():
    join = {
        "piece": "<a>.png", "other": "b.png", "score": 9.0, "touching": 50.0, "gap": 0.5,
        "overlap": 0.001, "turn": 3.0, "held": True,
    }  # fmt: skip
    item = {"piece": "<a>.png", "group": 1, "neighbours": ["b.png"], "likeness": [0.9]}
    other = {**item, "piece": "b.png", "neighbours": ["<a>.png"]}
    page = pieces_page(
        {
            "pieces": 2, "laid": 2, "joins": [join], "items": [item, other],
            "groups": [{"pieces": ["<a>.png", "b.png"], "overlap": 0.001, "gap": 0.5}],
            "assembled": lambda longest: [clear()],
            "matched": lambda count, longest: [("<a>.png and b.png", clear())],
            "seen": lambda piece, longest: clear(),
        }
    )  # fmt: skip
    assert "<a>.png" not in page
    assert page.count("<img") == 1 + 1 + 4
    assert "Group 1: 2 pieces" in page


def test_an_empty_page_says_so():
    assert "No pieces fit together" in pieces_page({"pieces": 3})
    assert "Nothing was measured" in sketches_page({})


def test_a_sketch_is_shown_beside_its_photos():
    page = sketches_page(
        {
            "photos": 2,
            "items": [{"sketch": "s.svg", "rank": 1, "row": 0, "path": "p.jpg", "distance": 0.2}],
            "found": {"s.svg": [None, 2, 1]},
            "drawn": lambda name: np.full((16, 16), 255, np.uint8),
            "photo": lambda row, longest: np.zeros((8, 8, 3), np.uint8),
            "measured": {"acc@1": 0.5, "acc@10": 1.0, "sketches": 4, "among": 9},
        }
    )
    assert page.count("<img") == 2
    assert "acc@10" in page
    assert "Rank of the photo" in page
