"""What `segment` leaves behind: masks in the user's own values, overlays, what to label next."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fallow.colours import heat, tinted
from fallow.encoders.segmenter import Segmenter, save_segmenter
from fallow.images.classes import Classes
from fallow.images.decode import reduced_size
from fallow.images.masks import Masked, resized
from fallow.images.volumes import write_volume
from fallow.methods.shared.segment import Opinion, SegmentMethod, opinion, opinions
from fallow.outcomes.maps import save_codes
from fallow.outcomes.pictures import save_picture, shrunk, stretched, thumbnail
from fallow.outcomes.ran import ran
from fallow.outcomes.result import Result, writable
from fallow.outcomes.sentences import counted
from fallow.outcomes.tables import save_csv, save_json, without_ending
from fallow.problems import SourceProblem
from fallow.train import Run

SHOWN = 1024  # long side of overlays and uncertainty maps
SIDE = 176  # short side of the report's pictures


class Written(NamedTuple):
    """What is known of one picture or volume once it was looked at."""

    id: str
    mask: str  # the file below a folder
    given: bool  # the user's own mask
    disagreement: float
    uncertainty: float
    shares: list[float]  # of the classes
    pictures: list[bytes]  # overlay and disagreement as JPEG


class Segmented(Result):
    """What `segment` returns: the table from the picture to label next on, and the run."""

    def __init__(
        self,
        table: pa.Table,
        findings: Mapping[str, Any],
        *,
        run: Run,
        known: Masked,
        page: Callable[[Mapping[str, Any]], str] | None = None,
        drawn: Path | None = None,
    ) -> None:
        super().__init__(
            table,
            findings=findings,
            page=page,
        )
        self.run, self.known, self.classes = run, known, known.classes
        self._drawn = drawn  # the folder that holds the masks already

    @property
    def method(self) -> SegmentMethod:
        return self.run.method  # type: ignore[return-value]

    def mask(self, row: int) -> np.ndarray:
        """The mask of a row of the table, in the user's own values; the picture is read again."""
        given = self.table.column("given")[row].as_py()
        images = self.known.labelled if given else self.known.bare
        place = images.column("id").tolist().index(self.table.column("id")[row].as_py())
        return self.classes.written(opinion(self.method, images, place, given, self._bf16).codes)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write masks, overlays, uncertainty maps, the segmenter, tables and the report."""
        place = writable(folder)
        if place != self._drawn:
            for one in opinions(self.method, self.known, self._bf16):
                draw(place, one, self.classes)
            self._drawn = place
        network = self.method.predictor()
        if isinstance(network, Segmenter):
            names, values = self.classes.names, self.classes.values
            about = {"names": names, "values": values, "side": self.method.side}
            save_segmenter(network, place / "segmenter", about)
        save_json(place / "run.json", self.findings, without=("items", "metrics", "pictures"))
        super().save(place)
        save_csv(place / "masks.csv", self.table)
        return place

    @property
    def _bf16(self) -> bool:
        return self.run.choice.precision == "bf16"


def segmented(
    run: Run,
    known: Masked,
    slug: str,
    page: Callable[[Mapping[str, Any]], str],
    place: Path | None,
) -> Segmented:
    """Every picture looked at once, and drawn on the way if there is a place for it."""
    method: SegmentMethod = run.method  # type: ignore[assignment]
    written = []
    for one in opinions(method, known, run.choice.precision == "bf16"):
        pictures = thumbnails(one, known.classes)
        if place is not None:
            draw(place, one, known.classes)
        written.append(
            Written(
                one.id,
                mask_file(one),
                one.given,
                float(one.apart.mean()),
                float(one.unsure.mean()),
                one.shares(len(known.classes)),
                pictures,
            )
        )
    if not written:
        raise SourceProblem("no picture could be read a second time: are the files still there?")
    written.sort(key=lambda one: (one.given, -one.disagreement))
    columns: dict[str, Any] = {
        name: [getattr(one, name) for one in written]
        for name in ("id", "mask", "given", "disagreement", "uncertainty")
    }
    for code, name in enumerate(known.classes.names):
        columns[f"share of {name}"] = [one.shares[code] for one in written]
    return Segmented(
        pa.table(columns), findings_of(run, known, slug, written),
        run=run, known=known, page=page, drawn=place,
    )  # fmt: skip


def read_segmented(run: Run, known: Masked, place: Path) -> Segmented:
    """What another rank wrote."""
    result = Segmented(pq.read_table(place / "table.parquet"), {}, run=run, known=known)
    result.folder = result._drawn = place
    return result


def findings_of(run: Run, known: Masked, slug: str, written: list[Written]) -> dict[str, Any]:
    """What the report and run.json say."""
    bare = [one for one in written if not one.given]
    classes = known.classes

    def share(of: list[Written], code: int) -> float:
        return float(np.mean([one.shares[code] for one in of] or [0.0]))

    return {
        "source": known.labelled.name,
        "address": getattr(known.labelled, "source", ""),  # the studio opens the pictures there
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "method": slug,
        "headlines": [
            f"{slug}: {counted(len(bare), 'mask')} from {len(known.labelled)}, in "
            f"{run.seconds / 60:.1f} minutes of training",
            f"label next: {', '.join(one.id for one in bare[:3])}",
            *(f"warning: {text}" for text in run.warnings),
        ],
        "notes": known.notes,
        "warnings": run.warnings,
        "counts": {"masks given": len(known.labelled), "masks written": len(bare)},
        "classes": [
            {
                "name": name,
                "value": classes.values[code],
                "colour": "#{:02x}{:02x}{:02x}".format(*classes.colours[code]),
                "given": share([one for one in written if one.given], code),
                "written": share(bare, code),
            }
            for code, name in enumerate(classes.names)
        ],
        "ignore": list(classes.ignore),
        "items": [
            {
                "path": one.id,
                "given": one.given,
                "disagreement": one.disagreement,
                "uncertainty": one.uncertainty,
            }
            for one in written
        ],
        "pictures": [one.pictures for one in written],
        **ran(run),
        "problems": [{"path": one.path, "reason": one.reason} for one in known.labelled.problems],
    }


def mask_file(one: Opinion) -> str:
    """Where a mask lies in a folder."""
    return f"masks/{without_ending(one.id)}{'.png' if one.codes.ndim == 2 else '.nii.gz'}"


def draw(place: Path, one: Opinion, classes: Classes) -> None:
    """A mask that holds the user's own values, an overlay and an uncertainty map as files."""
    values, mask = classes.written(one.codes), place / mask_file(one)
    if values.ndim == 2:
        save_codes(mask, values, classes.palette())
    else:
        mask.parent.mkdir(parents=True, exist_ok=True)
        write_volume(mask, values, np.eye(4) if one.affine is None else one.affine)
    small, laid, flat = _laid(one, classes)
    doubt = heat(small, stretched(flat.unsure.numpy(), small.shape[:2]), 0.0, 1.0)
    save_picture(place / "overlays" / f"{without_ending(one.id)}.jpg", laid)
    save_picture(place / "uncertainty" / f"{without_ending(one.id)}.jpg", doubt)


def thumbnails(one: Opinion, classes: Classes) -> list[bytes]:
    """Overlay and disagreement for the report."""
    small, laid, flat = _laid(one, classes)
    differ = heat(small, stretched(flat.apart.numpy(), small.shape[:2]), 0.0, 0.5)
    height, width = flat.pixels.shape[:2]
    side = min(reduced_size(width, height, SIDE))
    return [thumbnail(laid, side), thumbnail(differ, side)]


def _laid(one: Opinion, classes: Classes) -> tuple[np.ndarray, np.ndarray, Opinion]:
    """A picture small enough to look at, the same with its mask over it, and what it shows."""
    flat = one.flat()
    small = shrunk(flat.pixels, SHOWN)
    return small, tinted(small, resized(flat.codes, small.shape[:2]), classes.colours), flat
