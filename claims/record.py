"""Paired seeds, their interval, the verdict that follows, and the file it is written to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.record import commit, machine, write_json

RESULTS = Path(__file__).resolve().parent / "results"
CONFIDENCE = 0.90


@dataclass(frozen=True)
class Entry:
    """One comparison, as it is written; only `entry` makes one, so no verdict is typed by hand."""

    claim: str
    method: str
    baseline: str
    data: dict[str, Any]  # name, images, fingerprint
    budget: dict[str, Any]
    seeds: list[tuple[float, float]]  # method, baseline: more is better
    mean_difference: float
    interval_90: tuple[float, float]
    verdict: str
    settings: dict[str, Any] = field(default_factory=dict)
    observed: dict[str, Any] = field(default_factory=dict)  # floors, losses: beside the claim


def entry(
    claim: str,
    method: str,
    baseline: str,
    *,
    data: dict[str, Any],
    budget: dict[str, Any],
    seeds: Sequence[tuple[float, float]],
    settings: dict[str, Any],
    observed: dict[str, Any] | None = None,
) -> Entry:
    """Compute difference, interval and verdict from the pairs."""
    differences = [ours - theirs for ours, theirs in seeds]
    bounds = interval(differences)
    return Entry(
        claim=claim,
        method=method,
        baseline=baseline,
        data=data,
        budget=budget,
        seeds=list(seeds),
        mean_difference=mean(differences),
        interval_90=bounds,
        verdict=verdict(bounds),
        settings=settings,
        observed=observed or {},
    )


def by_row(
    values: Mapping[str, Sequence[float]], compared: Iterable[tuple[str, str, str]], **about: Any
) -> list[Entry]:
    """Every claim of `compared` (words, ours, theirs), of what each row's seeds reached.

    >>> told = {"data": {}, "budget": {}, "settings": {}}
    >>> reached = {"new": [0.8, 0.9, 0.8], "old": [0.5, 0.6, 0.5]}
    >>> (one,) = by_row(reached, [("{ours} beats {theirs}", "new", "old")], **told)
    >>> one.claim, one.seeds[1], one.verdict
    ('new beats old', (0.9, 0.6), 'shown')
    """
    return [
        entry(claim.format(ours=ours, theirs=theirs), ours, theirs,
              seeds=list(zip(values[ours], values[theirs], strict=True)), **about)
        for claim, ours, theirs in compared
    ]  # fmt: skip


def by_measure(
    values: Mapping[str, Sequence[Mapping[str, float]]],
    compared: Iterable[tuple[str, str, str]],
    measures: Mapping[str, str],
    said: str = "{claim}: {words}",
    **about: Any,
) -> list[Entry]:
    """Every claim of `compared` (words, ours, theirs) by every measure.

    `values` holds for each side what its seeds reached, by measure; `measures` the words for each.

    >>> reached = {"new": [{"hit": 0.8}, {"hit": 0.9}] * 2, "old": [{"hit": 0.5}, {"hit": 0.6}] * 2}
    >>> told = {"data": {}, "budget": {}, "settings": {}}
    >>> (one,) = by_measure(reached, [("it helps", "new", "old")], {"hit": "hits"}, **told)
    >>> one.claim, one.seeds[0], one.verdict
    ('it helps: hits', (0.8, 0.5), 'shown')
    """
    return [
        entry(
            said.format(claim=claim, words=words),
            ours,
            theirs,
            seeds=[(a[name], b[name]) for a, b in zip(values[ours], values[theirs], strict=True)],
            observed=dict(values),
            **about,
        )
        for claim, ours, theirs in compared
        for name, words in measures.items()
    ]


def over_sets(
    names: Sequence[str], minutes: float, one_set: Callable[[str, float], list[Entry]]
) -> list[Entry]:
    """The entries of every data set, each given an equal share of the minutes that are left."""
    begin = time.monotonic()
    entries: list[Entry] = []
    for number, name in enumerate(names):
        left = minutes - (time.monotonic() - begin) / 60
        entries += one_set(name, max(left / (len(names) - number), 0.1))
    return entries


def budget(minutes: float, begin: float, **more: Any) -> dict[str, Any]:
    """What was asked for and what was spent since `begin` on the monotonic clock."""
    return {"minutes_asked": minutes, "minutes_spent": (time.monotonic() - begin) / 60, **more}


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """90 % interval of the mean of paired differences, from Student's t.

    >>> [round(bound, 4) for bound in interval([1.0, 2.0, 3.0])]
    [0.3141, 3.6859]
    """
    from scipy.stats import t

    count = len(differences)
    if count < 3:
        raise ValueError(f"a claim rests on at least 3 paired seeds, not {count}")
    reach = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * stdev(differences) / count**0.5
    return mean(differences) - reach, mean(differences) + reach


def verdict(bounds: tuple[float, float]) -> str:
    """shown above 0, contradicted below 0, else tie.

    >>> verdict((0.1, 0.3)), verdict((-0.1, 0.3)), verdict((-0.3, -0.1))
    ('shown', 'tie', 'contradicted')
    """
    low, high = bounds
    return "shown" if low > 0 else "contradicted" if high < 0 else "tie"


def write(slug: str, entries: list[Entry], folder: Path | None = None) -> Path:
    """Write results/<slug>.json and print what it says."""
    about = {"machine": machine(), "commit": commit()}
    target = (folder or RESULTS) / f"{slug}.json"
    write_json(target, [asdict(one) | about for one in entries])
    for one in entries:
        low, high = one.interval_90
        print(f"{one.verdict}: {one.claim}")
        print(f"  {one.method} - {one.baseline}: {one.mean_difference:+.4f} ", end="")
        print(f"(90 % interval {low:+.4f} to {high:+.4f}, {len(one.seeds)} paired seeds)")
    return target
