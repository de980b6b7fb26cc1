"""Every system has a card, every card says the truth about what is built and measured."""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
from pathlib import Path

import pytest

from fallow.catalogue import Card, add, card, cards, claims_of, uncarded
from fallow.catalogue.sentences import figures, whole
from fallow.methods import rooms, slugs
from fallow.problems import Problem
from fallow.verbs import declaration, names

ROOT = Path(__file__).resolve().parents[2]
OURS = [one for one in cards() if not one.mine]


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    monkeypatch.setenv("FALLOW_DATA", str(tmp_path / "data"))


def test_every_system_is_on_one_card():
    assert uncarded() == []
    held = [system for one in OURS for system in one.systems]
    assert len(held) == len(set(held))
    assert len(OURS) >= 39


def test_every_card_names_systems_that_exist_or_says_it_is_not_built():
    there = {f"{verb}/{slug}" for verb in rooms() for slug in slugs(verb)}
    for one in OURS:
        assert one.systems, one.slug
        assert one.built == all(system in there for system in one.systems)
        assert one.built or "not built yet" in "\n".join(whole(one)), one.slug
        assert not one.built or one.verb in names()


def test_cards_are_whole():
    for one in OURS:
        assert one.authors, one.slug
        assert one.date, one.slug
        assert one.idea.count(". ") == 1, f"{one.slug}: the idea is two sentences"
        assert one.idea.endswith("."), one.slug
        assert one.asked.endswith((".", "?")), one.slug
    assert [one.slug for one in OURS if not one.arxiv] == ["advclip"]


def test_what_a_card_says_to_run_can_be_run():
    for one in OURS:
        words = shlex.split(one.run)
        if not one.built or words[0] == "from":
            continue
        assert words[:2] == ["fallow", one.verb], one.slug
        assert set(one.options) <= {p.name for p in declaration(one.verb).parameters}, one.slug
        known = {
            f"--{p.name.rstrip('_').replace('_', '-')}" for p in declaration(one.verb).parameters
        }
        assert {word for word in words if word.startswith("--")} <= known, one.slug


def test_evidence_is_that_of_the_claims():
    """Stale? Run: python docs/make.py"""
    sys.path.insert(0, str(ROOT / "docs"))
    spec = importlib.util.spec_from_file_location("docs_catalogue", ROOT / "docs/catalogue.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    files = sorted((ROOT / "claims/results").glob("*.json"))
    claims = {file.stem: json.loads(file.read_text()) for file in files}
    assert (ROOT / "src/fallow/catalogue/evidence.json").read_text() == make.evidence(claims)


def test_a_card_counts_its_verdicts():
    held = claims_of(card("swav"))
    assert sum(card("swav").evidence.values()) == len(held) > 0
    unasked = card("faces").model_copy(update={"claims": ("never asked",)})
    assert figures(unasked) == "Not measured here yet."


def test_a_name_nearly_right_is_answered():
    with pytest.raises(Problem, match="did you mean musc"):
        card("muscc")


BIB = """
@article{Doe2024, title={Counting {S}heep}, author={Doe, Jane and Roe, R.}, year=2024, month=feb,
  eprint={2402.00001}, abstract={Sheep are counted.}}
"""


def test_cards_of_ones_own_are_kept_and_replaced(tmp_path):
    file = tmp_path / "mine.bib"
    file.write_text(BIB)
    [new] = add(file)
    assert (new.slug, new.date, new.authors, new.link) == (
        "doe2024", "2024-02", 2, "https://arxiv.org/abs/2402.00001"
    )  # fmt: skip
    assert card("doe2024").mine
    assert not card("doe2024").built
    file.write_text(BIB.replace("Sheep", "Goats"))
    add(file)
    assert [one.idea for one in cards() if one.mine] == ["Goats are counted."]


def test_json_is_read_as_well(tmp_path):
    file = tmp_path / "mine.json"
    rows = [{"title": "A", "year": 2020, "authors": ["x", "y"]}, {"title": "B", "authors": 3}]
    file.write_text(json.dumps(rows))
    assert [(one.slug, one.date, one.authors) for one in add(file)] == [
        ("a", "2020", 2), ("b", "", 3)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.bib", "no entry here", "there is no paper"),
        ("a.bib", "@book{x, year=2000}", "has no title"),
        ("a.bib", "@book{musc, title={T}}", "is a card of fallow's"),
        ("a.json", "[[1]]", "a paper is written as"),
        ("a.json", "{", "is not JSON"),
        ("a.json", "[" * 100_000, "is not JSON"),
        ("a.json", '{"title": "T", "authors": -1}', "authors is wrong"),
    ],
)
def test_what_is_no_paper_is_refused_in_a_sentence(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(Problem, match=said):
        add(tmp_path / name)
    assert not [one for one in cards() if one.mine]


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(Problem, match="cannot read"):
        add(tmp_path / "missing.bib")
    (tmp_path / "latin.bib").write_bytes(b"@book{a, title={\xff}}")
    with pytest.raises(Problem, match="not text in UTF-8"):
        add(tmp_path / "latin.bib")
    (tmp_path / "data/papers").mkdir(parents=True)
    (tmp_path / "data/papers/cards.json").write_text("[1]")
    with pytest.raises(Problem, match="put it right"):
        cards()


def test_a_card_is_checked_field_by_field():
    for wrong in ({"date": "2020-13"}, {"arxiv": "x"}, {"doi": "11/1"}, {"slug": "A b"}):
        with pytest.raises(ValueError, match="1 validation error"):
            Card(**{"slug": "a", "name": "A", "title": "A", **wrong})
    assert Card(slug="a", name="A", title="A\n  B").title == "A B"
