"""What an address stands for: a folder, archive, shards, manifest or data set, told apart."""

from __future__ import annotations

import os

from fallow.images import tables, wilds
from fallow.images.brought import split_of
from fallow.images.listing import FOREIGN, SUFFIXES, Listing, of_store
from fallow.images.places import Place, local, place
from fallow.images.shards import TARS, expanded, of_shards
from fallow.images.stores import Folder, Zip
from fallow.images.tabular import of_arrow, of_parquet, read_manifest, saved_data_set
from fallow.problems import SourceProblem


def listed(address: str, root: str | os.PathLike[str] | None = None) -> Listing:
    """What is there under an address, by name; a SourceProblem where nothing can be read."""
    try:
        if address.startswith(wilds.PREFIX):
            return wilds.listing(address, root)
        return recognised(address)
    except OSError as error:
        raise SourceProblem(f"cannot read {address}: {error.strerror or error}") from error


def again(address: str) -> str:
    """The address from wherever it is asked for again; empty where more than it is needed."""
    if address.startswith(wilds.PREFIX):
        return ""
    return address if (here := local(address)) is None else os.path.abspath(here)


def recognised(address: str) -> Listing:
    """Recognise the source and list it."""
    if (several := expanded(address)) is not None:
        return of_shards([place(one) for one in several])
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
        return of_store(Zip(where))
    if lower.endswith(TARS):
        return of_shards([where])
    if lower.endswith(".arrow"):
        return of_arrow([("", where)], {}, address)
    if lower.endswith(tables.TABLE_SUFFIXES):
        return read_manifest(where, address)
    if lower.endswith((*SUFFIXES, *FOREIGN)):
        return of_store(Folder(where.parent(), [where.name]))
    raise SourceProblem(
        f"{address} is not something fallow opens: give a folder, .zip, .tar, .csv, .jsonl, "
        ".parquet, .arrow or an image"
    )


def _folder(where: Place, address: str) -> Listing:
    store = Folder(where)
    top = [name for name in store.names if "/" not in name]
    if "dataset_dict.json" in top or ("state.json" in top and "dataset_info.json" in top):
        return saved_data_set(where, store, top, address)
    listing = of_store(store)
    if listing.names:
        return listing
    shards = [name for name in store.names if name.lower().endswith(TARS)]
    if shards:
        return of_shards([where.child(name) for name in shards])
    parquet = [name for name in store.names if name.lower().endswith(".parquet")]
    if parquet:
        return of_parquet([(split_of(name), where.child(name)) for name in parquet], address)
    return listing
