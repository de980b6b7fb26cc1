"""docs/judgement.md: what explore, discover and spot say of sets where the truth is known."""

from __future__ import annotations

import re
from collections.abc import Callable
from statistics import mean, median
from typing import Any

Entry = dict[str, Any]
Grid = Callable[[tuple[str, ...], list[tuple[str, ...]]], str]

COLUMNS = 11  # of a recipe's table

HEADS = {
    "copies": "Copies",
    "labels": "Wrong labels",
    "strangers": "Strangers",
    "quality": "Poor pictures",
    "groups": "Groups",
    "discover": "How many classes there are",
    "regions": "How many classes of regions there are",
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
        chosen = left_out(recipes.get(f"judgement_{question}"), grid)
        if not lines:
            parts += [f"## {head}", "Not measured beside others yet.", *chosen]
            continue
        machine = lines[0]["machine"]
        parts += [
            f"## {head}",
            overall(lines, grid),
            *chosen,
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
    """What the recipe wrote: what was reached in choosing, and on each set that was left out."""
    rows = [flat(row) for row in rows_of(found)]
    if not rows:
        return []
    together = found.get("over all sets") if isinstance(found, dict) else None
    names = list(dict.fromkeys(name for row in rows for name in row))[:COLUMNS]
    cells = [tuple(_cell(row.get(name, "")) for name in names) for row in rows]
    parts = ["Constants chosen on the other sets, and tried on each:", grid(tuple(names), cells)]
    return parts + over_all(together, grid) if together else parts


def over_all(found: dict[str, Any], grid: Grid) -> list[str]:
    """Kinds of problems, all sets together: left out, beside what was reached in choosing."""
    rows = [{"problems": kind, "how chosen": how, "number": row["problems"]}
            | {name: value for name, value in row.items() if name != "problems"}
            for kind, both in found.items() for how, row in both.items()]  # fmt: skip
    names = tuple(rows[0])
    return ["All sets together:",
            grid(names, [tuple(_cell(row[name]) for name in names) for row in rows])]  # fmt: skip


def rows_of(found: Any) -> list[dict[str, Any]]:
    """A row for each set, however a recipe keeps them."""
    if isinstance(found, dict):
        found = found.get("left out", found.get("sets", []))
    if isinstance(found, dict):
        found = [{"set": name, **row} for name, row in found.items()]
    return [row for row in found or [] if isinstance(row, dict)]


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers and words of a row, those below others with both names.

    >>> flat({"set": "a", "left out": {"recall": 0.5}, "missed": ["x"]})
    {'set': 'a', 'left out, recall': 0.5}
    """
    out: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            out |= {f"{name}, {key}": one for key, one in flat(value).items()}
        elif isinstance(value, str | int | float):
            out[name] = value
    return out


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
