"""Kept vectors: made once, and never one kind for another."""

from __future__ import annotations

import numpy as np

from fallow.encoders.dual import tiny
from fallow.images.samples import shapes
from fallow.parts.embeddings import picture_vectors, text_vectors
from fallow.parts.summary import summary


def test_vectors_are_made_once_and_by_length(monkeypatch):
    dual, images = tiny(), shapes(3, side=16)
    plain = picture_vectors(dual, images, normalise=False)
    unit = picture_vectors(dual, images, normalise=True)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-5)
    assert not np.allclose(plain, unit)
    words = text_vectors(dual, ["a", "b"], normalise=True)
    calls = []
    monkeypatch.setattr(type(dual), "embed_images", lambda *_, **__: calls.append(1))
    monkeypatch.setattr(type(dual), "embed_texts", lambda *_, **__: calls.append(1))
    np.testing.assert_array_equal(picture_vectors(dual, images, normalise=False), plain)
    np.testing.assert_array_equal(text_vectors(dual, ["a", "b"], normalise=True), words)
    assert not calls


def test_other_weights_texts_and_pictures_have_other_vectors():
    one, other = tiny(), tiny(seed=1)
    images = shapes(3, side=16)
    assert not np.allclose(
        picture_vectors(one, images, normalise=True), picture_vectors(other, images, normalise=True)
    )
    assert not np.allclose(
        picture_vectors(one, images, normalise=True),
        picture_vectors(one, shapes(3, seed=1, side=16), normalise=True),
    )
    texts = text_vectors(one, ["ab", "c"], normalise=True)
    assert not np.allclose(texts, text_vectors(one, ["a", "bc"], normalise=True))


def test_summaries():
    for caption, expected in (
        ("A dog runs on the beach while the sun sets.", "a dog runs on the beach"),
        ("Hello! A black cat on a sofa", "a black cat on a sofa"),
        ("there is a man riding a horse, 12.05.2019, DSC_0042.jpg", "a man riding a horse"),
        ("2.5 litre bottle of milk - the best #milk @shop", "2.5 litre bottle of milk"),
        ("", ""),
        ("http://a.b/c", "http://a.b/c"),
    ):
        assert summary(caption) == expected
    assert len(summary("word " * 40).split()) == 12
