"""The folder of a collection that may be published: manifest, notice, versions, and people's say.

Every picture has an end with a reason. A person may drop anything, but keeps what a detector has
dropped only with a signature, and what has no licence not at all. Who is withdrawn leaves a
tombstone, by which the picture is known again without being kept.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fallow.files import atomic_write, fingerprint, inside
from fallow.images.attribution import Attribution
from fallow.images.cleaned import without_metadata
from fallow.images.collection import read_bytes
from fallow.images.decode import Unreadable
from fallow.inventory.duplicates import distance
from fallow.inventory.ledger import Decision, Looks
from fallow.problems import SettingProblem, did_you_mean

if TYPE_CHECKING:
    from fallow.images import Images

LIKE = 6  # bits of 64 by which a picture may differ from a withdrawn one and be looked at again
VERDICTS = ("keep", "drop", "override")
UNANSWERED = ("readable", "licence", "withdrawn")  # stages no person's word replaces
COLUMNS = (
    "ImageID", "Subset", "OriginalURL", "OriginalLandingURL", "License", "AuthorProfileURL",
    "Author", "Title", "OriginalSize", "OriginalMD5", "Thumbnail300KURL", "Rotation", "path",
    "hash", "licence", "date", "licence_said_by", "personal", "quality", "not_checked",
)  # fmt: skip
REASONS = ("path", "hash", "stage", "reason", "score", "facts")
GRAVES = ("hash", "looks", "creator", "date", "reason")
COPIES = "pictures"

Table = Mapping[str, Mapping[str, Any]]  # what is known of each picture, by its path


@dataclass(frozen=True)
class Row:
    """Where a picture ended, and why."""

    path: str
    hash: str
    decision: Decision
    stage: str = ""  # the one that decided, unless it is kept
    reason: str = ""
    score: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    attribution: Attribution = field(default_factory=Attribution)

    def to(self, decision: Decision, stage: str, reason: str, **facts: Any) -> Row:
        """The same picture with another end."""
        return replace(self, decision=decision, stage=stage, reason=reason,
                       facts=self.facts | facts)  # fmt: skip


@dataclass(frozen=True)
class Curated:
    """Every picture's end, and what was and was not checked."""

    rows: list[Row]
    funnel: list[dict[str, Any]]  # stage, status, in, kept, dropped, review, reasons
    version: int
    looked_at: int  # pictures asked about in this run; the others were known

    @property
    def kept(self) -> list[Row]:
        return [row for row in self.rows if row.decision == "keep"]

    @property
    def queue(self) -> list[Row]:
        """Those somebody should look at, the riskiest first."""
        waiting = [row for row in self.rows if row.decision == "review"]
        return sorted(waiting, key=lambda row: (-(row.score or 0.0), row.path))

    @property
    def unchecked(self) -> list[str]:
        """Stages that had nothing to check with."""
        return [one["stage"] for one in self.funnel if one["status"] == "not checked"]


class Book:
    """What the folder says already: earlier versions, verdicts, withdrawals, tombstones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.published = {row["hash"] for row in read_rows(folder / "manifest.csv")}
        self.verdicts = {row["hash"]: row for row in read_rows(folder / "verdicts.csv")}
        self.withdrawals = read_rows(folder / "withdrawals.csv")
        self.graves = read_rows(folder / "withdrawn.csv")
        self.gone = {  # what is withdrawn, as a hash, path or creator, and why
            (what, grave[what]): grave["reason"]
            for grave in self.graves
            for what in ("hash", "creator")
        }
        for wish in self.withdrawals:
            which = secret(wish["which"]) if wish["what"] == "creator" else wish["which"]
            self.gone[(wish["what"], which)] = wish["reason"]
        path = folder / "versions.json"
        self.versions: list[dict[str, Any]] = (
            json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        )

    @property
    def answered_for(self) -> set[str]:
        """Pictures a person has signed for."""
        return {name for name, row in self.verdicts.items() if row["verdict"] == "override"}

    def judged(self, rows: Iterable[Row], looks: Looks) -> list[Row]:
        """What people said, over what the stages said; a withdrawal is over both."""
        found = []
        for row in rows:
            verdict = self.verdicts.get(row.hash)
            if (reason := self._withdrawn(row)) is not None:
                found.append(row.to("drop", "withdrawn", "withdrawn", why=reason))
            elif verdict is not None:
                found.append(_after(row, verdict))
            else:
                found.append(row)
        return self._like_withdrawn(found, looks)

    def _withdrawn(self, row: Row) -> str | None:
        """Why a picture was withdrawn, if it was."""
        creator = secret(row.attribution.creator)
        own = (("hash", row.hash), ("path", row.path), ("creator", creator))
        return next((self.gone[each] for each in own if each[1] and each in self.gone), None)

    def _like_withdrawn(self, rows: list[Row], looks: Looks) -> list[Row]:
        """Pictures that look like one that was withdrawn are looked at by a person."""
        graves = np.array([int(one["looks"], 16) for one in self.graves if one["looks"]], np.uint64)
        alive = [
            place for place, row in enumerate(rows)
            if row.decision == "keep" and row.hash in looks and row.hash not in self.verdicts
        ]  # fmt: skip
        if len(graves) and alive:
            _, hashes, _ = looks.take([rows[place].hash for place in alive])
            for place, own in zip(alive, hashes, strict=True):
                if distance(graves, own).min() <= LIKE:
                    rows[place] = rows[place].to("review", "withdrawn", "like_a_withdrawn_one")
        return rows

    def written(
        self, curated: Curated, table: Mapping[str, Mapping[str, Any]], looks: Looks
    ) -> int:
        """All files of the folder, and a new version where the collection has changed."""
        version = self._version(curated)
        _write_rows(
            self.folder / "manifest.csv", COLUMNS,
            [_manifest(row, table[row.path], curated.unchecked) for row in curated.kept],
        )  # fmt: skip
        dropped = [row for row in curated.rows if row.decision == "drop"]
        for name, rows in (("rejected", dropped), ("review", curated.queue)):
            _write_rows(self.folder / f"{name}.csv", REASONS, [_told(row) for row in rows])
        _write(self.folder / "NOTICE", _notice(curated, version))
        self._bury(curated.rows, looks)
        return version

    def _version(self, curated: Curated) -> int:
        now = {row.hash for row in curated.kept}
        gone = self.published - now
        if self.versions and now == self.published:
            return int(self.versions[-1]["version"])
        why = Counter(f"{row.stage}: {row.reason}" for row in curated.rows if row.hash in gone)
        if missing := len(gone - {row.hash for row in curated.rows}):
            why["no longer in the folder"] = missing
        self.versions.append(
            {"version": len(self.versions) + 1, "date": today(), "pictures": len(now),
             "added": len(now - self.published), "removed": len(gone), "why": dict(why)}
        )  # fmt: skip
        _write(self.folder / "versions.json", json.dumps(self.versions, indent=1))
        return len(self.versions)

    def _bury(self, rows: Sequence[Row], looks: Looks) -> None:
        """A tombstone for whoever is withdrawn, in place of the wish that named them."""
        graves, known = list(self.graves), {one["hash"] for one in self.graves}
        for row in rows:
            if row.reason == "withdrawn" and row.hash and row.hash not in known:
                known.add(row.hash)
                look = f"{int(looks.take([row.hash])[1][0]):016x}" if row.hash in looks else ""
                graves.append(_grave(row.facts["why"], hash=row.hash, looks=look))
        there = {row.path for row in rows}
        waiting = []
        for one in self.withdrawals:
            if one["what"] == "creator":
                graves.append(_grave(one["reason"], creator=secret(one["which"])))
            elif one["what"] == "hash" and one["which"] not in known:
                graves.append(_grave(one["reason"], hash=one["which"]))
            elif one["what"] == "path" and one["which"] not in there:
                waiting.append(one)  # it may come yet
        _write_rows(self.folder / "withdrawn.csv", GRAVES, graves)
        _write_rows(self.folder / "withdrawals.csv", ("what", "which", "reason", "date"), waiting)


def withdraw(
    out: str | Path, which: str, *, what: Literal["path", "hash", "creator"], reason: str
) -> None:
    """Note that a picture, or all of a creator, must go; the next run takes it out for good."""
    if not which.strip():
        raise SettingProblem(f"name the {what} to withdraw")
    path = Path(out) / "withdrawals.csv"
    rows = read_rows(path)
    rows.append({"what": what, "which": which, "reason": reason, "date": today()})
    _write_rows(path, ("what", "which", "reason", "date"), rows)


def decide(
    out: str | Path,
    image: str,
    verdict: Literal["keep", "drop", "override"],
    reviewer: str,
    signed: str = "",
) -> None:
    """Write down what a person says of a picture, named by its hash; the next run follows it."""
    if verdict not in VERDICTS:
        raise SettingProblem(f"{verdict!r} is no verdict: {did_you_mean(verdict, VERDICTS)}")
    if not reviewer.strip():
        raise SettingProblem("a verdict needs the name of the person who gives it")
    if verdict == "override" and not signed.strip():
        raise SettingProblem("to override a stage, sign: say who answers for it")
    path = Path(out) / "verdicts.csv"
    rows = [row for row in read_rows(path) if row["hash"] != image]
    rows.append({"hash": image, "verdict": verdict, "reviewer": reviewer, "signed": signed,
                 "date": today()})  # fmt: skip
    _write_rows(path, ("hash", "verdict", "reviewer", "signed", "date"), rows)


def copies(images: Images, curated: Curated, out: str | Path) -> dict[str, str]:
    """Copy the kept pictures without what their files say of people; why some cannot be copied.

    Pixels stay as they are, bit for bit. Copies made before of pictures no longer kept are deleted.
    """
    folder, listing = Path(out) / COPIES, Path(out) / "copies.csv"
    refused: dict[str, str] = {}
    made: list[dict[str, str]] = []
    for row in curated.kept:
        try:
            clean = without_metadata(read_bytes(images.store, row.path))
        except (Unreadable, ValueError) as error:
            refused[row.path] = str(error)
            continue
        name = inside(row.path)
        made.append({"copy": name, "hash": row.hash})
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / name) as file:
            file.write(clean)
    for old in {one["copy"] for one in read_rows(listing)} - {one["copy"] for one in made}:
        (folder / old).unlink(missing_ok=True)
    _write_rows(listing, ("copy", "hash"), made)
    return refused


def audit(curated: Curated, count: int, seed: int = 0) -> list[Row]:
    """Kept pictures drawn by lot for a person to look at: how many are wrong after all?"""
    kept = curated.kept
    drawn = np.random.default_rng(seed).permutation(len(kept))[:count]
    return [kept[place] for place in sorted(drawn.tolist())]


def statistics(curated: Curated, table: Table) -> dict[str, Any]:
    """What the collection is made of, in numbers."""
    kept = curated.kept
    sizes = [(table[row.path]["width"], table[row.path]["height"]) for row in kept]
    creators = Counter(row.attribution.creator for row in kept)
    before = Counter(row.attribution.creator for row in curated.rows if row.attribution.creator)
    dates = sorted(row.attribution.date[:4] for row in kept if row.attribution.date)
    scores = [row.score for row in curated.rows if row.score is not None]
    shares = {"before": max(before.values(), default=0), "after": max(creators.values(), default=0)}
    return {
        "version": curated.version,
        "pictures": len(curated.rows),
        "kept": len(kept),
        "review": len(curated.queue),
        "not_checked": curated.unchecked,
        "funnel": curated.funnel,
        "licences": dict(Counter(row.attribution.licence for row in kept)),
        "creators": len(creators),
        "most_of_one_creator": shares,
        "years": dict(Counter(dates)),
        "cameras": dict(Counter(row.facts["camera"] for row in kept if "camera" in row.facts)),
        "cells": dict(Counter(row.facts["cell"] for row in kept if "cell" in row.facts)),
        "short_sides": histogram([min(s) for s in sizes], (0, 64, 128, 256, 512, 1024, 2048)),
        "aspects": histogram([width / height for width, height in sizes], (0, 0.5, 0.8, 1.25, 2)),
        "scores": histogram(scores, tuple(place / 10 for place in range(10))),
        "personal": dict(Counter(kind for row in kept for kind in row.facts.get("personal", ()))),
    }


def histogram(values: Sequence[float], edges: Sequence[float]) -> dict[str, int]:
    """How many values lie from each edge to the next.

    >>> histogram([1, 70, 80], (0, 64))
    {'from 0': 1, 'from 64': 2}
    """
    places = np.searchsorted(np.asarray(edges), np.asarray(values, np.float64), side="right") - 1
    counts = Counter(places.tolist())
    return {f"from {edge:g}": counts.get(place, 0) for place, edge in enumerate(edges)}


def _after(row: Row, verdict: Mapping[str, str]) -> Row:
    """A person's verdict over the stages': towards dropping freely, towards keeping by rule."""
    said = verdict["verdict"]
    if said == "drop":
        return row.to("drop", "verdict", "dropped_by_a_person")
    answerable = row.stage not in UNANSWERED and said == "override"
    if row.decision == "review" or answerable:
        by = {"reviewer": verdict["reviewer"], "signed": verdict["signed"]}
        return row.to("keep", "", "", **by)
    return row


def _manifest(row: Row, known: Mapping[str, Any], skipped: Sequence[str]) -> dict[str, Any]:
    made = row.attribution
    return {
        "ImageID": row.hash[:16], "Subset": known.get("split") or "train",
        "OriginalURL": made.source_url, "OriginalLandingURL": made.source_url,
        "License": made.licence_url or made.licence, "AuthorProfileURL": made.creator_url,
        "Author": made.creator, "Title": made.title, "OriginalSize": known["bytes"],
        "OriginalMD5": row.facts.get("md5", ""), "path": row.path, "hash": row.hash,
        "licence": made.licence, "date": made.date, "licence_said_by": made.said_by,
        "personal": "; ".join(row.facts.get("personal", ())),
        "quality": "; ".join(row.facts.get("quality", ())), "not_checked": "; ".join(skipped),
    }  # fmt: skip


def _told(row: Row) -> dict[str, Any]:
    facts = {name: value for name, value in row.facts.items() if name != "md5"}
    return {
        "path": row.path, "hash": row.hash, "stage": row.stage, "reason": row.reason,
        "score": "" if row.score is None else f"{row.score:.3f}",
        "facts": json.dumps(facts, ensure_ascii=False) if facts else "",
    }  # fmt: skip


def _notice(curated: Curated, version: int) -> str:
    """What goes with the collection wherever it goes."""
    kept = curated.kept
    lines = [f"Version {version}: {len(kept):,} pictures, each under the licence named beside it."]
    lines += [f"Not checked: {name}." for name in curated.unchecked]
    return "\n".join([*lines, "", *(row.attribution.line(row.path) for row in kept), ""])


def _grave(reason: str, **known: str) -> dict[str, str]:
    return dict.fromkeys(GRAVES, "") | known | {"date": today(), "reason": reason}


def secret(creator: str) -> str:
    """A creator's name as it stands on a tombstone, where it can be known again but not read."""
    return fingerprint(creator.casefold().encode()) if creator else ""


def today() -> str:
    """The day, in UTC."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d")


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none if it is not there."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write_rows(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    _write(path, text.getvalue())


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())
