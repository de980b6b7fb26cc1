"""What stands out in a collection: copies, groups, strays, poor pictures, doubtful labels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fallow.inventory import (
    copies,
    duplicates,
    layout,
    naming,
    outliers,
    quality,
    spellings,
    steadiness,
    sureness,
    suspects,
)
from fallow.inventory import groups as grouping
from fallow.inventory.sketches import Sketched, points_of
from fallow.inventory.statistics import MEASURES
from fallow.inventory.store import Measured
from fallow.vectors import space

if TYPE_CHECKING:
    from fallow.images import Images

NEIGHBOURS = 15
LAID = 5  # nearest ones that each picture is laid over, to see whether it is a copy


class Survey(NamedTuple):
    """All findings, by place among the readable rows."""

    rows: np.ndarray  # of the images
    measured: Measured
    place: space.Space
    vectors: np.ndarray
    combined: bool
    near: space.Neighbours
    groups: grouping.Groups
    apart: tuple[list[list[str]], ...]  # by level and group: words that set it apart
    positions: np.ndarray
    strays: np.ndarray
    exact: list[list[int]]
    copies: copies.Copies  # of files that differ
    alike: list[duplicates.NearGroup]  # no copies, as far as anything tells
    quality: dict[str, np.ndarray]
    codes: np.ndarray
    names: list[str]
    suspects: suspects.Suspects
    variants: list[spellings.Variants]
    sure: sureness.Sureness
    standing_out: np.ndarray
    steady: steadiness.Steadiness  # of the coarse groups

    def label(self, place: int) -> str | None:
        """The name of a picture's label, if it has one."""
        return self.names[self.codes[place]] if self.codes[place] >= 0 else None


def survey(
    images: Images,
    rows: np.ndarray,
    measured: Measured,
    *,
    combined: bool,
    seed: int,
    groups: int | None,
) -> Survey:
    """Find everything; `combined` looks at colours and textures besides the encoder's vectors."""
    blocks = [measured.embedding, measured.statistics] if combined else [measured.embedding]
    place = space.fit(*blocks, seed=seed)
    vectors = place.place(*blocks)
    near = space.neighbours(vectors, NEIGHBOURS, seed=seed)
    codes, names = images.labels
    codes = np.asarray(codes)[rows]
    typed = spellings.variants(names, codes, near)
    # copies and the rest do not need one another: two cores, two threads
    with ThreadPoolExecutor(1, thread_name_prefix="fallow-aside") as aside:
        grouped = aside.submit(grouping.group, vectors, count=groups, seed=seed)
        doubting = aside.submit(
            suspects.suspects,
            near,
            spellings.merged(codes, typed),  # two spellings of a class do not contradict each other
            vectors if combined else measured.embedding,
            related=spellings.related(names),
        )
        straying = aside.submit(
            outliers.outlier_scores, measured.embedding, measured.statistics, seed=seed
        )
        laying = aside.submit(layout.layout, vectors, near, seed=seed)
        table = images.table.take(pa.array(rows))
        width, height = table.column("width").to_numpy(), table.column("height").to_numpy()
        exact = duplicates.exact_groups(table.column("hash").to_pylist())
        single = np.ones(len(rows), bool)
        for same in exact:
            single[same[1:]] = False
        worth = np.stack(
            [width * height, table.column("bytes").to_numpy(), measured.measures[:, 4]], axis=1
        ).astype(np.float64)
        sizes = np.stack([width, height], axis=1)
        copied = _copies(np.flatnonzero(single), measured, near.rows, sizes, worth)
        for group in copied.groups:
            single[[row for row in group.items if row != group.keep]] = False
        formed, doubted, strays = grouped.result(), doubting.result(), straying.result()
        positions = laying.result()
    chosen = np.flatnonzero(single)
    alike = [
        duplicates.NearGroup(chosen[group.items].tolist(), int(chosen[group.keep]), group.distances)
        for group in duplicates.near_groups(measured.hashes[chosen], vectors[chosen], worth[chosen])
    ]
    measures = {name: measured.measures[:, i] for i, name in enumerate(MEASURES)}
    standing_out = outliers.outliers(strays)
    known = naming.traits(
        measured.measures, measured.statistics, width, height, table.column("path").to_pylist()
    )
    return Survey(
        rows,
        measured,
        place,
        vectors,
        combined,
        near,
        formed,
        _apart(images, rows, formed, known),
        positions,
        strays,
        exact,
        copied,
        alike,
        quality.quality({**measures, "width": width, "height": height}),
        codes,
        list(names),
        doubted,
        typed,
        sureness.sureness(
            near,
            formed.member,
            standing_out,
            codes,
            doubted,
            measured.embedding,
            measured.statistics,
        ),
        standing_out,
        steadiness.steadiness(vectors, measured.statistics, formed.member, seed=seed),
    )


def _copies(
    chosen: np.ndarray, measured: Measured, near: np.ndarray, sizes: np.ndarray, worth: np.ndarray
) -> copies.Copies:
    """Copies among the rows chosen, of which no two are the same file."""
    place = np.full(len(sizes), -1)
    place[chosen] = np.arange(len(chosen))
    beside = place[near[chosen, :LAID]]
    sketches = [measured.sketches[row] for row in chosen]
    found = copies.find_copies(
        Sketched(sketches),
        sizes=sizes[chosen],
        worth=worth[chosen],
        near=beside,
        looks=measured.hashes[chosen],
        points=[points_of(sketch) for sketch in sketches],
        threads=2,
    )
    return copies.Copies(
        [copies.Copy(int(chosen[c.row]), int(chosen[c.of]), *c[2:]) for c in found.pairs],
        [
            copies.CopyGroup(chosen[group.items].tolist(), int(chosen[group.keep]), group.changes)
            for group in found.groups
        ],
    )


def _apart(
    images: Images, rows: np.ndarray, found: grouping.Groups, known: naming.Traits
) -> tuple[list[list[str]], ...]:
    """Words for every group: what sets it apart from all, or within the one that holds it."""
    asked = [
        naming.taken(images, rows[some[: naming.ASKED]]) for some in map(np.array, found.typical[0])
    ]
    everyone = np.arange(len(rows))
    taken = naming.cameras(asked)
    named = [
        [
            [*naming.words(known, np.flatnonzero(found.member == number), everyone), *taken[number]]
            for number in range(found.count)
        ]
    ]
    for level, above, parents in zip(found.levels[1:], found.levels, found.parents, strict=False):
        named.append(
            [
                naming.words(
                    known, np.flatnonzero(level == number), np.flatnonzero(above == parent)
                )
                for number, parent in enumerate(parents)
            ]
        )
    return tuple(named)


def columns(found: Survey, images: Images) -> dict[str, Any]:
    """The findings as columns, by the readable rows of the images."""
    count = len(found.rows)
    flags: list[list[str]] = [[] for _ in range(count)]
    for name, listed in found.quality.items():
        for row in listed:
            flags[row].append(name)
    for row in found.standing_out:
        flags[row].append("outlier")
    ids = images.table.column("id").take(pa.array(found.rows)).to_pylist()
    copy_of: list[str | None] = [None] * count
    near_copy_of: list[str | None] = [None] * count
    changes: list[str | None] = [None] * count
    for same in found.exact:
        for row in same:
            flags[row].append("exact_duplicate")
        for row in same[1:]:
            copy_of[row] = ids[same[0]]
    for group in found.copies.groups:
        for row, change in zip(group.items, group.changes, strict=True):
            flags[row].append("near_duplicate")
            if row != group.keep:
                near_copy_of[row], changes[row] = ids[group.keep], change
    suggested: list[str | None] = [None] * count
    confidence: list[float | None] = [None] * count
    doubted = found.suspects
    for row, code, sure in zip(doubted.rows, doubted.suggested, doubted.confidence, strict=True):
        flags[row].append("suspect")
        suggested[row], confidence[row] = found.names[code], float(sure)
    return {
        "row": found.rows,
        **{name: found.measured.measures[:, i] for i, name in enumerate(MEASURES)},
        "looks": found.measured.hashes,
        "x": found.positions[:, 0],
        "y": found.positions[:, 1],
        "group": found.groups.member,
        "subgroup": found.groups.levels[-1],
        "outlier": found.strays,
        "copy_of": pa.array(copy_of, pa.string()),
        "near_copy_of": pa.array(near_copy_of, pa.string()),
        "change": pa.array(changes, pa.string()),
        "suggested": pa.array(suggested, pa.string()),
        "confidence": pa.array(confidence, pa.float32()),
        "flags": pa.array(flags, pa.list_(pa.string())),
    }
