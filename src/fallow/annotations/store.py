"""`Annotations`: what is said of pictures - labels, boxes, relations - whoever said it.

Of a picture and a class there are three things to say: yes (a person's label with confidence 1),
no (0), and nothing, if there is no row. A machine's label has a confidence between and is no yes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fallow.annotations.hierarchy import Hierarchy
from fallow.problems import SourceProblem, did_you_mean

HUMAN = ("verification", "crowdsource-verification", "human", "xclick", "freeform")
MACHINE, DERIVED = "machine", "derived"
ATTRIBUTES = ("occluded", "truncated", "group", "depiction", "inside")  # 1 yes, 0 no, -1 unknown
CORNERS = ("xmin", "ymin", "xmax", "ymax")  # 0 at the left and upper edge, 1 at the other
ENDS = tuple(f"{end}_{corner}" for end in ("subject", "object") for corner in CORNERS)

_text, _number = pa.string(), pa.float64()
SCHEMAS: dict[str, pa.Schema] = {
    "images": pa.schema(
        [("image", _text), ("file", _text), ("width", pa.int64()), ("height", pa.int64())]
        + [(name, _text) for name in ("split", "licence", "creator", "creator_url", "title")]
        + [(name, _text) for name in ("source_url", "landing_url", "thumbnail_url", "md5")]
        + [("bytes", pa.int64()), ("rotation", _number)]
    ),
    "labels": pa.schema(
        [("image", _text), ("label", _text), ("confidence", _number), ("source", _text)]
    ),
    "boxes": pa.schema(
        [("image", _text), ("label", _text)]
        + [(name, _number) for name in CORNERS]
        + [("confidence", _number), ("source", _text)]
        + [(name, pa.int8()) for name in ATTRIBUTES]
    ),
    "relations": pa.schema(
        [(name, _text) for name in ("image", "subject", "relation", "object")]
        + [(name, _number) for name in ENDS]
        + [("confidence", _number)]
    ),
}
_DEFAULTS: dict[str, Any] = {"confidence": 1.0, "source": "human", **dict.fromkeys(ATTRIBUTES, -1)}


@dataclass(frozen=True)
class Annotations:
    """Four tables, the names of classes, and which class is a kind of which.

    A picture is known by its file's name below the collection, without its ending.
    """

    images: pa.Table
    labels: pa.Table
    boxes: pa.Table
    relations: pa.Table
    names: Mapping[str, str] = field(default_factory=dict)  # what to show for a class
    hierarchy: Hierarchy = field(default_factory=Hierarchy)
    notes: tuple[str, ...] = ()  # what the source said that has no place here

    def __repr__(self) -> str:
        counts = (f"{getattr(self, kind).num_rows:,} {kind}" for kind in SCHEMAS)
        return f"Annotations({', '.join(counts)})"

    def with_(self, **changes: Any) -> Annotations:
        """The same with other tables, names, hierarchy or notes."""
        return replace(self, **changes)

    @property
    def classes(self) -> tuple[str, ...]:
        """Every class that is named, labelled, boxed or related, sorted."""
        seen = set(self.names) | set(self.hierarchy.classes)
        for kind, columns in (("labels", ("label",)), ("boxes", ("label",)),
                              ("relations", ("subject", "object"))):  # fmt: skip
            for column in columns:
                seen.update(pc.unique(getattr(self, kind).column(column)).to_pylist())
        return tuple(sorted(seen))

    @property
    def by_people(self) -> pa.Table:
        """Labels that people gave: a yes or a no."""
        return self.labels.filter(by_people(self.labels))

    def name(self, label: str) -> str:
        """What to show for a class."""
        return self.names.get(label, label)

    def class_of(self, word: str) -> str:
        """The class a word means: its own id, or the name it is shown by.

        >>> annotated(names={"/m/01yrx": "Cat"}).class_of("cat")
        '/m/01yrx'
        """
        known = {self.name(label).casefold(): label for label in self.classes}
        if word in self.classes:
            return word
        if word.casefold() not in known:
            hint = did_you_mean(word, [self.name(label) for label in self.classes])
            raise SourceProblem(f"there is no class {word!r}: {hint}")
        return known[word.casefold()]

    def only(self, images: Iterable[str]) -> Annotations:
        """What is said of these pictures."""
        wanted = pa.array(dict.fromkeys(images), pa.string())
        chosen = {
            kind: table.filter(pc.is_in(table.column("image"), wanted))
            for kind in SCHEMAS
            for table in (getattr(self, kind),)
        }
        return self.with_(**chosen)


def annotated(
    images: Any = None,
    labels: Any = None,
    boxes: Any = None,
    relations: Any = None,
    names: Mapping[str, str] | None = None,
    hierarchy: Hierarchy | None = None,
    notes: Sequence[str] = (),
) -> Annotations:
    """Annotations of columns: what is left out gets its default, pictures are added as needed.

    >>> annotated(labels={"image": ["a"], "label": ["cat"]}).labels.to_pylist()
    [{'image': 'a', 'label': 'cat', 'confidence': 1.0, 'source': 'human'}]
    """
    given = {"images": images, "labels": labels, "boxes": boxes, "relations": relations}
    made = {kind: table(kind, columns or {}) for kind, columns in given.items()}
    made["images"] = _with_missing(made)
    return Annotations(**made, names=names or {}, hierarchy=hierarchy or Hierarchy(),
                       notes=tuple(notes))  # fmt: skip


def table(kind: str, columns: Any) -> pa.Table:
    """A table of one kind from some of its columns, the others filled.

    >>> table("labels", {"image": ["a"], "label": ["x"], "colour": ["red"]})
    Traceback (most recent call last):
    ...
    fallow.problems.SourceProblem: labels have no column 'colour': known: confidence, image, ...
    """
    schema = SCHEMAS[kind]
    given = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
    for name in given.column_names:
        if name not in schema.names:
            raise SourceProblem(
                f"{kind} have no column {name!r}: {did_you_mean(name, schema.names)}"
            )
    filled = []
    for column in schema:
        value = _DEFAULTS.get(column.name)
        if column.name not in given.column_names:
            filled.append(pa.repeat(pa.scalar(value, column.type), given.num_rows))
            continue
        try:
            values = given.column(column.name).cast(column.type)
        except pa.ArrowException as error:
            raise SourceProblem(f"column {column.name} of {kind}: {error}") from error
        filled.append(values if value is None else values.fill_null(value))
    return pa.table(filled, schema=schema)


def by_people(rows: pa.Table) -> pa.ChunkedArray:
    """Which rows of labels or boxes come from people."""
    return pc.is_in(rows.column("source"), pa.array(HUMAN))


def corners(boxes: pa.Table, names: Sequence[str] = CORNERS) -> np.ndarray:
    """The boxes of a table as an array.  N 4"""
    columns = [boxes.column(name).to_numpy() for name in names]
    return np.stack(columns, 1) if len(boxes) else np.zeros((0, len(names)))


def ends(relations: pa.Table) -> np.ndarray:
    """Both boxes of every relation.  N 2 4"""
    return corners(relations, ENDS).reshape(-1, 2, 4)


def marks(boxes: pa.Table) -> np.ndarray:
    """The attributes of every box: 1 yes, 0 no, -1 unknown.  N 5"""
    return np.stack([boxes.column(name).to_numpy() for name in ATTRIBUTES], 1)


def sizes(annotations: Annotations, images: pa.ChunkedArray) -> np.ndarray:
    """Width and height of the picture of every row (N 2); NaN where nobody said."""
    rows = pc.index_in(images, annotations.images.column("image").combine_chunks())
    found = annotations.images.select(["width", "height"]).take(rows)
    return np.stack(
        [pc.cast(c, pa.float64()).to_numpy(zero_copy_only=False) for c in found.columns], 1
    ).reshape(-1, 2)


def coded(
    columns: Sequence[pa.ChunkedArray], known: Sequence[str] | None = None
) -> tuple[list[np.ndarray], list[str]]:
    """Several columns of words in one set of numbers, -1 for words not `known`.

    >>> [c.tolist() for c in coded([pa.chunked_array([["b", "a"]]), pa.chunked_array([["b"]])])[0]]
    [[1, 0], [1]]
    """
    if known is None:
        known = sorted({word for column in columns for word in pc.unique(column).to_pylist()})
    words = pa.array(list(known), pa.string())
    codes = [
        pc.index_in(column.cast(pa.string()), words).fill_null(-1).to_numpy().astype(np.int64)
        for column in columns
    ]
    return codes, list(known)


def among(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which numbers are known; by sorting, which on millions is far faster than by hashing.

    >>> among(np.array([3, 1, 2]), np.array([2, 3])).tolist()
    [True, False, True]
    """
    if not len(known):
        return np.zeros(len(values), bool)
    ordered, order = np.sort(known), np.argsort(values)
    asked = values[order]  # in order too, so that neighbours are looked up near each other
    place = np.searchsorted(ordered, asked)
    found = np.empty(len(values), bool)
    found[order] = ordered[np.minimum(place, len(ordered) - 1)] == asked
    return found


def key_of(file: str) -> str:
    """What a picture is known by: its path without its ending.

    >>> key_of("train\\\\cats/01.small.jpg"), key_of("./000a")
    ('train/cats/01.small', '000a')
    """
    path = file.replace("\\", "/").removeprefix("./").lstrip("/")
    folder, _, name = path.rpartition("/")
    stem = name.rpartition(".")[0] or name
    return f"{folder}/{stem}" if folder else stem


def _with_missing(tables: Mapping[str, pa.Table]) -> pa.Table:
    """Pictures that only a label, box or relation names."""
    images = tables["images"]
    keys = images.column("image")
    if keys.null_count:
        raise SourceProblem("a picture has no name: every row of images needs one")
    if len(pc.unique(keys)) < len(keys):
        counted = pc.value_counts(keys).to_pylist()
        name = next(each["values"] for each in counted if each["counts"] > 1)
        raise SourceProblem(f"two pictures are called {name}: rename one, or keep one of the rows")
    more: dict[str, None] = {}
    for kind, rows in tables.items():
        if kind != "images":
            more |= dict.fromkeys(pc.unique(rows.column("image")).to_pylist())
    known = set(keys.to_pylist())
    new = [name for name in more if name not in known]
    if None in new:
        raise SourceProblem("a label, box or relation names no picture: give each its image")
    return pa.concat_tables([images, table("images", {"image": pa.array(new, pa.string())})])
