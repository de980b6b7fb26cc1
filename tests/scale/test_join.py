"""Neighbours block by block are those of one big product; groups and copies follow from them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from fallow.inventory.nearest import most_similar, most_similar_among
from fallow.inventory.store import rows_of, vectors_column
from fallow.problems import Problem, SettingProblem
from fallow.scale import join
from fallow.scale.parts import Parts


@pytest.fixture
def vectors() -> np.ndarray:
    """200 rows of which 7 repeat others, and one is empty."""
    made = np.random.default_rng(0).normal(size=(200, 12)).astype(np.float32)
    made[[50, 120, 199]] = made[3]
    made[[60, 61, 62, 63]] = 2 * made[10]
    made[7] = 0
    return made


def written(folder, vectors: np.ndarray, sizes: list[int]) -> Parts:
    parts, start = Parts(folder), 0
    for number, size in enumerate(sizes):
        part = vectors[start : start + size]
        parts.write(number, pa.table({"embedding": vectors_column(part)}))
        start += size
    assert start == len(vectors)
    return parts


def lists_of(parts: Parts) -> tuple[np.ndarray, np.ndarray]:
    whole = pa.concat_tables(parts.each())
    rows = whole.column("neighbours").combine_chunks().flatten().to_numpy()
    return rows.reshape(whole.num_rows, -1), rows_of(whole.column("cosines"))


@pytest.mark.parametrize("sizes", [[200], [64, 64, 64, 8], [1, 0, 150, 49]])
def test_blocks_find_what_one_product_finds(vectors, sizes, tmp_path):
    parts = written(tmp_path, vectors, sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).tolist()
    lists = Parts(tmp_path, "near")
    job = join.Join(parts, list(range(len(sizes))), starts, lists, 5)
    for place in range(len(sizes)):
        join._one_row(job, place)
    rows, cosines = lists_of(lists)
    whole = most_similar(vectors, 5)
    np.testing.assert_allclose(cosines, whole.cosines, atol=1e-6)
    apart = np.diff(whole.cosines, axis=1) < -1e-5  # equal ones may change places
    assert (rows == whole.rows)[:, :-1][apart].all()


def test_too_few_rows_leave_places_empty():
    found = most_similar_among(np.eye(2, dtype=np.float32), 0, [(0, np.eye(2))], 3)
    assert found.rows.tolist() == [[1, -1, -1], [0, -1, -1]]


def test_groups_of_equal_vectors(vectors, tmp_path):
    lists = Parts(tmp_path, "near")
    for place, part in enumerate(np.split(np.arange(200), [90])):
        near = most_similar_among(vectors[part], int(part[0]), [(0, vectors)], 3)
        lists.write(place, join.table_of(near))
    assert join.alike(lists, 0.9999) == [[3, 50, 120, 199], [10, 60, 61, 62, 63]]


@pytest.mark.slow
def test_a_join_through_ray_goes_on_after_the_last_part(two_workers, vectors, tmp_path):
    written(tmp_path, vectors, [80, 80, 40])
    rows, cosines = lists_of(join.neighbours(tmp_path, 4))
    np.testing.assert_allclose(cosines, most_similar(vectors, 4).cosines, atol=1e-6)
    kept = tmp_path / "near-0000000.parquet"
    before = kept.stat().st_mtime_ns
    (tmp_path / "near-0000001.parquet").unlink()
    again, _ = lists_of(join.neighbours(tmp_path, 4))
    assert kept.stat().st_mtime_ns == before
    assert np.array_equal(again, rows)
    with pytest.raises(Problem, match="parts of another job"):
        join.neighbours(tmp_path, 5)


def test_what_a_join_refuses(tmp_path):
    with pytest.raises(SettingProblem, match="k=0 is not possible"):
        join.neighbours(tmp_path, 0)
    with pytest.raises(SettingProblem, match="holds no parts"):
        join.neighbours(tmp_path, 3)
