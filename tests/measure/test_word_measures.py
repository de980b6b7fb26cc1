"""Retrieval with shared captions, classes by words, and measures of captions at their edges."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.measure import captions as measured
from fallow.measure.captions import bleu, cider, meteor, overlaps, rouge
from fallow.measure.english import stem, words_of
from fallow.measure.words import (
    as_pairs,
    both_ways,
    classifier,
    merged,
    ranks,
    sentences,
    sorted_right,
)
from fallow.problems import Problem, SettingProblem
from fallow.vectors import arrays


def test_shared_captions_are_one_text_and_belong_to_all_their_pictures():
    found = merged([["A dog.", "two"], ["a  dog."], [], ["two", "two"]])
    assert found.texts == ("A dog.", "two")
    assert found.pairs.tolist() == [[0, 0], [0, 1], [1, 0], [3, 1]]
    pictures, texts = np.eye(4), np.eye(4)[[1, 3]]
    way = both_ways(pictures, texts, found.pairs, ks=(1,))
    assert way.text_to_image.recall[1] == 1.0
    assert way.image_to_text.queries == 3  # a picture without a text asks nothing


def test_vectors_that_are_all_alike_find_nothing():
    same = np.ones((6, 3))
    way = both_ways(same, same, np.eye(6, dtype=bool), ks=(1, 5))
    assert way.text_to_image.recall == {1: 0.0, 5: 0.0}
    assert way.image_to_text.median == 6


def test_blocks_do_not_change_ranks(monkeypatch):
    random = np.random.default_rng(0)
    queries, bank = random.normal(size=(30, 4)), random.normal(size=(50, 4))
    positives = random.random((30, 50)) < 0.05
    whole = ranks(queries, bank, as_pairs(positives))
    monkeypatch.setattr(arrays, "ENTRIES", 60)
    assert (ranks(queries, bank, as_pairs(positives)) == whole).all()
    cosines = queries @ bank.T / np.linalg.norm(bank, axis=1)
    for row in range(30):
        if positives[row].any():
            best = cosines[row][positives[row]].max()
            assert whole[row] == (cosines[row][~positives[row]] >= best).sum()
        else:
            assert whole[row] == -1


def test_retrieval_without_a_pair():
    with pytest.raises(Problem, match="at least one picture"):
        both_ways(np.eye(2), np.eye(2), np.zeros((2, 2), bool))
    with pytest.raises(SettingProblem, match="mask"):
        as_pairs(np.zeros((2, 2, 2)))


def test_classes_by_words():
    columns = classifier(lambda texts: np.array([[len(t), 1.0] for t in texts]), ["a_b", "longer"])
    assert columns.shape == (2, 2)
    with pytest.raises(SettingProblem, match="named twice"):
        sentences(["red_shoe", "Red shoe"])
    with pytest.raises(SettingProblem, match="none of them empty"):
        sentences(["a", " "])
    with pytest.raises(SettingProblem, match="place for the class"):
        sentences(["a"], ["a photo"])


def test_rare_classes_count_as_much_by_class():
    scores = np.array([[1.0, 0.0]] * 9 + [[1.0, 0.0]])
    found = sorted_right(scores, [0] * 9 + [1], ks=(1,))
    assert found.top[1] == 0.9
    assert found.per_class == 0.5
    with pytest.raises(Problem, match="labelled"):
        sorted_right(scores, [-1] * 10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't go, it's John's!", "do n't go it 's john 's"),
        ("A well-lit room -- at 3.5 km (12:30)...", "a well-lit room at 3.5 km -lrb- 12:30 -rrb-"),
        ('He said: "stop; now"', "he said stop now"),
        ("Mr. Smith's U.S. flag cannot fly.", "mr. smith 's u.s. flag can not fly"),
        ("they’re here", "they 're here"),
        ("the 1980s and 21st of 1,000", "the 1980s and 21st of 1,000"),
        ("", ""),
    ],
)
def test_words(text, expected):
    assert words_of(text) == expected


def plain_common(a, b):
    """The longest common subsequence by the whole table."""
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1, j + 1] = table[i, j] + 1 if x == y else max(table[i, j + 1],
                                                                     table[i + 1, j])  # fmt: skip
    return table[-1, -1]


def test_common_subsequences():
    random = np.random.default_rng(0)
    for _ in range(60):
        a, b = ([str(w) for w in random.integers(0, 4, random.integers(0, 70))] for _ in "ab")
        words = np.array([*a, *b], np.int64)
        starts, picture = np.array([0, len(a), len(a) + len(b)]), np.array([0, 0])
        assert measured.common_lengths(words, starts, picture, 1)[0] == plain_common(a, b)


def test_measures_together_are_each_by_itself():
    captions = ["a red disc", "two rings", ""]
    texts = [["a disc", "the red disc is here"], ["blue rings"], ["nothing at all"]]
    bleus, rouge_l, cider_d = overlaps(captions, texts)
    alone = [*bleu(captions, texts), rouge(captions, texts), cider(captions, texts)]
    for ours, theirs in zip([*bleus, rouge_l, cider_d], alone, strict=True):
        np.testing.assert_array_equal(ours.each, theirs.each)


def test_an_empty_caption_gets_nothing_and_hurts_nobody():
    texts = [["a red disc"], ["two rings", "blue rings"]]
    for measure in (rouge, cider, meteor, lambda c, t: bleu(c, t)[0]):
        scores = measure(["", "two rings"], texts)
        assert scores.each[0] == pytest.approx(0, abs=1e-9)
        assert scores.each[1] > 0


def test_the_same_caption_gets_all():
    texts = [["a red disc on a table"], ["two blue rings in the snow"]]
    same = [some[0] for some in texts]
    assert [round(one.total, 6) for one in bleu(same, texts)] == [1.0] * 4
    assert rouge(same, texts).total == 1.0
    assert cider(same, texts).total == pytest.approx(10.0)
    assert meteor(same, texts).total == 1.0


def test_meteor_knows_stems_and_order():
    text = [["the dogs are running in snow"]]
    stems = meteor(["the dog runs in snow"], text).total
    assert meteor(["the cow sits in snow"], text).total < stems
    assert meteor(["snow in runs dog the"], text).total < stems < 1
    assert stem("ponies") == stem("pony")


def test_captions_that_do_not_fit():
    with pytest.raises(SettingProblem, match="one caption for each"):
        bleu(["a"], [["a"], ["b"]])
    with pytest.raises(SettingProblem, match="picture 1 has no text"):
        cider(["a", "b"], [["a"], []])
