"""FG-SBIR: formats and pictures of sketches, densities, attention, decoder, ranks, schedules."""

from __future__ import annotations

import numpy as np
import torch

from fallow.encoders.drawer import Decoder, PlaceAttention
from fallow.images.sketches import (
    placed,
    raster,
    rasters_of_five,
    strokes_of,
    to_absolute,
    to_delta,
    to_five,
    to_three,
)
from fallow.losses.drawing import divergence, drawn_steps, log_normal, pen
from fallow.losses.triplet import distances, triplet
from fallow.measure.ranking import accuracy_at, tied_ranks
from fallow.methods.match.fgsbir import divergence_weight, drawing_rate

from .cases import cases, close, golden

EXACT = {"rtol": 1e-9, "atol": 1e-9}


def all_of(case, *seen):
    """Nothing recorded may go unseen."""
    assert set(case.outputs) == set(seen)


@golden("fgsbir", "vec")
def test_formats_and_pictures(case):
    absolute, size = case.inputs["abs"], len(case.outputs["five"])
    delta = to_delta(absolute)
    five = to_five(delta, size)
    close(delta, case.outputs["delta"], **EXACT)
    close(five, case.outputs["five"], **EXACT)
    close(to_three(five), case.outputs["back_to_three"], **EXACT)
    again = to_absolute(to_three(five), absolute[0, :2])
    close(again, case.outputs["abs_again"], **EXACT)
    strokes = placed(five)
    close([len(one) for one in strokes], case.outputs["stroke_lengths"])
    assert [len(one) for one in strokes_of(absolute)] == [len(one) for one in strokes]
    close(np.concatenate(strokes), case.outputs["strokes_px"])
    side = len(case.outputs["raster_abs_bits"])
    close(np.packbits(raster(absolute, side), axis=1), case.outputs["raster_abs_bits"])
    drawn = rasters_of_five(five[None], side)[0]
    close(np.packbits(drawn, axis=1), case.outputs["raster_rel_bits"])
    bright = 255.0 * drawn
    close(np.array([bright.min(), bright.max()]), case.outputs["raster_rel_minmax"])
    all_of(case, "delta", "five", "back_to_three", "abs_again", "stroke_lengths", "strokes_px",
           "raster_abs_bits", "raster_rel_bits", "raster_rel_minmax")  # fmt: skip


@golden("fgsbir", "mdn")
def test_loss_of_steps(case):
    raw = case.tensor("raw", gradient=True)
    loss = drawn_steps(raw, case.tensor("target"))
    loss.backward()
    close(loss, case.outputs["loss"], rtol=1e-5)
    close(raw.grad, case.outputs["grad_raw"])
    all_of(case, "loss", "grad_raw")


@golden("fgsbir", "normal2d")
def test_density(case):
    columns = case.tensor("")
    count = (columns.shape[1] - 2) // 5
    x, y, wide, high, together = columns[:, 2:].split(count, 1)
    log = log_normal((columns[:, :1], columns[:, 1:2]), (x, y), (wide, high), together)
    close(log.exp(), case.outputs[""], rtol=1e-5)


def filled_in(module):
    """Weights by the recorded formula, tensor after tensor."""
    with torch.no_grad():
        for number, weight in enumerate(module.parameters()):
            values = 0.05 * np.sin(0.37 * np.arange(weight.numel()) + number)
            weight.copy_(torch.from_numpy(values.astype(np.float32)).view_as(weight))
    return module


@golden("fgsbir", "att")
def test_attention(case):
    features, memory = case.tensor("feat"), case.tensor("h")
    look = filled_in(PlaceAttention(features.shape[1], memory.shape[1]))
    assert len(list(look.parameters())) == len(case.inputs["paramnames"])
    context, shares = look(features, memory)
    close(context, case.outputs["context"])
    close(shares[:, None], case.outputs["alpha"])
    all_of(case, "context", "alpha")


@golden("fgsbir", "dec")
def test_decoder(case):
    code, sketch = case.tensor("z"), case.tensor("sketch_seq").transpose(0, 1)
    (other,) = cases("fgsbir", "att")  # both look at one map
    features = other.tensor("feat")
    mixtures = case.outputs["train_pi"].shape[1]
    decoder = filled_in(
        Decoder(code.shape[1], features.shape[1], other.inputs["h"].shape[1], mixtures)
    )
    assert len(list(decoder.parameters())) == len(case.inputs["paramnames"])
    found = pen(decoder(features, code, sketch))
    names = ("pi", "mu1", "mu2", "s1", "s2", "rho", "pen")
    for name, value in zip(names, found, strict=True):
        close(value.flatten(0, 1), case.outputs[f"train_{name}"])
    all_of(case, *(f"train_{name}" for name in names))


@golden("fgsbir", "rank")
def test_ranks_and_triplets(case):
    sketch, photo = case.tensor("sketch", gradient=True), case.tensor("photo")
    own, negative = case.tensor("own"), case.tensor("neg")
    ranks = tied_ranks(distances(sketch.detach(), photo).numpy(), own.numpy())
    close(ranks, case.outputs["rank"])
    close(list(accuracy_at(ranks).values()), case.outputs["acc1_acc10"], **EXACT)
    loss = triplet(sketch, photo[own], photo[negative], 0.2)
    loss.backward()
    close(loss, case.outputs["triplet_loss"], rtol=1e-5)
    close(sketch.grad, case.outputs["triplet_grad"])
    all_of(case, "rank", "acc1_acc10", "triplet_loss", "triplet_grad")


@golden("fgsbir", "sched")
def test_schedules(case):
    steps = case.inputs["step"].tolist()
    close([drawing_rate(step) for step in steps], case.outputs["lr"], rtol=1e-7)
    close([divergence_weight(step) for step in steps], case.outputs["klw"], rtol=1e-7)
    all_of(case, "lr", "klw")


@golden("fgsbir", "kl")
def test_divergence_has_a_floor(case):
    middle, spread = case.tensor("mu"), case.tensor("logvar")
    for name, expected in case.outputs.items():
        share = 0.1 if name.endswith("small") else 1.0
        close(divergence(share * middle, share * spread), expected, rtol=1e-5)
