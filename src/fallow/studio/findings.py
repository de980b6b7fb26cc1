"""Part `findings`: what was found, to decide on: copies, doubts, strays, groups, heat, drawings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from fallow.outcomes.sentences import counted
from fallow.problems import SettingProblem, did_you_mean
from fallow.studio import drawing, found, spotted
from fallow.studio.collection import BINARY, holds
from fallow.studio.desk import Desk
from fallow.studio.drawing import Said
from fallow.studio.drawn import MASK, POINTS, Drawn
from fallow.studio.found import COPIES_SEEN, EXCLUDED, LABEL_SEEN, YES

PAGE = "findings"
Start = Annotated[int, Query(ge=0)]
Count = Annotated[int, Query(ge=1, le=200)]
Key = Annotated[str, Query(max_length=40, description="of a section, such as copies:exact")]


class Section(BaseModel):
    """One kind of finding: how many there are, and how many of them still wait for a decision."""

    key: str
    title: str
    count: int
    open: int
    decides: bool  # whether its items wait for decisions
    said: str


class Overview(BaseModel):
    """All sections there are, and where the findings come from."""

    sections: list[Section]
    said: str  # what to do where nothing was found
    draws: bool  # whether a picture is labelled by drawing on it
    version: int


class Page(BaseModel):
    """Part of a list."""

    total: int
    open: int
    version: int
    copies: list[found.Copies] = []
    doubts: list[found.Doubt] = []
    groups: list[found.Group] = []
    noted: list[found.Noted] = []


class Kept(BaseModel):
    """Which pictures of a set of copies to keep; the others are excluded."""

    kind: found.Kind
    number: int = Field(ge=0)
    keep: list[int] = Field(max_length=100_000)


class All(BaseModel):
    """A kind of copies of which the proposed ones are kept, in every set that is left."""

    kind: Literal["exact", "changed"]


class Judged(BaseModel):
    """What to do about a doubtful label."""

    row: int
    accept: bool  # the suggestion; else the label given stays


class Named(BaseModel):
    """A name for a group."""

    key: str = Field(max_length=120)
    label: str = Field(max_length=200)
    all: bool = False  # also the members that have a label


def router(desk: Desk) -> APIRouter:
    routes, drawn = APIRouter(), Drawn(desk)
    routes.include_router(drawing.router(desk, drawn))
    facts = drawn.facts
    findings: dict[str, Any] = desk.findings or facts

    @routes.get("/")
    def overview() -> Overview:
        """What was found, and how much of it waits for a decision."""
        sections = listed(desk, findings, facts)
        said = "" if sections else NOTHING
        if len(desk):
            hands = len({*drawn.rows(MASK), *drawn.rows(POINTS)})
            sections.append(Section(key="draw", title="Masks and key points", count=hands,
                                    open=hands, decides=False, said=DRAW))  # fmt: skip
        return Overview(sections=sections, said=said, draws=drawn.labels,
                        version=desk.version)  # fmt: skip

    @routes.get("/list")
    def part(
        key: Annotated[str, Query(max_length=40)], start: Start = 0, count: Count = 40
    ) -> Page:
        """Part of one section's list; what waits for a decision comes first."""
        items = _items(desk, findings, facts, key)
        order = sorted(items, key=lambda one: getattr(one, "decided", False))
        chosen = order[start : start + count]
        holder = {"copies": "copies", "suspects": "doubts", "groups": "groups"}
        field = holder.get(key.split(":")[0], "noted")
        left = sum(not getattr(one, "decided", False) for one in items)
        return Page(total=len(items), open=left, version=desk.version, **{field: chosen})

    @routes.post("/copies")
    def keep(asked: Kept) -> Said:
        """Keep some pictures of a set, exclude the others; keeping all settles the set."""
        sets = found.copies(findings, desk.table, asked.kind)
        if asked.number >= len(sets):
            raise SettingProblem(f"there is no set {asked.number}: there are {len(sets):,}")
        rows = sets[asked.number].rows
        if not asked.keep or not set(asked.keep) <= set(rows):
            raise SettingProblem("keep at least one picture of the set")
        rest = {row: YES for row in rows if row not in asked.keep}
        if not rest:
            desk.change(COPIES_SEEN, dict.fromkeys(rows, YES))
            return Said(said=f"kept all {len(rows)}", version=desk.version)
        # in one version: what was excluded before and is kept now comes back
        desk.change(EXCLUDED, {**dict.fromkeys(asked.keep), **rest})
        return Said(said=f"excluded {counted(len(rest), 'picture')}", version=desk.version)

    @routes.post("/copies/all")
    def keep_proposed(asked: All) -> Said:
        """Keep the proposed picture of every set nobody decided on, as one version."""
        sets = [one for one in found.copies(findings, desk.table, asked.kind) if not one.decided]
        rest = [row for one in sets for row in one.rows if row != one.keep]
        if not rest:
            raise SettingProblem("every set is decided")
        desk.change(EXCLUDED, dict.fromkeys(rest, YES))
        said = f"kept one of each of {counted(len(sets), 'set')}"
        return Said(said=said, version=desk.version)

    @routes.post("/suspects")
    def judge(asked: Judged) -> Said:
        """Take the suggested label, or confirm the one that was given."""
        doubts = {one.row: one for one in found.doubts(findings, desk.table)}
        one = doubts.get(asked.row)
        if one is None:
            raise SettingProblem(f"the label of picture {asked.row} is not in doubt")
        if asked.accept:
            desk.change("label", {one.row: one.suggested})
            return Said(said=f"labelled {one.suggested}", version=desk.version)
        desk.change(LABEL_SEEN, {one.row: YES})
        return Said(said=f"kept {one.given}", version=desk.version)

    @routes.post("/groups")
    def name(asked: Named) -> Said:
        """Label the members of a group at once."""
        table = desk.table
        rows = found.members(table, asked.key)
        if not rows:
            raise SettingProblem(f"there is no group {asked.key!r}")
        label = " ".join(asked.label.split())
        if not label:
            raise SettingProblem("give the group a name")
        labelled = found.said(table, "label")
        chosen = [row for row in rows if asked.all or not labelled[row]]
        if not chosen:
            raise SettingProblem("all of its pictures have a label: choose to replace them")
        desk.change("label", dict.fromkeys(chosen, label))
        return Said(said=f"labelled {counted(len(chosen), 'picture')} {label}",
                    version=desk.version)  # fmt: skip

    @routes.get("/spotted")
    def threshold() -> spotted.Spotted:
        """Where a run of spot drew its lines."""
        return spotted.spotted(desk, _spot(facts))

    @routes.get("/scores", response_class=Response, responses=holds(BINARY))
    def scores() -> Response:
        """Scores as float32 from the oddest on, then for each what is known of it (int8)."""
        _spot(facts)
        body = spotted.scores(desk).astype("<f4").tobytes() + spotted.odd(desk).tobytes()
        return Response(body, media_type=BINARY)

    @routes.get("/heat/{row}", response_class=Response, responses=holds(BINARY))
    def heat(row: int) -> Response:
        """A heat map: height, width (uint32), then a byte for every place."""
        return Response(spotted.heat(desk, row, _spot(facts)), media_type=BINARY)

    return routes


NOTHING = "Nothing was found yet: run explore on these pictures, and open what it leaves."
DRAW = "Open a picture to draw on it. Every version is a new file; none of yours is touched."
TITLES = {
    "copies:exact": ("Exact duplicates", "Byte for byte the same file."),
    "copies:changed": ("Changed copies", "The same picture, changed; what was done is said."),
    "copies:alike": ("Much alike", "No copies: something moved, or too little can be seen."),
    "suspects": ("Suspected wrong labels", "The label given, and what pictures like it say."),
    "spotted": ("Anomalies", "From the oddest picture on; move the threshold."),
    "next": ("To label next", "Pictures that say most about those without a label."),
    "groups": ("Groups to name", "A name labels all members at once."),
    "outliers": ("Outliers", "Unlike everything else here: rare finds or strays."),
}  # fmt: skip


def listed(desk: Desk, findings: dict[str, Any], facts: dict[str, Any]) -> list[Section]:
    """The sections that have something in them."""
    sections = []
    for key in (*TITLES, *(f"poor:{kind}" for kind in found.POOR)):
        items = _items(desk, findings, facts, key)
        if not items:
            continue
        title, said = TITLES[key] if key in TITLES else found.POOR[key.removeprefix("poor:")][:2]
        decides = hasattr(items[0], "decided")
        left = sum(not one.decided for one in items) if decides else len(items)
        if key == "spotted":  # of all pictures those that stand out
            left = int(facts.get("flagged", 0))
        sections.append(
            Section(key=key, title=title, count=len(items), open=left, decides=decides, said=said)
        )
    return sections


def _items(desk: Desk, findings: dict[str, Any], facts: dict[str, Any], key: str) -> list[Any]:
    """Everything a section holds; nothing where its verb was not run."""
    table = desk.table
    kind, _, name = key.partition(":")
    if kind == "copies" and name in found.KINDS:
        return found.copies(findings, table, name)  # type: ignore[arg-type]
    if kind == "poor" and name in found.POOR:
        return found.poor(findings, table, name)
    if key == "suspects":
        return found.doubts(findings, table)
    if key == "groups":
        return found.groups(findings, table)
    if key == "outliers":
        return found.outliers(findings, table)
    if key == "next":
        return found.to_label(findings, table)
    if key == "spotted":
        there = spotted.is_spotted(facts)
        return [found.Noted(row=row) for row in range(len(desk))] if there else []
    raise SettingProblem(f"there is no list {key}: {did_you_mean(key, TITLES)}")


def _spot(facts: dict[str, Any]) -> dict[str, Any]:
    if not spotted.is_spotted(facts):
        raise SettingProblem("this is no run of spot: open the folder spot wrote")
    return facts
