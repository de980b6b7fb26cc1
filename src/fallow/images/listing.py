"""What is there under an address, before any of it is opened: pictures told by their names."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from fallow.images.stores import FileProblem, Store
from fallow.problems import SourceProblem

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


@dataclass
class Listing:
    """What a source holds before any picture has been looked at."""

    store: Store
    names: list[str]  # the pictures
    ids: list[str]
    columns: pa.Table | None = None  # what the source itself knows, one row for each name
    notes: list[str] = field(default_factory=list)
    problems: list[FileProblem] = field(default_factory=list)


def of_store(store: Store) -> Listing:
    """The pictures among the files of a store, known by their endings."""
    names = [name for name in store.names if name.lower().endswith(SUFFIXES)]
    foreign = [
        FileProblem(name, f"{posixpath.splitext(name)[1]} is not a format fallow reads")
        for name in store.names
        if name.lower().endswith(FOREIGN)
    ]
    return Listing(store, names, list(names), problems=foreign)


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
