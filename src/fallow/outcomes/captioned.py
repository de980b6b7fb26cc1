"""The outcome of `caption`: a sentence for every picture, and how far to trust them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.images import Images
from fallow.images.captions import CAPTION, captions, with_captions
from fallow.measure.captions import all_measures, caution
from fallow.outcomes.pictures import thumbnails
from fallow.outcomes.result import Result
from fallow.outcomes.sentences import counted, unreadable
from fallow.outcomes.tables import save_csv, save_json

SHOWN = 48


class Captioned(Result):
    """Captions by picture, from the one that fits its picture best to the one that fits least."""

    def __init__(
        self,
        table: pa.Table,
        images: Images,
        measured: Mapping[str, Any],
        learnt: Mapping[str, Any],
        page: Callable[[Mapping[str, Any]], str],
    ) -> None:
        table = table.take(pa.array(np.argsort(-table.column("similarity").to_numpy())))
        texts = table.column("caption").to_pylist()
        distinct = len(set(texts))
        lines = [f"{counted(len(texts), 'caption')}, {distinct:,} of them different"]
        lines += [
            f"{name} {value:.3f} on {counted(measured['pictures'], 'picture')} with true captions"
            for name, value in measured.get("measures", {}).items()
        ]
        notes = [*images.notes, *learnt.get("notes", ()), *unreadable(images.problems)]
        if measured.get("caution"):
            notes.append(measured["caution"])
        if len(texts) > 4 and distinct <= len(texts) / 4:
            notes.append(
                "Most pictures got the same few sentences: the space of the dual encoder may not "
                "tell them apart, or the texts are of other things."
            )
        findings = {
            "name": f"captions of {images.name}",
            "headlines": lines,
            "notes": notes,
            "measured": dict(measured),
            "learnt": {key: value for key, value in learnt.items() if key != "notes"},
            "captions": table.to_pylist(),
            "problems": [{"path": each.path, "reason": each.reason} for each in images.problems],
        }
        read = thumbnails(images)
        super().__init__(
            table,
            headlines=lines,
            notes=notes,
            findings=findings,
            page=lambda found: page({**found, "read": read}),
        )

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """captions.csv, findings.json, the table and the report."""
        place = super().save(folder)
        save_csv(place / "captions.csv", self.table.select(["path", "caption", "similarity"]))
        save_json(place / "findings.json", self.findings, ("captions",))
        return place


def beside_true(images: Images, rows: np.ndarray, table: pa.Table, true: Any) -> dict[str, Any]:
    """How near the captions come to true ones, where there are any."""
    known = images if true is None else with_captions(images, true)
    if CAPTION not in known.columns:
        return {}
    wanted = captions(known)
    pairs = [
        (text, wanted[row])
        for text, row in zip(table.column("caption").to_pylist(), rows.tolist(), strict=True)
        if wanted[row]
    ]
    if not pairs:
        return {}
    found = all_measures([text for text, _ in pairs], [truth for _, truth in pairs])
    measures = {name: float(scores.total) for name, scores in found}
    return {"pictures": len(pairs), "measures": measures, "caution": caution(len(pairs))}
