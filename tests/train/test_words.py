"""Texts in the loop: drawn by epoch, together where they belong together, alone as a stream."""

from __future__ import annotations

import numpy as np
import torch

import fallow
import fallow.images
from fallow.encoders.tokeniser import learnt
from fallow.images.captions import Texts, with_captions
from fallow.train import Loss, Method, fit, make_settings
from fallow.train.words import NAMES, Captions, Reading, TextStream
from fallow.views import Recipe, View

TEXTS = [["a red disc", "a disc that is red"], ["a blue ring"], ["A red disc. ", "x", "y"], ["z"]]
WORDS = learnt([text for some in TEXTS for text in some] * 3, 560)


def images():
    pixels = [np.full((12, 12, 3), 40 * k, np.uint8) for k in range(4)]
    found = fallow.images.open(pixels)
    return with_captions(found, dict(zip(found.column("id"), TEXTS, strict=True)))


def read(beside, column="caption"):
    return [WORDS.decode(row) for row in beside[column].tolist()]


def captions(found, columns=("caption",), length=10, seed=0):
    return Captions(found, found.pack(side=12), Reading(WORDS, length, columns), seed)


def test_every_epoch_draws_and_the_same_counters_draw_the_same():
    made, again = captions(images()), captions(images())
    rows = np.arange(4)
    seen = [set() for _ in TEXTS]
    for epoch in range(40):
        texts = read(made(rows, epoch))
        assert texts == read(again(rows, epoch))
        for place, text in enumerate(texts):
            seen[place].add(text)
    assert [len(some) for some in seen] == [2, 1, 3, 1]
    assert read(made(np.array([2, 0]), 3)) == [read(made(rows, 3))[2], read(made(rows, 3))[0]]


def test_equal_texts_have_equal_names():
    found = with_captions(images(), {"000000": "a red disc", "000001": "A  red disc",
                                     "000003": "z"})  # fmt: skip
    beside = captions(found)(np.arange(4), 0)
    names = beside[NAMES].tolist()
    assert names[0] == names[1]
    assert len(set(names)) == 3  # one without a text is alike to nothing
    assert beside["caption_known"].tolist() == [True, True, False, True]
    assert read(beside)[2] == ""


def test_columns_of_as_many_texts_are_drawn_together():
    found = images()
    short = [[f"short {text}" for text in some] for some in TEXTS]
    found = found.join({"path": found.column("path"), "summary": short})
    made = captions(found, ("caption", "summary", "tags"), length=20)
    for epoch in range(10):
        beside = made(np.arange(4), epoch)
        assert read(beside, "summary") == [f"short {text}" for text in read(beside)]
        assert "tags" not in beside  # a column that is not there


def test_long_texts_are_counted():
    made = captions(images(), length=4)
    assert made.too_long() == sum(len(WORDS.rows([t])[0]) > 4 for some in TEXTS for t in some) > 0
    assert made(np.arange(4), 0)["caption"].shape == (4, 4)


class Pairs(Method):
    """Looks at pictures with captions and at texts alone, and remembers what it was shown."""

    reads = ("caption",)

    def recipe(self):
        return {"pictures": Recipe((View(8),)), "texts": Reading(self.words, 6)}

    def build(self, encoder):
        self.words = learnt(self.facts.texts, 560)
        self.shown = []

    def beside(self, name, images, pack, seed):
        return Captions(images, pack, Reading(self.words, 6), seed)

    def loss(self, batch, now):
        pictures, texts = batch["pictures"], batch["texts"]
        self.shown.append((pictures, texts))
        return Loss(self.encoder(pictures.views[0]).square().mean())


def test_pictures_and_texts_are_streams_beside_each_other():
    texts = Texts([f"text number {k}" for k in range(7)])
    settings = {"epochs": 2, "batch": 2, "size": 8, "precision": "32"}
    run = fit(
        Pairs,
        {"pictures": images(), "texts": texts},
        encoder=fallow.encoder("resnet8/8"),
        settings=make_settings(Pairs.Settings, settings),
    )
    assert "text number 3" in run.method.facts.texts
    assert "a blue ring" in run.method.facts.texts
    assert run.steps == 4
    shown = run.method.shown[-4:]  # before them, ways to compute were tried
    for pictures, alone in shown:
        assert pictures.beside["caption"].shape == alone.beside["text"].shape == (2, 6)
        assert len(alone) == 2
        assert not alone.views
    rows = torch.cat([alone.index for _, alone in shown])
    assert len(set(rows[:7].tolist())) == 7  # none twice before each came once


class Reader(Method):
    """Learns from texts alone."""

    reads = ("text",)

    def recipe(self):
        return {"texts": Reading(self.words, 6)}

    def build(self, encoder):
        self.words = learnt(self.facts.texts, 560)
        self.table = torch.nn.Embedding(self.words.size, 4)

    def loss(self, batch, now):
        return Loss(self.table(batch.beside["text"]).square().mean())


def test_a_method_may_learn_from_texts_alone_in_parts_of_a_batch():
    settings = {"epochs": 3, "batch": 4, "accumulate": 2, "precision": "32", "optimiser": "adam"}
    texts = Texts([f"text number {k}" for k in range(9)])
    run = fit(
        Reader,
        {"texts": texts},
        encoder=fallow.encoder("resnet8/8"),
        settings=make_settings(Reader.Settings, settings),
    )
    assert run.steps == 6
    stream = TextStream(texts, Reading(run.method.words, 6), 0)
    assert stream.batch(np.array([1, 1]), 5).beside["text"].shape == (2, 6)
