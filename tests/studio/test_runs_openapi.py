"""The part `runs` under schemathesis: whatever a form holds, the answer is as described."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import given
from schemathesis.specs.openapi.checks import positive_data_acceptance
from test_openapi import SHORT

from fallow import verbs
from fallow.images.samples import shapes
from fallow.studio.app import build
from fallow.studio.desk import Desk, Verbs
from fallow.studio.queue import Queue


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    opened = Desk.opened(shapes(6, side=24))
    opened.verbs = Verbs(("embed", "learn"), verbs.declaration, verbs.summary)
    opened.place = tmp_path_factory.mktemp("desk")
    return opened


def test_every_answer_of_runs_is_described(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Queue, "wake", lambda self: None)  # what is started here is not worked off
    schema = schemathesis.openapi.from_asgi("/openapi.json", build(desk, "t", 8000).app)
    asked = []
    for one in schema.include(path_regex=r"^/api/runs").get_all_operations():
        operation = one.ok()

        @SHORT
        @given(case=operation.as_strategy())
        def answers(case: Any) -> None:
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        answers()
        asked.append(operation.label)
    assert len(asked) >= 13


@pytest.mark.parametrize(
    "given",
    [{"settings": "batch"}, {"settings": {"batch": ["a"]}}, {"source": {"a": 1}}, {"seed": "1e9x"},
     {"epochs": "1e999"}, {"epochs": "nan"}, {"source": 5, "method": ["swav"]}, {"?": "x"},
     {"where": ["a"]}, {"preset": True, "method": "swav"}, {"labels": "\x00"}],
)  # fmt: skip
def test_a_form_of_the_wrong_shape_is_a_sentence(desk: Desk, given: Any) -> None:
    from fallow.studio import forms

    judged = forms.judge(verbs.declaration("learn"), {"source": "a", **given}, desk)
    of = verbs.declaration("learn")
    assert judged.problems
    assert all(isinstance(text, str) and text for text in judged.problems.values())
    assert all(isinstance(word, str) for word in of.words(judged.given))
