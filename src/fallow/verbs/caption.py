"""`caption`: pictures described in words that were learnt from texts alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa

from fallow import declare
from fallow.encoders import encoder as encoder_of
from fallow.encoders.dual import dual_encoder
from fallow.images import Images, opened
from fallow.images.captions import captioned, open_texts, with_captions
from fallow.methods import budget, find, settle
from fallow.methods.caption.itit import PAIRS, PICTURES, Painter, load_painter
from fallow.methods.caption.multicapclip import TEXTS, gap, load_captioner
from fallow.outcomes.captioned import Captioned, beside_true
from fallow.parts.embeddings import picture_vectors
from fallow.problems import SettingProblem
from fallow.report.caption import caption_page
from fallow.train import fit, make_settings

MINUTES = 10.0


@declare.verb(
    example="fallow caption photos/ --texts sentences.txt --encoder words/ --out captions/",
    out="{name}-captions",
    systems="caption",
    system="method",
)
def caption(
    source: declare.Source,
    *,
    texts: Annotated[Any, declare.Option("sentences to learn from: .txt, CSV or JSONL")] = None,
    encoder: Annotated[Any, declare.Option("run of align, or hf:NAME of a CLIP")] = None,
    run: Annotated[
        declare.Address | None, declare.Option("folder of an earlier run: only write", Path)
    ] = None,
    captions: Annotated[
        Any,
        declare.Option("of some pictures: itit learns from them, multicapclip is measured"),
    ] = None,
    method: Annotated[
        str,
        declare.Option("multicapclip (texts alone), or itit (some pairs, and others)"),
    ] = "multicapclip",
    where: declare.Where = None,
    beams: Annotated[int, declare.Option("texts carried along side by side", int, seldom=True)] = 3,
    minutes: declare.Minutes = None,
    epochs: declare.Epochs = None,
    out: declare.Out = None,
    preset: declare.Preset = None,
    settings: declare.Settings = None,
    seed: declare.Seed = 0,
    tell: declare.Tell = declare.silent,
    progress_bar: declare.Bar = False,
) -> Captioned:
    """Write a caption for every picture, in the manner of some texts; no captioned picture needed.

    A writer learns to say each of the `texts` again from its vector in the space of a dual
    encoder (`encoder`); then vectors of pictures take their place. `run` is the folder of an
    earlier run, whose writer goes on with new pictures. True `captions` only measure the result.
    With `method="itit"` some pictures have `captions`, and one small network learns both ways from
    them, and in cycles from the other pictures and from `texts`.
    """
    images = opened(source, where=where)
    if beams < 1:
        raise SettingProblem(f"beams={beams} is not possible: carry one text along or more")
    if method == "itit":
        given = budget(settle("caption", method, settings, preset), minutes, epochs, MINUTES)
        return _in_cycles(images, captions, texts, run, given, beams, out, seed, tell, progress_bar)
    learnt_from: dict[str, Any] = {}
    if run is not None:
        if texts is not None or encoder is not None:
            raise SettingProblem("a saved run has its texts and its encoder: leave both out")
        captioner = load_captioner(run)
    else:
        captioner, learnt_from = _learnt(
            texts, encoder, budget(settle("caption", method, settings, preset), minutes,
            epochs, MINUTES), out, seed, tell, progress_bar,
        )  # fmt: skip
    vectors = picture_vectors(captioner.dual, images, normalise=True)
    readable = np.flatnonzero(np.isfinite(vectors).all(1))
    tell(f"writing {len(readable):,} captions")
    written = captioner.write(vectors[readable], beams=beams)
    paths = images.table.column("path").take(pa.array(readable))
    said = captioner.dual.embed_texts([text or "?" for text, _, _ in written], normalise=True)
    table = pa.table(
        {
            "row": readable,
            "path": paths,
            "caption": [text for text, _, _ in written],
            "score": [score for _, score, _ in written],
            "similarity": (vectors[readable] * said).sum(1),
            "phrases": [names[:5] for _, _, names in written],
        }
    )
    measured = beside_true(images, readable, table, captions)
    if (sentences := learnt_from.pop("sentences", None)) is not None:
        learnt_from["gap"] = gap(vectors[readable], sentences)
    return Captioned(table, images, measured, learnt_from, caption_page).saved(out)


def _in_cycles(
    images: Images,
    true: Any,
    texts: Any,
    run: Any,
    given: dict[str, Any],
    beams: int,
    out: Any,
    seed: int,
    tell: Any,
    progress_bar: bool,
) -> Captioned:
    """By itit: pictures with captions teach, those without take part in cycles and get captions."""
    learnt_from: dict[str, Any] = {}
    if run is not None:
        painter = load_painter(run)
        bare = images
    else:
        known = images if true is None else with_captions(images, true)
        pairs = captioned(known)
        bare = known.where("caption is null")
        streams: dict[str, Any] = {PAIRS: pairs}
        if len(bare) >= 2:
            streams[PICTURES] = bare
        if texts is not None:
            streams[TEXTS] = open_texts(texts)
        kind = find("caption", "itit")
        fitted = fit(
            kind, streams, encoder=encoder_of("resnet8/8"),  # itit reads patches of its own
            settings=make_settings(kind.Settings, given),
            out=None if out is None else Path(out) / "run", seed=seed, tell=tell,
            progress_bar=progress_bar,
        )  # fmt: skip
        learnt: Any = fitted.method
        painter = Painter(learnt)
        learnt_from = {
            "texts": len(pairs), "notes": fitted.warnings, "steps": fitted.steps,
            "minutes": round(fitted.seconds / 60, 2), "history": fitted.history,
            "settings": fitted.settings.model_dump(exclude_none=True),
        }  # fmt: skip
    asked = bare if len(bare) else images
    rows, written = painter.of(asked, beams)
    table = pa.table(
        {
            "row": rows,
            "path": asked.table.column("path").take(pa.array(rows)),
            "caption": [text for text, _ in written],
            "score": [score for _, score in written],
            "similarity": [score for _, score in written],
            "phrases": [[] for _ in written],
        }
    )
    return Captioned(table, asked, {}, learnt_from, caption_page).saved(out)


def _learnt(
    texts: Any,
    encoder: Any,
    given: dict[str, Any],
    out: Any,
    seed: int,
    tell: Any,
    progress_bar: bool,
) -> tuple[Any, dict[str, Any]]:
    """A writer of the texts, and how its training went."""
    if texts is None or encoder is None:
        raise SettingProblem(
            "caption learns from texts, in the space of a dual encoder: give both with texts and "
            "encoder (a run of align, or hf:NAME), or the folder of an earlier run with run"
        )
    corpus = open_texts(texts)
    start = str(encoder)
    kind = find("caption", "multicapclip")
    dual = dual_encoder(start)
    run = fit(
        kind,
        {TEXTS: corpus},  # type: ignore[dict-item]
        encoder=dual.image,
        settings=make_settings(kind.Settings, {**given, "start": start}),
        out=None if out is None else Path(out) / "run",
        seed=seed,
        tell=tell,
        progress_bar=progress_bar,
    )
    learnt: Any = run.method
    return learnt.captioner(), {
        "texts": len(corpus),
        "notes": [*corpus.notes, *run.warnings],
        "steps": run.steps,
        "minutes": round(run.seconds / 60, 2),
        "history": run.history,
        "settings": run.settings.model_dump(exclude_none=True),
        "sentences": learnt.sentences.cpu().numpy(),
    }
