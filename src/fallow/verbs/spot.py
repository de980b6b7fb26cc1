"""`spot`: which of many unlabelled images are odd, and where; they judge each other."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fallow import declare
from fallow.device import best_device
from fallow.encoders import chosen_encoder
from fallow.images import Images, opened
from fallow.measure.truth import compared, read_truth
from fallow.methods import settle
from fallow.methods.shared.oddness import Judge, suited_sight
from fallow.methods.spot import musc
from fallow.outcomes import writable
from fallow.outcomes.comparing import (
    against_good,
    against_kept,
    among_each_other,
    beside_references,
)
from fallow.outcomes.doubts import HELP, doubts, unlike
from fallow.outcomes.ranked import Ranked, by_quality, by_tampering
from fallow.outcomes.spotted import Spotted, load_spotted
from fallow.problems import SettingProblem, SourceProblem
from fallow.report.ranked import ranked_page
from fallow.report.spot import spot_page


@declare.verb(
    example="fallow spot parts/ --encoder hf:facebook/dinov2-small",
    out="{name}-spot",
    systems="spot",
    system="musc",
)
def spot(
    source: declare.Source,
    *,
    for_: Annotated[
        str, declare.Option("what is looked for", choices=("odd", "quality", "tampering"))
    ] = "odd",
    labels: declare.Labels = None,
    where: declare.Where = None,
    encoder: declare.EncoderName = None,
    good: Annotated[Any, declare.Option("folder of known-good images")] = None,
    reference: Annotated[
        Any, declare.Option("folder with a reference for each picture, by name or likeness")
    ] = None,
    against: Annotated[
        declare.Address | None, declare.Option("folder of a run of spot", Path, seldom=True)
    ] = None,
    window: Annotated[
        int | None,
        declare.Option("aligned parts: compare patches this near only", int, seldom=True),
    ] = None,
    tiles: Annotated[
        Any, declare.Option("cut large pictures: 2, 2x3 (rows x columns) or auto", seldom=True)
    ] = None,
    out: declare.Out = None,
    preset: declare.Preset = None,
    settings: declare.Settings = None,
    in_steps: Annotated[
        bool, declare.Option("AUPRO with 200 thresholds, as in papers", bool, seldom=True)
    ] = False,
    seed: declare.Seed = 0,
    engine: declare.Engine = "here",
    workers: declare.Workers = None,
    tell: declare.Tell = declare.silent,
) -> Spotted | Ranked:
    """Rank images by how odd they are among each other, and show where.

    Every image is compared with others; with `good`, with known-good images instead; with
    `reference`, with its own reference, found by file name or likeness and laid over it; with
    `against`, with the images a saved run kept, in that run's way. `window` compares only patches
    that many places apart (aligned parts), `tiles` cuts large pictures into several inputs.
    Labels and masks, where there are any, only serve to measure the result; `in_steps` measures
    AUPRO with 200 thresholds, as papers do. With `out`, report, maps, masks and what later runs
    need are written; nothing of the source is changed. A defect that most images share is
    invisible. With engine ray its workers read and judge the images, part by part below
    `out`/parts, and an interrupted run goes on after the last finished part. `for_="quality"` ranks
    photos of any size by how they were taken (ratings of some, in a column, are learnt from);
    `for_="tampering"` shows where photos were changed, learnt from `good` photos that are tampered
    with for it.

    >>> from fallow.images.samples import parts
    >>> result = spot(parts(12, side=48), settings={"size": 64, "degrees": [1]})
    >>> result.table.num_rows, result.map(0).shape
    (12, (48, 48))
    """
    if out is not None:
        writable(out)
    parts = declare.parts_below(out, engine, workers)
    if parts is not None and (for_ != "odd" or reference is not None):
        raise SettingProblem("engine ray judges odd images without references: leave it out here")
    if for_ == "quality":
        given = settle("spot", "uhdiqa", settings, preset)
        sharp = None if good is None else opened(good)
        photos = opened(source, labels, where)
        return by_quality(photos, given, sharp, seed, ranked_page).saved(out)
    if for_ == "tampering":
        given = settle("spot", "wscl", settings, preset)
        trusted = None if good is None else opened(good)
        photos, place = opened(source, labels, where), None if out is None else Path(out)
        return by_tampering(photos, given, trusted, place, seed, tell, ranked_page).saved(out)
    if for_ != "odd":
        raise SettingProblem(f"for is odd, quality or tampering, not {for_!r}")
    if against is not None:
        own = {**(settings or {}), "window": window, "tiles": tiles, "preset": preset}
        _only_new_ones(good, {**own, "encoder": encoder, "reference": reference})
    if good is not None and reference is not None:
        raise SettingProblem("give good or reference, not both: they answer different questions")
    run = None if against is None else load_spotted(against)
    given = settle("spot", "musc", settings, preset, window=window, tiles=tiles)
    images, spread = _opened(source, labels, where, parts, workers)
    pool = None if good is None else opened(good)
    beside = None if reference is None else opened(reference)
    if len(images) == 1 and pool is None and beside is None and run is None:
        raise SourceProblem(
            f"{images.name} holds one image, which nothing can be compared with: "
            "add more of the same kind, or give known-good ones with good= or reference="
        )
    truth = read_truth(images)
    clock = time.perf_counter()
    judge, note = (run.judge, "") if run is not None else _judge(encoder, given, images)
    judge.encoder.to(best_device())
    judge.spread = spread
    if run is not None:
        done = against_kept(judge, images, run.bank, run.ordinary, Path(against or "").name, tell)
    elif pool is not None:
        done = against_good(judge, images, pool, seed, tell)
    elif beside is not None:
        done = beside_references(judge, images, beside, tell)
    else:
        done = among_each_other(judge, images, seed, tell)
    found = done.found
    verdict = judge.verdict(found, done.ends)
    facts = {
        "mode": done.mode,
        "encoder": judge.encoder.name,
        "sight": asdict(judge.how),
        "settings": judge.settings.model_dump(),
        "compared with": done.others,
        "seed": seed,
        "seconds": round(time.perf_counter() - clock, 2),
    }
    measured, pairs = compared(
        truth, images, found.rows, verdict.named(), partial(judge.map, found), in_steps
    )
    notes = [
        *truth.notes,
        *doubts(images, found.rows, done.mode == "mutual"),
        *([HELP] if found.alike is not None and found.alike.doubt else []),
        *unlike(pairs),
        *(line for line in (note, *done.notes) if line),
    ]
    result = Spotted(images, judge, found, verdict, truth.odd, measured, facts, notes, spot_page)
    if done.bank is not None and judge.settings.keep:
        result.keep(done.bank.sampled(judge.settings.keep, seed))
    result.saved(out)
    if parts is not None:
        shutil.rmtree(parts)
    return result


def _opened(
    source: Any, labels: Any, where: str | None, parts: Path | None, workers: int | None
) -> tuple[Images, Any]:
    """The images, and who judges their parts: this process, or workers of a cluster."""
    if parts is None:
        return opened(source, labels, where), map
    from fallow.scale.judged import InParts
    from fallow.scale.pictures import collection

    names = parts / "names"
    images = collection(source, names, labels=labels, where=where, workers=workers)
    return images, InParts(parts, workers)


def _judge(encoder: Any, given: Mapping[str, Any], images: Images) -> tuple[Judge, str]:
    """Who judges, and a note on its encoder."""
    chosen, note = chosen_encoder(encoder or "tiny")  # lite is no better over all (claims/musc.py)
    settings = musc.Settings(**given)
    return musc.judge(chosen, suited_sight(chosen, settings, images), settings), note


def _only_new_ones(good: Any, asked: Mapping[str, Any]) -> None:
    """A saved run brings its own images, and its own way to look at new ones."""
    if good is not None:
        raise SettingProblem("give good or against, not both: a saved run brings its own images")
    told = [name for name, value in asked.items() if value is not None]
    if told:
        raise SettingProblem(
            f"{told[0]} cannot be chosen when scoring against a saved run: "
            "images are comparable only when they are looked at in the run's own way"
        )
