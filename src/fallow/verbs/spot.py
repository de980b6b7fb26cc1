"""`spot`: which of many unlabelled images are odd, and where; they judge each other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from fallow import declare
from fallow.device import best_device
from fallow.encoders import chosen_encoder
from fallow.images import Images, opened
from fallow.measure.truth import Pairs, compared, read_truth
from fallow.methods import settle
from fallow.methods.shared.oddness import Judge, suited_sight
from fallow.methods.shared.paired import Beside, Paired
from fallow.methods.spot import musc
from fallow.outcomes import counted, writable
from fallow.outcomes.spotted import Spotted, load_spotted
from fallow.problems import SettingProblem, SourceProblem
from fallow.report.spot import spot_page

HELP = (
    "What helps: a reference for each picture (reference=FOLDER), which is laid over it and "
    "compared place by place; or a folder for each kind of thing, each spotted by itself."
)
FEW = 10  # below this many images, what stands out may be chance


@declare.verb(
    example="fallow spot parts/ --encoder hf:facebook/dinov2-small",
    out="{name}-spot",
    systems="spot",
    system="musc",
)
def spot(
    source: declare.Source,
    *,
    labels: declare.Labels = None,
    where: declare.Where = None,
    encoder: declare.EncoderName = None,
    good: Annotated[Any, declare.Option("folder of known-good images")] = None,
    reference: Annotated[
        Any, declare.Option("folder with a reference for each picture, by name or likeness")
    ] = None,
    against: Annotated[
        declare.Address | None, declare.Option("folder of a run of spot", Path)
    ] = None,
    window: Annotated[
        int | None, declare.Option("aligned parts: compare patches this near only", int)
    ] = None,
    tiles: Annotated[
        Any, declare.Option("cut large pictures: 2, 2x3 (rows x columns) or auto")
    ] = None,
    out: declare.Out = None,
    preset: declare.Preset = None,
    settings: declare.Settings = None,
    in_steps: Annotated[
        bool, declare.Option("AUPRO with 200 thresholds, as in papers", bool)
    ] = False,
    seed: declare.Seed = 0,
    tell: declare.Tell = declare.silent,
) -> Spotted:
    """Rank images by how odd they are among each other, and show where.

    Every image is compared with others; with `good`, with known-good images instead; with
    `reference`, with its own reference, found by file name or likeness and laid over it; with
    `against`, with the images a saved run kept, in that run's way. `window` compares only patches
    that many places apart (aligned parts), `tiles` cuts large pictures into several inputs.
    Labels and masks, where there are any, only serve to measure the result; `in_steps` measures
    AUPRO with 200 thresholds, as papers do. With `out`, report, maps, masks and what later runs
    need are written; nothing of the source is changed. A defect that most images share is
    invisible.

    >>> from fallow.images.samples import parts
    >>> result = spot(parts(12, side=48), settings={"size": 64, "degrees": [1]})
    >>> result.table.num_rows, result.map(0).shape
    (12, (48, 48))
    """
    if out is not None:
        writable(out)
    if against is not None:
        own = {**(settings or {}), "window": window, "tiles": tiles, "preset": preset}
        _only_new_ones(good, {**own, "encoder": encoder, "reference": reference})
    if good is not None and reference is not None:
        raise SettingProblem("give good or reference, not both: they answer different questions")
    run = None if against is None else load_spotted(against)
    given = settle("spot", "musc", settings, preset, window=window, tiles=tiles)
    images = opened(source, labels, where)
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
    alone = run is None and pool is None and beside is None
    judge.encoder.to(best_device())
    bank, ends = None, None
    if run is not None:
        found, ends = judge.against(images, run.bank, tell), run.ordinary
        others = f"the images kept in {Path(against or '').name}"
    elif pool is not None:
        bank, ends = judge.good(pool, seed, tell)
        found = judge.against(images, bank, tell)
        others = f"{counted(len(pool), 'good image')} in {pool.name}"
    elif beside is not None:
        found, met = Paired(judge.encoder, judge.how, judge.settings).beside(images, beside, tell)
        others = f"{'its own' if met.by_name else 'the most similar'} reference in {beside.name}"
        note = " ".join([note, *_met(met)]).strip()
    else:
        found, bank = judge.among(images, seed, tell)
        others = f"each other ({len(found.rows):,} images)"
    verdict = judge.verdict(found, ends)
    facts = {
        "mode": "against"
        if run is not None
        else "good"
        if pool is not None
        else "reference"
        if beside is not None
        else "mutual",
        "encoder": judge.encoder.name,
        "sight": asdict(judge.how),
        "settings": judge.settings.model_dump(),
        "compared with": others,
        "seed": seed,
        "seconds": round(time.perf_counter() - clock, 2),
    }
    measured, pairs = compared(
        truth, images, found.rows, verdict.named(), partial(judge.map, found), in_steps
    )
    notes = [
        *truth.notes,
        *_doubts(images, found.rows, alone),
        *([HELP] if found.alike is not None and found.alike.doubt else []),
        *_unlike(pairs),
        *([note] if note else []),
    ]
    result = Spotted(images, judge, found, verdict, truth.odd, measured, facts, notes, spot_page)
    if bank is not None and judge.settings.keep:
        result.keep(bank.sampled(judge.settings.keep, seed))
    return result.saved(out)


def _judge(encoder: Any, given: Mapping[str, Any], images: Images) -> tuple[Judge, str]:
    """Who judges, and a note on its encoder."""
    chosen, note = chosen_encoder(encoder)
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


def _doubts(images: Images, rows: np.ndarray, alone: bool) -> list[str]:
    """What a reader must know before trusting the ranking."""
    notes = []
    if alone and len(rows) == 2:
        notes.append("Two images only show where they differ from each other, not which is odd.")
    elif alone and len(rows) < FEW:
        notes.append(f"{len(rows)} images are few: below {FEW}, what stands out may be chance.")
    if alone:
        notes.append("A defect that most of the images share does not stand out.")
        copies = len(rows) - len(set(images.column("hash")[rows]))
        if copies:
            notes.append(
                f"{counted(copies, 'image')} repeat another byte for byte: "
                "a defect that is repeated hides itself."
            )
    ratios = images.column("width")[rows] / images.column("height")[rows]
    if ratios.max() > 1.5 * ratios.min():
        notes.append("The images differ in shape; each is squashed to the same square.")
    return notes


def _met(met: Beside) -> list[str]:
    """Which references could not be laid over their pictures."""
    if not met.astray:
        return []
    some = ", ".join(met.astray[:3]) + ("…" if len(met.astray) > 3 else "")
    return [
        f"{counted(len(met.astray), 'reference')} could not be laid over their pictures ({some}): "
        "what they show may differ as a whole."
    ]


def _unlike(pairs: Pairs) -> list[str]:
    """What was wrong with the sizes of masks."""
    notes = []
    if pairs.stretched:
        masks = counted(pairs.stretched, "mask")
        notes.append(f"{masks} of another size than the picture: stretched to fit.")
    if pairs.unfit:
        masks = counted(pairs.unfit, "mask")
        notes.append(f"{masks} of another shape than the picture: left out of the pixel measures.")
    return notes
