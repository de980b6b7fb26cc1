"""What the pictures of a collection decide together: copies, quality, shares of creators, size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallow.inventory.duplicates import exact_groups, near_groups
from fallow.inventory.ledger import Looks
from fallow.inventory.quality import quality
from fallow.inventory.statistics import MEASURES
from fallow.methods.shared.collection import Row
from fallow.methods.shared.policy import Settings
from fallow.vectors import space

LATER = ("duplicates", "quality", "balance", "sample")


@dataclass(frozen=True)
class Those:
    """The pictures still in, those of an earlier version first, and what is known of them."""

    rows: list[Row]
    sizes: np.ndarray  # N 3: width, height, bytes
    early: np.ndarray  # N, whether an earlier version has it
    measures: np.ndarray  # N M
    hashes: np.ndarray  # N
    statistics: np.ndarray  # N D

    def vectors(self, places: Sequence[int] | np.ndarray) -> np.ndarray:
        chosen = self.statistics[places]
        return space.fit(chosen).place(chosen)


Dropped = Iterator[tuple[int, str, dict[str, Any]]]  # place, reason, facts


def together(
    rows: list[Row],
    table: Mapping[str, Mapping[str, Any]],
    looks: Looks,
    policy: Settings,
    published: set[str],
) -> list[Row]:
    """The rows, some of them dropped because of what other pictures are in.

    Pictures of an earlier version (their hashes are `published`) come first in everything.
    """
    for stage, step in zip(LATER, (_copies, _poor, _shares, _sample), strict=True):
        alive = [place for place, row in enumerate(rows) if row.decision != "drop"]
        if not alive:
            break
        alive.sort(
            key=lambda place: (
                rows[place].hash not in published,
                rows[place].decision != "keep",
                rows[place].path,
            )
        )
        some = [rows[place] for place in alive]
        sizes = [[table[row.path][k] for k in ("width", "height", "bytes")] for row in some]
        early = np.array([row.hash in published for row in some])
        those = Those(some, np.array(sizes, np.float64), early, *looks.take(r.hash for r in some))
        for place, reason, facts in step(those, policy):
            rows[alive[place]] = some[place].to("drop", stage, reason, **facts)
    return rows


def _copies(those: Those, policy: Settings) -> Dropped:
    """The best of pictures that look the same; one of an earlier version is always the best."""
    single = np.ones(len(those.rows), bool)
    for same in exact_groups([row.hash for row in those.rows]):
        for place in same[1:]:
            single[place] = False
            yield place, "same_file", {"same_as": those.rows[same[0]].path}
    chosen = np.flatnonzero(single)
    if not policy.duplicates or len(chosen) < 2:
        return
    sure = np.array([row.decision == "keep" for row in those.rows])
    width, height, size = those.sizes.T
    worth = np.stack([those.early, sure, width * height, size, those.measures[:, 4]], 1)[chosen]
    groups = near_groups(those.hashes[chosen], those.vectors(chosen), worth.astype(np.float64))
    for group in groups:
        best = those.rows[chosen[group.keep]].path
        for item in group.items:
            if item != group.keep:
                yield int(chosen[item]), "looks_the_same", {"same_as": best}


def _poor(those: Those, policy: Settings) -> Dropped:
    """Pictures of poor quality, as the policy has it; what is wrong with others is only told."""
    named = {name: those.measures[:, k] for k, name in enumerate(MEASURES)}
    found = quality({**named, "width": those.sizes[:, 0], "height": those.sizes[:, 1]})
    kinds: dict[int, list[str]] = {}
    for kind, places in found.items():
        for place in places.tolist():
            kinds.setdefault(place, []).append(kind)
    for place, each in kinds.items():
        those.rows[place].facts["quality"] = each
        out = [kind for kind in each if kind in policy.quality]
        if out and not those.early[place]:
            yield place, out[0], {}


def _shares(those: Those, policy: Settings) -> Dropped:
    """At most so many of one creator, by lot; who is not named counts as one creator."""
    if policy.per_creator is None:
        return
    by_creator: dict[str, list[int]] = {}
    for place in _lots(those, policy.seed):
        creator = those.rows[place].attribution.creator.casefold()
        by_creator.setdefault(creator, []).append(place)
    for places in by_creator.values():
        for place in places[policy.per_creator :]:
            yield place, "over_the_share", {}


def _sample(those: Those, policy: Settings) -> Dropped:
    """The size asked for; pictures in doubt do not take a place from others."""
    sure = [k for k in _lots(those, policy.seed) if those.rows[k].decision == "keep"]
    if policy.size is None or len(sure) <= policy.size:
        return
    if policy.choose == "diverse":
        first = [k for k, place in enumerate(sure) if those.early[place]]
        chosen = space.apart(those.vectors(sure), policy.size, first)
        sure = [sure[k] for k in chosen] + [sure[k] for k in set(range(len(sure))) - set(chosen)]
    for place in sure[policy.size :]:
        yield place, "not_drawn", {}


def _lots(those: Those, seed: int) -> list[int]:
    """Places by lot, those of an earlier version first; a lot is a picture's own for ever."""
    lots = [hashlib.blake2b(f"{seed}-{row.hash}".encode()).digest() for row in those.rows]
    return sorted(range(len(lots)), key=lambda place: (not those.early[place], lots[place]))
