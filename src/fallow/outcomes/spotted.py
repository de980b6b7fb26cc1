"""What `spot` leaves behind: scores, heat maps, masks, overlays, and a run to judge others by."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fallow.colours import heat
from fallow.encoders import encoder, save
from fallow.encoders.maps import Sight
from fallow.files import inside
from fallow.images import Images
from fallow.measure.truth import MEASURES, Measured
from fallow.methods.shared.expected import Expected
from fallow.methods.shared.oddness import Bank, Found, Judge, Ordinary, Verdict
from fallow.methods.spot.musc import Settings
from fallow.methods.spot.musc import judge as judging
from fallow.outcomes.maps import save_codes, save_depth, save_heat, save_overlay
from fallow.outcomes.pictures import pairs_of_jpegs
from fallow.outcomes.result import Result, writable
from fallow.outcomes.sentences import counted, unreadable
from fallow.outcomes.tables import save_csv, save_json, save_tensors, saved_run
from fallow.problems import SourceProblem

FARTHEST = 2.0  # of two unit vectors: the full range of the 16-bit maps
OVERLAY = 1024  # long side of the overlay pictures
HUBS = ("hf:", "timm:")  # encoders that need not be saved
COLUMNS = ("rank", "path", "score", "score_alone", "flagged", "label", "anomaly")


class Spotted(Result):
    """What `spot` returns: the table from oddest to most ordinary, and a map for every row."""

    def __init__(
        self,
        images: Images,
        judge: Judge,
        found: Found,
        verdict: Verdict,
        odd: np.ndarray,
        measured: Measured,
        facts: Mapping[str, Any],
        notes: Sequence[str],
        page: Callable[[Mapping[str, Any]], str],
    ) -> None:
        order = np.argsort(-verdict.scores, kind="stable")
        table = ranked(images, found, verdict, order)
        said = verdict.expected
        doubt = found.alike.doubt if found.alike else ""
        headlines = sentences(table, measured, verdict, images.problems, doubt)
        labels = table.column("label").to_pylist() if "label" in table.column_names else []
        findings = {
            "source": images.name,
            "address": getattr(images, "source", ""),  # the studio opens the pictures there
            "fingerprint": images.fingerprint,
            "created": datetime.datetime.now().isoformat(" ", "minutes"),
            "images": table.num_rows,
            "flagged": int(np.count_nonzero(table.column("flagged").to_numpy())),
            "threshold": verdict.threshold,
            "ordinary_threshold": verdict.ordinary.threshold,
            "mask_threshold": verdict.ordinary.patch,
            "expected": said and round(said.number, 1),
            "expected_interval": said and said.interval,
            "alike": found.alike and found.alike._asdict(),
            "heat": verdict.ordinary.heat,
            "measured": measured,
            **facts,
            "headlines": headlines,
            "notes": list(notes),
            "problems": [{"path": p.path, "reason": p.reason} for p in images.problems],
            "items": [
                {
                    "path": path,
                    "score": score,
                    "odd": int(odd[row]),
                    "label": str((labels[k] if labels else None) or ""),
                }
                for k, (path, score, row) in enumerate(
                    zip(*(table.column(c).to_pylist() for c in ("path", "score", "row")),
                        strict=True)
                )
            ],
            "pictures": self.pictures,
        }  # fmt: skip
        super().__init__(table, headlines=headlines, notes=notes, findings=findings, page=page)
        self.images, self.judge = images, judge
        self.patches = found.patches[order]  # N h w, in the table's order
        self._bank: Bank | None = None  # what later runs are judged by
        self.findings["kept"] = 0

    def keep(self, bank: Bank) -> None:
        """Save these images with the run, to judge others by."""
        self._bank = bank
        self.findings["kept"] = len(bank)

    @property
    def threshold(self) -> float:
        return float(self.findings["threshold"])

    def map(self, row: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """The heat map of a row of the table, by default at its picture's height and width."""
        if size is None:
            size = tuple(self.table.column(name)[row].as_py() for name in ("height", "width"))
        return self.judge.maps(self.patches[row][None], size)[0]

    def picture(self, row: int, side: int | None = None) -> np.ndarray:
        """The pixels of a row of the table, whole or with a short side of at most `side`."""
        return self.images.read(int(self.table.column("row")[row].as_py()), side)

    def pictures(self, count: int, side: int) -> Iterator[tuple[bytes, bytes]]:
        """Small pictures for the report, made when it is written: each beside its heat map."""
        low, high = self.findings["heat"]
        seen = (
            (pixels, heat(pixels, self.map(row, pixels.shape[:2]), low, high, opacity=0.55))
            for row in range(min(count, self.table.num_rows))
            for pixels in [self.picture(row, 2 * side)]
        )
        return pairs_of_jpegs(seen, side)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write scores.csv, heat maps, masks, overlays, the report and what later runs need."""
        place = writable(folder)
        if self._bank is not None:
            if not self.judge.encoder.name.startswith(HUBS):
                save(self.judge.encoder, place / "encoder")
            save_tensors(place / "bank.safetensors", self._bank.tensors())
        super().save(place)
        save_csv(place / "scores.csv", self.table, COLUMNS)
        for row in range(self.table.num_rows):
            self._save_maps(place, row)
        save_json(place / "run.json", self.findings, without=("items", "pictures"))
        return place

    def _save_maps(self, place: Path, row: int) -> None:
        low, high = self.findings["heat"]
        values, pixels = self.map(row), self.picture(row)
        name = inside(self.table.column("id")[row].as_py())
        step = math.ceil(max(pixels.shape[:2]) / OVERLAY)
        less = (slice(None, None, step), slice(None, None, step))
        save_heat(place / "heat" / f"{name}.png", values, low, high)
        save_depth(place / "tiff" / f"{name}.tif", values, FARTHEST)
        save_codes(place / "masks" / f"{name}.png", values > self.findings["mask_threshold"])
        save_overlay(place / "overlays" / f"{name}.jpg", pixels[less], values[less], low, high)


def ranked(images: Images, found: Found, verdict: Verdict, order: np.ndarray) -> pa.Table:
    """What is known of the images, from the oddest on."""
    rows = found.rows[order]
    kept = images.table.take(pa.array(rows))
    known = {name: kept.column(name) for name in kept.column_names}
    columns: dict[str, Any] = {
        "rank": np.arange(1, len(rows) + 1),
        "id": known.pop("id"),
        "path": known.pop("path"),
        "score": verdict.scores[order].astype(np.float64),
        "flagged": verdict.scores[order] > verdict.threshold + 1e-9,
    }
    if verdict.alone is not verdict.scores:
        columns["score_alone"] = verdict.alone[order].astype(np.float64)
    return pa.table({**columns, "row": rows, **known})


def sentences(
    table: pa.Table,
    measured: Measured,
    verdict: Verdict,
    problems: Sequence[Any],
    doubt: str = "",
) -> list[str]:
    """What was found, in a few lines."""
    scores, paths = table.column("score").to_numpy(), table.column("path").to_pylist()
    images = counted(len(scores), "image")
    if scores[0] - scores[-1] < 1e-6 * max(1.0, scores[0]):
        lines = [f"{images}, all alike to the encoder: nothing stands out"]
    else:
        flagged = int(np.count_nonzero(table.column("flagged").to_numpy()))
        what = f"{flagged:,} stand out" if flagged else "nothing stands out"
        lines = [
            f"{images}, {what}{_expected(verdict.expected, flagged)}"
            + (f"; but {doubt}" if doubt else ""),
            f"first: {', '.join(paths[:3])}",
        ]
    for kind, values in measured.items():
        said = (
            f"{MEASURES[name]} {'undefined' if value is None else f'{value:.3f}'}"
            for name, value in values.items()
        )
        lines.append(f"{kind}: {', '.join(said)}")
    return lines + unreadable(problems)


def _expected(said: Expected | None, flagged: int) -> str:
    """How many odd ones a model of the ordinary scores expects, in words.

    >>> _expected(Expected(np.zeros(9), 3.2, (2, 5), 1.0), 3)
    '; about 3 are odd (2 to 5)'
    >>> _expected(Expected(np.zeros(9), 0.2, (0, 2), 1.0), 0)
    '; at most 2 may be odd'
    """
    if said is None:
        return ""
    low, high = said.interval
    if not flagged:
        return f"; at most {high:,} may be odd" if high else ""
    number = max(round(said.number), 1)
    return f"; about {number:,} {'is' if number == 1 else 'are'} odd ({low:,} to {high:,})"


class SpotRun(NamedTuple):
    """A saved run that new images can be scored against."""

    judge: Judge
    bank: Bank
    ordinary: Ordinary


def load_spotted(folder: str | os.PathLike[str]) -> SpotRun:
    """What `Spotted.save` wrote; a Problem that says what is missing."""
    place = Path(folder)
    what = "a saved run of spot with images to compare with (keep above 0)"
    about, tensors = saved_run(place, "run.json", what, "bank.safetensors")
    try:
        seen: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in about["sight"].items()
        }
        how, settings, name = Sight(**seen), Settings(**about["settings"]), about["encoder"]
        low, high = (float(bound) for bound in about["heat"])
        image, patch = (float(about[f"{of}_threshold"]) for of in ("ordinary", "mask"))
        ordinary = Ordinary(image, patch, (low, high))
        bank = Bank.of(tensors)
    except (ValueError, KeyError, TypeError) as error:
        raise SourceProblem(f"the run in {place} cannot be used: {error}") from error
    chosen = encoder(name if name.startswith(HUBS) else str(place / "encoder"))
    return SpotRun(judging(chosen, how, settings), bank, ordinary)
