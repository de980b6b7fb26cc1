"""The outcome of `stress`: how far tasks fell under each patch, what helped, and the patches."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.outcomes.pictures import save_picture
from fallow.outcomes.result import Result
from fallow.outcomes.tables import save_json

PURPOSE = (
    "What was measured holds for these pictures, these two tasks and these patches. A model that "
    "withstands them may fall under others; nothing here shows that it is safe."
)


class Stressed(Result):
    """Patches, tasks and defences; learnt patches are only there with the owner's consent."""

    def __init__(
        self,
        table: pa.Table,
        told: Mapping[str, Any],
        patches: Mapping[str, np.ndarray],
        pictures: tuple[Sequence[np.ndarray], Sequence[np.ndarray]],
        notes: Sequence[str],
        settings: Mapping[str, Any],
        page: Callable[[Mapping[str, Any]], str],
    ) -> None:
        headlines = _headlines(told)
        findings = {
            "name": f"stress of {told['model']}",
            **told,
            "headlines": headlines,
            "notes": [*notes, PURPOSE],
            "settings": dict(settings),
        }
        super().__init__(table, headlines=headlines, notes=[*notes, PURPOSE], findings=findings)
        self.patches, self.pictures = dict(patches), pictures
        self.page = lambda found: page({**found, "patches shown": patches, "pictures": pictures})

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Table, report, findings, and the patches as PNG files."""
        place = super().save(folder)
        save_json(place / "findings.json", self.findings)
        for name, pixels in self.patches.items():
            save_picture(place / "patches" / f"{name}.png", pixels)
        return place


def _headlines(told: Mapping[str, Any]) -> list[str]:
    rows = {row["patch"]: row for row in told["patches"]}
    clean, worst = rows["none"], rows[told["strongest"]]
    lines = [
        f"{told['model']}: {clean['accuracy']:.1%} right on {told['asked']:,} clean pictures, "
        f"{worst['accuracy']:.1%} under the {told['strongest']} patch on {told['area']:.0%} of "
        "the area",
        f"retrieval falls from {clean['retrieval']:.3f} to {worst['retrieval']:.3f}; "
        f"{worst['changed']:.0%} of the answers change",
    ]
    constant = min(rows[name]["accuracy"] for name in ("black", "grey", "white", "random"))
    if told["learnt"]:
        learnt = min(rows[name]["accuracy"] for name in ("generator", "direct"))
        lines.append(
            f"a learnt patch goes {constant - learnt:.1%} further than the best plain square"
            if learnt < constant
            else "no learnt patch goes further than a plain square"
        )
    best = max(told["defences"][1:], key=lambda row: row["patched accuracy"])
    none = told["defences"][0]
    gain = best["patched accuracy"] - none["patched accuracy"]
    cost = none["clean accuracy"] - best["clean accuracy"]
    lines.append(
        f"of the defences '{best['defence']}' gives most back: {gain:+.1%} under the patch, "
        f"{-cost:+.1%} without one"
    )
    return lines
