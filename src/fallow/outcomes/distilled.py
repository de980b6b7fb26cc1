"""What `distil` leaves behind: a few synthetic pictures, as files and as arrays to train on."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from torch import Tensor

from fallow.methods.distil.fyi import Judgement, asymmetry
from fallow.methods.shared.tiny import Real, Refined, Space
from fallow.outcomes.pictures import save_picture
from fallow.outcomes.result import Result, writable
from fallow.outcomes.sentences import unreadable
from fallow.outcomes.tables import save_csv, save_json, save_tensors, saved_run
from fallow.problems import SourceProblem

if TYPE_CHECKING:
    from fallow.images import Images
    from fallow.methods.distil import Host


class TinySet(NamedTuple):
    """What is kept of a folder: pixels as networks take them, and what they stand for."""

    pixels: Tensor  # N 3 S S, standardised (and whitened), not clipped
    labels: Tensor  # N
    names: list[str]
    space: Space
    recipe: dict[str, Any]


class Distilled(Result):
    """What `distil` returns: `.tiny`, one row of `.table` per synthetic image, `.verified`."""

    def __init__(
        self,
        table: pa.Table,
        findings: Mapping[str, Any],
        tiny: TinySet,
        page: Callable[[Mapping[str, Any]], str],
    ) -> None:
        super().__init__(table, findings=findings, page=page)
        self.tiny = tiny

    @property
    def verified(self) -> dict[str, list[float]]:
        """Held-out accuracies by what the networks were trained on; empty if not asked for."""
        return dict(self.findings["verified"])

    @property
    def pictures(self) -> np.ndarray:
        """The synthetic images for the eye, clipped.  N S S 3 uint8"""
        return self.tiny.space.leave(self.tiny.pixels)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write images/, labels.csv, set.safetensors, recipe.json, the table and the report."""
        place = writable(folder)
        for picture, name in zip(self.pictures, self.table["path"].to_pylist(), strict=True):
            save_picture(place / name, picture)
        save_csv(place / "labels.csv", self.table, ["path", "label"])
        held = {"pixels": self.tiny.pixels, "labels": self.tiny.labels, **self.tiny.space.arrays()}
        save_tensors(place / "set.safetensors", held)
        save_json(place / "recipe.json", self.tiny.recipe)
        return super().save(place)


def load_tiny(folder: str | os.PathLike[str]) -> TinySet:
    """The tiny set that `distil` wrote into a folder."""
    recipe, held = saved_run(folder, "recipe.json", "a tiny set", "set.safetensors")
    try:
        pixels, labels, names = held.pop("pixels"), held.pop("labels"), recipe["classes"]
        return TinySet(pixels, labels, names, Space(**held), recipe)
    except (KeyError, TypeError) as error:
        raise SourceProblem(f"the tiny set in {folder} cannot be used: {error}") from error


def table_of(
    tiny: TinySet, refined: Refined, host: Host, paths: np.ndarray, per_class: int
) -> pa.Table:
    folders = _folders(tiny.names)
    codes = tiny.labels.tolist()
    return pa.table(
        {
            "path": [
                f"images/{folders[code]}/{row % per_class:0{len(str(per_class))}d}.png"
                for row, code in enumerate(codes)
            ],
            "label": [tiny.names[code] for code in codes],
            "began_as": [str(paths[row]) for row in host.chosen.tolist()],
            "asymmetry": asymmetry(refined.pixels).tolist(),
            "asymmetry_at_start": asymmetry(refined.start).tolist(),
        }
    )


def findings_of(
    images: Images, real: Real, held: Real | None, table: pa.Table, tiny: TinySet,
    refined: Refined, verified: dict[str, list[float]], judgement: Judgement, notes: list[str],
) -> dict[str, Any]:  # fmt: skip
    before, after = (
        float(np.mean(table[name].to_numpy())) for name in ("asymmetry_at_start", "asymmetry")
    )
    recipe = tiny.recipe
    headlines = [
        f"{len(real):,} images of {len(tiny.names)} classes distilled into {table.num_rows:,} "
        f"({recipe['per_class']} a class) by {recipe['host']} in {refined.steps:,} steps, "
        f"{refined.seconds / 60:.1f} minutes",
        f"left-right asymmetry from {before:.2f} to {after:.2f}",
    ]
    if refined.history:
        first, last = refined.history[0]["loss"], refined.history[-1]["loss"]
        headlines.append(f"loss from {first:.4g} to {last:.4g}")
    for name, scores in verified.items():
        spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
        headlines.append(
            f"networks trained on {name}: {np.mean(scores):.3f} ± {spread:.3f} of "
            f"{0 if held is None else len(held):,} held-out images right"
        )
    headlines += unreadable(images.problems)
    return {
        "name": f"{recipe['host']} on {images.name}",
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "headlines": headlines,
        "notes": notes,
        "warned": judgement.keeps is False,
        "counts": {"images": len(real), "classes": len(tiny.names), "kept": table.num_rows},
        "classes": tiny.names,
        "per_class": recipe["per_class"],
        "asymmetry": {"at start": before, "at the end": after},
        "judgement": asdict(judgement),
        "metrics": refined.history,
        "verified": verified,
        "settings": recipe["settings"],
        "problems": [{"path": p.path, "reason": p.reason} for p in images.problems],
    }


def _folders(names: list[str]) -> list[str]:
    """A folder for every class, whatever its name.

    >>> _folders(["cat", "a/b", "a b"])
    ['cat', 'a_b', 'a_b_2']
    """
    taken: dict[str, int] = {}
    folders = []
    for name in names:
        plain = re.sub(r"[^\w-]+", "_", name).strip("_") or "class"
        taken[plain.lower()] = taken.get(plain.lower(), 0) + 1
        folders.append(plain if taken[plain.lower()] == 1 else f"{plain}_{taken[plain.lower()]}")
    return folders
