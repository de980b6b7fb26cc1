"""A claim that is cut off goes on, and begins anew when what it rests on has changed."""

import pytest
from claims.kept import Kept

from claims import kept


def test_what_was_found_is_not_looked_for_again(tmp_path):
    asked = []

    def look():
        asked.append(1)
        return {"accuracy": 0.1 + 0.2}

    first = Kept("some", {"steps": 3}, tmp_path)
    again = Kept("some", {"steps": 3}, tmp_path)
    assert first("seed 0", look) == again("seed 0", look) == {"accuracy": 0.1 + 0.2}
    assert len(asked) == 1
    assert again.seconds == first.seconds
    assert again.budget(2.0, steps=3)["minutes_spent"] == first.seconds / 60
    first("seed 0", look)  # counted once, however often it is asked for
    assert first.seconds == again.seconds
    first("seed 1", look)
    assert len(asked) == 2


def test_another_plan_or_library_begins_anew(tmp_path, monkeypatch):
    places = [Kept("some", {"steps": steps}, tmp_path).place for steps in (3, 4)]
    monkeypatch.setattr(kept, "library", lambda: "another tree")
    places.append(Kept("some", {"steps": 3}, tmp_path).place)
    assert len(set(places)) == 3


def test_a_run_that_fails_leaves_nothing(tmp_path):
    one = Kept("some", {}, tmp_path)

    def fails():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        one("seed 0", fails)
    assert one("seed 0", lambda: 1.0) == 1.0
