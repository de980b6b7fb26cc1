"""Every address of the collection under schemathesis: no answer that is not described."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from fallow.images.samples import shapes
from fallow.studio.app import build
from fallow.studio.desk import Desk

SHORT = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def described() -> Any:
    """The application itself, without the guard, which test_guard asks."""
    app = build(Desk.opened(shapes(6, side=24)), "t", 8000).app
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    return schema.include(path_regex=r"^/api/(desk|collection)")


def test_every_answer_is_described(described: Any) -> None:
    asked = []
    for one in described.get_all_operations():
        operation = one.ok()

        @SHORT
        @given(case=operation.as_strategy())
        def answers(case: Any) -> None:
            # a row there is not, a filter that cannot be read: described, and refused in a sentence
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        answers()
        asked.append(operation.label)
    assert len(asked) >= 14
