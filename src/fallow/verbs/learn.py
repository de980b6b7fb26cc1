"""`learn`: train an encoder on unlabelled images, and say how much it learnt."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Annotated, Any

import torch

from fallow import declare, encoders
from fallow.encoders.lite import WEIGHTS
from fallow.images import opened
from fallow.measure.scores import scores, split_of
from fallow.methods import budget, find, settle
from fallow.methods.shared.plan import (
    MINUTES,
    Plan,
    choose,
    gently,
    going_on,
    transformer_for,
)
from fallow.outcomes.learnt import BEFORE, WHITENED, Learnt
from fallow.problems import Problem
from fallow.report.learn import learn_page
from fallow.train import Run, fit, launch, make_settings


@declare.verb(
    example="fallow learn photos/ --method swav --epochs 100 --out my-encoder",
    out="{name}-{method}",
    systems="learn",
    system="method",
)
def learn(
    source: declare.Source,
    *,
    method: Annotated[str | None, declare.Option("simclr, swav, ...; chosen if left out")] = None,
    encoder: declare.EncoderName = None,
    labels: declare.Labels = None,
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
) -> Learnt:
    """Train an encoder on images without labels, for some minutes or epochs.

    Without a method and an encoder, the built-in encoder goes on learning from these images, and
    its vectors are whitened by them (with a GPU, a larger one learns from random). So does
    `encoder="lite"`, of which only the last stages learn. With labels
    the result says how well nearest neighbours predict them, beside the encoder as it was before;
    without, its report shows clusters and neighbours. A method that learns from labels does not
    see images whose `split` is test. A run whose `out` folder holds a checkpoint goes on there.

    >>> from fallow.images.samples import shapes
    >>> run = learn(shapes(32, seed=0, side=24), epochs=1, encoder="resnet8/8")
    >>> run.run.steps
    2
    """
    images, gpu = opened(source, labels, where), torch.cuda.is_available()
    asked = minutes or (settings or {}).get("minutes")
    alone = method is None and encoder is None and not gpu
    if alone or encoder in WEIGHTS:
        plan = going_on(images, asked, encoder or "tiny", method or "moco")
    else:
        plan = choose(images, asked, gpu)
    method = method or plan.method
    kind = find("learn", method)
    given = budget(settle("learn", method, settings, preset), minutes, epochs, MINUTES)
    taught, held = images, split_of(images)
    if kind.learns_labels and held is not None:
        taught = images.select(~held[1])
    suited = {"size": plan.size, "batch": plan.batch, **plan.settings}
    chosen = make_settings(kind.Settings, suited | given)
    name, reasons = _as_asked(plan, encoder, given, chosen, kind.needs_transformer, gpu)
    fabric = launch(sharded=sharded)
    first = fabric.global_rank == 0
    for line in reasons if first else ():
        tell(line)
    start = encoders.encoder(name, seed=seed, size=_side(name, chosen))
    gently(start)
    # what learns is the network: its last step is fitted again when it has learnt
    whitened, start.whitening = plan.whitened or start.whitening is not None, None
    run = fit(
        kind,
        taught,
        encoder=start,
        settings=chosen,
        out=out,
        seed=seed,
        fabric=fabric,
        tell=tell,
        about={
            "source": _address(source),
            "labels": _address(labels),
            "where": where,
            "encoder": name,
        },
        progress_bar=progress_bar,
    )
    if whitened and first:
        encoders.whiten(run.encoder, taught)
        if run.folder is not None:
            encoders.save(run.encoder, run.folder / "encoder")
    rows: Sequence[dict[str, Any]] = []
    unscored = ""
    if kind.learns_labels and held is None:
        unscored = f"{method} was taught all labels; a column split (train, test) keeps some aside"
    elif first and "label" in images.columns:
        asked_of = {"trained": run.encoder, BEFORE: _before(run, name, seed)}
        if whitened:  # what this last step does alone
            asked_of[WHITENED] = _before(run, name, seed)
            encoders.whiten(asked_of[WHITENED], taught)
        try:
            rows = scores(asked_of, images, seed=seed)
        except Problem as problem:  # the run is whole; only its labels do not tell
            unscored = str(problem)
    result = Learnt(run, images, method, reasons, rows, learn_page, unscored)
    return result.saved(run.folder if first else None)


def _as_asked(
    plan: Plan, encoder: Any, given: dict[str, Any], chosen: Any, transformer: bool, gpu: bool
) -> tuple[str, list[str]]:
    """The encoder's name, and the plan's reasons where nothing else was asked for."""
    name, reasons = plan.encoder, list(plan.reasons)
    if encoder is not None:
        name, reasons[1] = encoder, f"encoder {encoder}: as asked"
    elif transformer:
        name, reasons[1] = transformer_for(chosen.size, gpu)
    if "size" in given:
        reasons[0] = f"views of {chosen.size} px: as asked"
    if "batch" in given:
        reasons[2] = f"batches of {chosen.batch}: as asked"
    return name, reasons


def _before(run: Run, name: str, seed: int) -> Any:
    """The encoder as it was, read out the way the trained one is."""
    read = {key: value for key, value in run.encoder.options.items() if key == "pool"}
    start = encoders.encoder(name, seed=seed, size=_side(name, run.settings), **read)
    return start.to(run.encoder.device)


def _side(name: str, chosen: Any) -> int | None:
    """The side at which pictures are looked at later: of the views, but lite's is larger."""
    return None if name in WEIGHTS else chosen.size


def _address(source: Any) -> str | None:
    """What a later run can open again."""
    return str(source) if isinstance(source, str | PathLike) else None
