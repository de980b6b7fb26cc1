"""Annotations of several sources as one: written down, with conflicts and statistics."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from fallow.annotations import Annotations, annotated, write
from fallow.annotations.store import key_of
from fallow.images import Images
from fallow.methods.curate.openimages import unify
from fallow.outcomes.result import Result, writable
from fallow.outcomes.sentences import counted, some
from fallow.outcomes.tables import save_csv, save_json

SHOWN = 200  # conflicts on the page; all are in conflicts.csv


class Unified(Result):
    """What `curate --merge` returns: a row for every conflict, and `.annotations`."""

    annotations: Annotations
    form: str

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """annotations/ in the form asked for, conflicts.csv, statistics.json and the report."""
        place = writable(folder)
        lost = write(self.annotations, place / "annotations", self.form)
        self.notes += [
            f"not in the files, for {self.form} has no place for it: {what}" for what in lost
        ]
        self.findings["notes"] = self.notes
        super().save(place)
        save_csv(place / "conflicts.csv", self.table)
        save_json(place / "statistics.json", self.findings["statistics"])
        return place


def unified(
    images: Images,
    sources: Mapping[str, Any],
    form: str,
    page: Callable[[Mapping[str, Any]], str],
) -> Unified:
    """Read and merge sources, the most trusted first, and hold them against the pictures."""
    paths = images.table.column("path").to_pylist()
    pictures = annotated(
        images={
            "image": [key_of(path) for path in paths],
            "file": paths,
            "width": images.table.column("width"),
            "height": images.table.column("height"),
        }
    )
    made = unify({images.name: pictures, **sources})
    held = made.held
    said = {key for rows in (held.labels, held.boxes) for key in rows.column("image").to_pylist()}
    there = set(pictures.images.column("image").to_pylist())
    absent, bare = sorted(said - there), len(there - said)
    notes = [*images.notes, *made.notes]
    notes += [f"{name}: {found}" for name in sources for found in made.findings[name]]
    if absent:
        notes.append(
            f"{counted(len(absent), 'annotated picture')} not in {images.name}: {some(absent)}"
        )
    kinds = pc.value_counts(made.conflicts.column("kind")).to_pylist()
    headlines = [
        f"{counted(len(sources), 'source')}: {held.labels.num_rows:,} labels, "
        f"{held.boxes.num_rows:,} boxes and {held.relations.num_rows:,} relations of "
        f"{counted(len(held.classes), 'class', 'classes')} in {counted(len(said), 'picture')}",
        _conflicts(kinds),
        f"{counted(bare, 'picture')} of {images.name} without any of them",
    ]
    findings = {
        "source": images.name,
        "headlines": headlines,
        "notes": notes,
        "conflicts": made.conflicts.slice(0, SHOWN).to_pylist(),
        "conflict_count": made.conflicts.num_rows,
        "statistics": made.summary.plain(),
        "problems": [{"path": one.path, "reason": one.reason} for one in images.problems],
        "settings": {"sources": ", ".join(sources), "form": form},
    }
    result = Unified(made.conflicts, findings=findings, page=page)
    result.annotations, result.form = held, form
    return result


def _conflicts(kinds: Sequence[Mapping[str, Any]]) -> str:
    if not kinds:
        return "the sources contradict each other nowhere"
    each = ", ".join(f"{row['counts']:,} of {row['values']}" for row in kinds)
    return f"{counted(sum(row['counts'] for row in kinds), 'conflict')}: {each}"
