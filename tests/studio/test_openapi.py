"""Every address under schemathesis: no answer that is not described, whatever a form holds."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from fallow import verbs
from fallow.images.samples import shapes
from fallow.studio import forms
from fallow.studio.app import build
from fallow.studio.desk import Desk, Verbs
from fallow.studio.queue import Queue

SHORT = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    opened = Desk.opened(shapes(6, side=24))
    opened.verbs = Verbs(("embed", "learn"), verbs.declaration, verbs.summary)
    opened.place = tmp_path_factory.mktemp("desk")
    return opened


@pytest.mark.parametrize(
    ("parts", "addresses"), [("desk|collection|map|findings", 30), ("runs", 13)]
)
def test_every_answer_is_described(
    desk: Desk, parts: str, addresses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Queue, "wake", lambda self: None)  # what is started here is not worked off
    app = build(desk, "t", 8000).app  # itself, without the guard, which test_guard asks
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    asked = []
    for one in schema.include(path_regex=rf"^/api/({parts})").get_all_operations():
        operation = one.ok()

        @SHORT
        @given(case=operation.as_strategy())
        def answers(case: Any) -> None:
            # a row there is not, a filter that cannot be read: described, and refused in a sentence
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        answers()
        asked.append(operation.label)
    assert len(asked) >= addresses


@pytest.mark.parametrize(
    "given",
    [{"settings": "batch"}, {"settings": {"batch": ["a"]}}, {"source": {"a": 1}}, {"seed": "1e9x"},
     {"epochs": "1e999"}, {"epochs": "nan"}, {"source": 5, "method": ["swav"]}, {"?": "x"},
     {"where": ["a"]}, {"preset": True, "method": "swav"}, {"labels": "\x00"}],
)  # fmt: skip
def test_a_form_of_the_wrong_shape_is_a_sentence(desk: Desk, given: Any) -> None:
    of = verbs.declaration("learn")
    judged = forms.judge(of, {"source": "a", **given}, desk)
    assert judged.problems
    assert all(isinstance(text, str) and text for text in judged.problems.values())
    assert all(isinstance(word, str) for word in of.words(judged.given))
