"""Drawn shapes with captions of what they show, for systems that read."""

from __future__ import annotations

import numpy as np

import fallow
import fallow.images
from fallow.images.captions import with_captions
from fallow.methods import find
from fallow.train import fit, make_settings

PLAIN = {
    "epochs": 2, "batch": 16, "size": 16, "precision": "32", "text_width": 32, "text_layers": 1,
    "text_heads": 2, "output": 24, "context": 12, "vocabulary": 600,
}  # fmt: skip


COLOURS = {"red": (220, 40, 40), "green": (40, 190, 60), "blue": (50, 70, 220),
           "yellow": (230, 210, 50)}  # fmt: skip
KINDS = ("disc", "square", "bar")


def sentences(colour, kind):
    return [f"a {colour} {kind}", f"the picture shows a {kind} that is {colour}"]


def drawn(count=48, seed=0, side=20):
    """One thing on dark ground, and two sentences that say which; label and colour beside."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    pixels, texts, colours, kinds = [], [], [], []
    for row in range(count):
        colour, kind = list(COLOURS)[row % 4], KINDS[row // 4 % 3]
        dy, dx, r = *random.uniform(-2, 2, 2), random.uniform(0.25, 0.36) * side
        v, u = np.abs(y - dy), np.abs(x - dx)
        inside = {"disc": v**2 + u**2 < r * r, "square": np.maximum(v, u) < 0.85 * r,
                  "bar": (v < r / 3) & (u < 1.3 * r)}[kind]  # fmt: skip
        ground = random.normal(50, 12, (side, side, 3))
        paint = np.array(COLOURS[colour]) + random.normal(0, 15, (side, side, 3))
        pixels.append(np.where(inside[..., None], paint, ground).clip(0, 255).astype(np.uint8))
        texts.append(sentences(colour, kind))
        colours.append(colour)
        kinds.append(kind)
    images = fallow.images.open(pixels, labels={"label": kinds, "colour": colours})
    return with_captions(images, dict(zip(images.column("id"), texts, strict=True)))


def train(method, images=None, seed=0, out=None, each_epoch=None, encoder="resnet8/8", **values):
    kind = find("align", method)
    return fit(
        kind,
        drawn() if images is None else images,
        encoder=fallow.encoder(encoder, seed=seed) if isinstance(encoder, str) else encoder,
        settings=make_settings(kind.Settings, PLAIN | values),
        out=out,
        seed=seed,
        each_epoch=each_epoch,
    )


def sorted_by_words(dual, images):
    """Share of pictures whose colour and kind are the best of all twelve, named by words."""
    from fallow.measure.words import class_scores, classifier, sorted_right

    names = [f"{colour} {kind}" for colour in COLOURS for kind in KINDS]
    shown = zip(images.column("colour"), images.column("label"), strict=True)
    codes = [names.index(f"{colour} {kind}") for colour, kind in shown]
    columns = classifier(lambda t: dual.embed_texts(t, normalise=False), names, ("a {}",))
    vectors = dual.embed_images(images, normalise=True)
    return sorted_right(class_scores(vectors, columns), codes, ks=(1,)).top[1]


def losses(run):
    return [line["loss"] for line in run.history if "loss" in line]


def same_weights(one, two):
    one, two = one.method.state_dict(), two.method.state_dict()
    return one.keys() == two.keys() and all(np.array_equal(one[k], two[k]) for k in one)
