"""The verb finds papers, lists all of them, and places the methods of learn."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from fallow.catalogue import cards
from fallow.methods import slugs
from fallow.problems import Problem
from fallow.verbs.papers import FAMILIES, papers


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    monkeypatch.setenv("FALLOW_DATA", str(tmp_path / "data"))
    return tmp_path


def test_every_method_is_placed_once_with_what_it_predicts():
    rows = papers(taxonomy=True).findings["methods"]
    assert sorted(row["method"] for row in rows) == slugs("learn")
    assert {row["family"] for row in rows} <= set(FAMILIES)
    assert all(len(row["predicts"]) > 10 for row in rows)
    assert [row["family"] for row in rows] == sorted(
        (row["family"] for row in rows), key=list(FAMILIES).index
    )


def test_without_a_question_all_are_listed():
    result = papers()
    assert result.table.num_rows == len(cards()) == len(result.headlines)
    assert {"learn", "spot"} <= set(result.table.column("verb").to_pylist())


def test_a_question_gets_few_answers_and_a_name_the_whole_card():
    assert papers("find defects").headlines[0].startswith("spot      musc")
    lines = papers("MuSc").headlines
    assert lines[0].startswith("MuSc: Zero-Shot")
    assert "run: fallow spot FOLDER" in lines
    assert any(line.startswith("  shown ") for line in lines)
    assert papers("zxqj").headlines == [
        "no paper answers that: ask with other words, or with fewer filters"
    ]
    assert papers("zxqj").table.num_rows == 0


def test_filters_go_along():
    found = papers(verb="segment", year="2023-", evidence="measured").table
    assert set(found.column("slug").to_pylist()) <= {"bcp", "dsaif", "semiovs"}
    with pytest.raises(Problem, match="did you mean segment"):
        papers(verb="segmnt")


def test_a_card_is_added_and_found(own_place):
    file = own_place / "a.bib"
    file.write_text("@misc{sheep, title={Counting Sheep by Night}, year=2030}")
    assert papers(add=file).headlines[0] == "1 card kept"
    assert papers("counting sheep").table.column("slug").to_pylist()[0] == "sheep"


def test_the_feed_holds_what_was_found(own_place):
    papers(verb="spot", feed=own_place / "new" / "feed.xml")
    feed = ElementTree.parse(own_place / "new" / "feed.xml")
    found = feed.findall("{http://www.w3.org/2005/Atom}entry")
    assert len(found) == papers(verb="spot").table.num_rows


def test_subscribing_and_the_digest(own_place):
    assert papers(subscribe="a@b.org").headlines == ["a@b.org will hear of news"]
    assert papers(subscribe="a@b.org").headlines == ["a@b.org was told of news already"]
    out = str(own_place / "out")
    assert papers(digest=out).headlines == ["nothing new for anybody"]
    test_a_card_is_added_and_found(own_place)
    assert papers(digest=out).headlines == [f"1 digest written to {out}"]
    assert papers(unsubscribe="a@b.org").headlines == ["a@b.org hears no more"]
    assert papers(unsubscribe="a@b.org").headlines == ["a@b.org was not subscribed"]
