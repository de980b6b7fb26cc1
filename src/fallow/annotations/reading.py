"""What readers of annotation files share: finding the files, JSON from strangers, one row each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.images.places import Place, place
from fallow.problems import SourceProblem


def files(source: Any, endings: Sequence[str]) -> list[Place]:
    """The files of a folder that end as asked, or those named one by one."""
    if isinstance(source, (list, tuple)):
        return [place(one) for one in source]
    where = place(source)
    if where.is_folder():
        found = [where.child(n) for n in where.walk() if n.lower().endswith(tuple(endings))]
        if not found:
            raise SourceProblem(f"{where} holds no {' or '.join(endings)} files")
        return found
    if not where.is_file():
        raise SourceProblem(f"there is no file or folder {where}: check the name")
    return [where]


def json_of(data: bytes, name: str, kind: type) -> Any:
    """What a JSON file holds, which must be a list or an object.

    >>> json_of(b"[1]", "a.json", dict)
    Traceback (most recent call last):
    ...
    fallow.problems.SourceProblem: a.json holds a list where an object is expected
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceProblem(f"{name} cannot be read as JSON: {error}") from error
    if not isinstance(found, kind):
        words: dict[type, str] = {dict: "an object", list: "a list"}
        said = words.get(type(found), "a value")
        raise SourceProblem(f"{name} holds {said} where {words[kind]} is expected")
    return found


def once(images: pa.Table, notes: list[str]) -> pa.Table:
    """One row for each picture; where one is listed twice the first row counts, and it is noted."""
    keys = images.column("image").to_pylist()
    if len(set(keys)) == len(keys):
        return images
    first = np.sort(np.unique(np.array(keys, object), return_index=True)[1])
    listed(notes, len(keys) - len(first), "rows name a picture again: its first row counts")
    pairs = set(zip(keys, images.column("split").to_pylist(), strict=True))
    listed(notes, len(pairs) - len(first), "pictures are said to be in two splits")
    return images.take(pa.array(first))


def columns_of(rows: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows as columns; what a row does not say is missing.

    >>> columns_of([{"a": 1}, {"b": 2}])
    {'a': [1, None], 'b': [None, 2]}
    """
    held = list(rows)
    names = dict.fromkeys(name for row in held for name in row)
    return {name: [row.get(name) for row in held] for name in names}


def listed(notes: list[str], count: int, what: str) -> None:
    """Note how often something was met, if it was."""
    if count:
        notes.append(f"{count:,} {what}")
