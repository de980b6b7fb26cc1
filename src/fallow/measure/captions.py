"""How near a written caption is to people's: BLEU, ROUGE-L, CIDEr-D and a METEOR without a lexicon.

Texts are taken as words between spaces: `words_of` cuts English as the published scores do, and
for other languages the caller cuts. The first three agree with the published code to the last
digit; METEOR here knows equal words and equal stems, not the synonyms of the original's lexicon.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from fallow.measure.english import words_of
from fallow.measure.meteor import meteor_of
from fallow.problems import SettingProblem

BETA = 1.2  # ROUGE-L: how much more recall counts than precision
SIGMA = 6.0  # CIDEr-D: spread of lengths that still count
FEW = 100  # pictures below which CIDEr says little


@dataclass(frozen=True)
class Scores:
    """A measure over all pictures, and of each alone."""

    total: float
    each: np.ndarray  # N


# all sentences as numbers


@dataclass(frozen=True)
class _Corpus:
    """Captions (N) and what people wrote, as one flat list of word numbers each."""

    words: np.ndarray  # W, numbers of words, captions first
    sentence: np.ndarray  # W, which sentence each word is of
    lengths: np.ndarray  # S, words of a sentence; the first N are the captions
    picture: np.ndarray  # S, the picture each sentence is of
    count: int  # N

    def runs(self, longest: int) -> Iterator[_Runs]:
        """Sentence, number and count of all runs of one word, of two, and so on."""
        size = int(self.words.max(initial=0)) + 1
        whole = self.words
        for n in range(1, longest + 1):
            if n > 1:  # a run is a shorter one and the word after it
                longer = whole[:-1] * size + self.words[n - 1 :]
                whole = np.unique(longer, return_inverse=True)[1]
            sentence = self.sentence[: len(whole)]
            inside = self.sentence[n - 1 :] == sentence  # not across two sentences
            kinds = int(whole.max(initial=0)) + 1
            key, counts = np.unique(sentence[inside] * kinds + whole[inside], return_counts=True)
            yield _Runs(n, key // kinds, key % kinds, counts, kinds)


class _Runs(NamedTuple):
    """Runs of n words, sorted by sentence and number."""

    n: int
    sentence: np.ndarray
    run: np.ndarray
    counts: np.ndarray
    kinds: int  # one more than the largest number


def _corpus(captions: Sequence[str], references: Sequence[Sequence[str]]) -> _Corpus:
    if len(captions) != len(references) or not captions:
        raise SettingProblem(
            f"{len(captions)} captions cannot be compared with the texts of {len(references)} "
            "pictures: give one caption for each picture, and at least one"
        )
    bare = next((row for row, some in enumerate(references) if not some), None)
    if bare is not None:
        raise SettingProblem(f"picture {bare} has no text to compare its caption with")
    place: dict[str, int] = {}
    numbers: list[int] = []
    lengths: list[int] = []
    picture = [*range(len(captions)), *(row for row, some in enumerate(references) for _ in some)]
    for text in (*captions, *(text for some in references for text in some)):
        words = text.split()
        lengths.append(len(words))
        numbers += [place.setdefault(word, len(place)) for word in words]
    sentence = np.repeat(np.arange(len(lengths)), lengths)
    return _Corpus(
        np.array(numbers, np.int64), sentence, np.array(lengths), np.array(picture), len(captions)
    )


def _lookup(keys: np.ndarray, values: np.ndarray, sought: np.ndarray) -> np.ndarray:
    """Values of sorted keys; 0 where a key is not there."""
    if not len(keys):
        return np.zeros(len(sought), values.dtype)
    at = np.searchsorted(keys, sought).clip(max=len(keys) - 1)
    return np.where(keys[at] == sought, values[at], 0)


# BLEU


def bleu(
    captions: Sequence[str], references: Sequence[Sequence[str]], longest: int = 4
) -> list[Scores]:
    """BLEU-1 to BLEU-4: which runs of words occur in what people wrote, and not too few of them.

    >>> round(bleu(["a red disc"], [["a red disc", "a disc"]])[0].total, 6)
    1.0
    """
    corpus = _corpus(captions, references)
    return _bleu_of(corpus, corpus.runs(longest))


def _bleu_of(corpus: _Corpus, every: Iterable[_Runs]) -> list[Scores]:
    own_length = corpus.lengths[: corpus.count].astype(float)
    wide = _of_reference(corpus)
    rights, guesses = [], []
    for n, sentence, run, counts, kinds in every:
        own = sentence < corpus.count
        # the most often that any text of a picture has a run
        key = corpus.picture[sentence[~own]] * kinds + run[~own]
        order = np.argsort(key, kind="stable")
        key, most = key[order], counts[~own][order]
        first = np.flatnonzero(np.diff(key, prepend=-1))
        most = np.maximum.reduceat(most, first) if len(first) else most
        clipped = np.minimum(
            counts[own], _lookup(key[first], most, sentence[own] * kinds + run[own])
        )
        rights.append(np.bincount(sentence[own], clipped, minlength=corpus.count))
        guesses.append(np.maximum(corpus.lengths[: corpus.count] - n + 1, 0))
    right, guessed = np.stack(rights), np.stack(guesses).astype(float)
    each = _bleu(right, guessed, own_length, wide)
    whole = _bleu(right.sum(1), guessed.sum(1), own_length.sum(), wide.sum())
    return [Scores(float(total), one) for total, one in zip(whole, each, strict=True)]


def _of_reference(corpus: _Corpus) -> np.ndarray:
    """The length a caption should have: the nearest of its texts', the shorter of two.

    A single picture has the mean length, as the published code has it.
    """
    texts, lengths = corpus.picture[corpus.count :], corpus.lengths[corpus.count :]
    if corpus.count == 1:
        return np.array([lengths.mean()])
    away = np.abs(lengths - corpus.lengths[texts])
    order = np.lexsort((lengths, away, texts))
    first = np.searchsorted(texts[order], np.arange(corpus.count))
    return lengths[order][first].astype(float)


def _bleu(
    right: np.ndarray, guessed: np.ndarray, own: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    precision = np.cumprod((right + 1e-15) / (guessed + 1e-9), axis=0)
    powers = 1 / np.arange(1, len(right) + 1)
    found = precision ** powers.reshape(-1, *[1] * (right.ndim - 1))
    ratio = (own + 1e-15) / (wanted + 1e-9)
    return found * np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0)


# ROUGE-L


def rouge(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
    """ROUGE-L: how much of a caption comes in this order in what people wrote, and the reverse.

    >>> round(rouge(["a disc"], [["a red disc"]]).total, 4)
    0.7722
    """
    return _rouge_of(_corpus(captions, references))


def _rouge_of(corpus: _Corpus) -> Scores:
    starts = np.concatenate([[0], np.cumsum(corpus.lengths)])
    common = common_lengths(corpus.words, starts, corpus.picture, corpus.count)
    of, texts = corpus.picture[corpus.count :], corpus.lengths[corpus.count :]
    precision, recall = np.zeros(corpus.count), np.zeros(corpus.count)
    np.maximum.at(precision, of, common / np.maximum(corpus.lengths[of], 1))
    np.maximum.at(recall, of, common / np.maximum(texts, 1))
    weight = BETA**2
    both = recall + weight * precision
    each = np.divide((1 + weight) * precision * recall, both, out=np.zeros(corpus.count),
                     where=both > 0)  # fmt: skip
    return Scores(float(each.mean()), each)


@njit(cache=True)
def common_lengths(words, starts, picture, count):  # type: ignore[no-untyped-def]
    """Length of the longest common subsequence of every text and its picture's caption."""
    found = np.zeros(len(picture) - count, np.int64)
    row = np.zeros((starts[1:] - starts[:-1]).max() + 1, np.int64)
    for text in range(count, len(picture)):
        first, last = starts[picture[text]], starts[picture[text] + 1]
        row[: last - first + 1] = 0  # by how many words of the caption were read
        for place in range(starts[text], starts[text + 1]):
            before = 0  # of the text without this word and the caption without its last
            for k in range(last - first):
                above = row[k + 1]
                if words[first + k] == words[place]:
                    row[k + 1] = before + 1
                elif row[k] > above:
                    row[k + 1] = row[k]
                before = above
        found[text - count] = row[last - first]
    return found


# CIDEr-D


def cider(captions: Sequence[str], references: Sequence[Sequence[str]], longest: int = 4) -> Scores:
    """CIDEr-D: likeness of runs of words, each weighed by how few pictures' texts have it.

    The weights are those of these pictures, so scores of different sets cannot be compared; of
    one picture alone the score is 0, and of fewer than about 100 it says little. Papers print it
    times 100.

    >>> texts = [["a red disc"], ["two blue rings"]]
    >>> round(cider(["a red disc", "two blue rings"], texts, longest=3).total, 4)
    10.0
    """
    corpus = _corpus(captions, references)
    return _cider_of(corpus, corpus.runs(longest))


def _cider_of(corpus: _Corpus, every: Iterable[_Runs]) -> Scores:
    count, sentences = corpus.count, len(corpus.lengths)
    texts = np.arange(count, sentences)
    of = corpus.picture[texts]
    bigrams = np.maximum(corpus.lengths - 1, 0)
    nearness = np.exp(-((bigrams[of] - bigrams[texts]) ** 2) / (2 * SIGMA**2))
    likeness = []
    for _, sentence, run, counts, kinds in every:
        own = sentence < count
        of_picture = np.sort(corpus.picture[sentence[~own]] * kinds + run[~own])
        first = np.diff(of_picture, prepend=-1) > 0
        spread = np.bincount(of_picture[first] % kinds, minlength=kinds)
        weight = counts * (np.log(count) - np.log(np.maximum(spread, 1)))[run]
        norm = np.sqrt(np.bincount(sentence, weight**2, minlength=sentences))
        key = sentence[own] * kinds + run[own]
        same = _lookup(key, weight[own], corpus.picture[sentence[~own]] * kinds + run[~own])
        shared = np.minimum(same, weight[~own]) * weight[~own]
        alike = np.bincount(sentence[~own] - count, shared, minlength=len(texts))
        both = norm[of] * norm[texts]
        likeness.append(np.divide(alike, both, out=np.zeros(len(texts)), where=both > 0) * nearness)
    each_text = np.mean(likeness, axis=0)
    each = 10 * np.bincount(of, each_text, minlength=count) / np.bincount(of, minlength=count)
    return Scores(float(each.mean()), each)


# all at once


def meteor(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
    """METEOR without a lexicon: words found again, by themselves or by their stem, and in order.

    The weights are those of METEOR 1.5 for English. The original also matches synonyms and
    paraphrases, so it finds more; where all of a caption's words occur as they are the two agree.

    >>> round(
    ...     meteor(
    ...         ["a man riding a wave on a surfboard"],
    ...         [["a man riding a wave on top of a surfboard"]],
    ...     ).total,
    ...     5,
    ... )
    0.44972
    """
    _corpus(captions, references)
    each = np.array(
        [
            max(meteor_of(caption.split(), text.split()) for text in texts)
            for caption, texts in zip(captions, references, strict=True)
        ]
    )
    return Scores(float(each.mean()), each)


def overlaps(
    captions: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[list[Scores], Scores, Scores]:
    """BLEU-1 to BLEU-4, ROUGE-L and CIDEr-D, of words that are gone through once.

    >>> bleus, rouge_l, cider_d = overlaps(["a disc", "a ring"], [["a disc"], ["a ring"]])
    >>> len(bleus), rouge_l.total, round(cider_d.total, 6)
    (4, 1.0, 5.0)
    """
    corpus = _corpus(captions, references)
    every = list(corpus.runs(4))
    return _bleu_of(corpus, every), _rouge_of(corpus), _cider_of(corpus, every)


def caution(pictures: int) -> str | None:
    """What to say of CIDEr-D where its weights rest on few pictures.

    >>> caution(20)
    'CIDEr-D weighs words by how few pictures have them, and 20 pictures say little of that'
    """
    if pictures >= FEW:
        return None
    return (
        f"CIDEr-D weighs words by how few pictures have them, and {pictures} pictures say little "
        "of that"
    )


def all_measures(
    captions: Sequence[str], references: Sequence[Sequence[str]]
) -> Iterator[tuple[str, Scores]]:
    """Every measure by name, of English captions as they were written.

    >>> dict(all_measures(["A disc."], [["a disc"]]))["ROUGE-L"].total
    1.0
    """
    own = [words_of(text) for text in captions]
    others = [[words_of(text) for text in some] for some in references]
    bleus, rouge_l, cider_d = overlaps(own, others)
    for n, scores in enumerate(bleus, 1):
        yield f"BLEU-{n}", scores
    yield "METEOR without a lexicon", meteor(own, others)
    yield "ROUGE-L", rouge_l
    yield "CIDEr-D", cider_d
