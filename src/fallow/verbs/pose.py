"""`pose`: key points of all pictures, and of videos, learnt from the few that are marked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch

from fallow import declare, encoders
from fallow.annotations.points import FORMS
from fallow.images import opened
from fallow.methods import budget, find, settle
from fallow.methods.shared.pose import PoseMethod, marked, streams, suited
from fallow.outcomes import writable
from fallow.outcomes.posed import Posed, posed
from fallow.outcomes.tracks import films_of, followed
from fallow.problems import SettingProblem
from fallow.report.pose import pose_page
from fallow.train import fit, launch, make_settings

MINUTES = 10.0


@declare.verb(
    example="fallow pose mice/ --points CollectedData_me.csv --minutes 15 --out posed/",
    out="{name}-pose",
    systems="pose",
    system="method",
)
def pose(
    source: declare.Source,
    points: Annotated[
        Any,
        declare.Option(
            "COCO, DeepLabCut (CSV, HDF5, project), Label Studio or SLEAP file", Path, required=True
        ),
    ] = None,
    *,
    method: Annotated[
        str, declare.Option("supervised, or with the others' help mean_teacher or multiaugs")
    ] = "supervised",
    encoder: declare.EncoderName = None,
    videos: Annotated[
        Sequence[Any] | None,
        declare.Option("video to follow the points in; may be repeated", list),
    ] = None,
    form: Annotated[
        str, declare.Option("in which form points are written", choices=FORMS, seldom=True)
    ] = "coco",
    where: declare.Where = None,
    minutes: declare.Minutes = None,
    epochs: declare.Epochs = None,
    out: declare.Out = None,
    preset: declare.Preset = None,
    settings: declare.Settings = None,
    seed: declare.Seed = 0,
    tell: declare.Tell = declare.silent,
    progress_bar: declare.Bar = False,
) -> Posed:
    """Say where the key points of every picture are, learning from the few that are marked.

    `points` marks some of the pictures: a file of COCO key points, of DeepLabCut (CSV or HDF5, or
    the folder of a project), of Label Studio or of SLEAP (as JSON). One animal, person or thing a
    picture. With `method="multiaugs"` or `"mean_teacher"` the others teach, too: what is said of an
    easy view of them must be said of hard ones. It takes long runs to pay.
    Points called left and right change places in a mirrored view; without such names no view is
    mirrored.

    With `out`, the points of all pictures (your own where there are some, the network's elsewhere)
    are written in the `form` asked for, with drawings and a report that says which pictures to
    mark next; of `videos`, tables with a row a frame and copies with the points drawn over them.
    A run that was killed goes on there, and a finished one only answers: with other `videos` it
    follows these.

    >>> from fallow.annotations.points import KeyPoints
    >>> from fallow.images.samples import shapes
    >>> import numpy as np
    >>> held = KeyPoints(("shapes_0000", "shapes_0003"), np.full((2, 1, 3), 9.0), ("middle",))
    >>> quick = {"size": 32, "batch": 4, "width": 8}
    >>> found = pose(shapes(6, side=32), held, epochs=1, encoder="resnet8/8", settings=quick)
    >>> found.table.num_rows, found.points.values.shape
    (6, (6, 1, 3))
    """
    if form not in FORMS:
        raise SettingProblem(f"there is no form {form!r} of points: known are {', '.join(FORMS)}")
    known = marked(opened(source), points, where)
    slug = method.replace("-", "_")
    kind = find("pose", slug)
    if not issubclass(kind, PoseMethod):
        raise SettingProblem(f"{slug} does not find key points")
    given = budget(settle("pose", slug, settings, preset), minutes, epochs, MINUTES)
    chosen = make_settings(kind.Settings, suited(given, known, torch.cuda.is_available()))
    place = None if out is None else writable(out)
    for line in known.notes:
        tell(line)
    tell(
        f"{len(known.labelled)} marked, {len(known.bare)} not; {len(known.held.names)} points: "
        f"{', '.join(known.held.names[:8])}"
    )
    films = films_of(videos or ())  # what cannot be followed is told before the training
    fabric = launch()
    run = fit(
        kind,
        streams(kind, known.labelled, known.bare),
        # presets are the paper's set-ups, whose network begins as a ResNet
        encoder=encoders.encoder(
            encoder or ("resnet18" if preset else "tiny"), seed=seed, size=chosen.size
        ),
        settings=chosen,
        out=None if place is None else place / "run",
        seed=seed,
        fabric=fabric,
        tell=tell,
        about={"source": str(source) if isinstance(source, str | Path) else None},
        progress_bar=progress_bar,
    )
    if fabric.global_rank > 0:
        place = None  # the first rank writes for all
    shown = None if place is None else place / "tracks"
    names, bones = known.held.names, known.held.bones
    pointing: Any = run.method
    tracks = [followed(pointing, film, names, bones, shown, tell) for film in films]
    known.notes.extend(note for track in tracks for note in track.notes)
    tell("looking at the pictures")
    return posed(run, known, slug, pose_page, tracks, form).saved(place)
