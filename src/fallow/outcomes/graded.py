"""What `grade` leaves behind: every measure before and after, and the order of enhancers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.methods.grade.ug2 import Judgement, Standing
from fallow.outcomes.result import Result


class Graded(Result):
    """What `grade` returns: a row per enhancer, recogniser and measure, and `.verdict`."""

    @property
    def verdict(self) -> str:
        """helps, harms, or what else can be said."""
        return str(self.findings["verdict"])


def graded(
    found: Mapping[str, Judgement],
    order: Sequence[Standing],
    samples: Sequence[tuple[str, np.ndarray, np.ndarray]],
    about: Mapping[str, Any],
    page: Callable[[Mapping[str, Any]], str],
) -> Graded:
    """Judgements as a table, with sentences; the first one is the enhancer that was asked about."""
    rows = [
        {
            "enhancer": name, "recogniser": row.recogniser, "collection": row.collection,
            "measure": row.measure, "pictures": row.pictures, "before": round(row.before, 4),
            "after": round(row.after, 4), "difference": round(row.difference.value, 4),
            "low": round(row.difference.low, 4), "high": round(row.difference.high, 4),
            "says": row.says,
        }
        for name, judgement in found.items()
        for row in judgement.rows
    ]  # fmt: skip
    asked, first = next(iter(found.items()))
    places = [
        {
            "enhancer": one.enhancer, "lrap": round(one.lrap.value, 4),
            "low": round(one.lrap.low, 4), "high": round(one.lrap.high, 4),
            "rank": round(one.rank.value, 1),
            "ranks": f"{one.rank.low:.0f} to {one.rank.high:.0f}",
        }
        for one in order
    ]  # fmt: skip
    headlines = [f"{asked}: {first.verdict}, by {first.rows[0].pictures:,} pictures"]
    headlines += [
        f"{row.recogniser}: {row.measure} {row.before:.3f} before, {row.after:.3f} after "
        f"({row.difference.low:+.3f} to {row.difference.high:+.3f})"
        for row in first.rows
        if row.measure in ("LRAP", "mAP") and row.collection == "all"
    ]
    findings = {
        **about, "verdict": first.verdict, "rows": rows, "order": places, "headlines": headlines,
        "samples": [{"path": name, "before": a, "after": b} for name, a, b in samples],
    }  # fmt: skip
    return Graded(
        pa.Table.from_pylist(rows), findings=findings,
        page=page,
    )  # fmt: skip
