"""`adapt`: a model for other weather, cameras or hospitals, from pictures without labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from fallow import declare
from fallow.encoders import Preprocessing
from fallow.images import opened
from fallow.methods import budget, find, settle
from fallow.methods.shared.conditions import (
    choose_method,
    moving,
    side_of,
    streams,
    suited,
    truths,
)
from fallow.methods.shared.models import given_model
from fallow.outcomes import writable
from fallow.outcomes.adapted import Adapted
from fallow.outcomes.adapting import classifiers_compared, segmenters_compared
from fallow.report.adapt import adapt_page
from fallow.train import fit, launch, make_settings

MINUTES = 10.0


@declare.verb(
    example="fallow adapt segmented/ --to night/ --references day/ --out adapted/",
    out="{name}-adapt",
    systems="adapt",
    system="method",
)
def adapt(
    model: Annotated[
        Any, declare.Option("folder of a segmenter or classifier of fallow", argument=True)
    ],
    to: Annotated[
        Any, declare.Option("pictures of the new condition, without labels", required=True)
    ] = None,
    *,
    method: Annotated[
        str | None, declare.Option("cma, bimix, erm, coral, ...; chosen if left out")
    ] = None,
    references: Annotated[
        Any, declare.Option("pictures of the same places in the old condition", seldom=True)
    ] = None,
    pairs: Annotated[
        Any, declare.Option("how they match: name, order, position, nearest, or a CSV", seldom=True)
    ] = None,
    source: Annotated[Any, declare.Option("labelled pictures of the old condition")] = None,
    answers: Annotated[Any, declare.Option("their labels: a CSV, or a folder of masks")] = None,
    labels: Annotated[
        Any, declare.Option("of the new pictures, only to measure: a CSV or masks")
    ] = None,
    classes: Annotated[
        Any, declare.Option("YAML of class names and mask values", Path, seldom=True)
    ] = None,
    ignore: Sequence[Any] = (),
    where: declare.Where = None,
    minutes: declare.Minutes = None,
    epochs: declare.Epochs = None,
    out: declare.Out = None,
    preset: declare.Preset = None,
    settings: declare.Settings = None,
    seed: declare.Seed = 0,
    head: str | None = None,
    names: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    tell: declare.Tell = declare.silent,
    progress_bar: declare.Bar = False,
) -> Adapted:
    """Carry a model over to pictures of another condition that nobody labelled.

    A segmenter needs `references` of the old condition (method cma, without any labels) or
    labelled pictures of it, too (`source` with `answers`; method bimix). A classifier needs
    `source` (methods erm, coral, dann, afn, pseudo, fixmatch, noisy_student and swav: those of
    WILDS 2.0 but the ninth, masked language modelling, which is for text).

    Whether it helped is estimated without labels, or measured where `labels` of some new pictures
    are given; no method ever learns from those. Unless something shows that the adapted model is
    better, the result says to keep the old one. The given model is not changed.

    Of a plain torch module say which part is its `head`, the `names` of its classes and its
    `preprocessing`.

    >>> from fallow.images.samples import shapes
    >>> from fallow.encoders import encoder
    >>> from fallow.encoders.classifier import Classifier, class_layers
    >>> known = shapes(24, seed=0, side=16)
    >>> made = encoder("resnet8/8")
    >>> old = Classifier(made, class_layers(made.dimension, len(known.labels[1])), known.labels[1])
    >>> quick = {"size": 16, "batch": 8}
    >>> found = adapt(old, shapes(24, seed=1, side=16), source=known, epochs=1, settings=quick)
    >>> found.table.num_rows, found.keep_old
    (24, True)
    """
    given = given_model(model, head, names, preprocessing)
    slug = method or choose_method(given, source, references)
    slug = slug.replace("-", "_")
    kind: Any = find("adapt", slug)
    suited(kind, slug, given)
    asked = budget(settle("adapt", slug, settings, preset), minutes, epochs, MINUTES)
    target = opened(to, None if given.segments else labels, where)
    notes: list[str] = []
    truth: Any = {}
    if given.segments:
        target, truth, notes = truths(target, labels, given, classes, ignore)
        asked = side_of(given, asked)
        if slug == "bimix":
            asked = {"moving": moving(given), **asked}

    def noted(line: str) -> None:
        notes.append(line)  # the report says it, too
        tell(line)

    images, others = streams(
        kind, given, target, source, answers, references, pairs, classes, ignore, noted
    )
    place = None if out is None else writable(out)
    new, fabric = given.copied(), launch()
    run = fit(
        kind.beginning_with(new.model),
        images,
        encoder=new.encoder,
        settings=make_settings(kind.Settings, asked),
        out=None if place is None or given.plain else place / "run",
        seed=seed,
        fabric=fabric,
        tell=tell,
        about={"model": str(model) if isinstance(model, str | Path) else None},
        progress_bar=progress_bar,
    )
    if fabric.global_rank > 0:
        place = None  # the first rank writes for all
    tell("comparing the two models")
    facts: dict[str, Any] = {"slug": slug, "notes": notes, "page": adapt_page, "others": others}
    if given.segments:
        given.side = new.side = int(asked["side"])
        new.used = run.method.predictor().eval()  # type: ignore[operator]
        result = segmenters_compared(given, new, run, images["target"], truth, place, **facts)
    else:
        new.model = new.used = run.method.classifier.eval()  # type: ignore[union-attr, operator]
        result = classifiers_compared(given, new, run, target, **facts)
    return result.saved(place)
