"""`fallow.open`: from a folder, archive, manifest, data set, arrays or address to `Images`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.images import tables, wilds
from fallow.images.addresses import again, listed
from fallow.images.brought import folder_columns, masks_below, masks_named, own_labels
from fallow.images.collection import Images, Problems, with_columns
from fallow.images.listing import Listing, nothing_in, refuse_duplicates
from fallow.images.measured import measured
from fallow.images.places import Local, place
from fallow.images.stores import Arrays, Listed
from fallow.problems import SourceProblem


def open(
    source: Any,
    labels: Any = None,
    *,
    mask: Any = None,
    name: str | None = None,
    root: str | os.PathLike[str] | None = None,
) -> Images:
    """Open images: a folder, .zip, .tar, WebDataset shards, .csv/.parquet/.jsonl manifest,
    Hugging Face data set on disk, arrays, or any of these behind an fsspec address.

    `labels` is a file or table joined by its column `path`, or one value for each picture;
    without it a labels.csv or metadata file inside the source is used, or folder names;
    False leaves all of them out. `mask` names a folder of the source whose files are masks
    called like the pictures, or gives one array for each array. `wilds:iwildcam` is a data set of
    WILDS below the folder `root`.

    >>> images = open([np.full((8, 8), value, np.uint8) for value in (0, 255)], labels=["a", "b"])
    >>> images.labels[1], images[1].max()
    (['a', 'b'], np.uint8(255))
    """
    if isinstance(source, Images):
        raise SourceProblem("these images are open already: use them as they are, or join labels")
    if not isinstance(source, (str, os.PathLike)):
        return _open_sequence(source, labels, mask, name or "arrays")
    address = os.fspath(source)
    listing = listed(address, root)
    shown = name or place(address).name.removeprefix(wilds.PREFIX)
    own = None
    if labels is None and listing.columns is None:
        own = own_labels(listing)
    return _finish(listing, labels, own, mask, shown, address)


def opened(source: Any, labels: Any = None, where: str | None = None) -> Images:
    """The source as Images; Images pass through. With labels joined, and only the rows wanted."""
    if hasattr(source, "map") and hasattr(source, "problems"):
        images = source if labels is None else source.join(labels)
    else:
        images = open(source, labels=labels)
    return images.where(where) if where else images


def _finish(
    listing: Listing, labels: Any, own: pa.Table | None, mask: Any, shown: str, address: str
) -> Images:
    """Images of what is listed, with all that is known of them."""
    masks: dict[str, str] = {}
    if mask is None:
        aside = masks_named(own, labels)
    else:
        aside, masks = masks_below(listing, mask)
    pairs = [(n, i) for n, i in zip(listing.names, listing.ids, strict=True) if n not in aside]
    if not pairs:
        raise SourceProblem(nothing_in(listing, address))
    refuse_duplicates([key for _, key in pairs], shown)
    table, problems = measured(listing.store, pairs)
    everything = Problems([*listing.store.problems, *listing.problems, *problems])
    if table.num_rows == 0:
        first = everything[0]
        raise SourceProblem(
            f"none of the {len(pairs):,} images in {address} can be read: "
            f"for example {first.path}, {first.reason}"
        )
    notes = list(listing.notes)
    ids = table.column("id").to_pylist()
    if listing.columns is not None:
        rows = {key: row for row, key in enumerate(listing.ids)}
        mine = listing.columns.take(pa.array([rows[key] for key in ids]))
        table, clashes = with_columns(table, mine)
        notes += clashes
    if own is not None:
        found, said = tables.join(ids, own, name="labels.csv", must_match=False)
        table, clashes = with_columns(table, found)
        notes += [*said, *clashes]
    elif listing.columns is None and labels is None:
        table = folder_columns(table)
    if mask is not None:
        table, _ = with_columns(table, pa.table({"mask": [masks.get(key) for key in ids]}))
    source = "" if isinstance(listing.store, Arrays) else again(address)
    images = Images(
        table, listing.store, name=shown, problems=everything, notes=notes, source=source
    )
    if labels is None or labels is False:
        return images
    if isinstance(labels, (str, os.PathLike, pa.Table, dict)) or hasattr(labels, "to_dict"):
        return images.join(labels)
    raise SourceProblem("labels for files must be a table with a column path, or the name of one")


def _open_sequence(source: Any, labels: Any, mask: Any, shown: str) -> Images:
    if isinstance(source, np.ndarray) and source.ndim not in (3, 4):
        raise SourceProblem(f"an array of shape {source.shape} is not images: use N H W or N H W C")
    try:
        items = list(source)
    except TypeError:
        raise SourceProblem(
            f"cannot open a {type(source).__name__}: give a folder, file, address or arrays"
        ) from None
    if not items:
        raise SourceProblem("there are no images in an empty list")
    if all(isinstance(item, (str, os.PathLike)) for item in items):
        names = [os.path.abspath(os.fspath(item)) for item in items]
        listing = Listing(Listed(Local(os.getcwd()), names), names, list(names))
        return _finish(listing, _by_row(labels, names, key="path"), None, mask, shown, shown)
    keys = [f"{row:06d}" for row in range(len(items))]
    pixels = {key: np.asarray(item) for key, item in zip(keys, items, strict=True)}
    columns = _by_row(labels, keys)
    if mask is not None:
        given = list(mask)
        if len(given) != len(keys):
            raise SourceProblem(f"{len(given)} masks do not fit {len(keys)} images")
        found = {
            key: (f"mask/{key}", np.asarray(one))
            for key, one in zip(keys, given, strict=True)
            if one is not None
        }
        pixels |= dict(found.values())
        masks = pa.array([found[key][0] if key in found else None for key in keys], pa.string())
        columns = columns.append_column("mask", masks) if columns else pa.table({"mask": masks})
    return from_arrays(pixels, keys, columns, shown)


def from_arrays(
    pixels: dict[str, np.ndarray], ids: Sequence[str], columns: pa.Table | None, name: str
) -> Images:
    """Images of named arrays, with one row of columns for each."""
    listing = Listing(Arrays(pixels), list(ids), list(ids), columns)
    return _finish(listing, False, None, None, name, name)


def _by_row(labels: Any, keys: Sequence[str], key: str | None = None) -> pa.Table | None:
    """Labels given in the order of the pictures, as a table."""
    if labels is None or labels is False:
        return None
    if isinstance(labels, (str, os.PathLike)):
        where = place(labels)
        table = tables.read_table(where.read(), where.name)
    elif isinstance(labels, (pa.Table, dict)) or hasattr(labels, "to_dict"):
        table = tables.as_table(labels)
    else:
        table = pa.table({"label": tables.column_of(labels)})
    if key is not None and key in table.column_names:
        return table
    if "path" in table.column_names:
        found, _ = tables.join(keys, table)
        return found
    if table.num_rows != len(keys):
        raise SourceProblem(f"{table.num_rows} labels do not fit {len(keys)} images")
    return table.append_column(key, pa.array(keys)) if key is not None else table
