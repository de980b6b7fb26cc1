"""Decisions survive: a torn line, another model, another run; looks are kept in whole parts."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.inventory.ledger import Entry, Ledger, Looks
from fallow.inventory.statistics import describe
from fallow.problems import Problem


def entry(subject="abc", key="one", **values):
    return Entry("faces", key, subject, "drop", "face", 0.5, **values)


def test_entries_come_back_with_their_facts(tmp_path):
    Ledger(tmp_path).add([entry(facts={"box": [1, 2.5], "name": "Zoë"})])
    found = Ledger(tmp_path).get("faces", "one", "abc")
    assert found == entry(facts={"box": [1, 2.5], "name": "Zoë"})
    assert Ledger(tmp_path).get("people", "one", "abc") is None


def test_a_torn_line_costs_itself_alone(tmp_path):
    Ledger(tmp_path).add([entry("a"), entry("b")])
    path = tmp_path / "faces.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    ledger = Ledger(tmp_path)
    assert ledger.get("faces", "one", "a") is not None
    assert ledger.get("faces", "one", "b") is None
    ledger.add([entry("c")])
    again = Ledger(tmp_path)
    assert again.get("faces", "one", "a") is not None
    assert again.get("faces", "one", "c") is not None


def test_the_last_word_counts(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.add([entry()])
    ledger.add([Entry("faces", "one", "abc", "keep")])
    assert Ledger(tmp_path).get("faces", "one", "abc").decision == "keep"


def test_looks_are_added_once(tmp_path):
    random = np.random.default_rng(0)
    seen = {name: describe(random.integers(0, 255, (20, 20, 3)).astype(np.uint8)) for name in "abc"}
    looks = Looks(tmp_path)
    looks.add({name: seen[name] for name in "ab"})
    looks.add(seen)
    looks.add(seen)
    assert len(list(tmp_path.glob("looks-*.npz"))) == 2
    measures, hashes, statistics = Looks(tmp_path).take("cab")
    np.testing.assert_array_equal(measures, [seen[name].measures for name in "cab"])
    assert hashes.tolist() == [seen[name].hash for name in "cab"]
    assert statistics.shape[0] == 3
    assert Looks(tmp_path).take([])[2].shape[0] == 0


def test_a_damaged_part_is_named(tmp_path):
    (tmp_path / "looks-1.npz").write_bytes(b"nothing")
    with pytest.raises(Problem, match="is damaged"):
        Looks(tmp_path)
