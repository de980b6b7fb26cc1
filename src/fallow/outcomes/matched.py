"""What `match` leaves behind: pieces laid together, or the photos a sketch finds."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.colours import palette
from fallow.images import Images
from fallow.images.sketch_forms import sketch_pixels
from fallow.images.sketches import SIDE
from fallow.methods.shared.assembling import Join, picture
from fallow.methods.shared.joining import Assembly
from fallow.methods.shared.sketching import Found
from fallow.outcomes.pictures import save_picture, shrunk
from fallow.outcomes.result import Result
from fallow.outcomes.sentences import counted, unreadable
from fallow.outcomes.tables import save_csv, save_json, spelled
from fallow.regions.rigid import angle, moved

NEIGHBOURS = 10  # of each piece, in the table
LINES = 12  # between two pieces, in a picture of their match
NEAR = 8.0  # pixels of the matched scale between points that met under a join
GAP = 24  # pixels between the two there
Page = Callable[[Mapping[str, Any]], str]


class Assembled(Result):
    """What `match` makes of pieces: a row for each, joins, and groups as pictures."""

    def __init__(
        self,
        images: Images,
        assembly: Assembly,
        facts: Mapping[str, Any],
        notes: Sequence[str],
        page: Page,
    ) -> None:
        self.assembly = assembly
        self.joins = joins_of(assembly)
        laid = sum(map(len, assembly.groups))
        pieces = len(assembly.fragments)
        headlines = [
            f"{counted(pieces, 'piece')}: {laid} of them lie in "
            f"{counted(len(assembly.groups), 'group')}",
            *(
                f"group {k}: {len(one)} pieces, {one.overlap:.1%} of them on each other, "
                f"{one.gap:.1f} pixels between them"
                for k, one in enumerate(assembly.groups, 1)
            ),
            *unreadable(images.problems),
        ]
        findings = {
            "source": images.name,
            "created": datetime.datetime.now().isoformat(" ", "minutes"),
            "pieces": pieces,
            "laid": laid,
            "groups": [
                {"pieces": [assembly.fragments.names[k] for k in sorted(one.places)],
                 "overlap": one.overlap, "gap": one.gap}
                for one in assembly.groups
            ],
            "scale": assembly.scale,
            "joins": self.joins.to_pylist(),
            **facts,
            "headlines": headlines,
            "notes": list(notes),
            "problems": [{"path": p.path, "reason": p.reason} for p in images.problems],
            "assembled": self.pictures,
            "matched": self.matched,
            "seen": self.seen,
        }  # fmt: skip
        table = pieces_of(assembly)
        findings["items"] = table.to_pylist()
        super().__init__(table, headlines=headlines, notes=notes, findings=findings, page=page)

    def pictures(self, longest: int | None = None) -> list[np.ndarray]:
        """The groups as pictures, on nothing, by default at the pieces' full size.  each H W 4"""
        pieces = self.assembly.fragments.pieces
        return [picture(pieces, self.assembly.places(one), longest) for one in self.assembly.groups]

    def matched(self, count: int, longest: int) -> list[tuple[str, np.ndarray]]:
        """The surest joins: their two pieces with lines between points that met."""
        names = self.assembly.fragments.names
        return [
            (f"{names[join.source]} and {names[join.target]}", self.side_by_side(join, longest))
            for join in self.assembly.joins[:count]
        ]

    def seen(self, piece: int, longest: int) -> np.ndarray:
        """A piece alone, on nothing.  H W 4"""
        return picture(self.assembly.fragments.pieces, {piece: np.eye(2, 3)}, longest)

    def side_by_side(self, join: Join, longest: int) -> np.ndarray:
        """Two pieces as they are, and lines between some points that met.  H W 4"""
        from PIL import Image, ImageDraw

        assembly = self.assembly
        one, other = (assembly.fragments.pieces[k] for k in (join.source, join.target))
        wide = one.mask.shape[1] + GAP
        beside = {join.source: np.eye(2, 3), join.target: np.array([[1.0, 0, wide], [0, 1.0, 0]])}
        whole = max(wide + other.mask.shape[1], one.mask.shape[0], other.mask.shape[0])
        scale = min(1.0, longest / whole)
        sheet = Image.fromarray(picture(assembly.fragments.pieces, beside, longest))
        ours, theirs = self.met(join)
        chosen = np.unique(np.linspace(0, len(ours) - 1, min(LINES, len(ours))).astype(int))
        starts = ours[chosen] * scale
        ends = (theirs[chosen] + np.array([wide, 0])) * scale
        pen = ImageDraw.Draw(sheet)
        for colour, start, end in zip(palette(len(chosen)), starts, ends, strict=True):
            pen.line([*start, *end], fill=colour, width=2)
        return np.asarray(sheet)

    def met(self, join: Join) -> tuple[np.ndarray, np.ndarray]:
        """Points of a join's two pieces (m 2 each) that met, and that its map takes together."""
        assembly = self.assembly
        match = assembly.matches[join.source, join.target]
        ours = assembly.points(join.source, match.ours)
        theirs = assembly.points(join.target, match.theirs)
        away = np.linalg.norm(moved(ours, assembly.map(join)) - theirs, axis=1)
        near = away < NEAR / assembly.scale
        return ours[near], theirs[near]

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write pieces.csv, joins.csv, the points that met, the report and a PNG of every group."""
        place = super().save(folder)
        save_csv(place / "pieces.csv", spelled(self.table))
        save_csv(place / "joins.csv", self.joins)
        save_json(place / "points.json", self._points())
        for number, made in enumerate(self.pictures(), 1):
            save_picture(place / "groups" / f"group_{number:02d}.png", made)
        save_json(
            place / "match.json",
            self.findings,
            without=("items", "assembled", "matched", "seen", "joins"),
        )
        return place

    def _points(self) -> list[dict[str, Any]]:
        """For every join the points of both outlines that met, in pixels of the pieces."""
        assembly, found = self.assembly, []
        for join in assembly.joins:
            ours, theirs = self.met(join)
            found.append(
                {
                    "piece": assembly.fragments.names[join.source],
                    "other": assembly.fragments.names[join.target],
                    "points": ours.round(1).tolist(),
                    "others": theirs.round(1).tolist(),
                }
            )
        return found


def pieces_of(assembly: Assembly) -> pa.Table:
    """A row for each piece: its neighbours by likeness, its group, and where it lies there."""
    names = assembly.fragments.names
    count = min(NEIGHBOURS, len(names) - 1)
    order = np.argsort(-assembly.alike, axis=1, kind="stable")[:, :count]
    where: dict[int, tuple[int, np.ndarray]] = {}
    for number, group in enumerate(assembly.groups, 1):
        where |= {k: (number, place) for k, place in assembly.places(group).items()}
    return pa.table(
        {
            "piece": names,
            "row": assembly.fragments.rows,
            "height": [one.mask.shape[0] for one in assembly.fragments.pieces],
            "width": [one.mask.shape[1] for one in assembly.fragments.pieces],
            "neighbours": [[names[j] for j in row] for row in order],
            "likeness": [assembly.alike[k, row].tolist() for k, row in enumerate(order)],
            "group": pa.array([where[k][0] if k in where else None for k in range(len(names))],
                              pa.int64()),
            "turned": pa.array(
                [math.degrees(angle(where[k][1])) if k in where else None
                 for k in range(len(names))], pa.float64()),
            "place": pa.array(
                [where[k][1].ravel().tolist() if k in where else None
                 for k in range(len(names))], pa.list_(pa.float64())),
        }
    )  # fmt: skip


def joins_of(assembly: Assembly) -> pa.Table:
    """A row for each pair of pieces that fit, the surest first; lengths in their own pixels."""
    names, rows = assembly.fragments.names, []
    held = {(j.source, j.target) for group in assembly.groups for j in group.joins}
    for join in assembly.joins:
        map = assembly.map(join)
        rows.append(
            {
                "piece": names[join.source],
                "other": names[join.target],
                "score": join.score,
                "touching": join.length / assembly.scale,
                "gap": join.gap / assembly.scale,
                "overlap": join.overlap,
                "colour": join.colour,
                "turn": math.degrees(angle(map)),
                "x": float(moved(np.zeros((1, 2)), map)[0, 0]),
                "y": float(moved(np.zeros((1, 2)), map)[0, 1]),
                "held": (join.source, join.target) in held,
            }
        )
    kinds = [("piece", pa.string()), ("other", pa.string())]
    kinds += [(name, pa.float64()) for name in
              ("score", "touching", "gap", "overlap", "colour", "turn", "x", "y")]  # fmt: skip
    return pa.Table.from_pylist(rows, pa.schema([*kinds, ("held", pa.bool_())]))


class Retrieved(Result):
    """What `match` finds by sketches: for each the nearest photos, also while it was drawn."""

    def __init__(
        self,
        images: Images,
        sketches: Mapping[str, list[np.ndarray]],
        found: Mapping[str, list[Found]],
        facts: Mapping[str, Any],
        notes: Sequence[str],
        page: Page,
    ) -> None:
        self.images, self.sketches = images, sketches
        table = photos_of(images, found)
        headlines = [
            f"{name}: {images.column('path')[last[-1].rows[0]]}, then "
            + ", ".join(str(images.column("path")[row]) for row in last[-1].rows[1:4])
            for name, last in found.items()
        ] or ["no sketch was asked about"]
        if measured := facts.get("measured"):
            headlines.append(
                f"of {measured['sketches']:,} known sketches kept for this, "
                f"{measured['acc@1']:.1%} find their photo first and {measured['acc@10']:.1%} "
                f"among ten, of {measured['among']:,}"
            )
        headlines += unreadable(images.problems)
        findings = {
            "source": images.name,
            "created": datetime.datetime.now().isoformat(" ", "minutes"),
            "photos": len(images),
            "found": {name: _curve(steps) for name, steps in found.items()},
            "items": table.to_pylist(),
            **facts,
            "headlines": headlines,
            "notes": list(notes),
            "problems": [{"path": p.path, "reason": p.reason} for p in images.problems],
            "drawn": self.drawn,
            "photo": self.photo,
        }
        super().__init__(table, headlines=headlines, notes=notes, findings=findings, page=page)

    def drawn(self, name: str) -> np.ndarray:
        """A sketch as a picture, black on white.  S S"""
        return 255 - 255 * sketch_pixels(self.sketches[name], "whole", SIDE)

    def photo(self, row: int, longest: int) -> np.ndarray:
        """A photo of the collection, small.  H W 3"""
        return shrunk(self.images.read(row, longest), longest)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write photos.csv, the facts and the report."""
        place = super().save(folder)
        save_csv(place / "photos.csv", self.table)
        save_json(place / "match.json", self.findings, without=("drawn", "photo", "items"))
        return place


def photos_of(images: Images, found: Mapping[str, list[Found]]) -> pa.Table:
    """A row for each sketch and photo it found, the nearest first."""
    rows = [
        {"sketch": name, "rank": k + 1, "row": int(row), "path": str(images.column("path")[row]),
         "distance": float(far)}
        for name, steps in found.items()
        for k, (row, far) in enumerate(zip(steps[-1].rows, steps[-1].distances, strict=True))
    ]  # fmt: skip
    kinds = [("sketch", pa.string()), ("rank", pa.int64()), ("row", pa.int64()),
             ("path", pa.string()), ("distance", pa.float64())]  # fmt: skip
    return pa.Table.from_pylist(rows, pa.schema(kinds))


def _curve(steps: Sequence[Found]) -> list[int | None]:
    """Where the photo that is nearest in the end stood after each share; None: not listed."""
    last = int(steps[-1].rows[0])
    ranks: list[int | None] = []
    for one in steps:
        place = np.flatnonzero(one.rows == last)
        ranks.append(int(place[0]) + 1 if len(place) else None)
    return ranks
