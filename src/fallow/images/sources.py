"""`fallow.open`: from a folder, archive, manifest, data set, arrays or address to `Images`."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import posixpath
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.images import tables, wilds
from fallow.images.collection import MEASURED, Images, Problems, read_bytes, with_columns
from fallow.images.decode import Unreadable, header, to_uint8
from fallow.images.listing import Listing
from fallow.images.places import Local, Place, local, place
from fallow.images.stores import (
    Arrays,
    FileProblem,
    Folder,
    Listed,
    Shards,
    Store,
    Tar,
    Zip,
)
from fallow.images.tabular import of_arrow, of_parquet, read_manifest, saved_data_set
from fallow.problems import SettingProblem, SourceProblem

# fmt: off
SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".dib",
    ".gif",
)
# pictures people have that fallow does not read: named as problems instead of passed over
FOREIGN = (
    ".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".exr", ".hdr", ".ppm", ".pgm",
    ".pbm", ".tga", ".ico", ".pcx", ".dng", ".nef", ".cr2", ".cr3", ".arw", ".kdc", ".orf", ".raf",
)
# fmt: on
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
SPLITS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing", "unlabelled")
OWN_LABELS = ("labels.csv", "metadata.csv", "metadata.jsonl", "metadata.parquet")


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
    masks = mask_names(listing, own, labels, mask)
    return _finish(listing, labels, own, masks, shown, address)


def listed(address: str, root: str | os.PathLike[str] | None = None) -> Listing:
    """What is there under an address, by name; a SourceProblem where nothing can be read."""
    try:
        if address.startswith(wilds.PREFIX):
            return wilds.listing(address, root)
        return _list(address)
    except OSError as error:
        raise SourceProblem(f"cannot read {address}: {error.strerror or error}") from error


def opened(source: Any, labels: Any = None, where: str | None = None) -> Images:
    """The source as Images; Images pass through. With labels joined, and only the rows wanted."""
    if hasattr(source, "map") and hasattr(source, "problems"):
        images = source if labels is None else source.join(labels)
    else:
        images = open(source, labels=labels)
    return images.where(where) if where else images


def _finish(
    listing: Listing,
    labels: Any,
    own: pa.Table | None,
    masks: dict[str, str] | set[str],
    shown: str,
    address: str,
) -> Images:
    if isinstance(masks, dict):
        aside = set(masks.values())
    else:
        aside = masks
    pairs = [(n, i) for n, i in zip(listing.names, listing.ids, strict=True) if n not in aside]
    if not pairs:
        raise SourceProblem(nothing_in(listing, address))
    refuse_duplicates([key for _, key in pairs], shown)
    table, problems = inventory(listing.store, pairs)
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
    if isinstance(masks, dict):
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


def again(address: str) -> str:
    """The address from wherever it is asked for again; empty where more than it is needed."""
    if address.startswith(wilds.PREFIX):
        return ""
    return address if (here := local(address)) is None else os.path.abspath(here)


def _list(address: str) -> Listing:
    """Recognise the source and list it."""
    if (several := _expanded(address)) is not None:
        return _shards([place(one) for one in several])
    where = place(address)
    try:
        if not where.exists():
            raise SourceProblem(f"there is nothing at {address}: check the name")
        if where.is_folder():
            return _folder(where, address)
    except (SourceProblem, OSError):
        raise
    except Exception as error:  # a remote file system raises what it likes
        raise SourceProblem(f"cannot reach {address}: {error}") from error
    lower = where.name.lower()
    if lower.endswith(".zip"):
        return _of_archive(Zip(where))
    if lower.endswith(TARS):
        return _shards([where])
    if lower.endswith(".arrow"):
        return of_arrow([("", where)], {}, address)
    if lower.endswith(tables.TABLE_SUFFIXES):
        return read_manifest(where, address)
    if lower.endswith((*SUFFIXES, *FOREIGN)):
        return _of_archive(Folder(where.parent(), [where.name]))
    raise SourceProblem(
        f"{address} is not something fallow opens: give a folder, .zip, .tar, .csv, .jsonl, "
        ".parquet, .arrow or an image"
    )


def _of_archive(store: Store) -> Listing:
    names = [name for name in store.names if name.lower().endswith(SUFFIXES)]
    foreign = [
        FileProblem(name, f"{posixpath.splitext(name)[1]} is not a format fallow reads")
        for name in store.names
        if name.lower().endswith(FOREIGN)
    ]
    return Listing(store, names, list(names), problems=foreign)


def _folder(where: Place, address: str) -> Listing:
    store = Folder(where)
    top = [name for name in store.names if "/" not in name]
    if "dataset_dict.json" in top or ("state.json" in top and "dataset_info.json" in top):
        return saved_data_set(where, store, top, address)
    listing = _of_archive(store)
    if listing.names:
        return listing
    shards = [name for name in store.names if name.lower().endswith(TARS)]
    if shards:
        return _shards([where.child(name) for name in shards])
    parquet = [name for name in store.names if name.lower().endswith(".parquet")]
    if parquet:
        return of_parquet([(_split_of(name), where.child(name)) for name in parquet], address)
    return listing


def nothing_in(listing: Listing, address: str) -> str:
    others = Counter(posixpath.splitext(name)[1].lower() for name in listing.store.names)
    if listing.problems or listing.store.problems:
        first = (listing.problems or listing.store.problems)[0]
        return f"there are no images to use in {address}: for example {first.path}, {first.reason}"
    if not others:
        return f"{address} is empty: give a folder or archive that holds images"
    kinds = ", ".join(
        f"{count:,} {kind or 'without ending'}" for kind, count in others.most_common(3)
    )
    return (
        f"there are no images in {address} (it holds {kinds}): look for {', '.join(SUFFIXES[:5])}"
    )


def refuse_duplicates(ids: Sequence[str], shown: str) -> None:
    twice = [key for key, count in Counter(ids).items() if count > 1]
    if twice:
        raise SourceProblem(f"{shown} names {twice[0]} twice: keep one row for each image")


# inventory


def inventory(
    store: Store, pairs: Sequence[tuple[str, str]], threads: int | None = None
) -> tuple[pa.Table, list[FileProblem]]:
    """Sizes and hashes of (name, id) pairs without decoding, and what cannot be read."""

    def look(pair: tuple[str, str]) -> tuple[Any, ...] | FileProblem:
        name, key = pair
        try:
            if isinstance(store, Arrays):
                height, width = to_uint8(store.pixels[name]).shape[:2]
                kind, data = "ARRAY", store.read(name)
                data = f"{store.pixels[name].dtype} {store.pixels[name].shape} ".encode() + data
            else:
                data = read_bytes(store, name)
                seen = header(data)
                width, height, kind = seen.width, seen.height, seen.format
        except Unreadable as error:
            return FileProblem(name, str(error))
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        return key, name, width, height, kind, len(data), digest

    def look_at(chunk: Sequence[tuple[str, str]]) -> list[tuple[Any, ...] | FileProblem]:
        return [look(pair) for pair in chunk]

    chunks = [pairs[start : start + 32] for start in range(0, len(pairs), 32)]
    workers = 1 if store.sequential else threads or min(8, (os.cpu_count() or 1) + 2)
    with ThreadPoolExecutor(workers, thread_name_prefix="fallow-inventory") as pool:
        seen = [one for chunk in pool.map(look_at, chunks) for one in chunk]
    rows = [one for one in seen if not isinstance(one, FileProblem)]
    kinds = dict(
        zip(
            MEASURED,
            (
                pa.string(),
                pa.string(),
                pa.int32(),
                pa.int32(),
                pa.string(),
                pa.int64(),
                pa.string(),
            ),
            strict=True,
        )
    )
    table = pa.table(
        {key: pa.array([row[at] for row in rows], kinds[key]) for at, key in enumerate(MEASURED)}
    )
    return table, [one for one in seen if isinstance(one, FileProblem)]


# labels a source brings along


def own_labels(listing: Listing) -> pa.Table | None:
    """labels.csv or metadata.* of the source itself: at its top, or in each sub-folder."""
    found = [
        (name.count("/"), name)
        for name in listing.store.names
        if posixpath.basename(name).lower() in OWN_LABELS
    ]
    if not found:
        return None
    shallowest = min(depth for depth, _ in found)
    files = sorted(name for depth, name in found if depth == shallowest)
    first_kind = min(OWN_LABELS.index(posixpath.basename(name).lower()) for name in files)
    parts = []
    for name in files:
        if OWN_LABELS.index(posixpath.basename(name).lower()) != first_kind:
            continue
        try:
            data = read_bytes(listing.store, name)
        except Unreadable as error:
            raise SourceProblem(
                f"{name} cannot be used: {error} (labels=False opens without it)"
            ) from error
        table = tables.read_table(data, name)
        try:
            key = tables.path_column(table, name)
        except SourceProblem as error:
            raise SourceProblem(f"{error} (labels=False opens without it)") from error
        base = posixpath.dirname(name)
        paths = [
            posixpath.join(base, str(value)) if base and value is not None else value
            for value in table.column(key).to_pylist()
        ]
        table = table.set_column(
            table.column_names.index(key), "path", pa.array(paths, pa.string())
        )
        split = base.rsplit("/", 1)[-1].lower()
        if split in SPLITS and "split" not in table.column_names:
            table = table.append_column("split", pa.array([split] * table.num_rows))
        for column in ("mask", "mask_file_name"):
            if base and column in table.column_names:
                values = table.column(column).to_pylist()
                joined = [value and posixpath.join(base, str(value)) for value in values]
                at = table.column_names.index(column)
                table = table.set_column(at, column, pa.array(joined, pa.string()))
        parts.append(table)
    return parts[0] if len(parts) == 1 else pa.concat_tables(parts, promote_options="permissive")


def mask_names(
    listing: Listing, own: pa.Table | None, labels: Any, mask: Any
) -> dict[str, str] | set[str]:
    """Files that are masks: {id: mask} for a folder of masks, or the names a table gives."""
    if mask is not None:
        if not isinstance(mask, (str, os.PathLike)):
            raise SettingProblem("mask must be the name of a folder in the source")
        prefix = os.fspath(mask).strip("/") + "/"
        stems = {
            posixpath.splitext(n[len(prefix) :])[0]: n
            for n in listing.names
            if n.startswith(prefix)
        }
        if not stems:
            raise SourceProblem(f"there is no folder {mask} with masks in this source")
        found = {}
        for key in listing.ids:
            parts = posixpath.splitext(key)[0].split("/")
            tails = ("/".join(parts[start:]) for start in range(len(parts)))
            if not key.startswith(prefix) and (hit := next((t for t in tails if t in stems), None)):
                found[key] = stems[hit]
        # masks that belong to no picture are no pictures either
        spare = {f"\0{name}": name for name in stems.values()}
        return {**found, **spare}
    table = own
    if labels is not None and labels is not False and not isinstance(labels, (pa.Table, dict)):
        where = local(labels) if isinstance(labels, (str, os.PathLike)) else None
        if where is not None and where.is_file():
            table = tables.read_table(where.read_bytes(), where.name)
    elif isinstance(labels, dict):
        table = tables.as_table(labels)
    elif isinstance(labels, pa.Table):
        table = labels
    if table is None or "mask" not in table.column_names:
        return set()
    return {str(value) for value in table.column("mask").to_pylist() if value is not None}


def folder_columns(table: pa.Table) -> pa.Table:
    """`split` and `label` from folder names, where they say anything."""
    parents = [posixpath.dirname(key).split("/") for key in table.column("id").to_pylist()]
    splits = [
        next((part.lower() for part in parts if part.lower() in SPLITS), None) for parts in parents
    ]
    if len(set(splits) - {None}) > 1:
        table = table.append_column("split", pa.array(splits, pa.string()))
    labels = [
        parts[-1] if parts[-1] and parts[-1].lower() not in SPLITS else None for parts in parents
    ]
    if len(set(labels) - {None}) > 1:
        table = table.append_column("label", pa.array(labels, pa.string()))
    return table


def _split_of(name: str) -> str | None:
    first = re.split(r"[-_./]", posixpath.basename(name))[0].lower()
    folders = posixpath.dirname(name).lower().split("/")
    return next((part for part in (*folders, first) if part in SPLITS), None)


# shards


def _expanded(address: str) -> list[str] | None:
    """Addresses a pattern like shard-{000..003}.tar or shard-*.tar stands for, or None.

    >>> _expanded("shard-{008..010}.tar")
    ['shard-008.tar', 'shard-009.tar', 'shard-010.tar']
    """
    found = re.search(r"\{([^{}]*)\}", address)
    if found and not os.path.exists(address):
        inside = found.group(1)
        span = re.fullmatch(r"(\d+)\.\.(\d+)", inside)
        if span:
            first, last = int(span.group(1)), int(span.group(2))
            if last - first >= 100_000:
                raise SourceProblem(f"{address} stands for more than 100,000 shards: narrow it")
            words = [f"{at:0{len(span.group(1))}d}" for at in range(first, last + 1)]
        else:
            words = inside.split(",")
        before, after = address[: found.start()], address[found.end() :]
        several = []
        for word in words:
            one = before + word + after
            several += _expanded(one) or [one]
        return several
    if (
        "://" not in address
        and any(sign in address for sign in "*?")
        and not os.path.exists(address)
    ):
        several = sorted(glob.glob(address))
        if not several:
            raise SourceProblem(f"nothing matches {address}: check the pattern")
        return several
    return None


def _shards(places: Sequence[Place]) -> Listing:
    for where in places:
        if not where.exists():
            raise SourceProblem(f"there is nothing at {where}: check the name")
        if not where.name.lower().endswith(TARS):
            raise SourceProblem(f"{where} is not a .tar: only shards can be given by a pattern")
    stores = [Tar(where) for where in places]
    names = Counter(store.archive.name for store in stores)
    if len(names) < len(stores):
        raise SourceProblem("two shards have the same file name: open them one by one")
    store: Store = stores[0] if len(stores) == 1 else Shards(stores)
    listing = _of_archive(store)
    return _web_data_set(listing) or listing


def _web_data_set(listing: Listing) -> Listing | None:
    """Samples grouped by base name: a picture, and its class, text or json beside it."""
    samples: dict[str, dict[str, str]] = {}
    for name in listing.store.names:
        folder, file = posixpath.split(name)
        stem, _, ending = file.partition(".")
        samples.setdefault(posixpath.join(folder, stem), {})[ending.lower()] = name
    sidecars = ("cls", "txt", "caption", "json")
    if not any(
        ending in sidecars and len(files) > 1 for files in samples.values() for ending in files
    ):
        return None
    names, ids, rows = [], [], []
    for key, files in samples.items():
        pictures = [ending for ending in files if "." + ending.rsplit(".", 1)[-1] in SUFFIXES]
        if not pictures:
            continue
        main = min(pictures, key=lambda ending: (ending.count("."), ending))
        row: dict[str, Any] = {}
        for ending, name in files.items():
            if ending in sidecars:
                try:
                    row.update(_sidecar(ending, read_bytes(listing.store, name)))
                except (Unreadable, ValueError) as error:
                    listing.problems.append(FileProblem(name, f"cannot be read: {error}"))
            elif ending in pictures and ending != main and re.match(r"(mask|seg)", ending):
                row.setdefault("mask", name)
        names.append(files[main])
        ids.append(key)
        rows.append(row)
    columns = sorted({column for row in rows for column in row})
    table = tables.typed(
        pa.table({column: _plain([row.get(column) for row in rows]) for column in columns})
        if columns
        else pa.table({"label": pa.nulls(len(rows), pa.string())})
    )
    shards = Counter(key.split("/", 1)[-1] for key in ids)
    if isinstance(listing.store, Shards) and max(shards.values(), default=0) == 1:
        ids = [key.split("/", 1)[-1] for key in ids]
    return Listing(listing.store, names, ids, table, listing.notes, listing.problems)


def _sidecar(ending: str, data: bytes) -> dict[str, Any]:
    text = data.decode("utf-8").strip()
    if ending == "cls":
        return {"label": text or None}
    if ending in ("txt", "caption"):
        return {"caption": text}
    content = json.loads(text)
    return content if isinstance(content, dict) else {"json": content}


def _plain(values: list[Any]) -> pa.Array:
    """One Arrow column of loose values: what does not fit together becomes text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or kinds in ({str}, {bool}):
        try:
            return pa.array(values)
        except (pa.ArrowException, OverflowError):
            pass  # integers beyond 64 bits: kept as text below
    return pa.array(
        [
            value if value is None or isinstance(value, str) else json.dumps(value)
            for value in values
        ],
        pa.string(),
    )


# manifests and data sets in tables


# arrays


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
        labels = _by_row(labels, names, key="path")
        masks = mask_names(listing, None, labels, mask)
        return _finish(listing, labels, None, masks, shown, shown)
    keys = [f"{row:06d}" for row in range(len(items))]
    pixels = {key: np.asarray(item) for key, item in zip(keys, items, strict=True)}
    columns = _by_row(labels, keys)
    if mask is not None:
        given = list(mask)
        if len(given) != len(keys):
            raise SourceProblem(f"{len(given)} masks do not fit {len(keys)} images")
        named = [
            None if one is None else f"mask/{key}" for key, one in zip(keys, given, strict=True)
        ]
        for name, one in zip(named, given, strict=True):
            if name is not None:
                pixels[name] = np.asarray(one)
        masks = pa.array(named, pa.string())
        columns = columns.append_column("mask", masks) if columns else pa.table({"mask": masks})
    return from_arrays(pixels, keys, columns, shown)


def from_arrays(
    pixels: dict[str, np.ndarray], ids: Sequence[str], columns: pa.Table | None, name: str
) -> Images:
    """Images of named arrays, with one row of columns for each."""
    listing = Listing(Arrays(pixels), list(ids), list(ids), columns)
    return _finish(listing, False, None, set(), name, name)


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
