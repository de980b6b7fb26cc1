"""`align`: pictures and their loose texts in one space, to search in by words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pyarrow as pa

from fallow import declare, encoders
from fallow.encoders.dual import DualEncoder
from fallow.images import Images, opened
from fallow.images.captions import captioned, captions, with_captions
from fallow.measure.scores import split_of
from fallow.measure.words import both_ways, merged
from fallow.methods import budget, find, settle
from fallow.outcomes import Result, counted, unreadable
from fallow.problems import SourceProblem
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
) -> Result:
    """Train pictures and texts into one space, so that words find pictures and pictures words.

    Pictures may have several captions, or none. Those whose `split` is test are not trained on but
    asked, else one in five: does a picture find its text among all texts, and a text its picture?
    The encoder of pictures begins as `encoder`, by default the built-in one. The folder of the run
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
    table = _asked(learnt.dual(), ask) if len(ask) else pa.table({"asked": pa.array([], "string")})
    headlines = [
        f"{method}: {run.steps:,} steps in {run.seconds / 60:.1f} minutes",
        *(_sentence(row) for row in table.to_pylist()),
    ]
    notes = [*images.notes, *unreadable(images.problems), *run.warnings]
    result = Result(table, headlines=headlines, notes=notes, findings={"run": run.history})
    result.folder = run.folder
    return result


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


def _asked(dual: DualEncoder, images: Images) -> pa.Table:
    """How often the right one is among the first 1, 5 and 10, both ways, beside chance."""
    found = merged(captions(images))
    recall = both_ways(
        dual.embed_images(images, normalise=True),
        dual.embed_texts(found.texts, normalise=True),
        found.pairs,
    )
    ways = (
        ("pictures for their text", recall.image_to_text, len(found.texts)),
        ("texts for their picture", recall.text_to_image, len(images)),
    )
    return pa.Table.from_pylist([_row(name, way.recall, count) for name, way, count in ways])


def _row(name: str, recall: Mapping[int, float], among: int) -> dict[str, Any]:
    return {"asked": name, "among": among, **{f"R@{k}": value for k, value in recall.items()}}


def _sentence(row: Mapping[str, Any]) -> str:
    shares: Sequence[str] = [f"{name} {value:.3f}" for name, value in row.items() if name[0] == "R"]
    return f"{row['asked']}: {', '.join(shares)} among {row['among']:,}"
