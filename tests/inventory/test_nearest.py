"""Neighbours in blocks against one dense product, whatever the block sizes and copies."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.inventory import nearest
from fallow.inventory.nearest import most_similar
from fallow.problems import Problem
from fallow.vectors.space import unit


def dense(vectors, k, known):
    """All products at once, each row's own number taken out, ties to the first number."""
    bank = unit(vectors) if known is None else unit(np.concatenate([known, vectors]))
    fixed = len(bank) - len(vectors)
    cosines = unit(vectors).astype(np.float64) @ bank.astype(np.float64).T
    cosines[np.arange(len(vectors)), fixed + np.arange(len(vectors))] = -np.inf
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosines, order, 1)


@pytest.mark.parametrize(("rows", "columns"), [(1024, 2048), (7, 5), (5, 7), (1, 1), (200, 3)])
@pytest.mark.parametrize("labelled", [0, 40])
def test_blocks_change_nothing(rows, columns, labelled, monkeypatch):
    monkeypatch.setattr(nearest, "ROWS", rows)
    monkeypatch.setattr(nearest, "COLUMNS", columns)
    random = np.random.default_rng(labelled)
    vectors = random.normal(size=(93, 12))
    known = random.normal(size=(labelled, 12)) if labelled else None
    found = most_similar(vectors, 9, known)
    expected, cosines = dense(vectors, 9, known)
    np.testing.assert_array_equal(found.rows, expected)
    np.testing.assert_allclose(found.cosines, cosines, atol=1e-6)


def test_copies_are_neighbours_and_a_row_never_its_own(monkeypatch):
    monkeypatch.setattr(nearest, "ROWS", 4)
    monkeypatch.setattr(nearest, "COLUMNS", 3)
    vectors = np.repeat(np.eye(3), 5, axis=0)
    found = most_similar(vectors, 4, np.eye(3))
    own = 3 + np.arange(15)
    assert not (found.rows == own[:, None]).any()
    for row, mine in enumerate(found.rows):
        kind = row // 5
        family = {kind, *range(3 + 5 * kind, 8 + 5 * kind)} - {3 + row}
        assert mine.tolist() == sorted(family)[:4]  # equals in the order of their numbers
    np.testing.assert_allclose(found.cosines, 1)


def test_all_others_may_be_neighbours():
    found = most_similar(np.random.default_rng(0).normal(size=(6, 3)), 5)
    assert [sorted([row, *mine]) for row, mine in enumerate(found.rows.tolist())] == [
        list(range(6))
    ] * 6


@pytest.mark.parametrize("k", [0, 6])
def test_too_many_neighbours_are_a_sentence(k):
    with pytest.raises(Problem, match="cannot be had from 6 rows"):
        most_similar(np.ones((6, 2)), k)


@pytest.mark.parametrize("side", [0, 1])
def test_vectors_without_numbers_are_a_sentence(side):
    tables = [np.ones((4, 2)), np.ones((4, 2))]
    tables[side][2, 1] = np.nan
    with pytest.raises(Problem, match="NaN"):
        most_similar(tables[0], 2, tables[1])
