"""`stress`: how far an encoder's tasks fall under one small patch, and which defence helps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import torch

from fallow import declare, encoders
from fallow.device import best_device
from fallow.encoders.dual import dual_encoder
from fallow.images import Images, opened
from fallow.images.captions import captions as captions_of
from fallow.images.captions import with_captions
from fallow.measure.scores import halves
from fallow.methods import settle
from fallow.methods.shared.withstanding import (
    Bench,
    corruptions,
    defended,
    located,
    look_of,
    pruned,
    withstood,
)
from fallow.methods.stress import advclip
from fallow.outcomes.stressed import Stressed
from fallow.parts.patch import pasted
from fallow.problems import SettingProblem, SourceProblem
from fallow.report.stress import stress_page

PRUNED = (0.3, 0.6)
CONSENT = (
    "a learnt patch is an attack on the model: give i_own_this_model (--i-own-this-model) to say "
    "that it is yours, or that its owner asked you to test it"
)


@declare.verb(
    example="fallow stress my-encoder photos/ --labels labels.csv --i-own-this-model",
    out="{name}-stress",
    systems="stress",
    system="advclip",
)
def stress(
    model: Annotated[Any, declare.Option("encoder, run of learn, or run of align", argument=True)],
    source: declare.Source,
    *,
    labels: declare.Labels = None,
    where: declare.Where = None,
    captions: Annotated[Any, declare.Option("texts, for a model that reads: path, caption")] = None,
    images: Annotated[
        int, declare.Option("pictures at most, on each side", int, seldom=True)
    ] = 400,
    i_own_this_model: Annotated[
        bool, declare.Option("you own the model, or test it for its owner", bool)
    ] = False,
    out: declare.Out = None,
    preset: declare.Preset = None,
    settings: declare.Settings = None,
    seed: declare.Seed = 0,
    tell: declare.Tell = declare.silent,
) -> Stressed:
    """Test how much an encoder withstands: one square pasted on every picture.

    A classifier and a search are built on half of the labelled pictures and asked with the others:
    clean, with plain squares, and with squares learnt to upset the encoder, which never saw those
    tasks. Then three kinds of defence are tried. For owners and those they ask: without
    `i_own_this_model` only plain squares are tried, and nothing is learnt or written.

    >>> import fallow
    >>> from fallow.images.samples import shapes
    >>> result = stress(fallow.encoder("resnet8/8"), shapes(60, side=24), seed=0)
    >>> result.table.column("patch").to_pylist()
    ['none', 'black', 'grey', 'white', 'random']
    """
    s = advclip.Settings(**settle("stress", "advclip", settings, preset))
    if images < s.batch:
        raise SettingProblem(f"images={images} are too few: a step of the search takes {s.batch}")
    pictures = opened(source, labels, where).labelled
    read = pictures if captions is None else with_captions(pictures, captions)
    encoder, dual = _model(model)
    whole = encoder if dual is None else dual
    whole.to(best_device()).eval().requires_grad_(False)
    look = look_of(whole)
    bench, rows = _bench(encoder, read, images, seed)
    bounds = advclip.Bounds.of(encoder.mean, encoder.std)
    patches = advclip.plain(bench.ask.shape[-1], bounds, s, seed)
    history: list[dict[str, float]] = []
    if i_own_this_model:
        texts = None if dual is None else _texts(dual, read, rows)
        tell("learning a patch by a generator, then directly")
        made = advclip.generated(look, bench.teach, bounds, s, texts, seed, tell)
        history = made.history
        direct = advclip.descended(look, bench.teach, bounds, s, texts, seed)
        patches |= {"generator": made, "direct": direct}
    tell(f"asking {len(bench.ask):,} pictures with {len(patches)} patches")
    places = {name: (one.patch, one.square) for name, one in patches.items()}
    told = withstood(look, bench, places)
    strongest = min(told["patches"][1:], key=lambda row: row["accuracy"])["patch"]
    smaller = {f"{share:.0%} of weights pruned": look_of(pruned(whole, share)) for share in PRUNED}
    changes = corruptions(bounds.low, bounds.high, seed)
    told["defences"] = defended(look, bench, places[strongest], changes, smaller, seed)
    grey = (bounds.low + bounds.high) / 2
    told["located"] = located(look, bench, places[strongest], grey)
    told |= {"strongest": strongest, "history": history, "area": s.area, "model": encoder.name,
             "learnt": i_own_this_model, "asked": len(bench.ask)}  # fmt: skip
    show = encoder.preprocessing.show
    shown = {name: show(_square(one)[None])[0] for name, one in patches.items()}
    some = bench.ask[:6]
    before, after = list(show(some)), list(show(pasted(some, *places[strongest])))
    note = [] if i_own_this_model else [f"only plain squares were tried: {CONSENT}"]
    table = pa.Table.from_pylist(told["patches"])
    result = Stressed(table, told, shown, (before, after), note, s.model_dump(), stress_page)
    return result.saved(out)


def _model(model: Any) -> tuple[Any, Any]:
    """The encoder of pictures, and the whole where it reads, too."""
    if isinstance(model, str | Path) and (Path(model) / "words").is_dir():
        dual = dual_encoder(model)
        return dual.image, dual
    return (model if hasattr(model, "embed") else encoders.encoder(str(model))), None


def _bench(encoder: Any, images: Images, most: int, seed: int) -> tuple[Bench, np.ndarray]:
    """Halves of the labelled pictures as input, and which rows teach."""
    codes, names = images.labels
    if len(names) < 2:
        raise SourceProblem(
            f"{images.name} has {len(names) or 'no'} classes: labels of two or more say how far a "
            "model falls (give labels)"
        )
    teach, ask = halves(images, codes, seed)
    draw = np.random.default_rng(seed)
    sides = []
    for side in (teach, ask):
        rows = np.sort(draw.permutation(np.flatnonzero(side))[:most])
        found, kept = [], []
        for row, pixels in images.select(rows).map(encoder.preprocessing.fit, side=encoder.size):
            if isinstance(pixels, torch.Tensor):
                found.append(pixels)
                kept.append(rows[row])
        if not found:
            raise SourceProblem(f"none of the pictures of {images.name} can be read")
        pixels = torch.stack(found).to(encoder.device)
        sides.append((encoder.preprocessing.normalise(pixels), np.array(kept)))
    (one, rows), (two, others) = sides
    return Bench(one, two, codes[rows], codes[others], names), rows


def _texts(dual: Any, images: Images, rows: np.ndarray) -> torch.Tensor:
    """A vector for the first text of each picture, or of its class where it has none."""
    codes, names = images.labels
    nothing: Sequence[Sequence[str]] = [()] * len(rows)
    words = captions_of(images.select(rows)) if "caption" in images.columns else nothing
    said = [
        texts[0] if texts else names[codes[row]] for texts, row in zip(words, rows, strict=True)
    ]
    return torch.from_numpy(dual.embed_texts(said, normalise=True)).to(dual.device)


def _square(found: advclip.Found) -> torch.Tensor:
    square = found.square
    return found.patch[:, square.rows, square.columns]
