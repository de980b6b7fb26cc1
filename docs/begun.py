"""Verbs that begin with lite beside what they did before, for docs/encoders.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import mean
from typing import Any

Grid = Callable[[tuple[str, ...], list[tuple[str, ...]]], str]


def begun(entries: list[dict[str, Any]], grid: Grid) -> list[str]:
    """A row for each comparison, every seed of it; nothing where nothing is measured yet."""
    if not entries:
        return []
    rows = [
        (
            one["claim"],
            values(pair[1] for pair in one["seeds"]),
            values(pair[0] for pair in one["seeds"]),
            f"{one['mean_difference']:+.3f}",
            one["verdict"],
            minutes(one),
        )
        for one in entries
    ]
    return [
        "## Verbs that begin with lite",
        "Every seed, and its mean in brackets; minutes are the processor's, of one run. What a "
        "claim compares with is said in it, and how it was measured in `claims/lite_masks.py`, "
        "`claims/lite.py` and `claims/lite_edits.py`.",
        grid(("claim", "before", "after", "difference", "verdict", "minutes"), rows),
        *overlaps(entries),
    ]


def values(some: Any) -> str:
    """Numbers of seeds, and their mean.

    >>> values([0.5, 0.7])
    '0.500, 0.700 (0.600)'
    """
    found = list(some)
    return ", ".join(f"{value:.3f}" for value in found) + f" ({mean(found):.3f})"


def minutes(one: dict[str, Any]) -> str:
    spent = one["budget"].get("processor_minutes_a_run")
    return f"{mean(spent):.1f}" if spent else ""


def overlaps(entries: list[dict[str, Any]]) -> list[str]:
    """The mean IoU of masks, which claims compare by Dice."""
    told = {
        f"{one['data']['name']} by {row} {values(seeds)}": None  # once, in their order
        for one in entries
        for row, seeds in one["observed"].get("iou", {}).items()
    }
    return [f"Mean IoU of the masks: {'; '.join(told)}."] if told else []


def ways(tried: Mapping[str, Any], grid: Grid) -> list[str]:
    """How verbs might go on from lite, each on teaching pictures alone; nothing before a run."""
    if not tried:
        return []
    masks = [
        (way, *(f"{sets[name]:.3f}" for name in sets), f"{mean(sets.values()):.3f}")
        for way, sets in tried["segment"].items()
    ]
    first = next(iter(tried["segment"].values()))
    learnt = [
        (way, name, *(f"{value:.3f}" for value in measures.values()))
        for way, sets in tried["learn"].items()
        for name, measures in sets.items()
    ]
    measures = next(iter(next(iter(tried["learn"].values())).values()))
    return [
        "### Ways to go on from an encoder that knows pictures",
        f"`python -m recipes.begun`, means of {tried['draws']} draws of teaching pictures. "
        f"`segment`: mean Dice after five masks and {tried['steps']} steps, of groups (films, "
        "slices) that were held back. *lite* and *tiny* alone are what the verb does: AdamW, no "
        "quarter turns of pictures with an up and a down (camvid), true masks alone for half of "
        "the run, and then a teacher that soon forgets its first steps.",
        grid(("way", *first, "mean"), masks),
        f"`learn`: {tried['passes']} passes over a set's teaching pictures without labels, then "
        "labels of one half teach and the other half is asked.",
        grid(("way", "set", *measures), learnt),
    ]
