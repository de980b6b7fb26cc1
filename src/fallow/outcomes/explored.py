"""What `explore` leaves behind: a table to search in, findings, and what is worth keeping."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fallow.files import atomic_write
from fallow.images.decode import Unreadable, decode
from fallow.inventory import store
from fallow.inventory.look import DECODE_SIDE, Ready
from fallow.inventory.statistics import describe
from fallow.inventory.survey import Survey, columns
from fallow.outcomes.explored_labels import label_headlines, label_notes, labels_of
from fallow.outcomes.result import Result, writable
from fallow.outcomes.sentences import counted
from fallow.outcomes.tables import save_csv, save_json
from fallow.problems import SettingProblem, SourceProblem

if TYPE_CHECKING:
    from fallow.images import Images

RANKED = 60  # strays listed, whether or not they stand out


class Explored(Result):
    """What `explore` returns: a Result that can also be searched and listed without copies."""

    def __init__(
        self,
        images: Images,
        ready: Ready,
        found: Survey,
        page: Callable[[Mapping[str, Any]], str],
        settings: Mapping[str, Any],
    ) -> None:
        own = columns(found, images)
        table = images.table.take(pa.array(found.rows))
        table = table.rename_columns(
            [f"{name}_given" if name in own else name for name in table.column_names]
        )
        for name, values in own.items():
            table = table.append_column(name, values if isinstance(values, pa.Array) else [values])
        findings = findings_of(images, ready, table, found)
        findings["settings"] |= settings
        findings["headlines"] += _switched(ready.encoder.name, settings)
        super().__init__(
            table,
            findings=findings,
            page=page,
        )
        self.images, self.encoder, self.key = images, ready.encoder, ready.key
        self.found = found
        self.vectors = found.vectors  # N K, unit length, in the table's order

    def search(self, image: int | str | os.PathLike[str] | np.ndarray, k: int = 12) -> pa.Table:
        """The k images most like one: a row, an id or path of the table, a file, or pixels.

        A row of the collection is not listed as its own neighbour. Columns: row, id, path,
        similarity (cosine).
        """
        ids = self.table.column("id").to_pylist()
        own = -1
        if isinstance(image, (int, np.integer)):
            if not -len(ids) <= image < len(ids):
                raise SettingProblem(f"there is no row {image}: the collection has {len(ids):,}")
            own = int(image) % len(ids)
        elif not isinstance(image, np.ndarray) and os.fspath(image) in ids:
            own = ids.index(os.fspath(image))
        query = self.vectors[own] if own >= 0 else self._place(image)
        similarity = self.vectors @ query
        order = np.argsort(-similarity, kind="stable")
        order = order[order != own][:k]
        return pa.table(
            {
                "row": order,
                "id": self.table.column("id").take(pa.array(order)),
                "path": self.table.column("path").take(pa.array(order)),
                "similarity": similarity[order],
            }
        )

    def _place(self, image: Any) -> np.ndarray:
        if not isinstance(image, np.ndarray):
            path = Path(image)
            if not path.is_file():
                raise SourceProblem(f"there is no image {image}: give a row, an id or a file")
            try:
                image = decode(path.read_bytes(), DECODE_SIDE)
            except Unreadable as error:
                raise SourceProblem(f"{path} cannot be used: {error}") from error
        blocks = [self.encoder.embed([image])]
        if self.found.combined:
            blocks.append(describe(image).statistics[None])
        return self.found.place.place(*blocks)[0]

    def clean(self) -> pa.Table:
        """The keep list: readable, not blank, one of each set of copies; nothing is touched."""
        copies = self.table.column("copy_of").is_null().to_numpy()
        near = self.table.column("near_copy_of").is_null().to_numpy()
        blank = np.array(["blank" in flags for flags in self.table.column("flags").to_pylist()])
        kept = np.flatnonzero(copies & near & ~blank)
        names = [name for name in ("id", "label", "split") if name in self.table.column_names]
        address = getattr(self.images, "address", None)
        rows = self.table.column("row").to_numpy()[kept]
        paths = self.table.column("path").take(pa.array(kept)).to_pylist()
        if address is not None:
            paths = [address(int(row)) for row in rows]
        table = self.table.select(names).take(pa.array(kept))
        return table.add_column(0, "path", pa.array(paths, pa.string()))

    def pictures_shown(self, count: int) -> list[bytes]:
        """Typical pictures of every group in turn."""
        groups = [group["representatives"] for group in self.findings["groups"]]
        turns = [one for turn in zip_longest(*groups) for one in turn if one is not None]
        return [self.findings["thumbnails"][place] for place in turns[:count]]

    def export_clean(self, file: str | os.PathLike[str]) -> Path:
        """Write the keep list as CSV."""
        path = Path(file)
        writable(path.parent)
        return save_csv(path, self.clean())

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write images.lance (a new version), findings.json, settings.json and report.html."""
        place = writable(folder)
        store.write(place, self.table, self.found.measured, self.vectors, self.key)
        with atomic_write(place / "findings.json") as target:
            target.write(store.plain(self.findings).encode())
        save_json(place / "settings.json", self.findings["settings"])
        self.report(place / "report.html")
        self.folder = place
        return place


def findings_of(images: Images, ready: Ready, table: pa.Table, found: Survey) -> dict[str, Any]:
    """All that is said about a collection, for the report and as JSON."""
    named = [found.label(place) for place in range(len(found.rows))]
    taken = ["id", "path", "width", "height", "bytes", "x", "y", "group", "outlier"]
    taken += ["sharpness", "focus", "brightness"]
    values = {name: table.column(name).to_pylist() for name in taken}
    for name in ("x", "y", "outlier", "sharpness", "focus", "brightness"):
        values[name] = np.round(table.column(name).to_numpy().astype(float), 4).tolist()
    values["label"] = named
    values["flags"] = table.column("flags").to_pylist()
    names = list(values)
    items = [dict(zip(names, each, strict=True)) for each in zip(*values.values(), strict=True)]
    problems = [{"path": each.path, "reason": each.reason} for each in images.problems]
    doubted = found.suspects
    counts: dict[str, Any] = {
        "images": len(items),
        "unreadable": len(problems),
        "groups": found.groups.count,
        "exact_duplicate_groups": len(found.exact),
        "exact_duplicates": sum(len(same) for same in found.exact),
        "changed_copy_groups": len(found.copies.groups),
        "changed_copies": sum(len(group.items) for group in found.copies.groups),
        "much_alike_groups": len(found.alike),
        "much_alike": sum(len(group.items) for group in found.alike),
        "outliers": len(found.standing_out),
        **{name: len(listed) for name, listed in found.quality.items()},
        "labelled": int((found.codes >= 0).sum()),
        "suspects": len(doubted.rows),
    }
    ranked = np.argsort(-found.strays, kind="stable")
    ranked = ranked[: max(len(found.standing_out), min(RANKED, len(items) // 20))]
    return {
        "name": images.name,
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "settings": {"source": images.name, "fingerprint": images.fingerprint},
        "encoder": {"name": ready.encoder.name, "note": ready.note},
        "counts": counts,
        "headlines": _headlines(counts, found, ready.encoder.name, ready.note),
        "problems": problems,
        "items": items,
        "thumbnails": found.measured.thumbnails,
        "groups": _inside(found, named),
        "levels": [len(typical) for typical in found.groups.typical],
        "separation": round(found.groups.separation, 4),
        "clear_groups": found.groups.clear,
        "exact_duplicates": found.exact,
        "changed_copies": [
            {"items": group.items, "keep": group.keep, "changes": group.changes}
            for group in found.copies.groups
        ],
        "much_alike": [{"items": group.items, "keep": group.keep} for group in found.alike],
        "outliers": ranked.tolist(),
        "quality": {name: listed.tolist() for name, listed in found.quality.items()},
        **labels_of(found),
        "notes": label_notes(found),
    }


def _inside(
    found: Survey, named: Sequence[str | None], level: int = 0, parent: int | None = None
) -> list[dict[str, Any]]:
    """The groups of one level within a group of the level above, each with those inside it."""
    if level == len(found.groups.levels):
        return []
    above = found.groups.parents[level - 1] if level else None
    listed: list[dict[str, Any]] = []
    for number, representatives in enumerate(found.groups.typical[level]):
        if above is not None and above[number] != parent:
            continue
        chosen = found.groups.levels[level] == number
        listed.append(
            {
                "group": number,
                "size": int(chosen.sum()),
                "apart": found.apart[level][number],
                "representatives": representatives,
                "labels": _tally(named, chosen),
                "steady": None if level else _at(found.steady.halves, number),
                "inside": _inside(found, named, level + 1, number),
            }
        )
    # a group that holds one finer group is that group: it is shown once
    if len(listed) > 1 or level == 0:
        return listed
    deeper: list[dict[str, Any]] = listed[0]["inside"]
    return deeper


def _at(shares: Sequence[float], number: int) -> float | None:
    """One of the shares, if there are any."""
    return shares[number] if shares else None


def _tally(named: Sequence[str | None], chosen: np.ndarray) -> dict[str, int]:
    """How often each label occurs among the chosen rows, most frequent first."""
    tally: dict[str, int] = {}
    for row in np.flatnonzero(chosen).tolist():
        name = named[row]
        if name is not None:
            tally[name] = tally.get(name, 0) + 1
    return dict(sorted(tally.items(), key=lambda pair: -pair[1]))


def _switched(encoder: str, settings: Mapping[str, Any]) -> list[str]:
    """What is to be said where an earlier table was seen with other eyes."""
    before = settings.get("seen before with")
    if before is None or settings["seen as before"]:
        return []
    other = before if before != encoder else f"other weights of {before}"
    return [f"all seen anew: the earlier table in {settings['out']} was made with {other}"]


def _headlines(counts: Mapping[str, int], found: Survey, encoder: str, note: str) -> list[str]:
    """Short sentences for a terminal: the numbers somebody would ask for first."""
    unread = counts["unreadable"]
    first = counted(counts["images"], "image")
    lines = [f"{first}, {unread:,} unreadable" if unread else f"{first}, all readable"]
    copies = []
    for groups_of, images_of, one in (
        ("exact_duplicate_groups", "exact_duplicates", "exact-duplicate group"),
        ("changed_copy_groups", "changed_copies", "group of changed copies"),
    ):
        if number := counts[groups_of]:
            many = one.replace("group", "groups")
            total = counted(counts[images_of], "image")
            copies.append(f"{counted(number, one, many)} ({total})")
    lines.append(", ".join(copies) or "no copies")
    if counts["much_alike"]:
        total = counted(counts["much_alike"], "image")
        lines.append(f"{total} much alike that are no copies, as frames of one scene are")
    if found.groups.count > 1:
        vague = "" if found.groups.clear else ", without clear borders between them"
        finest = len(found.groups.typical[-1])
        finer = f" ({finest:,} finer ones inside)" if len(found.groups.levels) > 1 else ""
        lines.append(f"{counted(found.groups.count, 'group')} of similar images{finer}{vague}")
    poor = [f"{counts[name]:,} {name.replace('_', '-')}" for name in found.quality if counts[name]]
    lines.append(", ".join(poor) if poor else "none blurry, dark, bright, small or oddly shaped")
    if counts["outliers"]:
        stands = "stands" if counts["outliers"] == 1 else "stand"
        lines.append(f"{counted(counts['outliers'], 'image')} {stands} apart from all others")
    lines += label_headlines(found)
    lines.append(f"seen with the encoder {encoder}")
    if note:
        lines.append(note)
    return lines
