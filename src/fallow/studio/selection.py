"""Which pictures, in which order: predicates over the table, sorting, and what columns hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fallow.images.where import where as holds
from fallow.problems import SettingProblem, did_you_mean

COMMON = 24  # values a filter offers
BINS = 24


def chosen(table: pa.Table, where: str = "", sort: str = "", find: str = "") -> np.ndarray:
    """Rows a predicate holds for and whose text has the words, sorted; `-name` is downwards.

    >>> table = pa.table({"path": ["a/x.png", "b/y.png", "a/z.png"], "width": [3, None, 5]})
    >>> chosen(table, find="A/").tolist(), chosen(table, sort="-width").tolist()
    ([0, 2], [2, 0, 1])
    """
    kept = np.ones(table.num_rows, bool)
    if where.strip():
        kept &= holds(table, where)
    for word in find.split():
        kept &= _with_text(table, word)
    rows = np.flatnonzero(kept).astype(np.uint32)
    if not sort:
        return rows
    name, downwards = sort.removeprefix("-"), sort.startswith("-")
    values = known(table, name).take(pa.array(rows))
    order = [(name, "descending" if downwards else "ascending")]
    if not _plain(values.type):
        raise SettingProblem(f"the column {name} holds lists: sort by another")
    # equal values keep the order of the table, missing ones come last
    numbered = pa.table({name: _comparable(values), "": np.arange(len(rows))})
    places = pc.sort_indices(numbered, [*order, ("", "ascending")])
    return rows[places.to_numpy()]  # type: ignore[no-any-return]


def known(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column of the table, by its name."""
    if name not in table.column_names:
        hint = did_you_mean(name, table.column_names)
        raise SettingProblem(f"there is no column {name}: {hint}")
    return table.column(name)


def _with_text(table: pa.Table, word: str) -> np.ndarray:
    """Rows that have a word in any column of text or of lists of text."""
    found = np.zeros(table.num_rows, bool)
    for name, values in zip(table.column_names, table.columns, strict=True):
        if name == "hash":  # letters that mean nothing
            continue
        if _texts(values.type):
            has = pc.match_substring(values, word, ignore_case=True)
            found |= pc.fill_null(has, False).to_numpy(zero_copy_only=False)
        elif _lists(values.type):
            joined = pc.binary_join(values.combine_chunks(), "\n")
            has = pc.match_substring(joined, word, ignore_case=True)
            found |= pc.fill_null(has, False).to_numpy(zero_copy_only=False)
    return found


def described(table: pa.Table) -> list[dict[str, Any]]:
    """Every column: its kind, its commonest values or its range, and how many have none.

    >>> table = pa.table({"label": ["a", "b", "a", None], "width": [1.0, 2.0, 3.0, 4.0]})
    >>> [one["kind"] for one in described(table)], described(table)[0]["values"]
    (['text', 'number'], [{'value': 'a', 'count': 2}, {'value': 'b', 'count': 1}])
    """
    return [_described(name, values) for name, values in zip(table.column_names, table.columns,
                                                              strict=True)]  # fmt: skip


def _described(name: str, values: pa.ChunkedArray) -> dict[str, Any]:
    about: dict[str, Any] = {"name": name, "missing": values.null_count, "kind": _kind(values.type)}
    if about["kind"] == "number":
        numbers = values.drop_null().to_numpy().astype(np.float64)
        numbers = numbers[np.isfinite(numbers)]
        if len(numbers):
            counts, _ = np.histogram(numbers, BINS)
            low, high = float(numbers.min()), float(numbers.max())
            about |= {"low": low, "high": high, "histogram": counts.tolist()}
            about["whole"] = pa.types.is_integer(values.type)
        few = len(numbers) and about["whole"] and len(np.unique(numbers[:5000])) <= COMMON
        if few or name.endswith("group"):  # groups are names that happen to be numbers
            about |= _common(values)
    elif about["kind"] in ("text", "truth"):
        about |= _common(values)
    elif about["kind"] == "list":
        about |= _common(pc.list_flatten(values))
    return about


def _common(values: pa.ChunkedArray) -> dict[str, Any]:
    """The commonest values, and how many there are."""
    counted = pc.value_counts(values.drop_null())
    counts = counted.field("counts").to_numpy()
    order = np.lexsort((np.arange(len(counts)), -counts))[:COMMON]
    names = counted.field("values").take(pa.array(order)).to_pylist()
    listed = [
        {"value": name, "count": int(counts[place])}
        for name, place in zip(names, order, strict=True)
    ]
    return {"distinct": len(counts), "values": listed}


def _kind(kind: pa.DataType) -> str:
    if _texts(kind):
        return "text"
    if pa.types.is_boolean(kind):
        return "truth"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "number"
    return "list" if _lists(kind) else "other"


def _texts(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _lists(kind: pa.DataType) -> bool:
    return (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _texts(kind.value_type)


def _plain(kind: pa.DataType) -> bool:
    return not pa.types.is_nested(kind) or pa.types.is_dictionary(kind)


def _comparable(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Not a number sorts as missing; a dictionary as what it says."""
    if pa.types.is_dictionary(values.type):
        return values.cast(values.type.value_type)
    if pa.types.is_null(values.type):
        return values.cast(pa.string())
    if pa.types.is_floating(values.type):
        return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    return values


def plain(value: Any) -> Any:
    """A cell as JSON can hold it.

    >>> plain(float("nan")), plain(b"x"), plain([1, 2])
    (None, '1 bytes', [1, 2])
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, list):
        return [plain(one) for one in value[:50]]
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
