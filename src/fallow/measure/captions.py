"""How near a written caption is to people's: BLEU, ROUGE-L, CIDEr-D and a METEOR without a lexicon.

Texts are taken as words between spaces: `words_of` cuts English as the published scores do, and
for other languages the caller cuts. The first three agree with the published code to the last
digit; METEOR here knows equal words and equal stems, not the synonyms of the original's lexicon.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from fallow.problems import SettingProblem

BETA = 1.2  # ROUGE-L: how much more recall counts than precision
SIGMA = 6.0  # CIDEr-D: spread of lengths that still count
FEW = 100  # pictures below which CIDEr says little


@dataclass(frozen=True)
class Scores:
    """A measure over all pictures, and of each alone."""

    total: float
    each: np.ndarray  # N


# words

# brackets stay: in lower case the published code does not know them
_DROPPED = frozenset(["''", "'", "`", "``", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
_SHORT_TEXT = """
mr mrs ms dr prof st jr sr vs etc no inc ltd co corp dept est gen gov lt col sgt capt rev hon
ave blvd rd jan feb mar apr jun jul aug sep sept oct nov dec
"""
_SHORT = tuple(_SHORT_TEXT.split())
_SPLIT = {
    "cannot": "can not", "gonna": "gon na", "gotta": "got ta", "wanna": "wan na",
    "gimme": "gim me", "lemme": "lem me", "d'ye": "d' ye", "'tis": "'t is", "'twas": "'t was",
}  # fmt: skip
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "{": "-lcb-", "}": "-rcb-", "[": "-lsb-", "]": "-rsb-"}
_TOKEN = re.compile(
    r"""
    https?://\S+ | www\.\S+                      # addresses
    | \w+(?:[.\w+-]*\w)?@\w[\w.-]*\w             # and those of mail
    | (?:[a-z]\.){2,}                            # u.s.
    | (?:"""
    + "|".join(_SHORT)
    + r""")\.(?=\s|$)                            # short forms keep their dot
    | n't\b | '(?:s|m|d|re|ve|ll)\b              # ends of contractions
    | \d+(?:[.,:/]\d+)*(?:st|nd|rd|th|s)?(?![a-z0-9])  # numbers, times, dates
    | [^\W_](?:[\w&]|[-/](?=\w)|'(?=\w)|’(?=\w))*    # words, with hyphens inside
    | \.\.+ | -{2,} | [^\w\s] | _
    """,
    re.VERBOSE,
)
_CONTRACTION = re.compile(r"^(.+?)(n['’]t|['’](?:s|m|d|re|ve|ll))$")


def words_of(text: str) -> str:
    """English cut into words as Penn's treebank does, lower-case, without punctuation.

    >>> words_of("There's a plate (of pasta), isn't it?")
    "there 's a plate -lrb- of pasta -rrb- is n't it"
    """
    text = text.replace("\n", " ").lower()
    found: list[str] = []
    for token in _TOKEN.findall(text.replace("“", '"').replace("”", '"')):
        found += _cut(token)
    return " ".join(token for token in found if token not in _DROPPED)


def _cut(token: str) -> list[str]:
    if token in _SPLIT:
        return _SPLIT[token].split()
    if token in _BRACKETS:
        return [_BRACKETS[token]]
    if token == '"':
        return []  # either kind of quotation mark is dropped
    if token.startswith(".."):
        return ["..."]
    if token.startswith("--"):
        return ["--"]
    if match := _CONTRACTION.match(token):
        return [*_cut(match[1]), match[2].replace("’", "'")]
    return [token]


# all sentences as numbers


@dataclass(frozen=True)
class _Corpus:
    """Captions (N) and what people wrote, as one flat list of word numbers each."""

    words: np.ndarray  # W, numbers of words, captions first
    sentence: np.ndarray  # W, which sentence each word is of
    lengths: np.ndarray  # S, words of a sentence; the first N are the captions
    picture: np.ndarray  # S, the picture each sentence is of
    count: int  # N

    def grams(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sentence, number and count of every run of n words that occurs in a sentence."""
        whole = self.words
        for step in range(1, n):  # runs across two sentences, too, which are left out below
            pair = whole[:-1] * (int(self.words.max(initial=0)) + 1) + self.words[step:]
            whole = np.unique(pair, return_inverse=True)[1]
        sentence = self.sentence[: len(whole)]
        inside = self.sentence[n - 1 :] == sentence
        whole, sentence = whole[inside], sentence[inside]
        size = int(whole.max(initial=0)) + 1
        key, counts = np.unique(sentence * size + whole, return_counts=True)
        return key // size, key % size, counts


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
    wide = _of_reference(corpus)
    right = np.zeros((longest, corpus.count))
    guessed = np.zeros((longest, corpus.count))
    for n in range(1, longest + 1):
        sentence, gram, counts = corpus.grams(n)
        own = sentence < corpus.count
        size = int(gram.max(initial=0)) + 1
        # the most often that any text of a picture has a run
        key = corpus.picture[sentence[~own]] * size + gram[~own]
        keys, inverse = np.unique(key, return_inverse=True)
        most = np.zeros(len(keys), np.int64)
        np.maximum.at(most, inverse, counts[~own])
        clipped = np.minimum(counts[own], _lookup(keys, most, sentence[own] * size + gram[own]))
        right[n - 1] = np.bincount(sentence[own], clipped, minlength=corpus.count)
        guessed[n - 1] = np.maximum(corpus.lengths[: corpus.count] - n + 1, 0)
    own_length = corpus.lengths[: corpus.count].astype(float)
    each = _bleu(right, guessed, own_length, wide)
    whole = _bleu(right.sum(1), guessed.sum(1), own_length.sum(), wide.sum())
    return [Scores(float(whole[n]), each[n]) for n in range(longest)]


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
    _corpus(captions, references)
    each = np.zeros(len(captions))
    for row, (caption, texts) in enumerate(zip(captions, references, strict=True)):
        words = caption.split()
        at: dict[str, int] = {}
        for place, word in enumerate(words):
            at[word] = at.get(word, 0) | 1 << place
        precision = recall = 0.0
        for text in texts:
            other = text.split()
            common = _common(at, len(words), other)
            precision = max(precision, common / max(len(words), 1))
            recall = max(recall, common / max(len(other), 1))
        if precision and recall:
            weight = BETA**2
            each[row] = (1 + weight) * precision * recall / (recall + weight * precision)
    return Scores(float(each.mean()), each)


def _common(at: dict[str, int], length: int, other: Sequence[str]) -> int:
    """Length of the longest common subsequence, all places of one sentence in the bits of a number.

    A bit that is 0 marks where the best so far grows (Hyyrö 2004).
    """
    full = (1 << length) - 1
    row = full
    for word in other:
        met = row & at.get(word, 0)
        row = ((row + met) | (row - met)) & full
    return length - row.bit_count()


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
    count, sentences = corpus.count, len(corpus.lengths)
    texts = np.arange(count, sentences)
    of = corpus.picture[texts]
    each_text = np.zeros(len(texts))
    bigrams = np.maximum(corpus.lengths - 1, 0)
    nearness = np.exp(-((bigrams[of] - bigrams[texts]) ** 2) / (2 * SIGMA**2))
    for n in range(1, longest + 1):
        sentence, gram, counts = corpus.grams(n)
        own = sentence < count
        size = int(gram.max(initial=0)) + 1
        of_picture = np.sort(corpus.picture[sentence[~own]] * size + gram[~own])
        first = np.diff(of_picture, prepend=-1) > 0
        spread = np.bincount(of_picture[first] % size, minlength=size)
        weight = counts * (np.log(count) - np.log(np.maximum(spread, 1)))[gram]
        norm = np.sqrt(np.bincount(sentence, weight**2, minlength=sentences))
        key = sentence[own] * size + gram[own]
        same = _lookup(key, weight[own], corpus.picture[sentence[~own]] * size + gram[~own])
        shared = np.minimum(same, weight[~own]) * weight[~own]
        alike = np.bincount(sentence[~own] - count, shared, minlength=len(texts))
        both = norm[of] * norm[texts]
        each_text += np.divide(alike, both, out=np.zeros(len(texts)), where=both > 0) * nearness
    each_text /= longest
    each = 10 * np.bincount(of, each_text, minlength=count) / np.bincount(of, minlength=count)
    return Scores(float(each.mean()), each)


# METEOR, with equal words and equal stems

_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_STEM = 0.6  # what a match by stem counts
# words so common that finding them says little
_COMMON_TEXT = """
a about after all also an and are as at be because been being but by can could did do does down
first for from had has have he her here him his how i if in into is it its just last like made
make many may me more most my new no not now of off on one only or other our out over people
said she should so some such than that the their them then there these they this those three
through time to too two under up us very was we were what when where which while who will with
would year years you your -lrb- -rrb- -lcb- -rcb- 's 't 're 've 'll 'd 'm n't
"""
_COMMON = frozenset(_COMMON_TEXT.split())


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
            max(_meteor(caption.split(), text.split()) for text in texts)
            for caption, texts in zip(captions, references, strict=True)
        ]
    )
    return Scores(float(each.mean()), each)


def _meteor(own: list[str], other: list[str]) -> float:
    pairs = _aligned(own, other)
    if not pairs:
        return 0.0
    matched_own = sum(_weight(own[a]) * (1.0 if own[a] == other[b] else _STEM) for a, b in pairs)
    matched_other = sum(
        _weight(other[b]) * (1.0 if own[a] == other[b] else _STEM) for a, b in pairs
    )
    precision = matched_own / sum(map(_weight, own))
    recall = matched_other / sum(map(_weight, other))
    mean = precision * recall / (_ALPHA * precision + (1 - _ALPHA) * recall)
    chunks = 1 + sum((c, d) != (a + 1, b + 1) for (a, b), (c, d) in pairwise(pairs))
    if chunks == 1 and len(pairs) == len(own) == len(other):
        chunks = 0  # the same sentence
    return mean * (1 - _GAMMA * (chunks / len(pairs)) ** _BETA)


def _weight(word: str) -> float:
    return 1 - _DELTA if word in _COMMON else _DELTA


def _aligned(own: list[str], other: list[str], width: int = 40) -> list[tuple[int, int]]:
    """Places that belong together: as many as can be, then in as few runs as can be.

    The best few ways are carried along from word to word, as the original does.
    """
    stems = [stem(word) for word in other]
    states: list[tuple[tuple[int, int, int], tuple[tuple[int, int], ...]]] = [((0, 0, 0), ())]
    for place, word in enumerate(own):
        root = stem(word)
        matches = [b for b, one in enumerate(other) if one == word or stems[b] == root]
        grown = list(states)
        for (missing, runs, apart), pairs in states:
            taken = {b for _, b in pairs}
            for b in matches:
                if b in taken:
                    continue
                follows = bool(pairs) and pairs[-1] == (place - 1, b - 1)
                score = (missing - 1, runs + (not follows), apart + abs(place - b))
                grown.append((score, (*pairs, (place, b))))
        best: dict[tuple, tuple] = {}
        for score, pairs in sorted(grown, key=lambda one: one[0]):
            best.setdefault((pairs[-1] if pairs else None, frozenset(b for _, b in pairs)),
                            (score, pairs))  # fmt: skip
        states = list(best.values())[:width]
    return list(min(states, key=lambda one: one[0])[1])


_VOWEL = re.compile(r"[aeiouy]")


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """What is left of an English word without its common endings.

    >>> [stem(word) for word in ("dogs", "running", "played", "happily", "class")]
    ['dog', 'run', 'play', 'happi', 'class']
    """
    if len(word) < 4 or not word.isalpha():
        return word
    for ending, instead in (("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("us", "us"), ("s", "")):
        if word.endswith(ending):
            word = word[: -len(ending)] + instead
            break
    for ending in ("ingly", "edly", "ing", "ed"):
        rest = word[: -len(ending)]
        if word.endswith(ending) and _VOWEL.search(rest):
            word = _undoubled(rest)
            break
    if word.endswith("ly") and len(word) > 4:
        word = word[:-2]
    if len(word) > 2 and word.endswith("y") and word[-2] not in "aeiou":
        word = word[:-1] + "i"
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


def _undoubled(rest: str) -> str:
    if rest.endswith(("at", "bl", "iz")):
        return rest + "e"
    twice = len(rest) > 2 and rest[-1] == rest[-2] and rest[-1] not in "aeiouls"
    return rest[:-1] if twice or rest.endswith("zz") else rest


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
    for n, scores in enumerate(bleu(own, others), 1):
        yield f"BLEU-{n}", scores
    yield "METEOR without a lexicon", meteor(own, others)
    yield "ROUGE-L", rouge(own, others)
    yield "CIDEr-D", cider(own, others)
