"""From two models and a finished run to the result of `adapt`: both are asked, and compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fallow.images import Images
from fallow.images.domains import groups_of
from fallow.measure.adapted import lost, verdict
from fallow.measure.groups import averaged, macro_f1, right
from fallow.methods.shared.conditions import sides
from fallow.methods.shared.models import Given
from fallow.methods.shared.opinions import (
    Judged,
    class_checks,
    looked_at,
    pixel_checks,
    reference_vectors,
    sorted_by,
)
from fallow.outcomes.adapted import (
    SIDE,
    Adapted,
    class_table,
    classes_of,
    draw,
    findings_of,
    pixel_table,
    thumbnails,
)
from fallow.outcomes.pictures import thumbnail
from fallow.problems import SourceProblem
from fallow.train import Run

IN_PAGE = 60  # pictures of which the report shows both answers

Page = Callable[[Mapping[str, Any]], str]


def segmenters_compared(
    given: Given,
    new: Given,
    run: Run,
    images: Images,
    truth: Mapping[str, np.ndarray],
    place: Path | None,
    *,
    slug: str,
    notes: Sequence[str],
    page: Page,
    others: Images | None,
) -> Adapted:
    """Both segmenters asked about every picture; maps are drawn on the way if there is a place."""
    classes, names = classes_of(given), given.names
    old_sides, new_sides = sides(given), sides(new)
    judged: list[Judged] = []
    shown: list[list[bytes]] = []
    for one, pixels in looked_at(old_sides, new_sides, images, truth, len(names)):
        if place is not None:
            draw(place, one, pixels, classes)
        judged.append(one)
        shown.append(thumbnails(one, pixels, classes))
        one.codes = []  # drawn; nothing large is kept
    if not judged:
        raise SourceProblem("no picture could be read a second time: are the files still there?")
    references = None
    if others is not None:
        references = [reference_vectors(one, others) for one in (old_sides, new_sides)]
    checks, measures = pixel_checks(judged, references)
    shares = [np.mean([one.shares[k] for one in judged], 0) for k in (0, 1)]
    found = verdict(checks, lost(shares[0].tolist(), shares[1].tolist(), names))
    order = np.argsort([-one.changed for one in judged], kind="stable")
    judged = [judged[k] for k in order]
    findings = findings_of(
        run=run, method=slug, source=images.name, names=names, shares=shares, checks=checks,
        measures=measures, verdict=found, count=len(judged),
        changed=float(np.mean([one.changed for one in judged])), notes=notes,
        items=[{"path": one.id, "changed": one.changed} for one in judged],
        pictures=[shown[k] for k in order[:IN_PAGE]], colours=classes.colours,
        problems=images.problems, other=others.name if others is not None else "",
    )  # fmt: skip
    return Adapted(
        pixel_table(judged, names), findings, given=new, run=run, verdict=found, page=page
    )


def classifiers_compared(
    given: Given,
    new: Given,
    run: Run,
    images: Images,
    *,
    slug: str,
    notes: Sequence[str],
    page: Page,
    others: Images | None,
) -> Adapted:
    """Both classifiers asked about every picture."""
    names = given.names
    found = sorted_by(given.model, new.model, images)
    if not len(found.rows):
        raise SourceProblem("no picture could be read a second time: are the files still there?")
    truth = images.labels_in(names)
    references = None
    if others is not None:
        some = others.sample(min(200, len(others)))
        held = [one.model.encoder.embed(some) for one in (given, new)]
        references = [one[np.isfinite(one).all(1)] for one in held]
    checks, measures = class_checks(found, truth, references)
    answers = [one[found.rows].argmax(1) for one in (found.before, found.after)]
    shares = [np.bincount(one, minlength=len(names)) / len(one) for one in answers]
    known = truth[found.rows] >= 0
    if known.any():
        own = truth[found.rows][known]
        measures["F1-macro"] = [macro_f1(one[known], own) for one in answers]
        columns = getattr(run.settings, "groups", ())
        groups = groups_of(images.select(found.rows[known]), columns)
        if groups.count > 1:
            each = [averaged(right(one[known], own), groups.codes, groups.count) for one in answers]
            measures["worst group"] = [one.worst for one in each]
    decided = verdict(checks, lost(shares[0].tolist(), shares[1].tolist(), names))
    table = class_table(found, images, names)
    rows = table.to_pylist()
    place = {key: row for row, key in enumerate(images.column("id"))}
    chosen = [place[row["id"]] for row in rows[:IN_PAGE]]
    seen = dict(images.select(chosen).map(lambda pixels: thumbnail(pixels, SIDE), side=2 * SIDE))
    findings = findings_of(
        run=run, method=slug, source=images.name, names=names, shares=shares, checks=checks,
        measures=measures, verdict=decided, count=len(rows),
        changed=float(np.mean(answers[0] != answers[1])), notes=notes,
        items=[
            {
                "path": row["id"],
                "changed": float(row["changed"]),
                "said": f"{row['before']} before, {row['after']} after",
            }
            for row in rows
        ],
        pictures=[[one, one] for _, one in sorted(seen.items()) if isinstance(one, bytes)],
        problems=images.problems, other=others.name if others is not None else "",
    )  # fmt: skip
    return Adapted(table, findings, given=new, run=run, verdict=decided, page=page)
