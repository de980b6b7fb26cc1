"""`segment`: masks for all pictures, learnt from the few that have one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch

from fallow import declare, encoders
from fallow.images.scans import open_masked
from fallow.images.volumes import Volumes
from fallow.methods import budget, find, settle
from fallow.methods.shared.segment import (
    SegmentMethod,
    class_codes,
    suited_sizes,
    without_answers,
)
from fallow.outcomes import counted, writable
from fallow.outcomes.segmented import Segmented, read_segmented, segmented
from fallow.problems import SettingProblem, SourceProblem
from fallow.report.segment import segment_page
from fallow.train import fit, launch, make_settings

MINUTES = 10.0


@declare.verb(
    example="fallow segment cells/ --masks masks/ --minutes 15 --out segmented/",
    out="{name}-segment",
    systems="segment",
    system="method",
)
def segment(
    source: declare.Source,
    masks: Annotated[Any, declare.Option("folder of masks named like their pictures", Path)] = None,
    *,
    method: Annotated[str | None, declare.Option("bcp, dsaif, semiovs; chosen if left out")] = None,
    encoder: declare.EncoderName = None,
    classes: Annotated[
        Any, declare.Option("YAML of class names and values", Path, seldom=True)
    ] = None,
    ignore: Sequence[Any] = (),
    more: Annotated[Any, declare.Option("foreign pictures that help, too", seldom=True)] = None,
    labeller: Annotated[
        Any, declare.Option("of those: hf:NAME, a run of segment, or masks", seldom=True)
    ] = None,
    concepts: Annotated[
        Any, declare.Option("YAML: words for each class", Path, seldom=True)
    ] = None,
    where: declare.Where = None,
    minutes: declare.Minutes = None,
    epochs: declare.Epochs = None,
    out: declare.Out = None,
    preset: declare.Preset = None,
    settings: declare.Settings = None,
    seed: declare.Seed = 0,
    sharded: declare.Sharded = False,
    tell: declare.Tell = declare.silent,
    progress_bar: declare.Bar = False,
) -> Segmented:
    """Write a mask for every picture of `source`, learning from the few that have one.

    `masks` is a folder of masks called like the pictures; without it the pictures' own column
    `mask` counts. Values of the masks are the classes unless `classes` names them ({name: value},
    a list, or a YAML file); `ignore` lists values not to be judged. Volumes (NIfTI, DICOM) are
    treated as such, with the extra `scans`. With `out`, masks, overlays, report and the run are
    written, and a run that was killed goes on there. Pictures are looked at by `encoder`, tiny
    unless told otherwise; "unet/16" begins at random.

    `more` are foreign pictures, labelled once before training: by `labeller` (a run of segment, a
    folder of masks, or "hf:NAME" of a CLIPSeg), by the masks that came with them, or by a CLIPSeg
    that `concepts` (words for each class, or a YAML file of them) tells what to look for.

    >>> from fallow.images.masks import with_masks, without_masks
    >>> from fallow.images.samples import cells
    >>> images = cells(8, side=32)
    >>> few = with_masks(without_masks(images), {k: images.mask(k) > 0 for k in (0, 1)})
    >>> found = segment(few, epochs=2, encoder="unet/4", settings={"size": 32, "batch": 4})
    >>> found.table.num_rows, found.mask(0).shape
    (8, (32, 32))
    """
    slug = method or ("semiovs" if more is not None else "bcp")
    kind = find("segment", slug)
    if not issubclass(kind, SegmentMethod):
        raise SettingProblem(f"{slug} does not write masks")
    given = budget(settle("segment", slug, settings, preset), minutes, epochs, MINUTES)
    if "classes" in given:
        raise SettingProblem("the masks say how many classes there are: leave classes out")
    known = open_masked(source, masks, classes, ignore, where)
    labelled, bare, names = known.labelled, known.bare, known.classes.names
    fabric = launch(sharded=sharded)
    for line in known.notes:
        tell(line)
    if not len(bare):
        raise SourceProblem(
            f"all {len(labelled)} pictures have a mask already: add some without, whose masks are "
            "wanted"
        )
    tell(
        f"{len(labelled)} with a mask, {len(bare)} without; "
        f"{counted(len(names), 'class', 'classes')}: {', '.join(names[:8])}"
    )
    given = {**suited_sizes(labelled, torch.cuda.is_available()), **given, "classes": len(names)}
    chosen = make_settings(kind.Settings, given)
    place = None if out is None else writable(out)
    volumes = isinstance(labelled, Volumes)
    # presets are the papers' set-ups, whose networks begin at random
    name = encoder or ("unet/8" if volumes else "unet/16" if preset else "tiny")
    options: dict[str, Any] = {"dimensions": 3, "inputs": 1} if volumes else {}
    network = encoders.encoder(name, seed=seed, size=chosen.size, **options)
    chosen = make_settings(kind.Settings, kind.suited(given, class_codes(labelled), network))

    def noted(line: str) -> None:
        known.notes.append(line)  # the report says it, too
        tell(line)

    streams = kind.streams(
        {"unlabelled": without_answers(known), "labelled": labelled},
        more=more,
        labeller=labeller,
        concepts=concepts,
        classes=known.classes,
        tell=noted,
    )
    run = fit(
        kind,
        streams,
        encoder=network,
        settings=chosen,
        out=None if place is None else place / "run",
        seed=seed,
        fabric=fabric,
        tell=tell,
        about={"source": str(source) if isinstance(source, str | Path) else None},
        progress_bar=progress_bar,
    )
    if place is None or fabric.global_rank == 0:
        tell("writing masks")
        result = segmented(run, known, slug, segment_page, place).saved(place)
    fabric.barrier()  # the other ranks read what the first has written
    if place is not None and fabric.global_rank > 0:
        result = read_segmented(run, known, place)
    return result
