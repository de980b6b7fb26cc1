"""Texts beside pictures: caption files, several captions for a picture, texts without pictures."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.files import fingerprint
from fallow.images import tables
from fallow.images.collection import Images, read_bytes
from fallow.images.places import place
from fallow.problems import SourceProblem, did_you_mean

CAPTION = "caption"
CAPTION_COLUMNS = (CAPTION, "captions", "text", "texts", "sentence", "description", "comment")


def captions(images: Images, column: str = CAPTION) -> list[tuple[str, ...]]:
    """The texts of each picture in one column; a cell may hold one text or several, or none.

    >>> from fallow.images.samples import shapes
    >>> images = with_captions(shapes(2, side=16), {"shapes_0000": ["a disc", "a round thing"]})
    >>> captions(images)
    [('a disc', 'a round thing'), ()]
    """
    if column not in images.columns:
        raise SourceProblem(
            f"{images.name} has no column {column}: {did_you_mean(column, images.columns)} "
            "Captions come with a file of columns path and caption."
        )
    return [_texts(cell) for cell in images.table.column(column).to_pylist()]


def holds_texts(images: Images, column: str) -> bool:
    """Whether a column's cells are texts, or lists of them."""
    kind = images.table.schema.field(column).type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _texts(cell: Any) -> tuple[str, ...]:
    """The texts of one cell, each once; a list written as JSON is a list."""
    if cell is None:
        return ()
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        with contextlib.suppress(ValueError):  # a text that begins with a bracket
            cell = json.loads(cell)
    several = cell if isinstance(cell, (list, tuple)) else [cell]
    found = (str(one).strip() for one in several if one is not None)
    return tuple(dict.fromkeys(one for one in found if one))


def with_captions(images: Images, source: Any, column: str | None = None) -> Images:
    """The same pictures with a column `caption` of lists: from a file, a table, or {id: texts}.

    A file has a row for each caption, with the picture's path; a picture may have several rows.
    Empty captions, unknown pictures and pictures without any caption are noted, not errors.
    """
    table, name = _table(images, source)
    key = tables.path_column(table, name)
    text = _caption_column(table, name, column)
    given: dict[str, list[str]] = {}
    empty = 0
    for path, cell in zip(table.column(key).to_pylist(), table.column(text).to_pylist(),
                          strict=True):  # fmt: skip
        if path is None or not str(path).strip():
            raise SourceProblem(f"{name} has captions without a {key}: fill them or drop them")
        found = _texts(cell)
        empty += not found
        given.setdefault(str(path).strip(), []).extend(found)
    if not any(given.values()):
        raise SourceProblem(f"{name} holds no caption: every cell of its column {text} is empty")
    together = pa.table({
        "path": pa.array(given, pa.string()),
        CAPTION: pa.array([list(dict.fromkeys(one)) or None for one in given.values()],
                          pa.list_(pa.string())),
    })  # fmt: skip
    ids = [str(value) for value in images.table.column("path").to_pylist()]
    found, notes = tables.join(ids, together, name=name)
    table = images.table
    if CAPTION in table.column_names:
        table = table.drop_columns([CAPTION])
    table = table.append_column(CAPTION, found.column(CAPTION))
    bare = found.column(CAPTION).null_count
    if empty:
        notes.append(f"{empty:,} empty captions of {name} are left out")
    if bare:
        notes.append(f"{bare:,} of {len(images):,} pictures have no caption")
    return Images(
        table,
        images.store,
        name=images.name,
        problems=images.problems,
        notes=[*images.notes, *notes],
    )


def captioned(images: Images, column: str = CAPTION) -> Images:
    """The pictures that have a caption, checked to be of use for telling texts apart."""
    found = captions(images, column)
    known = np.array([bool(one) for one in found], bool)
    if not known.any():
        raise SourceProblem(f"no picture of {images.name} has a caption: give a file of captions")
    distinct = {text.lower() for one in found for text in one}
    if len(distinct) == 1:
        raise SourceProblem(
            f"all pictures of {images.name} have the one caption {min(distinct)!r}: nothing can be "
            "learnt from a text that fits every picture"
        )
    return images if known.all() else images.select(known)


def captions_fingerprint(images: Images, columns: Sequence[str]) -> str:
    """Equal for equal pictures with equal texts: what a run on both is known by.

    >>> from fallow.images.samples import shapes
    >>> one, other = (with_captions(shapes(1, side=16), {"shapes_0000": t}) for t in ("a", "b"))
    >>> captions_fingerprint(one, ["caption"]) == captions_fingerprint(other, ["caption"])
    False
    """
    table = images.table.select([name for name in columns if name in images.columns])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return fingerprint(f"{images.fingerprint} {fingerprint(sink.getvalue())}".encode())


def _table(images: Images, source: Any) -> tuple[pa.Table, str]:
    if isinstance(source, (str, os.PathLike)):
        shown = os.fspath(source)
        where = place(source)
        if where.is_file():
            return tables.read_table(where.read(), where.name), where.name
        if shown in images.store.names:
            return tables.read_table(read_bytes(images.store, shown), shown), shown
        raise SourceProblem(f"there is no file of captions {shown}: check the name")
    if isinstance(source, dict) and not set(source) & set(tables.PATH_COLUMNS):
        texts = [[one] if isinstance(one, str) else list(one) for one in source.values()]
        columns = {
            "path": pa.array([str(key) for key in source]),
            CAPTION: pa.array(texts, pa.list_(pa.string())),
        }
        return pa.table(columns), "the captions"
    return tables.as_table(source), "the captions"


def _caption_column(table: pa.Table, name: str, wanted: str | None) -> str:
    choices = [wanted] if wanted else list(CAPTION_COLUMNS)
    for column in choices:
        if column in table.column_names:
            return column
    hint = did_you_mean(wanted or CAPTION, table.column_names)
    raise SourceProblem(f"{name} has no column {wanted or CAPTION}: {hint}")


class Texts:
    """Texts without pictures, in the place of pictures where a method learns from texts alone.

    >>> texts = Texts(["a dog", " ", "two dogs"])
    >>> len(texts), texts.texts, texts.notes
    (2, ('a dog', 'two dogs'), ['1 empty text is left out'])
    """

    columns = ("id", "width", "height", "text")

    def __init__(self, texts: Iterable[str], *, name: str = "texts") -> None:
        given = [str(one) for one in texts]
        self.texts = tuple(" ".join(one.split()) for one in given if one.strip())
        self.name = name
        self.problems: list[Any] = []
        empty = len(given) - len(self.texts)
        plural = "s are" if empty > 1 else " is"
        self.notes = [f"{empty:,} empty text{plural} left out"] if empty else []
        if not self.texts:
            raise SourceProblem(f"{name} holds no text")

    def __len__(self) -> int:
        return len(self.texts)

    def column(self, name: str) -> np.ndarray:
        """What a collection of pictures would say; a text has no sides."""
        if name == "text":
            return np.array(self.texts, object)
        if name == "id":
            return np.array([f"{row:06d}" for row in range(len(self))])
        return np.zeros(len(self), np.int64)

    @property
    def fingerprint(self) -> str:
        return fingerprint("\n".join(self.texts).encode())

    def select(self, rows: Any) -> Texts:
        """The texts in these rows; a boolean array selects where it is true."""
        chosen = np.asarray(rows)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return Texts([self.texts[row] for row in chosen], name=self.name)


def open_texts(source: Any, column: str | None = None) -> Texts:
    """Texts of a list, of a .txt file (one a line), or of a column of a table.

    >>> open_texts(["a dog", "a cat"]).texts
    ('a dog', 'a cat')
    """
    if isinstance(source, Texts):
        return source
    if not isinstance(source, (str, os.PathLike)):
        return Texts(source)
    path = Path(source).expanduser()
    if not path.is_file():
        raise SourceProblem(f"there is no file of texts {path}: check the name")
    if path.suffix.lower() in tables.TABLE_SUFFIXES:
        table = tables.read_table(path.read_bytes(), path.name)
        cells = table.column(_caption_column(table, path.name, column)).to_pylist()
        return Texts([text for cell in cells for text in _texts(cell) or ("",)], name=path.name)
    if path.suffix.lower() not in (".txt", ""):
        raise SourceProblem(
            f"{path.name} is not a file of texts: use .txt, {', '.join(tables.TABLE_SUFFIXES)}"
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise SourceProblem(
            f"{path.name} is not UTF-8 text from line {line} on: save it as UTF-8"
        ) from error
    return Texts(re.split(r"\r?\n", text.removesuffix("\n")), name=path.name)
