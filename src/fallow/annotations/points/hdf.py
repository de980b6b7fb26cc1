"""Tables of DeepLabCut in HDF5, as pandas lays them out; no object of a stranger is ever built.

pandas keeps what is not a number as pickles, which may run anything when they are read. Here only
plain lists, tuples, texts and numbers come out of one.
"""

from __future__ import annotations

import io
import pickle
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from fallow.problems import MissingPackage, SourceProblem

KEY = "df_with_missing"
Table = tuple[list[tuple[str, ...]], list[str], np.ndarray]  # columns, files, N C


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it holds an object of {module}")


def _plain(data: bytes, **how: Any) -> Any:
    return _Plain(io.BytesIO(data), **how).load()


def _tables() -> Any:
    try:
        import tables
    except ModuleNotFoundError:
        raise MissingPackage("tables", "pose") from None
    return tables


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file, with attributes that are read as plain values or not at all."""
    tables = _tables()
    before = tables.attributeset.pickle
    tables.attributeset.pickle = SimpleNamespace(
        loads=_plain, dumps=pickle.dumps, UnpicklingError=pickle.UnpicklingError
    )
    try:
        with tables.open_file(str(path), "r") as file:
            yield file
    except (tables.HDF5ExtError, tables.NoSuchNodeError, OSError) as error:
        said = str(error).strip().splitlines()[-1] if str(error).strip() else "it is damaged"
        raise SourceProblem(f"{path.name} cannot be read as HDF5: {said}") from error
    finally:
        tables.attributeset.pickle = before


def read(path: Path) -> Table:
    """The first table of a file, in either layout of pandas."""
    if not path.is_file():
        raise SourceProblem(f"there is no file {path}: an HDF5 file must lie on this machine")
    with _opened(path) as file:
        groups = [node for node in file.root._f_iter_nodes() if node._v_attrs._v_attrnames]
        if not groups:
            raise ValueError("it holds no table")
        group = groups[0]
        children = group._v_children
        return _appendable(group) if "table" in children else _fixed(group)


def _texts(values: np.ndarray) -> list[str]:
    return [one.decode() if isinstance(one, bytes) else str(one) for one in values.tolist()]


def _array(group: Any, name: str) -> np.ndarray:
    node = group._v_children[name]
    if type(node).__name__ not in ("Array", "CArray", "EArray"):
        raise ValueError(f"{name} is kept as an object")
    return np.asarray(node.read())


def _labels(group: Any, axis: str) -> list[tuple[str, ...]]:
    """The labels of an axis, each of one level or several."""
    children = group._v_children
    if axis in children:
        return [(one,) for one in _texts(_array(group, axis))]
    found = []
    level = 0
    while f"{axis}_level{level}" in children:
        words = _texts(_array(group, f"{axis}_level{level}"))
        found.append([words[code] for code in _array(group, f"{axis}_label{level}").tolist()])
        level += 1
    return list(zip(*found, strict=True))


def _fixed(group: Any) -> Table:
    columns = _labels(group, "axis0")
    files = ["/".join(one) for one in _labels(group, "axis1")]
    values = np.full((len(files), len(columns)), np.nan)
    at = {one: place for place, one in enumerate(columns)}
    for name in group._v_children:
        if name.startswith("block") and name.endswith("_values"):
            mine = [at[one] for one in _labels(group, name.replace("values", "items"))]
            block = _array(group, name)
            values[:, mine] = block if block.shape == (len(files), len(mine)) else block.T
    return columns, files, values


def _appendable(group: Any) -> Table:
    node = group._v_children["table"]
    if type(node).__name__ != "Table":
        raise ValueError("its table is kept as an object")
    rows = node.read()
    columns: list[tuple[str, ...]] = []
    values: list[np.ndarray] = []
    levels: list[list[str]] = []
    for field in rows.dtype.names:
        if field.startswith("values_block"):
            said = getattr(node._v_attrs, f"{field}_kind")
            columns += [tuple(str(word) for word in one) for one in said]
            values.append(np.asarray(rows[field], np.float64).reshape(len(rows), -1))
        elif rows[field].dtype.kind == "S":
            levels.append(_texts(rows[field]))
    files = ["/".join(parts) for parts in zip(*levels, strict=True)]
    return columns, files, np.concatenate(values, 1)


def write(
    path: Path, columns: Sequence[tuple[str, ...]], files: Sequence[str], values: np.ndarray
) -> None:
    """One table as pandas would write it, which DeepLabCut reads."""
    tables = _tables()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    heads = ("scorer", "bodyparts", "coords")
    try:
        with tables.open_file(str(temporary), "w") as file:
            group = file.create_group("/", KEY)
            facts = {
                "pandas_type": "frame",
                "encoding": "UTF-8",
                "errors": "strict",
                "ndim": 2,
                "nblocks": 1,
                "axis1_variety": "regular",
            }
            for axis in ("axis0", "block0_items"):
                facts |= {f"{axis}_variety": "multi", f"{axis}_nlevels": len(heads)}
                for level, head in enumerate(heads):
                    words = sorted({one[level] for one in columns})
                    codes = np.array([words.index(one[level]) for one in columns], np.int8)
                    node = file.create_array(group, f"{axis}_level{level}", _bytes(words))
                    _described(node, head, f"{axis}_name{head}")
                    file.create_array(group, f"{axis}_label{level}", codes).attrs.transposed = True
            node = file.create_array(group, "axis1", _bytes(files))
            _described(node, None)
            file.create_array(group, "block0_values", values).attrs.transposed = True
            for name, value in facts.items():
                group._v_attrs[name] = value
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _bytes(words: Sequence[str]) -> np.ndarray:
    return np.array([word.encode() for word in words])


def _described(node: Any, name: str | None, title: str = "") -> None:
    node.attrs.kind, node.attrs.nan_rep, node.attrs.transposed = "string", "", True
    node.attrs.name = name
    if title:
        node.attrs[title] = name
