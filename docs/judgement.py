"""docs/judgement.md: what explore, discover and spot say of sets where the truth is known."""

from __future__ import annotations

import re
from collections.abc import Callable
from statistics import mean, median
from typing import Any

Entry = dict[str, Any]
Grid = Callable[[tuple[str, ...], list[tuple[str, ...]]], str]

HEADS = {
    "copies": "Copies",
    "labels": "Wrong labels",
    "strangers": "Strangers",
    "quality": "Poor pictures",
    "groups": "Groups",
    "discover": "How many classes there are",
    "spot": "What stands out",
}


def judgement(benchmarks: dict[str, list[Entry]], recipes: dict[str, Any], grid: Grid) -> str:
    """A chapter for every question: the measures over all sets, then set by set."""
    parts = [
        "# Judgement",
        "What `explore`, `discover` and `spot` say of collections with planted problems, beside "
        "what others say of the same pictures (`python -m benchmarks judgement`). More is better "
        "in every column; errors of a number are written as 1 / (1 + error). Constants are chosen "
        "by `recipes/` on all sets but one and tried on that one, for each set in turn; the "
        "numbers of both are in `recipes/results/`.",
    ]
    for question, head in HEADS.items():
        lines = benchmarks.get(f"judgement_{question}")
        if not lines:
            parts += [f"## {head}", "Not measured yet."]
            continue
        machine = lines[0]["machine"]
        parts += [
            f"## {head}",
            overall(lines, grid),
            *left_out(recipes.get(f"judgement_{question}"), grid),
            "<details><summary>Set by set</summary>",
            by_set(lines, grid),
            f"</details>\n\nMeasured on {machine['processor']}, {machine['cores']} cores.",
        ]
    return "\n\n".join(parts) + "\n"


def overall(lines: list[Entry], grid: Grid) -> str:
    """Each measure beside each peer: means, medians, and on how many works fallow is as good."""
    rows = []
    for (measure, peer), some in _sorted(lines).items():
        ours, theirs = ([one[side] for one in some] for side in ("fallow", "peer_value"))
        good = sum(mine >= other for mine, other in zip(ours, theirs, strict=True))
        rows.append(
            (measure, peer, f"{mean(ours):.3f}", f"{mean(theirs):.3f}", f"{median(ours):.3f}",
             f"{median(theirs):.3f}", f"{good} of {len(some)}")
        )  # fmt: skip
    head = ("measure", "beside", "fallow, mean", "other", "fallow, median", "other", "as good in")
    return grid(head, rows)


def by_set(lines: list[Entry], grid: Grid) -> str:
    rows = [
        (one["work"], f"{one['peer']} {one['peer_version']}".strip(), f"{one['fallow']:.3f}",
         f"{one['peer_value']:.3f}")
        for one in lines
    ]  # fmt: skip
    return grid(("work", "beside", "fallow", "other"), rows)


def left_out(found: Any, grid: Grid) -> list[str]:
    """Where the recipe wrote them: what was reached in choosing, and on the set left out."""
    rows = found.get("left out", []) if isinstance(found, dict) else []
    if not rows or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return []
    names = list(rows[0])
    cells = [tuple(_cell(row.get(name, "")) for name in names) for row in rows]
    return ["Chosen without the set, and tried on it:", grid(tuple(names), cells)]


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _sorted(lines: list[Entry]) -> dict[tuple[str, str], list[Entry]]:
    """Lines by what was measured and beside whom, whatever the set."""
    found: dict[tuple[str, str], list[Entry]] = {}
    for one in lines:
        before, _, measure = one["work"].rpartition(": ")
        # a count that differs from set to set is no other measure
        measure = re.sub(r", \d+ false pairs?$", "", measure)
        kind = re.search(r", (.+)$", before)
        if kind and not re.search(r"\d+ of \d+", kind[1]):
            measure = f"{measure}, {kind[1]}"
        found.setdefault((measure, one["peer"]), []).append(one)
    return found
