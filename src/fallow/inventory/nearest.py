"""The most similar rows of every row, exact and in bounded memory however many rows there are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numba
import numpy as np

from fallow.problems import Problem
from fallow.vectors.space import unit

ROWS, COLUMNS = 1024, 2048  # of the products held at once: 8 MB


class Similar(NamedTuple):
    """Rows of the bank in the order of their cosine, and the cosines."""

    rows: np.ndarray  # N k int32
    cosines: np.ndarray  # N k float32, descending


def most_similar(vectors: np.ndarray, k: int, known: np.ndarray | None = None) -> Similar:
    """The k rows of `known` and `vectors`, in this order one bank, most like each of `vectors`.

    A row is never its own neighbour, whatever its copies are: it is left out by its number. Of
    equally similar rows the first counts. Each product of two `vectors` is taken once.

    >>> most_similar(np.eye(2), 1, np.array([[3.0, 1.0]])).rows.tolist()
    [[0], [0]]
    """
    vectors = np.asarray(vectors)
    bank = vectors[:0] if known is None else np.asarray(known)
    count, fixed = len(vectors), len(bank)
    if k < 1 or k > fixed + count - 1:
        raise Problem(
            f"{k} neighbours cannot be had from {fixed + count} rows: "
            "use fewer neighbours or more images."
        )
    for table in (vectors, bank):
        for first in range(0, len(table), COLUMNS):
            if not np.isfinite(table[first : first + COLUMNS]).all():
                raise Problem("some vectors hold no numbers (NaN or infinity): check the encoder.")
    rows = np.full((count, k), -1, np.int32)
    cosines = np.full((count, k), -np.inf, np.float32)
    least = np.full(count, -np.inf, np.float32)  # of each list: what a newcomer must reach
    held = np.empty(ROWS * max(ROWS, COLUMNS), np.float32)
    for first in range(0, count, ROWS):
        block = unit(vectors[first : first + ROWS])
        for column in range(0, fixed, COLUMNS):
            found = _product(block, unit(bank[column : column + COLUMNS]), held)
            _enter_rows(found, first, column, -1, rows, cosines, least)
        found = _product(block, block, held)
        _enter_rows(found, first, fixed + first, fixed, rows, cosines, least)
        for column in range(first + len(block), count, COLUMNS):
            found = _product(block, unit(vectors[column : column + COLUMNS]), held)
            _enter_both(found, first, column, fixed, rows, cosines, least)
    return Similar(rows, cosines)


def most_similar_among(
    queries: np.ndarray, first: int, bank: Iterable[tuple[int, np.ndarray]], k: int
) -> Similar:
    """The k rows of a bank most like each query; the bank comes in blocks and is never held.

    A block is the number of its first row, and its rows. The queries are rows `first` on of the
    same bank, and none is its own neighbour. Where the bank holds too few, -1 fills the list.

    >>> bank = np.array([[1.0, 0.0], [0.0, 1.0], [3.0, 1.0]])
    >>> most_similar_among(bank[:1], 0, [(0, bank[:2]), (2, bank[2:])], 1).rows.tolist()
    [[2]]
    """
    queries = unit(queries)
    rows = np.full((len(queries), k), -1, np.int32)
    cosines = np.full((len(queries), k), -np.inf, np.float32)
    least = np.full(len(queries), -np.inf, np.float32)
    held = np.empty(ROWS * COLUMNS, np.float32)
    for begin, block in bank:
        for column in range(0, len(block), COLUMNS):
            others = unit(block[column : column + COLUMNS])
            for row in range(0, len(queries), ROWS):
                part = slice(row, row + ROWS)
                found = _product(queries[part], others, held)
                _enter_rows(found, row, begin + column, first, rows, cosines, least)
    return Similar(rows, cosines)


def _product(block: np.ndarray, others: np.ndarray, held: np.ndarray) -> np.ndarray:
    out = held[: len(block) * len(others)].reshape(len(block), len(others))
    return np.matmul(block, others.T, out=out)


@numba.njit(cache=True, nogil=True)
def _enter(
    row: int, other: int, cosine: float, rows: np.ndarray, cosines: np.ndarray, least: np.ndarray
) -> None:
    """Put one into its place in a list; the last falls out, the first of equals goes before."""
    place = rows.shape[1] - 1
    if cosine == cosines[row, place] and other > rows[row, place]:
        return
    while place > 0 and (
        cosine > cosines[row, place - 1]
        or (cosine == cosines[row, place - 1] and other < rows[row, place - 1])
    ):
        cosines[row, place] = cosines[row, place - 1]
        rows[row, place] = rows[row, place - 1]
        place -= 1
    cosines[row, place] = cosine
    rows[row, place] = other
    least[row] = cosines[row, rows.shape[1] - 1]


@numba.njit(cache=True, nogil=True)
def _enter_rows(
    found: np.ndarray,  # q c
    first: int,  # row of `vectors` that is row 0
    bank: int,  # number in the bank that is column 0
    fixed: int,  # rows in the bank before `vectors`; -1 if none of the columns is of `vectors`
    rows: np.ndarray,
    cosines: np.ndarray,
    least: np.ndarray,
) -> None:
    for i in range(found.shape[0]):
        row = first + i
        for j in range(found.shape[1]):
            if found[i, j] >= least[row] and (fixed < 0 or bank + j != fixed + row):
                _enter(row, bank + j, found[i, j], rows, cosines, least)


@numba.njit(cache=True, nogil=True)
def _enter_both(
    found: np.ndarray,  # q c: rows `first` on and rows `column` on of `vectors`, which differ
    first: int,
    column: int,
    fixed: int,
    rows: np.ndarray,
    cosines: np.ndarray,
    least: np.ndarray,
) -> None:
    for i in range(found.shape[0]):
        row = first + i
        for j in range(found.shape[1]):
            if found[i, j] >= least[row]:
                _enter(row, fixed + column + j, found[i, j], rows, cosines, least)
            if found[i, j] >= least[column + j]:
                _enter(column + j, fixed + row, found[i, j], rows, cosines, least)
