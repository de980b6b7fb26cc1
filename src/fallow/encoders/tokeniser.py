"""Text to numbers and back: byte pairs as CLIP has them or learnt here, and tokenisers of a hub."""

from __future__ import annotations

import heapq
import html
import importlib.util
import json
import lzma
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from fallow.files import atomic_write
from fallow.problems import MissingPackage, Problem, SettingProblem

CLIP = Path(__file__).parent / "clip"
START, END = "<|startoftext|>", "<|endoftext|>"
LAST = "</w>"  # marks the last piece of a word
REMEMBERED = 100_000  # words whose pieces are kept at hand


class Tokeniser(Protocol):
    """Numbers of texts, and texts of numbers."""

    size: int  # entries of the vocabulary
    context: int  # the longest text in numbers, markers among them
    start: int
    end: int
    pad: int

    def rows(self, texts: Iterable[str]) -> list[list[int]]:
        """The numbers of each text with its markers, however many there are."""

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of some numbers, without markers."""

    def describe(self) -> dict[str, Any]:
        """What `restored` needs beside the files that `save` writes."""

    def save(self, folder: Path) -> None:
        """Write the vocabulary as the hub has it."""


def encode(tokeniser: Tokeniser, texts: Iterable[str], length: int | None = None) -> Tensor:
    """Numbers (B, L) of texts; a longer one is cut, and its last number is the end all the same.

    >>> encode(clip_tokeniser(), ["a photo of a cat.", ""], 8).tolist()
    [[49406, 320, 1125, 539, 320, 2368, 269, 49407], [49406, 49407, 0, 0, 0, 0, 0, 0]]
    """
    length = length or tokeniser.context
    return padded(tokeniser.rows(texts), length, tokeniser.end, tokeniser.pad)


def padded(rows: Sequence[Sequence[int]], length: int, end: int, pad: int) -> Tensor:
    """Rows of numbers as one table (B, L).

    >>> padded([[1, 5, 6, 2], [1, 2]], 3, end=2, pad=0)
    tensor([[1, 5, 2],
            [1, 2, 0]])
    """
    table = torch.full((len(rows), length), pad, dtype=torch.long)
    for place, row in enumerate(rows):
        fitted = row if len(row) <= length else [*row[: length - 1], end]
        table[place, : len(fitted)] = torch.tensor(fitted, dtype=torch.long)
    return table


# the text before it is cut into words

_QUOTES = str.maketrans({**dict.fromkeys("‘’‚‛ʼ", "'"), **dict.fromkeys("“”„‟", '"')})
_LIGATURES = str.maketrans(
    {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}
)
_WIDE: dict[int, str] = {0x3000: " ", **{0xFF01 + k: chr(0x21 + k) for k in range(94)}}
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ufeff\ufff9-\ufffb]")
_SECOND = "[\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"  # what later bytes of UTF-8 are read as
# only what is hardly ever meant: an accented letter, a dash or a quote, an emoji
_TWICE_ENCODED = re.compile(f"[ÂÃ]{_SECOND}|â{_SECOND}{{2}}|ð{_SECOND}{{3}}")


def clean(text: str) -> str:
    """One line of lower-case text, with what copying and scraping break mended.

    The repairs are those of ftfy that captions need: UTF-8 read as Windows-1252, curly quotes,
    ligatures, wide letters, control characters, and HTML's names for characters, twice over.

    >>> clean("  A cafÃ©\\n&amp;lt;b&amp;gt; ‘Tea’ ")
    "a café <b> 'tea'"
    """
    text = html.unescape(_mended(text)) if "<" not in text else _mended(text)
    text = text.translate(_QUOTES).translate(_LIGATURES).translate(_WIDE)
    text = unicodedata.normalize("NFC", _CONTROL.sub("", text))
    return " ".join(html.unescape(html.unescape(text)).split()).lower()


def _mended(text: str) -> str:
    """Letters that were UTF-8 and were read as Windows-1252."""

    def meant(found: re.Match[str]) -> str:
        try:
            return b"".join(map(_byte, found[0])).decode("utf-8")
        except UnicodeDecodeError:
            return found[0]

    return _TWICE_ENCODED.sub(meant, text)


def _byte(letter: str) -> bytes:
    """A letter as Windows-1252 has it; the five places it leaves free as Latin-1 does."""
    try:
        return letter.encode("cp1252")
    except UnicodeEncodeError:
        return letter.encode("latin-1")


@lru_cache(maxsize=1)
def _words() -> re.Pattern[str]:
    """CLIP's cut into words: contractions, runs of letters, single digits, runs of the rest."""
    numbers = "".join(
        re.escape(letter)
        for letter in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(letter) in ("Nl", "No")
    )
    letters = rf"(?:(?![{numbers}])[^\W\d_])+"
    rest = rf"(?:(?![{numbers}])[^\s\w]|_)+"
    return re.compile(
        rf"{re.escape(START)}|{re.escape(END)}|'s|'t|'re|'ve|'m|'ll|'d"
        rf"|{letters}|[\d{numbers}]|{rest}",
        re.IGNORECASE,
    )


@lru_cache(maxsize=1)
def _letters() -> dict[int, str]:
    """A printable letter for every byte; those that are printable stand for themselves."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {
        byte: chr(256 + place) for place, byte in enumerate(others)
    }


class BytePairs:
    """Words cut into pieces by merging letters in the order of a list of merges."""

    def __init__(
        self,
        merges: Sequence[tuple[str, str]],
        vocabulary: Mapping[str, int] | None = None,
        *,
        context: int = 77,
        pad: int | None = 0,
    ) -> None:
        if vocabulary is None:
            singles = list(_letters().values())
            pieces = [*singles, *(one + LAST for one in singles), *map("".join, merges), START, END]
            vocabulary = {piece: number for number, piece in enumerate(pieces)}
        if START not in vocabulary or END not in vocabulary:
            raise Problem(f"a vocabulary of byte pairs needs the entries {START} and {END}.")
        self.merges = [tuple(pair) for pair in merges]
        self.numbers = dict(vocabulary)
        self.context = context
        self.size = max(self.numbers.values()) + 1
        self.start, self.end = self.numbers[START], self.numbers[END]
        self.pad = self.end if pad is None else pad
        self._ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self._pieces = {number: piece for piece, number in self.numbers.items()}
        self._known: dict[str, list[int]] = {START: [self.start], END: [self.end]}

    def rows(self, texts: Iterable[str]) -> list[list[int]]:
        return [[self.start, *self._of(clean(text)), self.end] for text in texts]

    def _of(self, text: str) -> list[int]:
        numbers: list[int] = []
        for word in _words().findall(text):
            if (known := self._known.get(word)) is None:
                if len(self._known) > REMEMBERED:
                    self._known = {START: [self.start], END: [self.end]}
                known = self._known[word] = [self.numbers[piece] for piece in self.cut(word)]
            numbers += known
        return numbers

    def cut(self, word: str) -> list[str]:
        """The pieces of one word.

        >>> clip_tokeniser().cut("surfboards")
        ['surf', 'boards</w>']
        """
        letters = _letters()
        pieces = [letters[byte] for byte in word.encode("utf-8")]
        pieces[-1] += LAST
        while len(pieces) > 1:
            pair = min(
                pairwise(pieces),
                key=lambda pair: self._ranks.get(pair, len(self._ranks)),
            )
            if pair not in self._ranks:
                break
            pieces = _merged(pieces, pair)
        return pieces

    def decode(self, numbers: Iterable[int]) -> str:
        markers = (self.start, self.end, self.pad)
        pieces = [self._pieces.get(int(one), "") for one in numbers if int(one) not in markers]
        bytes_of = {letter: byte for byte, letter in _letters().items()}
        text = "".join(pieces).replace(LAST, " ")
        raw = bytes(bytes_of.get(letter, ord(" ")) for letter in text)
        return raw.decode("utf-8", errors="replace").strip()

    def describe(self) -> dict[str, Any]:
        return {"kind": "byte pairs", "context": self.context, "pad": self.pad}

    def save(self, folder: Path) -> None:
        with atomic_write(folder / "vocab.json") as file:
            file.write(json.dumps(self.numbers, ensure_ascii=False).encode())
        with atomic_write(folder / "merges.txt") as file:
            lines = ["#version: 0.2", *(" ".join(pair) for pair in self.merges)]
            file.write(("\n".join(lines) + "\n").encode())


def _merged(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    """The pieces with every occurrence of a pair joined."""
    found, place = [], 0
    while place < len(pieces):
        if tuple(pieces[place : place + 2]) == pair:
            found.append(pieces[place] + pieces[place + 1])
            place += 2
        else:
            found.append(pieces[place])
            place += 1
    return found


@lru_cache(maxsize=1)
def clip_tokeniser() -> BytePairs:
    """CLIP's own: 49,408 entries for English.

    >>> clip_tokeniser().size
    49408
    """
    lines = lzma.decompress((CLIP / "merges.txt.xz").read_bytes()).decode().split("\n")
    first, second = zip(*(line.split() for line in lines), strict=True)
    return BytePairs(list(zip(first, second, strict=True)))


def learnt(texts: Iterable[str], size: int = 2000, *, context: int = 77) -> BytePairs:
    """Byte pairs learnt from texts in any language: the commonest pair is merged, again and again.

    Every text can be written with them, for single bytes are among the entries.

    >>> tokeniser = learnt(["a red disc", "a red ring", "a blue ring"] * 4, 530)
    >>> tokeniser.decode(tokeniser.rows(["A red disc"])[0])
    'a red disc'
    >>> len(tokeniser.rows(["red ring"])[0])
    4
    """
    least = 2 * 256 + 2
    if size < least:
        raise SettingProblem(
            f"a vocabulary of {size} entries is too small: bytes alone need {least}."
        )
    counts = Counter(word for text in texts for word in _words().findall(clean(text)))
    letters = _letters()
    words = [[letters[byte] for byte in word.encode("utf-8")] for word in counts]
    for pieces in words:
        pieces[-1] += LAST
    often = list(counts.values())
    pairs: Counter[tuple[str, str]] = Counter()
    where: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for place, pieces in enumerate(words):
        for pair in pairwise(pieces):
            pairs[pair] += often[place]
            where[pair].add(place)
    waiting = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(waiting)
    merges: list[tuple[str, str]] = []
    while waiting and len(merges) < size - least:
        count, pair = heapq.heappop(waiting)
        if -count != pairs[pair]:
            continue  # it became rarer since; the newer entry comes later
        if -count < 2:
            break  # a pair that occurs once says nothing about other texts
        merges.append(pair)
        changed = set()
        for place in where.pop(pair):
            for old in pairwise(words[place]):
                pairs[old] -= often[place]
                changed.add(old)
            words[place] = _merged(words[place], pair)
            for new in pairwise(words[place]):
                pairs[new] += often[place]
                where[new].add(place)
                changed.add(new)
        for one in changed:
            if pairs[one] > 0:
                heapq.heappush(waiting, (-pairs[one], one))
    return BytePairs(merges, context=context)


# tokenisers of a hub's folder


class HubTokeniser:
    """What a tokenizer.json says, through Hugging Face's `tokenizers`."""

    def __init__(self, text: str, *, context: int, start: int, end: int, pad: int) -> None:
        if importlib.util.find_spec("tokenizers") is None:
            raise MissingPackage("tokenizers", "hub")
        from tokenizers import Tokenizer

        try:
            self.inner = Tokenizer.from_str(text)
        except Exception as error:  # the parser raises bare exceptions
            raise Problem(f"tokenizer.json cannot be read: {error}") from error
        self.inner.no_padding()
        self.inner.no_truncation()
        self.size = self.inner.get_vocab_size(with_added_tokens=True)
        self.context, self.start, self.end, self.pad = context, start, end, pad

    def rows(self, texts: Iterable[str]) -> list[list[int]]:
        return [list(one.ids) for one in self.inner.encode_batch(list(texts))]

    def decode(self, numbers: Iterable[int]) -> str:
        markers = (self.start, self.end, self.pad)
        kept = [int(one) for one in numbers if int(one) not in markers]
        return self.inner.decode(kept, skip_special_tokens=True).strip()

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "tokenizers",
            **{name: getattr(self, name) for name in ("context", "start", "end", "pad")},
        }

    def save(self, folder: Path) -> None:
        with atomic_write(folder / "tokenizer.json") as file:
            file.write(self.inner.to_str().encode())


def restored(folder: Path, description: Mapping[str, Any]) -> Tokeniser:
    """The tokeniser whose files `save` wrote into a folder.

    >>> import tempfile
    >>> folder, tokeniser = Path(tempfile.mkdtemp()), learnt(["a dog"] * 2, 520)
    >>> tokeniser.save(folder)
    >>> restored(folder, tokeniser.describe()).rows(["a dog"]) == tokeniser.rows(["a dog"])
    True
    """
    about = dict(description)
    if about.pop("kind") == "tokenizers":
        return HubTokeniser(_read(folder / "tokenizer.json"), **about)
    return BytePairs(*_pairs(folder), **about)


def of_folder(folder: Path, context: int, start: int | None, end: int | None) -> Tokeniser:
    """The tokeniser beside a model of the hub; `start` and `end` are what its config says."""
    if (folder / "tokenizer.json").is_file():
        text = _read(folder / "tokenizer.json")
        named = {
            one["content"]: one["id"] for one in json.loads(text).get("added_tokens") or []
        } | _special_numbers(text)
        pad = named.get(_special(folder, "pad_token") or "", end or 0)
        first = named.get(_special(folder, "bos_token") or "", start or 0)
        last = named.get(_special(folder, "eos_token") or "", end or 0)
        return HubTokeniser(text, context=context, start=first, end=last, pad=pad)
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        merges, vocabulary = _pairs(folder)
        pad_token = _special(folder, "pad_token")
        pad = vocabulary.get(pad_token) if pad_token else None
        return BytePairs(merges, vocabulary, context=context, pad=pad)
    raise Problem(
        f"{folder} has no tokeniser that fallow reads: it needs tokenizer.json, or vocab.json "
        "and merges.txt."
    )


def _special_numbers(text: str) -> dict[str, int]:
    """Numbers of the plain vocabulary, which also holds markers that were not added later."""
    vocabulary = (json.loads(text).get("model") or {}).get("vocab")
    if isinstance(vocabulary, dict):
        return vocabulary
    if isinstance(vocabulary, list):  # a unigram model: pairs of piece and score
        return {pair[0]: number for number, pair in enumerate(vocabulary)}
    return {}


def _special(folder: Path, name: str) -> str | None:
    """A marker's text, by special_tokens_map.json or tokenizer_config.json."""
    for file in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / file).is_file():
            found = json.loads(_read(folder / file)).get(name)
            if found:
                return found["content"] if isinstance(found, dict) else str(found)
    return None


def _pairs(folder: Path) -> tuple[list[tuple[str, str]], dict[str, int]]:
    lines = _read(folder / "merges.txt").split("\n")
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    if any(len(pair) != 2 for pair in merges):
        raise Problem(f"{folder / 'merges.txt'} must hold two pieces in every line.")
    return merges, json.loads(_read(folder / "vocab.json"))  # type: ignore[return-value]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{path} cannot be read: {error}") from error
