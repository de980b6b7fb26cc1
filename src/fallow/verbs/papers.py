"""`papers`: the published systems behind the verbs, placed among each other."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import pyarrow as pa

from fallow.declare import Option, verb
from fallow.methods import find, module_of, rooms, slugs
from fallow.outcomes import Result

# families of self-supervised learning, and what a member aims at
FAMILIES = {
    "contrastive": "the other view of the image, against other images",
    "clustering": "the balanced code of the other view",
    "self-distillation": "what a slowly following teacher says, without negatives",
    "generative": "what was masked: pixels or features",
    "predictive": "the features of a part, from another part",
    "hybrid": "agreement of views and masked parts together",
    "supervised": "names that people gave: what the others are measured by",
}


@verb(example="fallow papers --taxonomy")
def papers(
    *, taxonomy: Annotated[bool, Option("the methods of learn by what they predict", bool)] = False
) -> Result:
    """Every system in the package: its verb, its name, and what it is for.

    >>> table = papers().table
    >>> ("spot", "musc") in zip(*(table.column(k).to_pylist() for k in ("verb", "method")))
    True
    """
    return families() if taxonomy else systems()


def systems() -> Result:
    """One row for every system."""
    rows = [
        {"verb": verb, "method": slug, "what": _first(module_of(verb, slug))}
        for verb in rooms()
        for slug in slugs(verb)
    ]
    lines = [f"{row['verb']:<9} {row['what']}" for row in rows]
    return Result(pa.Table.from_pylist(rows), headlines=lines, findings={"methods": rows})


def _first(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").splitlines()[0]


def families() -> Result:
    """The methods of `learn` by family, each with what it predicts from what.

    >>> table = families().table
    >>> [
    ...     name
    ...     for name, family in zip(*(table.column(k).to_pylist() for k in ("method", "family")))
    ...     if family == "clustering"
    ... ]
    ['msn', 'swav']
    """
    rows = [_row(slug, find("learn", slug)) for slug in slugs("learn")]
    order = list(FAMILIES)
    rows.sort(key=lambda row: (order.index(row["family"]), row["method"]))
    return Result(pa.Table.from_pylist(rows), headlines=_lines(rows), findings={"methods": rows})


def _row(slug: str, kind: Any) -> dict[str, Any]:
    return {
        "family": kind.family,
        "method": slug,
        "predicts": kind.predicts,
        "summary": _first(kind),
        "transformer_only": kind.needs_transformer,
    }


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    lines = []
    for family, aim in FAMILIES.items():
        members = [row for row in rows if row["family"] == family]
        if members:
            lines.append(f"{family}: {aim}")
            lines += [f"  {row['method']:<11} {row['predicts']}" for row in members]
    return lines
