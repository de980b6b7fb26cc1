"""What `discover` leaves behind for pixels: a map for every image, and the groups in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.colours import categories
from fallow.encoders.segmenter import save_segmenter
from fallow.images.classes import IGNORE
from fallow.methods.discover.gcdss import Discovery
from fallow.methods.shared.pixels import KnownClasses, Maps, SortedPixels
from fallow.outcomes.maps import save_codes
from fallow.outcomes.pictures import jpeg
from fallow.outcomes.result import Result, writable
from fallow.outcomes.sentences import counted, unreadable
from fallow.outcomes.tables import save_csv, save_json, without_ending
from fallow.regions.cutting import Cut

SHOWN = 8  # regions that stand for a group
UNSURE = 0.5  # of the neighbours' votes: below it a region could go either way


class PixelDiscovery(Result):
    """What `discover` returns with masks: a row for every region, and a map for every image.

    `.classes` lists the numbers in the maps: known classes first, then the groups found.
    """

    def __init__(
        self,
        done: SortedPixels,
        measured: Mapping[str, Any],
        facts: Mapping[str, Any],
        page: Callable[[Mapping[str, Any]], str],
    ) -> None:
        self.regions, self.found = regions, found = done.regions, done.found
        learnt = done.learnt
        self.images = regions.images  # those without a mask
        # row of `images` -> numbers H W at the image's own size: straight from the regions, and
        # those of the network trained on what was found, if it was
        self.pseudo: Maps = lambda row: regions.painted(found.labels, row)
        self.map = self.pseudo if learnt is None else learnt.maps
        self.network = None if learnt is None else learnt.network
        classes = list_classes(done.known, regions, found)
        rows = np.unique(regions.rows).tolist()
        notes = [*done.notes, *_notes(done, facts)]
        findings = {
            **facts,
            "classes": classes,
            "measured": measured,
            "encoder": regions.cutter.encoder.name,
            "threshold": found.threshold,
            "regions": dict(regions.cutter.proposer.about),
            "segmenter": None if learnt is None else learnt.about,
            "counts": {
                "images with masks": len(done.masked.images),
                "images sorted": len(rows),
                "regions": len(regions.rows),
                "known classes": found.first,
                "new groups": found.groups,
            },
            "likely": found.likely,
            "unsure": int((found.agreement < UNSURE).sum()),
            "rows": rows,
            "notes": notes,
            "examples": self._examples,
            "pictures": self._pictures,
        }
        findings["headlines"] = _headlines(findings)
        super().__init__(
            _table(regions, found, classes),
            findings=findings,
            page=page,
        )

    @property
    def classes(self) -> list[dict[str, Any]]:
        return list(self.findings["classes"])

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write regions.csv, label maps, classes.json, run.json and the report."""
        place = writable(folder)
        save_csv(place / "regions.csv", self.table)
        save_json(place / "classes.json", self.classes)
        kinds = {"labels": self.map}
        if self.network is not None:
            save_segmenter(self.network, place / "segmenter", {"classes": self.classes})
            kinds["pseudo"] = self.pseudo
        values = np.array([one["value"] for one in self.classes])
        ids = self.images.table.column("id").to_pylist()
        for kind, made in kinds.items():
            for row in self.findings["rows"]:
                path = place / kind / f"{without_ending(ids[row])}.png"
                save_codes(path, values[made(row)])
        about = {"verb": "discover", "kind": "pixels", **self.findings}
        save_json(place / "run.json", about, ("pictures", "examples", "rows"))
        return super().save(place)

    def _examples(self, side: int) -> Iterator[tuple[str, list[bytes]]]:
        """Names of groups and of what is unsure, with small pictures of regions."""
        found, areas = self.found, self.regions.areas
        shown = {
            one["name"]: (found.labels == one["number"], found.agreement * areas)
            for one in self.classes
            if not one["known"]
        }
        for name, (mine, weight) in [*shown.items(), ("unsure", (found.agreement < UNSURE, areas))]:
            rows = np.flatnonzero(mine)
            best = rows[np.argsort(-weight[rows], kind="stable")][:SHOWN]
            yield name, [jpeg(self.regions.shown(row), side) for row in best]

    def _pictures(self, count: int, side: int) -> Iterator[tuple[str, bytes, bytes]]:
        """Some images beside their maps in colour."""
        tint, rows = categories(len(self.classes)), self.findings["rows"]
        for row in rows[:: max(1, len(rows) // count)][:count]:
            pixels = self.images.read(row)
            laid = 0.4 * pixels.mean(2, keepdims=True) + 0.6 * tint[self.map(row)]
            path = self.images.table.column("path")[row].as_py()
            yield path, jpeg(pixels, side), jpeg(laid.astype(np.uint8), side)


def list_classes(known: KnownClasses, regions: Cut, found: Discovery) -> list[dict[str, Any]]:
    """What every number stands for: its value in written masks, its name, and how much there is."""
    taken = {int(value) for value in known.values} | {0, IGNORE}
    free = (value for value in range(1, 65536) if value not in taken)
    listed = []
    for number in range(found.first + found.groups):
        mine = found.labels == number
        old = number < found.first
        listed.append(
            {
                "number": number,
                "value": int(known.values[number]) if old else next(free),
                "name": str(known.names[number]) if old else f"new {number - found.first + 1}",
                "known": old,
                "regions": int(mine.sum()),
                "pixels": int(regions.areas[mine].sum()),
                "images": len(np.unique(regions.rows[mine])),
                "agreement": float(found.agreement[mine].mean()) if mine.any() else None,
            }
        )
    return listed


def _table(regions: Cut, found: Discovery, classes: list[dict[str, Any]]) -> pa.Table:
    """A row for each region, image after image."""
    pictures = regions.images.table
    names = np.array([one["name"] for one in classes])
    top, left, bottom, right = regions.boxes.T
    return pa.table(
        {
            "id": pictures.column("id").take(pa.array(regions.rows)),
            "path": pictures.column("path").take(pa.array(regions.rows)),
            "row": regions.rows,
            "region": regions.numbers,
            "number": found.labels,
            "class": names[found.labels].tolist(),
            "known": found.labels < found.first,
            "agreement": found.agreement,
            "unsure": found.agreement < UNSURE,
            "area": regions.areas,
            "top": top,
            "left": left,
            "bottom": bottom,
            "right": right,
        }
    )


def _headlines(findings: Mapping[str, Any]) -> list[str]:
    counts = findings["counts"]
    pixels = sum(one["pixels"] for one in findings["classes"])
    new = sum(one["pixels"] for one in findings["classes"] if not one["known"])
    low, high = findings["likely"] or (0, 0)
    likely = f" (likely between {low} and {high})" if low < high else ""
    lines = [
        f"{counts['images sorted']:,} images cut into {counts['regions']:,} regions, sorted into "
        f"{counts['known classes']} known classes and {counts['new groups']} new groups"
        f"{likely}",
        f"{new / pixels:.1%} of the pixels are new; {findings['unsure']:,} regions are "
        "unsure: most of their neighbours went elsewhere",
    ]
    for kind, values in findings["measured"].get("maps", {}).items():
        shown = ", ".join(
            f"{name} {'undefined' if value is None else f'{value:.3f}'}"
            for name, value in values["dataset"].items()
        )
        lines.append(f"IoU of {kind}: {shown}")
    return lines + unreadable(findings["problems"])


def _notes(done: SortedPixels, facts: Mapping[str, Any]) -> list[str]:
    """What a reader must know before trusting the maps."""
    regions, found, notes = done.regions, done.found, []
    if regions.cutter.proposer.name in ("superpixels", "slic"):
        notes.append("Regions are superpixels: parts of one colour, not whole objects.")
    if not found.groups:
        notes.append(
            "No region is new at this threshold: every one has labelled neighbours enough. "
            "Set threshold higher if the images hold something unknown."
        )
    elif found.groups < (facts["settings"]["novel"] or 0):
        notes.append(
            f"Only {found.groups} new groups were formed: there are no more different new regions."
        )
    if len(done.known.names) == 1:
        notes.append("One known class tells little apart: whatever is near it is taken for it.")
    if len(np.unique(done.masked.rows)) == 1:
        notes.append("All masks are of one image: what differs from it may be taken for new.")
    hashes = regions.images.table.column("hash").to_pylist()
    if copies := len(hashes) - len(set(hashes)):
        notes.append(
            f"{counted(copies, 'image repeats', 'images repeat')} another byte for byte: "
            "their regions confirm each other."
        )
    return notes
