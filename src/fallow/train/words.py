"""Texts in the training loop: beside the pictures of a stream, or as a stream of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fallow.encoders.tokeniser import Tokeniser, clean, padded
from fallow.images.captions import CAPTION, captions
from fallow.train.method import Batch
from fallow.views.random import uniform

if TYPE_CHECKING:
    from fallow.images import Images, Pack
    from fallow.images.captions import Texts

NAMES = "names"  # in Batch.beside: equal numbers, equal text
_DRAW = 0x7EC57  # the counter of random numbers that chooses among a picture's texts


@dataclass(frozen=True)
class Reading:
    """How texts become numbers: the recipe of a stream of words."""

    tokeniser: Tokeniser = field(repr=False)
    length: int
    columns: tuple[str, ...] = (CAPTION,)


class Numbers:
    """Rows of numbers of any length, kept in one flat array.

    >>> Numbers([[1, 2], [3]]).rows([1, 0])
    [[3], [1, 2]]
    """

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self.ends = np.cumsum([0, *(len(row) for row in rows)])
        self.flat = np.fromiter((one for row in rows for one in row), np.int32, int(self.ends[-1]))

    def __len__(self) -> int:
        return len(self.ends) - 1

    def rows(self, which: Sequence[int] | np.ndarray) -> list[list[int]]:
        return [self.flat[self.ends[row] : self.ends[row + 1]].tolist() for row in which]

    def longer(self, length: int) -> int:
        """How many rows are longer than that."""
        return int((np.diff(self.ends) > length).sum())


class Captions:
    """One text of each column for each picture of a batch, drawn anew in every epoch.

    Columns with as many texts for a picture are drawn together: the second summary belongs to
    the second caption. What a column does not say of a picture is an empty text, marked unknown.
    """

    def __init__(self, images: Images, pack: Pack, reading: Reading, seed: int) -> None:
        self.reading, self.seed = reading, seed
        self.columns: dict[str, tuple[Numbers, np.ndarray, np.ndarray]] = {}
        self.names = np.zeros(0, np.int64)  # of the first column's texts
        self.first = -1 - np.arange(len(pack))  # by entry of the pack, of its first text
        for column in reading.columns:
            if column not in images.columns:
                continue
            of_pictures = captions(images, column)
            texts = [of_pictures[row] for row in pack.rows]
            counts = np.array([len(one) for one in texts], np.int64)
            flat = [text for one in texts for text in one]
            numbers = Numbers([*reading.tokeniser.rows(flat), *reading.tokeniser.rows([""])])
            self.columns[column] = (numbers, np.cumsum(counts) - counts, counts)
            if column == reading.columns[0]:
                place: dict[str, int] = {}
                found = [place.setdefault(clean(text), len(place)) for text in flat]
                self.names = np.array([*found, -1], np.int64)
                firsts = np.cumsum(counts) - counts
                self.first = np.where(counts > 0, self.names[firsts], self.first)

    def __call__(self, rows: np.ndarray, epoch: int) -> dict[str, Tensor]:
        """Numbers (B L) by column, which are known (B) by column_known, and names (B)."""
        draw = uniform(self.seed, epoch, rows, 0, _DRAW)
        beside: dict[str, Tensor] = {}
        tokeniser = self.reading.tokeniser
        for column, (numbers, firsts, counts) in self.columns.items():
            known = counts[rows] > 0
            chosen = firsts[rows] + (draw * counts[rows]).astype(np.int64)
            chosen = np.where(known, chosen, len(numbers) - 1)  # the empty text
            beside[column] = padded(
                numbers.rows(chosen), self.reading.length, tokeniser.end, tokeniser.pad
            )
            beside[f"{column}_known"] = torch.from_numpy(known)
            if column == self.reading.columns[0]:
                names = np.where(known, self.names[chosen], -1 - rows)
                beside[NAMES] = torch.from_numpy(names)
        return beside

    def too_long(self) -> int:
        """How many texts of the first column are cut."""
        return self.columns[self.reading.columns[0]][0].longer(self.reading.length)


class TextStream:
    """The texts of one name, as numbers in `batch.beside["text"]`; there are no pictures."""

    def __init__(self, texts: Texts, reading: Reading, seed: int) -> None:
        self.pack, self.recipe, self.seed = texts, reading, seed
        self.numbers = Numbers(reading.tokeniser.rows(texts.texts))

    def __len__(self) -> int:
        return len(self.numbers)

    def batch(self, rows: np.ndarray, epoch: int) -> Batch:
        """Some of the texts; they are the same in every epoch."""
        tokeniser = self.recipe.tokeniser
        text = padded(self.numbers.rows(rows), self.recipe.length, tokeniser.end, tokeniser.pad)
        index = torch.from_numpy(np.asarray(rows))
        unknown = torch.full((len(rows),), -1)
        geometry = torch.zeros(0, len(rows), 2, 3)  # no views
        return Batch([], [], index, unknown, geometry, beside={"text": text})
