"""The catalogue holds every method, and the taxonomy places each of learn once."""

from __future__ import annotations

from fallow.methods import slugs
from fallow.verbs.papers import FAMILIES, papers


def test_every_method_is_placed_once_with_what_it_predicts():
    rows = papers(taxonomy=True).findings["methods"]
    assert sorted(row["method"] for row in rows) == slugs("learn")
    assert {row["family"] for row in rows} <= set(FAMILIES)
    assert all(len(row["predicts"]) > 10 for row in rows)
    assert [row["family"] for row in rows] == sorted(
        (row["family"] for row in rows), key=list(FAMILIES).index
    )


def test_the_catalogue_lists_all_verbs():
    rows = papers().findings["methods"]
    assert {"learn", "spot"} <= {row["verb"] for row in rows}
    assert [row["method"] for row in rows if row["verb"] == "learn"] == slugs("learn")
