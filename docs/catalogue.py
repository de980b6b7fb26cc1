"""What the cards of the catalogue know of claims/results: src/fallow/catalogue/evidence.json."""

from __future__ import annotations

import json
from typing import Any

Entry = dict[str, Any]


def evidence(claims: dict[str, list[Entry]]) -> str:
    """Every claim with its verdict and its figures, a line each, by the name of its file."""
    files = [
        f'"{name}": [\n' + ",\n".join(json.dumps(figures(one)) for one in entries) + "\n]"
        for name, entries in claims.items()
    ]
    return "{\n" + ",\n".join(files) + "\n}\n"


def figures(one: Entry) -> Entry:
    """What a card shows of a claim."""
    return {
        "claim": one["claim"],
        "verdict": one["verdict"],
        "difference": round(one["mean_difference"], 4),
        "interval": [round(bound, 4) for bound in one["interval_90"]],
        "seeds": len(one["seeds"]),
        "data": one["data"].get("name", ""),
        "images": one["data"].get("images"),
    }
