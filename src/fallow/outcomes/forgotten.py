"""What `forget` leaves behind: the edited model, and measures of every model compared."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fallow.encoders.classifier import Classifier, save_classifier
from fallow.files import write_json
from fallow.outcomes.result import Result, writable
from fallow.outcomes.tables import save_tensors

if TYPE_CHECKING:
    from fallow.images.shelf import Shelf
    from fallow.methods.forget.laf import Settings
    from fallow.methods.shared.forgetting import Parts

LOST = 0.1  # forgotten images recognised this much worse than unseen ones stand out themselves
CAUTION = (
    "This is measured, not certified: nothing here proves that no trace is left. Copies of the "
    "images themselves are not touched, nor is fallow's cache of them (fallow cache clear)."
)


class Forgotten(Result):
    """What `forget` returns: the edited model, and a row of measures for every model compared."""

    def __init__(
        self,
        final: Any,
        edited: Any,
        rows: list[dict[str, Any]],
        parts: Parts,
        shelves: Mapping[str, Shelf],
        settings: Settings,
        seed: int,
        others: Sequence[str],
        page: Callable[[Mapping[str, Any]], str],
    ) -> None:
        keys = list(dict.fromkeys(key for row in rows for key in row))
        table = pa.table({key: [row.get(key) for row in rows] for key in keys})
        by_name = {row["model"]: row for row in rows}
        after = rows[-2] if "retrained" in by_name else rows[-1]
        notes = [
            *parts.notes,
            *_warnings(rows[0], after, by_name.get("retrained")),
            CAUTION,
            *others,
        ]
        findings = {
            "name": f"forgetting {len(shelves['forgotten']):,} images of {parts.kept.name}",
            "created": datetime.datetime.now().isoformat(" ", "minutes"),
            "counts": {name: len(shelf) for name, shelf in shelves.items()}
            | {"steps": edited.steps},
            "headlines": _headlines(rows[0], after, by_name.get("retrained"), shelves),
            "notes": notes,
            "rows": rows,
            "metrics": edited.history,
            "explained": edited.explained,
            "reconstruction_errors": dict(zip(("known", "forgotten"), edited.errors, strict=True)),
            "settings": settings.model_dump(exclude_none=True),
            "seed": seed,
        }
        super().__init__(table, findings=findings, page=page)
        self.model = final.module if type(final).__name__ == "Tapped" else final

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the model (safetensors), the table, the report and what was measured."""
        place = writable(folder)
        if isinstance(self.model, Classifier):
            save_classifier(self.model, place)
        else:
            save_tensors(place / "model.safetensors", self.model.state_dict())
        super().save(place)
        write_json(place / "forget.json", self.findings)
        return place


def _headlines(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    retrained: Mapping[str, Any] | None,
    shelves: Mapping[str, Shelf],
) -> list[str]:
    lines = [
        f"{len(shelves['forgotten']):,} images forgotten, {len(shelves['kept']):,} kept, in "
        f"{after['seconds']:.1f} s"
    ]
    said = {
        "forgotten": "forgotten images", "kept": "kept images", "test": "test images",
        "test_kept": "test images of kept classes",
        "test_forgotten": "test images of forgotten classes",
    }  # fmt: skip
    for key, what in said.items():
        if before[key] is not None:
            beside = f" (retrained {retrained[key]:.1%})" if retrained else ""
            lines.append(f"{what}: {before[key]:.1%} right before, {after[key]:.1%} now{beside}")
    if before["forgotten"] is None:
        lines.append("there are no labels, so accuracies were not measured")
    attack = "membership_balanced"
    if after[attack] is not None:
        beside = f", retrained {retrained[attack]:.2f}" if retrained else ""
        lines.append(
            f"membership inference: {before[attack]:.2f} before, {after[attack]:.2f} now{beside} "
            "(0.5: no better than guessing)"
        )
    else:
        lines.append("there are no unseen images (test=), so membership was not attacked")
    if "time_ratio" in after:
        lines.append(f"time: {after['time_ratio']:.2f} of retraining")
    return lines


def _warnings(
    before: Mapping[str, Any], after: Mapping[str, Any], retrained: Mapping[str, Any] | None
) -> list[str]:
    lines = []
    wanted = None if retrained is None else retrained["forgotten"]
    if wanted is None and after["test_forgotten"] is None:
        wanted = after["test"]  # a model that never saw them should do as well as on others unseen
    now, kept = after["forgotten"], (before["kept"], after["kept"])
    if wanted is not None and now is not None and now < wanted - LOST:
        lines.append(
            "The forgotten images are recognised worse than a model that never saw them would: "
            "that gives them away. Use fewer steps or lower rates."
        )
    if None not in kept and kept[1] < kept[0] - LOST:
        lines.append(
            "Kept images suffered: lower unlearning_rate, or repair the head with a few labels."
        )
    if wanted is not None and now is not None and now > wanted + LOST:
        lines.append("The images are not forgotten: use more steps or higher rates.")
    return lines
