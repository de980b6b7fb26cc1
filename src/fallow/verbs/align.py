"""`align`: pictures and their loose texts in one space, to search in by words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from fallow import declare, encoders
from fallow.images import Images, opened
from fallow.images.captions import captioned, with_captions
from fallow.measure.scores import split_of
from fallow.methods import budget, find, settle
from fallow.outcomes import counted
from fallow.outcomes.aligned import Aligned, aligned, named
from fallow.problems import SourceProblem
from fallow.report.align import align_page
from fallow.train import fit, make_settings

MINUTES = 10.0
ASKED = 5  # one picture in so many is asked, where no split says which
FEW = 10  # below so many pictures nothing is asked


@declare.verb(
    example="fallow align photos/ --captions captions.csv --minutes 20 --out words/",
    out="{name}-{method}",
    systems="align",
    system="method",
)
def align(
    source: declare.Source,
    *,
    captions: Annotated[Any, declare.Option("CSV, Parquet or JSONL: path and caption")] = None,
    classes: Annotated[
        str | Sequence[str] | None, declare.Option("sort all pictures into these: a,b,c")
    ] = None,
    where: declare.Where = None,
    method: Annotated[str, declare.Option("clip, siglip or pyramidclip")] = "clip",
    encoder: declare.EncoderName = None,
    minutes: declare.Minutes = None,
    epochs: declare.Epochs = None,
    out: declare.Out = None,
    preset: declare.Preset = None,
    settings: declare.Settings = None,
    seed: declare.Seed = 0,
    tell: declare.Tell = declare.silent,
    progress_bar: declare.Bar = False,
) -> Aligned:
    """Train pictures and texts into one space, so that words find pictures and pictures words.

    Pictures may have several captions, or none. Those whose `split` is test are not trained on but
    asked, else one in five: does a picture find its text among all texts, and a text its picture?
    The encoder of pictures begins as `encoder`, by default the built-in one. The report ranks
    captions that may be wrong; `classes` sorts all pictures by words alone. The folder of the run
    is what `fallow search` takes.

    >>> from fallow.images.samples import shapes
    >>> images = shapes(40, seed=0, side=24)
    >>> texts = dict(zip(images.column("id"), images.column("label")))
    >>> small = {"batch": 8, "size": 16, "text_width": 32, "text_heads": 2, "vocabulary": 600}
    >>> result = align(images, captions=texts, encoder="resnet8/8", epochs=1, settings=small)
    >>> result.table.column("asked").to_pylist()
    ['pictures for their text', 'texts for their picture']
    """
    images = opened(source, where=where)
    sort_into = named(classes)
    read = captioned(images if captions is None else with_captions(images, captions))
    kind = find("align", method)
    given = budget(settle("align", method, settings, preset), minutes, epochs, MINUTES)
    teach, ask = _halves(read, seed)
    tell(f"{counted(len(teach), 'picture')} to learn from, {len(ask):,} to ask about")
    start = encoders.encoder(encoder or "tiny", seed=seed, size=given.get("size"))
    start.whitening = None  # what learns is the network
    run = fit(
        kind,
        teach,
        encoder=start,
        settings=make_settings(kind.Settings, given),
        out=out,
        seed=seed,
        tell=tell,
        about={"encoder": start.name, "captions": str(captions)},
        progress_bar=progress_bar,
    )
    learnt: Any = run.method
    about = {
        "source": images.name,
        "method": method,
        "encoder": start.name,
        "headlines": [f"{method}: {run.steps:,} steps in {run.seconds / 60:.1f} minutes"],
        "notes": run.warnings,
        "run": run.history,
        "settings": run.settings.model_dump(exclude_none=True),
    }
    return aligned(learnt.dual(), read, ask, sort_into, about, align_page).saved(out)


def _halves(images: Images, seed: int) -> tuple[Images, Images]:
    """Pictures that teach, and those that are asked."""
    if (parts := split_of(images)) is not None:
        return images.select(parts[0]), images.select(parts[1])
    if len(images) < 2:
        raise SourceProblem(f"{images.name} has one picture with a caption: two are the least")
    ask = np.zeros(len(images), bool)
    if len(images) >= FEW:
        ask[np.random.default_rng(seed).permutation(len(images))[: len(images) // ASKED]] = True
    return images.select(~ask), images.select(ask)
