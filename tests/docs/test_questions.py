"""Answers of the question pages are counted, and their pictures hold every claim."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(autouse=True)
def beside(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    yield
    for name in ("questions", "forest", "reference"):
        sys.modules.pop(name, None)


def claim(verdict: str, middle: float, wide: float = 0.1, data: str = "a<b") -> dict:
    return {
        "claim": f"{data}: unlabelled pictures help with 3 masks", "method": "bcp",
        "baseline": "alone", "verdict": verdict, "mean_difference": middle,
        "interval_90": [middle - wide, middle + wide], "data": {"name": data},
    }  # fmt: skip


def test_answers_are_counted():
    import questions

    some = [claim("shown", 0.5), claim("tie", 0.0), claim("contradicted", -0.5)]
    assert questions.counted(some) == (
        "shown in 1 of 3, 1 tie, contradicted in 1; the middle difference is +0.000."
    )
    pages = dict(questions.pages({"bcp": some}, "note\n", lambda rows: f"{len(rows)} rows"))
    assert sorted(pages) == [
        "questions/how-many-masks.md", "questions/how-many-masks.svg", "questions/index.md"
    ]  # fmt: skip
    page = pages["questions/how-many-masks.md"]
    assert "- **Unlabelled pictures help (BCP)**: shown in 1 of 3" in page
    assert "3 rows" in page
    assert "Of 3 claims 1 is shown, 1 a tie, 1 contradicted." in pages["questions/index.md"]
    assert dict(questions.pages({}, "", str)) == {}


def test_pictures_are_drawn_to_one_scale():
    import forest

    some = [claim("shown", 0.05 + 0.01 * k, 0.02) for k in range(40)] + [claim("tie", 5.0, 9.0)]
    root = ElementTree.fromstring(forest.forest([("head", [("a<b", one) for one in some])], "t"))
    space = "{http://www.w3.org/2000/svg}"
    dots = [float(one.get("cx")) for one in root.findall(f"{space}circle")]
    assert len(dots) == 41
    assert dots[:40] == sorted(dots[:40])
    assert max(dots) <= forest.WIDTH - forest.RIGHT
    assert 2 <= len(root.findall(f"{space}path")) <= 6  # the widest reaches beyond both ends


def test_every_option_of_every_verb_is_in_the_settings():
    import reference

    from fallow import verbs
    from fallow.declare import Option

    text = reference.reference("", lambda head, rows: "\n".join(map(str, rows)), {})
    for name in verbs.names():
        chapter = text.split(f"## {name}\n")[1].split("\n## ")[0]
        for one in verbs.declaration(name).parameters:
            if isinstance(one.option, Option):
                assert one.name.rstrip("_").replace("_", "-") in chapter
