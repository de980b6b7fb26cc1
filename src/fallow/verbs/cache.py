"""`cache`: the decoded copies of collections kept for speed, and what they take."""

from __future__ import annotations

from typing import Annotated

import pyarrow as pa

from fallow.declare import Option, verb
from fallow.images import cached_packs, clear_packs
from fallow.outcomes import Result, counted
from fallow.problems import SettingProblem, did_you_mean
from fallow.regions.keep import forget

DEEDS = ("list", "clear")


@verb(example="fallow cache clear")
def cache(
    deed: Annotated[
        str, Option("list: what there is; clear: delete it", choices=DEEDS, argument=True)
    ] = "list",
) -> Result:
    """Show the packs and what they take, or delete them, and regions and features kept.

    They are made again when needed.

    >>> cache().table.column_names
    ['megabytes', 'images', 'side', 'name']
    """
    if deed not in DEEDS:
        raise SettingProblem(f"cache cannot {deed!r}: {did_you_mean(deed, DEEDS)}")
    packs = cached_packs()
    table = pa.table(
        {
            "megabytes": [pack.bytes / 1e6 for pack in packs],
            "images": [pack.images for pack in packs],
            "side": [pack.side for pack in packs],
            "name": [pack.name for pack in packs],
        }
    )
    if deed == "clear":
        return Result(table, headlines=[f"{(clear_packs() + forget()) / 1e6:.1f} MB freed"])
    lines = [
        f"{row['megabytes']:9.1f} MB  {row['images']:7d} images at {row['side']} px  {row['name']}"
        for row in table.to_pylist()
    ]
    total = sum(pack.bytes for pack in packs) / 1e6
    return Result(table, headlines=[*lines, f"{counted(len(packs), 'pack')}, {total:.1f} MB"])
