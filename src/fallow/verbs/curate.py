"""`curate`: a collection one may publish, with a reason for every picture kept or left out."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa

from fallow import declare
from fallow.annotations.formats import WRITERS
from fallow.images import Images, opened
from fallow.methods import settle
from fallow.methods.curate import skyscript
from fallow.methods.curate.people_free import Spread
from fallow.methods.curate.people_free import curate as run
from fallow.methods.shared.collection import Curated, copies, statistics, withdraw
from fallow.methods.shared.policy import Settings
from fallow.outcomes import Result, counted, save_csv, some, thumbnails, unreadable, writable
from fallow.outcomes.mapped import map_pairs
from fallow.outcomes.unified import unified
from fallow.problems import SettingProblem
from fallow.regions.people import BODIES, FACES, Cascades, Detector, RetinaFace
from fallow.report.curate import curate_page
from fallow.report.unified import unified_page

FORMS = tuple(WRITERS)


@declare.verb(
    example="fallow curate photos/ --out clean/ --people --copies-too",
    out="{name}-curated",
    systems="curate",
    system="people_free",
)
def curate(
    source: declare.Source,
    *,
    where: declare.Where = None,
    people: Annotated[
        bool, declare.Option("look for faces and bodies (extra people)", bool)
    ] = False,
    faces: Annotated[
        declare.Address | None,
        declare.Option("a better detector of faces: ONNX, RetinaFace", Path, seldom=True),
    ] = None,
    copies_too: Annotated[
        bool, declare.Option("copy what is kept, without what files say of people", bool)
    ] = False,
    withdrawn: Annotated[
        str | None, declare.Option("take out for good: path=, hash= or creator=, then which")
    ] = None,
    why: Annotated[str, declare.Option("of the withdrawal", seldom=True)] = "asked for",
    pairs: Annotated[
        declare.Address | None,
        declare.Option("OpenStreetMap extract: captions for pictures from above", Path),
    ] = None,
    footprints: Annotated[
        Any,
        declare.Option("CSV of path, west, south, east, north, gsd; or GeoTIFF tags", seldom=True),
    ] = None,
    encoder: Annotated[Any, declare.Option("run of align, or hf:NAME: filters pairs")] = None,
    merge: Annotated[
        Mapping[str, Any] | None,
        declare.Option("annotations to make one of: name=FILE, the most trusted first", dict),
    ] = None,
    form: Annotated[
        str, declare.Option("how merged annotations are written", choices=FORMS, seldom=True)
    ] = "openimages",
    out: declare.Out = None,
    engine: declare.Engine = "here",
    workers: declare.Workers = None,
    preset: declare.Preset = None,
    settings: declare.Settings = None,
) -> Result:
    """Sort a folder into what may be published, what may not, and what a person should look at.

    Asks of every picture, in stages: can it be read, is its licence allowed and its creator known,
    does its file tell of people, and with `people` or `faces` whether somebody is in it. A stage
    without a detector says "not checked", never "clean". `out` gets the manifest with attribution,
    NOTICE, statistics and what is to be looked at; a later run asks only about new pictures. The
    settings are the policy. Nothing of the source is changed. With engine ray its workers read the
    pictures and ask the stages; an interrupted run goes on after the last answers. With `pairs`
    captions are made from a map instead: what lies in each picture, said by rule, filtered by an
    `encoder`. With `merge` annotations of several sources become one set, and every contradiction
    between them is listed.

    >>> import tempfile
    >>> from fallow.images.samples import shapes
    >>> result = curate(shapes(6, side=24), out=tempfile.mkdtemp(), settings={"need": []})
    >>> result.table.num_rows
    6
    """
    if engine != "ray":
        declare.without_workers(engine, workers)
    elif pairs is not None or merge:
        raise SettingProblem("engine ray asks the stages of curate: leave it out with pairs, merge")
    if pairs is not None:
        plan = skyscript.Settings(**settle("curate", "skyscript", settings, preset))
        tiles = opened(source, where=where)
        return map_pairs(tiles, pairs, footprints, encoder, plan).saved(out)
    if merge:
        pictures = opened(source, where=where)
        return unified(pictures, merge, form, unified_page).saved(out)
    if out is None:
        raise SettingProblem("curate writes down what it decides: say where with out=")
    policy = Settings(**settle("curate", "people_free", settings, preset))
    place, parts = writable(out), declare.parts_below(out, engine, workers)
    images, spread = _opened(source, where, parts, workers)
    if withdrawn is not None:
        what, _, which = withdrawn.partition("=")
        if what not in ("path", "hash", "creator"):
            raise SettingProblem(f"say path=, hash= or creator= and which, not {withdrawn!r}")
        withdraw(place, which, what=what, reason=why)  # type: ignore[arg-type]
    done = run(images, place, policy, _detectors(people, faces), spread=spread)
    refused = copies(images, done, place) if copies_too else {}
    save_csv(place / "decisions.csv", table := _table(done))
    headlines, notes = _headlines(done), _notes(done, images.problems, refused)
    findings = {"headlines": headlines, "notes": notes, **_findings(images, done, policy)}
    result = Result(table, findings=findings, page=curate_page).saved(place)
    if parts is not None:
        shutil.rmtree(parts)
    return result


def _opened(
    source: Any, where: str | None, parts: Path | None, workers: int | None
) -> tuple[Images, Spread]:
    """The pictures, and who asks the stages about them: this process, or workers of a cluster."""
    if parts is None:
        return opened(source, where=where), map
    from fallow.scale.asked import ByWorkers
    from fallow.scale.pictures import collection

    return collection(source, parts, where=where, workers=workers), ByWorkers(workers)


def _detectors(people: bool, faces: declare.Address | None) -> dict[str, Detector]:
    found: dict[str, Detector] = {}
    if people:
        found = {"faces": Cascades(FACES), "people": Cascades(BODIES)}
    if faces is not None:
        found["faces"] = RetinaFace(Path(faces))
    return found


def _table(done: Curated) -> pa.Table:
    """Every picture's end."""
    names = ("path", "decision", "stage", "reason", "score")
    return pa.table({name: [getattr(row, name) for row in done.rows] for name in names})


def _headlines(done: Curated) -> list[str]:
    left_out = sum(row.decision == "drop" for row in done.rows)
    return [
        f"{counted(len(done.rows), 'picture')}: {len(done.kept):,} kept, {left_out:,} left out, "
        f"{len(done.queue):,} for a person to look at; version {done.version}",
        f"asked about {done.looked_at:,} that were new",
    ]


def _notes(done: Curated, problems: Any, refused: dict[str, str]) -> list[str]:
    notes = unreadable(problems)
    if done.unchecked:
        notes.append(f"not checked, for want of a detector: {some(done.unchecked, 9)}")
    if refused:
        paths = some(list(refused))
        notes.append(f"{counted(len(refused), 'picture')} could not be copied cleanly: {paths}")
    return notes


def _unread(images: Any, done: Curated) -> list[tuple[str, str]]:
    """Files that could not be read: those the collection left out, and those the stage did."""
    left = {one.path: one.reason for one in images.problems}
    for row in done.rows:
        if row.stage == "readable" and row.reason == "corrupt":
            left.setdefault(row.path, str(row.facts.get("detail", row.reason)))
    return list(left.items())


def _findings(images: Any, done: Curated, policy: Settings) -> dict[str, Any]:
    table = images.table.to_pylist()
    rows = {one["path"]: row for row, one in enumerate(table)}
    facts = statistics(done, {one["path"]: one for one in table})
    return {
        "source": images.name,
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "numbers": {
            "pictures": len(done.rows),
            "kept": len(done.kept),
            "to_look_at": len(done.queue),
        },
        "funnel": done.funnel,
        "licences": facts["licences"],
        "review": [
            {"path": row.path, "stage": row.stage, "reason": row.reason, "row": rows[row.path]}
            for row in done.queue
            if row.path in rows
        ],
        "pictures": thumbnails(images),
        "problems": [{"path": path, "reason": why} for path, why in _unread(images, done)],
        "settings": policy.model_dump(),
    }
