"""Pictures known by name alone: what a job too large for one reader is cut from."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from fallow.files import fingerprint
from fallow.images import tables
from fallow.images.addresses import again, listed
from fallow.images.brought import folder_columns, masks_named, own_labels
from fallow.images.collection import Images, Problems, with_columns
from fallow.images.listing import nothing_in, refuse_duplicates
from fallow.images.measured import measured
from fallow.images.places import place
from fallow.images.stores import FileProblem, Store
from fallow.problems import SourceProblem


@dataclass(frozen=True)
class Named:
    """The pictures of a source, none of them read yet, and what the source says of them."""

    name: str
    store: Store
    names: list[str]
    ids: list[str]
    columns: pa.Table  # one row for each name
    problems: list[FileProblem]
    notes: list[str]
    source: str = ""  # the address it was opened at, from wherever it is asked for again

    def __len__(self) -> int:
        return len(self.names)

    @property
    def fingerprint(self) -> str:
        """Equal for the same names, in the same order, with the same columns."""
        said = [self.columns.column_names, self.columns.to_pydict()] if self.columns else []
        return fingerprint("\n".join([*self.names, *self.ids, repr(said)]).encode())

    def part(self, rows: slice) -> Named:
        """Some of them; the store can be read from, and does not list what else there is."""
        store = copy.copy(self.store)
        store.names, store.problems = [], []
        return replace(
            self,
            store=store,
            names=self.names[rows],
            ids=self.ids[rows],
            columns=self.columns.take(pa.array(range(len(self))[rows])) if self.columns else NONE,
            problems=[],
        )

    def look(self) -> Images:
        """The pictures with their sizes and hashes: every file is read once."""
        pairs = list(zip(self.names, self.ids, strict=True))
        table, problems = measured(self.store, pairs)
        notes: list[str] = []
        if self.columns:
            row = {key: place for place, key in enumerate(self.ids)}
            mine = [row[key] for key in table.column("id").to_pylist()]
            table, notes = with_columns(table, self.columns.take(pa.array(mine, pa.int64())))
        found = Problems([*self.problems, *problems])
        return Images(table, self.store, name=self.name, problems=found, notes=notes)


NONE = pa.table({})


def named(source: str | os.PathLike[str], labels: Any = None) -> Named:
    """The pictures of a folder, archive, manifest or address, without reading one of them.

    >>> import tempfile
    >>> from fallow.images.samples import demo
    >>> pictures = named(demo(tempfile.mkdtemp()))
    >>> first = pictures.part(slice(0, 10)).look()
    >>> len(first), first.columns[-1]
    (10, 'label')
    """
    address = os.fspath(source)
    listing = listed(address)
    own = own_labels(listing) if labels is None and listing.columns is None else None
    masks = masks_named(own, labels)
    rows = [row for row, name in enumerate(listing.names) if name not in masks]
    if not rows:
        raise SourceProblem(nothing_in(listing, address))
    ids = [listing.ids[row] for row in rows]
    shown = place(address).name
    refuse_duplicates(ids, shown)
    columns, notes = NONE, list(listing.notes)
    if listing.columns is not None:
        columns = listing.columns.take(pa.array(rows))
    elif own is not None:
        columns, said = tables.join(ids, own, name="labels.csv", must_match=False)
        notes += said
    elif labels is None:
        columns = folder_columns(pa.table({"id": ids})).drop_columns(["id"])
    if labels is not None and labels is not False:
        where = place(labels) if isinstance(labels, str | os.PathLike) else None
        table = tables.as_table(labels) if where is None else _read(where)
        shown_as = "the label table" if where is None else where.name
        found, said = tables.join(ids, table, name=shown_as)
        kept = [name for name in columns.column_names if name not in found.column_names]
        both = {name: columns.column(name) for name in kept}
        columns = pa.table({**both, **{name: found.column(name) for name in found.column_names}})
        notes += said
    problems = [*listing.store.problems, *listing.problems]
    return Named(
        shown, listing.store, [listing.names[row] for row in rows], ids, columns, problems, notes,
        again(address),
    )  # fmt: skip


def _read(where: Any) -> pa.Table:
    if not where.is_file():
        raise SourceProblem(f"there is no label file {where}: check the name")
    return tables.read_table(where.read(), where.name)
