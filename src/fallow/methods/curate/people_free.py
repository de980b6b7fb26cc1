"""PASS: pictures without people that one may publish, stage by stage (Asano et al., NeurIPS 2021).

(The module cannot be called `pass`, which is a word of the language.) Every stage says keep, drop
or review of every picture that reaches it, with a reason, and writes it down; nothing is deleted.
A stage whose detector is not there has not checked anything, and says so. What several pictures
decide together - copies, quality, a creator's share, the size asked for - comes after that, and
pictures of an earlier version go first, so that a collection grows instead of changing.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fallow.files import atomic_write, fingerprint
from fallow.images.attribution import Attribution, attribution, beside, statements
from fallow.images.collection import MEASURED, read_bytes
from fallow.images.decode import Unreadable, decode
from fallow.images.metadata import Metadata, metadata
from fallow.inventory.ledger import Decision, Entry, Ledger, Looks, key_of
from fallow.inventory.statistics import Described, describe
from fallow.methods.shared.choosing import LATER, together
from fallow.methods.shared.collection import UNANSWERED, Book, Curated, Row, statistics
from fallow.methods.shared.policy import DETECTED, KINDS, Settings
from fallow.problems import Problem, SettingProblem, did_you_mean
from fallow.regions.people import Detector, Seen
from fallow.train import make_settings

if TYPE_CHECKING:
    from fallow.images import Images

CHUNK = 64  # pictures whose decisions are written down at once
FLAT = 4  # levels within which a picture is of a single colour
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"licences": ("CC-BY",), "per_creator": 80, "duplicates": False, "quality": ()},
}


# --- one picture ---


class Picture:
    """One picture and what stages ask of it, each thing read once."""

    def __init__(
        self, images: Images, known: Mapping[str, Any], names: frozenset[str], answered_for: bool
    ) -> None:
        self.images, self.known, self.names = images, known, names
        self.path: str = known["path"]
        self.hash: str = known["hash"]
        self.answered_for = answered_for  # a person has signed to keep it

    @cached_property
    def data(self) -> bytes:
        return read_bytes(self.images.store, self.path)

    @cached_property
    def pixels(self) -> np.ndarray:
        return decode(self.data)

    @cached_property
    def inside(self) -> Metadata:
        return metadata(self.data)

    @cached_property
    def beside(self) -> list[tuple[str, bytes]]:
        found = []
        for name in beside(self.path, self.names):
            try:
                found.append((name, read_bytes(self.images.store, name)))
            except Unreadable:  # noqa: PERF203 (a file nobody can read says nothing)
                continue
        return found

    @cached_property
    def told(self) -> str:
        """The content, and whatever others say of it: an answer holds as long as both do."""
        others = {k: v for k, v in self.known.items() if k not in MEASURED and v is not None}
        return f"{self.hash}-{key_of(others, [fingerprint(data) for _, data in self.beside])}"

    @cached_property
    def described(self) -> Described:
        return describe(self.pixels)

    def ends_at(self, entry: Entry) -> bool:
        """Whether nobody need ask further: it is dropped, and no person may answer for that."""
        answerable = self.answered_for and entry.stage not in UNANSWERED
        return entry.decision == "drop" and not answerable

    def forget(self) -> None:
        """Let go of what takes room."""
        for name in ("data", "pixels", "inside", "described"):
            self.__dict__.pop(name, None)


@dataclass(frozen=True)
class Judgement:
    """What a stage says of a picture."""

    decision: Decision = "keep"
    reason: str = ""
    score: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """A named question; its key changes when it would be answered otherwise."""

    name: str
    key: str
    judge: Callable[[Picture], Judgement]
    subject: Callable[[Picture], str] = lambda picture: picture.hash


def stages(settings: Settings, detectors: Mapping[str, Detector]) -> list[Stage]:
    """The stages that look at one picture at a time, the cheap ones first.

    >>> [stage.name for stage in stages(make_settings(Settings, {}), {})]
    ['readable', 'licence', 'personal']
    """
    s = settings
    found = [
        Stage("readable", key_of(FLAT), readable),
        Stage(
            "licence",
            key_of(s.licences, s.need, s.conflicts),
            lambda picture: licensed(picture, s),
            lambda picture: picture.told,
        ),
        Stage("personal", key_of(s.personal), lambda picture: personal(picture, s)),
    ]
    counted = {"faces": s.people, "people": s.people, "plates": s.plates, "content": s.content}
    for name, labels in counted.items():
        if name in detectors:
            found.append(_detecting(name, detectors[name], labels, s))
    return found


def _detecting(name: str, detector: Detector, labels: Sequence[str], settings: Settings) -> Stage:
    if not set(detector.labels) & set(labels):
        raise SettingProblem(
            f"the detector for {name} knows {', '.join(detector.labels)}, none of which counts: "
            f"what counts is {', '.join(labels)}"
        )
    key = key_of(detector.name, labels, settings.sure, settings.unsure)
    return Stage(name, key, lambda picture: detected(detector(picture.pixels), settings, labels))


def readable(picture: Picture) -> Judgement:
    """Whether there is a picture in the file at all."""
    try:
        pixels = picture.pixels
    except Unreadable as error:
        return Judgement("drop", "corrupt", facts={"detail": str(error)})
    # nearly always a few pixels already differ, and all of them need not be asked
    if _flat(pixels[::16, ::16]) and _flat(pixels):
        return Judgement("drop", "single_colour")
    digest = hashlib.md5(picture.data, usedforsecurity=False).digest()
    return Judgement(facts={"md5": b64encode(digest).decode()})


def _flat(pixels: np.ndarray) -> bool:
    low, high = pixels.min((0, 1)).astype(int), pixels.max((0, 1)).astype(int)
    return int((high - low).max()) <= FLAT


def licensed(picture: Picture, settings: Settings) -> Judgement:
    """Whether somebody is named who allows it, in words the policy lets through."""
    said = statements(picture.known, picture.beside, picture.inside)
    found = attribution(said, settings.licences, settings.need)
    facts = {"attribution": found.plain()}
    if not found.problem:
        return Judgement(facts=facts)
    doubtful = found.problem == "licence_conflict" and settings.conflicts == "review"
    return Judgement("review" if doubtful else "drop", found.problem, facts=facts)


def personal(picture: Picture, settings: Settings) -> Judgement:
    """Whether the file says who took the picture, with what, and where."""
    found = picture.inside
    facts: dict[str, Any] = {}
    if camera := found.get("camera"):
        facts["camera"] = camera
    if cell := _cell(found.get("latitude"), found.get("longitude")):
        facts["cell"] = cell
    if found.refused:  # nobody knows what is in there
        return Judgement("review", "metadata_refused", facts=facts | {"refused": found.refused})
    if not found.personal:
        return Judgement(facts=facts)
    decision: Decision = "keep" if settings.personal == "report" else settings.personal
    return Judgement(decision, "personal_data", facts=facts | {"personal": found.personal})


def _cell(latitude: str | None, longitude: str | None) -> str:
    """A place to ten degrees: enough for a map of the collection, too little for an address.

    >>> _cell("48.1", "-3.9"), _cell("somewhere", None)
    ('40,-10', '')
    """
    try:
        return ",".join(f"{float(x or '') // 10 * 10:g}" for x in (latitude, longitude))
    except ValueError:
        return ""


def detected(seen: Sequence[Seen], settings: Settings, labels: Sequence[str]) -> Judgement:
    """Things with these labels are left out where they are sure, and looked at where they are not.

    >>> settings = make_settings(Settings, {})
    >>> detected([Seen("face", 0.4, (0, 0, 9, 9))], settings, ["face"]).decision
    'review'
    """
    counted = [one for one in seen if one.label in labels]
    others = sorted({one.label for one in seen if one.score >= settings.sure} - set(labels))
    facts: dict[str, Any] = {"others": others} if others else {}
    best = max(counted, key=lambda one: one.score, default=None)
    if best is None or best.score < settings.unsure:
        return Judgement(score=None if best is None else best.score, facts=facts)
    facts["box"] = [round(side, 1) for side in best.box]
    decision: Decision = "drop" if best.score >= settings.sure else "review"
    return Judgement(decision, best.label, best.score, facts)


# --- all pictures ---


class Answers(NamedTuple):
    """What stages say of some pictures that they had not said before, and what those look like."""

    entries: list[Entry]
    looks: dict[str, Described]


@dataclass(frozen=True)
class Asking:
    """The stages and their pictures; called with rows it asks, here or on another machine."""

    images: Images
    settings: Settings
    detectors: Mapping[str, Detector]
    names: frozenset[str]  # of all files of the source
    signed: frozenset[str]  # hashes of pictures a person answers for
    known: Callable[[str, str, str], Entry | None]  # by stage, its key and its subject
    threads: int

    @cached_property
    def stages(self) -> list[Stage]:
        return stages(self.settings, self.detectors)

    @cached_property
    def pictures(self) -> list[Picture]:
        table = self.images.table.to_pylist()
        return [Picture(self.images, one, self.names, one["hash"] in self.signed) for one in table]

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(max(1, self.threads), thread_name_prefix="fallow-curate")

    def __call__(self, rows: Sequence[int]) -> Answers:
        some = [self.pictures[row] for row in rows]
        found = Answers([], {})
        for picture, (new, described) in zip(some, self.pool.map(self.ask, some), strict=True):
            found.entries.extend(new)
            if described is not None:
                found.looks[picture.hash] = described
        return found

    def ask(self, picture: Picture) -> tuple[list[Entry], Described | None]:
        """New answers, up to the first that drops the picture, and what it looks like."""
        new: list[Entry] = []
        try:
            for stage in self.stages:
                subject = stage.subject(picture)
                entry = self.known(stage.name, stage.key, subject)
                if entry is None:
                    said = stage.judge(picture)
                    entry = Entry(stage.name, stage.key, subject, said.decision, said.reason,
                                  said.score, said.facts)  # fmt: skip
                    new.append(entry)
                if picture.ends_at(entry):
                    return new, None
            return new, picture.described
        finally:
            picture.forget()


Spread = Callable[[Asking, list[list[int]]], Iterator[Answers]]


def curate(
    images: Images,
    out: str | Path,
    settings: Settings | None = None,
    detectors: Mapping[str, Detector] | None = None,
    threads: int = 2,
    spread: Spread = map,
) -> Curated:
    """Ask every stage about every picture that is new to it, and write the collection down.

    `spread` sees to it that all pictures are asked about: here, or by many machines.
    """
    s, given = settings or make_settings(Settings, {}), dict(detectors or {})
    for words, known in ((given, DETECTED), (s.quality, KINDS)):
        for word in words:
            if word not in known:
                raise SettingProblem(f"there is no {word!r}: {did_you_mean(word, known)}")
    folder = Path(out)
    ledger, looks, book = Ledger(folder / "ledger"), Looks(folder / "ledger"), Book(folder)
    names, signed = frozenset(images.store.names), frozenset(book.answered_for)
    asking = Asking(images, s, given, names, signed, ledger.get, threads)
    asked, table = asking.stages, images.table.to_pylist()
    looked = _look(asking, ledger, looks, spread)
    rows = [_row(picture, asked, ledger) for picture in asking.pictures]
    known_paths = {picture.path for picture in asking.pictures}
    rows += [
        Row(one.path, "", "drop", "readable", "unreadable", facts={"detail": one.reason})
        for one in images.problems
        if one.path not in known_paths
    ]
    by_path = {one["path"]: one for one in table}
    rows = together(book.judged(rows, looks), by_path, looks, s, book.published)
    curated = Curated(rows, _funnel(rows, asked), 0, looked)
    curated = replace(curated, version=book.written(curated, by_path, looks))
    for name, text in (
        ("statistics.json", json.dumps(statistics(curated, by_path), indent=1)),
        ("policy.json", s.model_dump_json(indent=1)),
    ):
        with atomic_write(folder / name) as file:
            file.write(text.encode())
    return curated


def _look(asking: Asking, ledger: Ledger, looks: Looks, spread: Spread) -> int:
    """Ask about what is not known, and write it down chunk by chunk."""
    pictures = asking.pictures
    unknown = [
        row for row, one in enumerate(pictures) if _unknown(one, asking.stages, ledger, looks)
    ]
    once = list({pictures[row].told: row for row in unknown}.values())
    chunks = [once[first : first + CHUNK] for first in range(0, len(once), CHUNK)]
    for answers in spread(asking, chunks):
        looks.add(answers.looks)
        ledger.add(answers.entries)
    return len(once)


def _unknown(picture: Picture, asked: Sequence[Stage], ledger: Ledger, looks: Looks) -> bool:
    for stage in asked:
        entry = ledger.get(stage.name, stage.key, stage.subject(picture))
        if entry is None:
            return True
        if picture.ends_at(entry):
            return False
    return picture.hash not in looks


def _row(picture: Picture, asked: Sequence[Stage], ledger: Ledger) -> Row:
    """What the stages said in the end: the drop, or else the riskiest doubt."""
    row = Row(picture.path, picture.hash, "keep")
    for stage in asked:
        entry = ledger.get(stage.name, stage.key, stage.subject(picture))
        if entry is None:
            raise Problem(f"the ledger lost what {stage.name} said of {picture.path}: run again")
        facts = dict(entry.facts)
        if made := facts.pop("attribution", None):
            row = replace(row, attribution=Attribution(**made))
        row = replace(row, facts=row.facts | facts)
        riskier = row.decision == "keep" or (entry.score or 0) > (row.score or 0)
        if entry.decision == "drop" or (entry.decision == "review" and riskier):
            row = replace(row, decision=entry.decision, stage=stage.name, reason=entry.reason,
                          score=entry.score)  # fmt: skip
        if picture.ends_at(entry):
            break
    return row


def _funnel(rows: Sequence[Row], asked: Sequence[Stage]) -> list[dict[str, Any]]:
    """Stage by stage, how many came, stayed and went, and why."""
    names = {stage.name for stage in asked}
    left, found = len(rows), []
    for name in ("withdrawn", "readable", "licence", "personal", *DETECTED, "verdict", *LATER):
        mine = [row for row in rows if row.stage == name]
        out = [row for row in mine if row.decision == "drop"]
        missing = name in DETECTED and name not in names
        found.append(
            {"stage": name, "status": "not checked" if missing else "checked", "in": left,
             "dropped": len(out), "review": len(mine) - len(out), "kept": left - len(out),
             "reasons": dict(Counter(row.reason for row in out))}
        )  # fmt: skip
        left -= len(out)
    return found
