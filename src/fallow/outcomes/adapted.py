"""What `adapt` leaves behind: the adapted model, answers before and after, and which to use."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.colours import tinted
from fallow.encoders.classifier import Classifier, save_classifier
from fallow.encoders.plain import as_module
from fallow.encoders.segmenter import Segmenter, save_segmenter
from fallow.images import Images
from fallow.images.classes import Classes, named_classes
from fallow.images.masks import resized
from fallow.measure.adapted import Check, Verdict, as_rows
from fallow.methods.shared.carrying import InUse, save_relighting
from fallow.methods.shared.models import Given
from fallow.methods.shared.opinions import Judged, Sorted
from fallow.outcomes.maps import save_codes
from fallow.outcomes.pictures import save_picture, shrunk, thumbnail
from fallow.outcomes.ran import ran
from fallow.outcomes.result import Result, writable
from fallow.outcomes.sentences import counted
from fallow.outcomes.tables import save_csv, save_json, save_tensors, without_ending
from fallow.train import Run

SHOWN = 1024  # long side of overlays
SIDE = 176  # short side of the report's pictures
KEEP, TAKE = "keep the old model", "use the adapted model"


class Adapted(Result):
    """What `adapt` returns: `.model` (adapted), `.keep_old`, checks, and a table of pictures."""

    def __init__(
        self,
        table: pa.Table,
        findings: Mapping[str, Any],
        *,
        given: Given,
        run: Run,
        verdict: Verdict,
        page: Callable[[Mapping[str, Any]], str],
    ) -> None:
        super().__init__(
            table,
            findings=findings,
            page=page,
        )
        self.given, self.run, self.verdict = given, run, verdict

    @property
    def keep_old(self) -> bool:
        """Whether nothing shows that the adapted model is better."""
        return self.verdict.keep_old

    @property
    def model(self) -> Any:
        """The adapted model, in the form it was given in; of bimix, with its relighting."""
        if isinstance(self.given.model, Classifier):
            return as_module(self.given.model) if self.given.plain else self.given.model
        return self.given.used

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the adapted model, the report and all numbers; maps are there from when drawn."""
        place = writable(folder)
        save_model(self.given, place / "adapted")
        save_json(place / "run.json", self.findings, without=("items", "metrics", "pictures"))
        super().save(place)
        save_csv(place / "pictures.csv", self.table)
        return place


def save_model(given: Given, folder: Path) -> None:
    """In fallow's own form, or a plain module's weights under their own names."""
    folder = writable(folder)
    model = given.model
    if given.plain:
        module = as_module(model) if isinstance(model, Classifier) else model.module
        save_tensors(folder / "model.safetensors", module.state_dict())
    elif isinstance(model, Classifier):
        save_classifier(model, folder)
    elif isinstance(model, Segmenter):
        about = {"names": given.names, "values": given.values, "side": given.side}
        save_segmenter(model, folder, about)
    if isinstance(given.used, InUse):
        save_relighting(given.used, folder)


def classes_of(given: Given) -> Classes:
    """The classes of a segmenter, with the values its masks hold and colours to show them in."""
    return named_classes(dict(zip(given.names, given.values, strict=True)))


def draw(place: Path, one: Judged, pixels: np.ndarray, classes: Classes) -> None:
    """Masks of both models, and both laid over the picture."""
    name, small = without_ending(one.id), shrunk(pixels, SHOWN)
    for when, codes in zip(("before", "after"), one.codes, strict=True):
        mask = place / "masks" / when / f"{name}.png"
        save_codes(mask, classes.written(codes), classes.palette())
        save_picture(place / "overlays" / when / f"{name}.jpg", laid(small, codes, classes))


def laid(small: np.ndarray, codes: np.ndarray, classes: Classes) -> np.ndarray:
    """Class codes over a picture."""
    return tinted(small, resized(codes, (small.shape[0], small.shape[1])), classes.colours)


def thumbnails(one: Judged, pixels: np.ndarray, classes: Classes) -> list[bytes]:
    """Before and after, for the report."""
    small = shrunk(pixels, 4 * SIDE)
    return [thumbnail(laid(small, codes, classes), SIDE) for codes in one.codes]


def pixel_table(judged: Sequence[Judged], names: Sequence[str]) -> pa.Table:
    """One row a picture, the one that changed most first."""
    columns: dict[str, Any] = {
        "id": [one.id for one in judged],
        "changed": [one.changed for one in judged],
    }
    for name in ("undecided", "steady", "paired"):
        for k, when in enumerate(("before", "after")):
            columns[f"{name} {when}"] = [getattr(one, name)[k] for one in judged]
    for code, name in enumerate(names):
        columns[f"share of {name} after"] = [float(one.shares[1][code]) for one in judged]
    return pa.table(columns)


def class_table(found: Sorted, images: Images, names: Sequence[str]) -> pa.Table:
    """One row a picture that can be read, those that changed first."""
    rows = found.rows
    before, after = (one[rows] for one in (found.before, found.after))
    old, new = before.argmax(1), after.argmax(1)
    order = np.lexsort([after.max(1), old == new])
    columns = {
        "id": images.column("id")[rows][order].tolist(),
        "before": [names[code] for code in old[order]],
        "after": [names[code] for code in new[order]],
        "changed": (old != new)[order].tolist(),
        "sure before": before.max(1)[order].tolist(),
        "sure after": after.max(1)[order].tolist(),
    }
    return pa.table(columns)


def findings_of(
    *,
    run: Run,
    method: str,
    source: str,
    names: Sequence[str],
    shares: Sequence[np.ndarray],
    checks: Sequence[Check],
    measures: Mapping[str, Any],
    verdict: Verdict,
    count: int,
    changed: float,
    notes: Sequence[str],
    items: Sequence[Mapping[str, Any]],
    pictures: Sequence[Sequence[bytes]],
    colours: Sequence[tuple[int, int, int]] = (),
    problems: Sequence[Any] = (),
    other: str = "",
) -> dict[str, Any]:
    """What the report and run.json say."""
    word = KEEP if verdict.keep_old else TAKE
    kind = "measured with labels" if verdict.sure else "an estimate without labels"
    each = measures.get("IoU") or [[None] * len(names)] * 2
    return {
        "source": source,
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "method": method,
        "advice": {"say": word, "why": verdict.reason, "kind": kind, "keep": verdict.keep_old},
        "headlines": [
            f"{word}: {verdict.reason} ({kind})",
            f"{method}: {run.steps:,} steps in {run.seconds / 60:.1f} minutes; "
            f"{changed:.1%} of the answers changed in {counted(count, 'picture')}",
            *(f"warning: {text}" for text in run.warnings),
        ],
        "notes": list(notes),
        "counts": {"pictures": count, "steps": run.steps},
        "checks": as_rows(checks),
        "measures": dict(measures),
        "classes": [
            {
                "name": name,
                "colour": "#{:02x}{:02x}{:02x}".format(*colours[code]) if len(colours) else None,
                "before": float(shares[0][code]),
                "after": float(shares[1][code]),
                "IoU before": each[0][code],
                "IoU after": each[1][code],
            }
            for code, name in enumerate(names)
        ],
        "items": list(items),
        "pictures": list(pictures),
        **ran(run),
        "settings": {
            "encoder": run.encoder.name,
            "old condition": other or None,
            **run.settings.model_dump(exclude_none=True),
        },
        "problems": [{"path": one.path, "reason": one.reason} for one in problems],
    }
