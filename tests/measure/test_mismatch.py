"""Exchanged captions are the strangest, and their share is told."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.measure.mismatch import strangeness, wrong_share


@pytest.mark.parametrize("wrong", [0, 40, 120])
def test_exchanged_texts_rank_first_and_are_counted(wrong):
    draw = np.random.default_rng(wrong)
    meaning = draw.normal(0, 1, (400, 16))
    images = meaning + draw.normal(0, 0.4, meaning.shape)
    texts = meaning + draw.normal(0, 0.4, meaning.shape)
    texts[:wrong] = np.roll(texts[:wrong], 1, 0)
    found = strangeness(images, texts, np.stack([np.arange(400)] * 2, 1))
    assert wrong_share(found) == pytest.approx(wrong / 400, abs=0.06)
    first = np.argsort(-found)[:wrong]
    assert (first < wrong).mean() > 0.9 if wrong else found.max() < 0.5


def test_a_second_picture_of_a_text_is_not_foreign_to_it():
    images = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    texts = np.array([[1.0, 0.0], [0.0, 1.0]])
    pairs = np.array([[0, 0], [1, 0], [2, 1]])
    assert strangeness(images, texts, pairs).tolist() == [0.0, 0.0, 0.0]


def test_equal_vectors_are_neither_better_nor_worse():
    same = np.ones((5, 3))
    found = strangeness(same, same, np.stack([np.arange(5)] * 2, 1))
    assert found.tolist() == [0.5] * 5
    assert wrong_share(found) == 0.0
