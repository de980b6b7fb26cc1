"""What `discover` leaves behind for whole images: groups, how sure each image is, and doubts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.measure.discovery import judged
from fallow.methods.shared.known import Known
from fallow.methods.shared.sorting import Sorted
from fallow.outcomes.accepted import accept_labels
from fallow.outcomes.pictures import thumbnails
from fallow.outcomes.result import Result
from fallow.outcomes.sentences import counted, unreadable
from fallow.outcomes.tables import rounded, save_csv, save_json
from fallow.problems import SettingProblem

SHOWN = 12  # pictures of a group
DOUBTFUL = 48  # images that could go either way, in the report
WRITTEN = ("path", "group", "confidence", "second", "second_confidence", "labelled", "truth")


class Discovered(Result):
    """What `discover` returns: a row for every image with its group and how sure that is."""

    def __init__(
        self,
        known: Known,
        done: Sorted,
        facts: Mapping[str, Any],
        page: Callable[[Mapping[str, Any]], str],
    ) -> None:
        names = group_names(known.names, done.found.new)
        notes = [*_notes(known), *done.notes]
        findings = {**_findings(known, done, names), **facts, "notes": notes}
        findings |= {
            "headlines": _headlines(findings),
            "pictures": thumbnails(known.images),
        }
        super().__init__(
            _table(known, done, names),
            findings=findings,
            page=page,
        )
        self.images = known.images

    @property
    def count(self) -> int:
        """The estimated number of classes, known and new."""
        return int(self.findings["classes"])

    @property
    def interval(self) -> tuple[int, int]:
        """What their number is likely between; or between which numbers the starts ended."""
        low, high = self.findings["interval"]
        return int(low), int(high)

    def accept(self, groups: Mapping[str, str], *, sure: float = 0.0, out: Any = None) -> Result:
        """Turn found groups into labels: {"new 1": "oak"}; see the verb."""
        if self.folder is None and out is None:
            raise SettingProblem(
                "say where to write the labels with out=, or save the result first"
            )
        place = Path(out) if out is not None else self.folder / "labels.csv"  # type: ignore[operator]
        return accept_labels(self.table, self.findings["groups"], groups, sure, place)

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write assignments.csv, the table, the report and run.json."""
        place = super().save(folder)
        save_csv(place / "assignments.csv", rounded(self.table), WRITTEN)
        save_json(place / "run.json", {"verb": "discover", **self.findings}, ("pictures", "paths"))
        return place


def group_names(names: Sequence[str], new: int) -> list[str]:
    """Known classes, then new 1, new 2, ...; a class that is called so is not hidden by it.

    >>> group_names(["oak", "new 1"], 2)
    ['oak', 'new 1', 'new 2', 'new 3']
    """
    free = (f"new {number}" for number in range(1, new + len(names) + 1))
    free_names = [name for name in free if name not in set(names)]
    return [*names, *free_names[:new]]


def _table(known: Known, done: Sorted, names: Sequence[str]) -> pa.Table:
    found, named = done.found, np.array(names, object)
    kept = known.images.table.take(pa.array(done.rows))
    columns: dict[str, Any] = {
        "path": kept.column("path"),
        "id": kept.column("id"),
        "group": pa.array(named[found.member], pa.string()),
        "confidence": found.chance,
        "second": pa.array(named[found.second], pa.string()),
        "second_confidence": found.second_chance,
        "labelled": known.codes[done.rows] >= 0,
        "new": found.member >= found.old,
        "row": done.rows,
    }
    if any(known.truth):
        columns["truth"] = pa.array([known.truth[row] for row in done.rows], pa.string())
    return pa.table(columns)


def _findings(known: Known, done: Sorted, names: Sequence[str]) -> dict[str, Any]:
    found, images = done.found, known.images
    free = known.codes[done.rows] < 0
    loose = np.flatnonzero(free)
    margin = found.chance[loose] - found.second_chance[loose]
    either = loose[np.argsort(margin, kind="stable")][: int((margin < 0.5).sum())]
    true = [row for row in loose if known.truth[done.rows[row]] is not None]
    real = [str(known.truth[done.rows[row]]) for row in true]
    return {
        "encoder": done.encoder,
        "images": len(done.rows),
        "labelled": int((~free).sum()),
        "known_classes": found.old,
        "classes": found.count,
        "new_classes": found.new,
        "interval": found.interval,
        "counted": found.likely is not None,
        "starts": found.counts,
        "groups": [_group(done, names, k, free) for k in range(len(names))],
        "either": [_doubt(done, names, row) for row in either[:DOUBTFUL]],
        "unsure": len(either),
        "paths": images.table.column("path").to_pylist(),
        **(judged(real, found.member[true], known.names, names) if true else {}),
    }


def _group(done: Sorted, names: Sequence[str], number: int, free: np.ndarray) -> dict[str, Any]:
    """A group's size, the images that stand for it, and those that might belong elsewhere."""
    found = done.found
    new = number >= found.old
    rows = np.flatnonzero((found.member == number) & (free | (not new)))
    own = rows[free[rows]]
    sure = np.where(free, found.chance, 1.0)
    # sure ones near the middle stand for a group; of known classes, what was put there
    shown = own if len(own) else rows
    typical = shown[np.lexsort((found.distance[shown], -np.round(sure[shown], 2)))]
    doubt = own[np.argsort(sure[own], kind="stable")]
    return {
        "name": names[number],
        "new": new,
        "images": len(rows),
        "labelled": len(rows) - len(own),
        "confidence": float(found.chance[own].mean()) if len(own) else None,
        "shown": done.rows[typical[:SHOWN]].tolist(),
        "doubt": [_doubt(done, names, row) for row in doubt[sure[doubt] < 0.6][:6]],
    }


def _doubt(done: Sorted, names: Sequence[str], row: Any) -> dict[str, Any]:
    found = done.found
    return {
        "row": int(done.rows[row]),
        "group": names[found.member[row]],
        "confidence": float(found.chance[row]),
        "second": names[found.second[row]],
        "second_confidence": float(found.second_chance[row]),
    }


def _headlines(found: Mapping[str, Any]) -> list[str]:
    low, high = found["interval"]
    between = f" (likely between {low} and {high})" if low < high else ""
    if low < high and not found["counted"]:
        between = f", between {low} and {high} from other starts"
    free = found["images"] - found["labelled"]
    new = sum(group["images"] for group in found["groups"] if group["new"])
    lines = [
        f"{found['classes']} classes{between}: {found['known_classes']} known, "
        f"{found['new_classes']} new",
        f"{free:,} unlabelled images sorted: {free - new:,} into known classes, {new:,} into new "
        f"ones; {found['unsure']:,} could go either way",
    ]
    if "accuracy" in found:
        parts = ", ".join(
            f"{name} {value:.3f}" for name, value in found["accuracy"].items() if value == value
        )
        lines.append(f"accuracy of {found['judged']:,} judged images: {parts}; "
                     f"{found['true_classes']} classes in truth")  # fmt: skip
    return lines + unreadable(found["problems"])


def _notes(known: Known) -> list[str]:
    """What to know of the labels, and of pictures that are there twice."""
    images = known.images
    notes = [note for note in images.notes if "match no image" in note or "alone" in note]
    sizes = np.bincount(known.codes[known.codes >= 0], minlength=len(known.names))
    single = [known.names[k] for k in np.flatnonzero(sizes == 1)]
    if single:
        notes.append(
            f"{counted(len(single), 'class', 'classes')} with a single labelled image "
            f"({', '.join(single[:3])}): how wide they are is taken from the others."
        )
    hashes = images.table.column("hash").to_pylist()
    first: dict[str, int] = {}
    pairs = [(before, row) for row, one in enumerate(hashes)
             if (before := first.setdefault(one, row)) != row]  # fmt: skip
    if pairs:
        notes.append(
            f"{counted(len(pairs), 'image repeats', 'images repeat')} another byte for byte; "
            "copies count in their group like other images."
        )
    for pair in pairs:
        one, other = known.codes[list(pair)]
        if min(one, other) >= 0 and one != other:
            a, b = (images.table.column("path")[row].as_py() for row in pair)
            notes.append(
                f"{a} and {b} are the same picture but labelled {known.names[one]} and "
                f"{known.names[other]}: correct one."
            )
            break
    return notes
