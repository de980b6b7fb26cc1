"""The systems behind the verbs, placed among each other."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from typing import Any

import pyarrow as pa

from fallow.methods import find, slugs
from fallow.result import Result

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


def papers() -> Result:
    """Every system in the package: its verb, its name, and what it is for.

    >>> table = papers().table
    >>> ("spot", "musc") in zip(*(table.column(k).to_pylist() for k in ("verb", "method")))
    True
    """
    import fallow.methods

    rows = []
    for found in pkgutil.walk_packages(fallow.methods.__path__, "fallow.methods."):
        if not found.ispkg:
            verb, method = found.name.split(".")[2:]
            what = inspect.getdoc(import_module(found.name)) or ""
            rows.append({"verb": verb, "method": method, "what": what.splitlines()[0]})
    lines = [f"{row['verb']:<9} {row['what']}" for row in rows]
    return Result(pa.Table.from_pylist(rows), headlines=lines, findings={"methods": rows})


def taxonomy() -> Result:
    """The methods of `learn` by family, each with what it predicts from what.

    >>> table = taxonomy().table
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
        "summary": inspect.cleandoc(kind.__doc__ or "").splitlines()[0],
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
