"""What a job is said to take, and an index that measures what it misses."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from fallow.inventory.store import vectors_column
from fallow.problems import SourceProblem
from fallow.scale import cost
from fallow.scale.index import indexed
from fallow.scale.parts import Parts

SPEED = cost.Measured(images=50, products=2e9, load=1e9)


def test_hours_and_price_follow_from_the_rate():
    assert cost.hours(1e6, 1, SPEED) == pytest.approx(1e6 / 50 / 3600)
    assert cost.hours(1e8, 100, SPEED) == pytest.approx(cost.hours(1e6, 1, SPEED))
    assert cost.price(1e6, SPEED, 0.1) == pytest.approx(1e6 / 50 / 3600 * 0.1)


def test_one_worker_of_a_join_does_all_products_and_reads_every_part_for_every_part():
    seconds = cost.join_seconds(10_000, 64, 1_000, 1, SPEED)
    products, read = 10_000**2 * 64, 10 * 4 * 64 * 11_000
    assert seconds == pytest.approx(products / SPEED.products + read / SPEED.load)


@pytest.mark.parametrize(("workers", "turns"), [(2, 5), (3, 4), (10, 1), (99, 1)])
def test_the_last_parts_leave_workers_idle(workers, turns):
    one = cost.join_seconds(10_000, 64, 1_000, 1, SPEED)
    assert cost.join_seconds(10_000, 64, 1_000, workers, SPEED) == pytest.approx(turns * one / 10)


def test_an_index_over_parts_says_what_it_misses(tmp_path):
    draw = np.random.default_rng(0)
    parts = Parts(tmp_path / "parts")
    centres = draw.normal(size=(40, 32)).astype(np.float32)
    for number in range(3):
        made = draw.normal(size=(2000, 32)).astype(np.float32) * 0.5
        made += centres[draw.integers(0, 40, 2000)]
        ids = [f"{number}-{k}" for k in range(2000)]
        parts.write(number, pa.table({"id": ids, "embedding": vectors_column(made)}))
    found = indexed(tmp_path / "parts", tmp_path / "out", queries=40)
    assert found.table.count_rows() == 6000
    assert len(found.table.list_indices()) == 1
    assert 0.9 <= found.recall <= 1.0
    assert len(found.seconds) == 40


def test_a_small_table_is_searched_whole(tmp_path):
    parts = Parts(tmp_path / "parts")
    vectors = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    parts.write(0, pa.table({"id": [], "embedding": vectors_column(vectors[:0])}))
    ids = [str(k) for k in range(30)]
    parts.write(1, pa.table({"id": ids, "embedding": vectors_column(vectors)}))
    assert indexed(tmp_path / "parts", tmp_path / "out", k=3).recall == 1.0


def test_an_index_of_nothing_is_refused(tmp_path):
    with pytest.raises(SourceProblem, match="holds no parts"):
        indexed(tmp_path, tmp_path / "out")
