"""What systems share that learn from pictures with captions: the text side and its settings."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fallow.encoders import Encoder
from fallow.encoders.dual import (
    DualEncoder,
    Words,
    dual_encoder,
    load_words,
    new_words,
    save_words,
)
from fallow.encoders.tokeniser import Tokeniser, clip_tokeniser, learnt
from fallow.images import Images, Pack
from fallow.images.captions import CAPTION
from fallow.problems import SettingProblem
from fallow.train import Facts, Method, Now, Settings
from fallow.train.method import Beside, Optimiser
from fallow.train.order import distinct, shuffled
from fallow.train.words import Captions, Reading
from fallow.views import Recipe, View

POOLS = {"end": "first end", "last": "last", "max": "max"}  # as towers call them


class WordsSettings(Settings):
    """Of systems with a text side."""

    batch: int = Field(128, ge=1, description="pictures a step, over all ranks")
    optimiser: Optimiser = "adamw"
    learning_rate: float = Field(1e-3, gt=0, description="at batch 256; scales with the batch")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the budget with a rising rate")
    weight_decay: float = Field(0.1, ge=0)
    second_momentum: float = Field(0.98, ge=0, lt=1, description="memory of squared gradients")
    clip: float | None = Field(1.0, gt=0, description="largest gradient norm")
    crop: float = Field(0.5, gt=0, le=1, description="least share of a picture that a view shows")
    start: str | None = Field(
        None, description="folder of a dual encoder whose words are taken and trained on"
    )
    frozen: Literal["nothing", "pictures", "words"] = Field(
        "nothing", description="which side stays as it is, such as a pretrained encoder of pictures"
    )
    output: int = Field(128, gt=0, description="length of the vectors both sides share")
    text_width: int = Field(128, gt=0, description="width of the text tower")
    text_layers: int = Field(2, gt=0, description="blocks of the text tower")
    text_heads: int = Field(4, gt=0, description="attention heads of the text tower")
    pool: Literal["end", "last", "max"] = Field(
        "end",
        description="what stands for a text: its end, the last place, or the largest of each place",
    )
    context: int = Field(32, ge=3, description="longest text in pieces of words; the rest is cut")
    tokeniser: Literal["own", "clip"] = Field(
        "own", description="pieces of words learnt from the captions, or CLIP's for English"
    )
    vocabulary: int = Field(2000, ge=514, description="entries of an own tokeniser, at most")
    compose: Literal["shuffled", "distinct"] = Field(
        "distinct", description="distinct: no two pictures of equal captions in a batch, if it goes"
    )


def words_for(
    encoder: Encoder,
    settings: WordsSettings,
    facts: Facts,
    *,
    scale: float = 1 / 0.07,
    bias: float | None = None,
) -> Words:
    """The text side of a run: new, or taken from where the settings say."""
    if settings.start is not None:
        return _taken(encoder, settings.start, bias)
    if not facts.texts:
        raise SettingProblem(
            "this method learns from captions, and these images have none: give a file of captions"
        )
    return new_words(
        encoder.dimension,
        _tokeniser(settings, facts),
        output=settings.output,
        width=settings.text_width,
        layers=settings.text_layers,
        heads=settings.text_heads,
        context=settings.context,
        pool=POOLS[settings.pool],  # type: ignore[arg-type]
        causal=settings.pool != "last",
        scale=scale,
        bias=bias,
    )


def _tokeniser(settings: WordsSettings, facts: Facts) -> Tokeniser:
    if settings.tokeniser == "clip":
        return clip_tokeniser()
    return learnt(facts.texts, settings.vocabulary, context=settings.context)


def _taken(encoder: Encoder, folder: str, bias: float | None) -> Words:
    """The words of a folder, checked against the encoder and the kind of loss."""
    words = load_words(folder) if not folder.startswith("hf:") else dual_encoder(folder).words
    wanted = words.projection.in_features if words.projection is not None else words.dimension
    if encoder.dimension != wanted:
        raise SettingProblem(
            f"the words of {folder} belong to an encoder of {wanted} numbers, and {encoder.name} "
            f"makes {encoder.dimension}: begin with the encoder of the same folder"
        )
    if (words.logit_bias is None) != (bias is None):
        kinds = ("siglip", "clip or pyramidclip")
        raise SettingProblem(
            f"the words of {folder} were trained by {kinds[words.logit_bias is None]}: go on with "
            "that method"
        )
    return words


def reader(
    words: Words,
    images: Images,
    pack: Pack,
    seed: int,
    columns: tuple[str, ...] = (CAPTION,),
) -> Captions:
    """The captions of a stream's pictures as numbers for these words."""
    bare = CAPTION not in images.columns
    if bare or images.table.column(CAPTION).null_count:
        missing = len(images) if bare else images.table.column(CAPTION).null_count
        raise SettingProblem(
            f"{missing:,} of {len(images):,} pictures have no caption: leave them out first, with "
            'where("caption is not null")'
        )
    length = words.text.shape.context
    return Captions(images, pack, Reading(words.tokeniser, length, columns), seed)


class WordsMethod(Method):
    """Pictures and their captions as unit vectors in one space; a subclass says what is asked."""

    reads: ClassVar[tuple[str, ...]] = (CAPTION,)
    columns: ClassVar[tuple[str, ...]] = (CAPTION,)  # of which each step wants a text

    class Settings(WordsSettings):
        """What the training can be told."""

    def recipe(self) -> Recipe:
        s = self.settings
        return Recipe((View(s.size, area=(s.crop, 1.0), flip=0.0),))

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        self.words = words_for(encoder, s, self.facts, **self.at_first())
        if s.frozen == "pictures":
            encoder.requires_grad_(False)
        elif s.frozen == "words":
            self.words.text.requires_grad_(False)

    def at_first(self) -> dict[str, float]:
        """What cosines are multiplied by, and what is added to them, when training begins."""
        return {}

    def beside(self, name: str, images: Images, pack: Pack, seed: int) -> Beside:
        captions = reader(self.words, images, pack, seed, self.columns)
        self.names = captions.first
        return captions

    def compose(self, now: Now, count: int, batch: int, seed: int) -> np.ndarray:
        order = distinct if self.settings.compose == "distinct" else _shuffled
        return order(self.names, batch, seed=seed, epoch=now.epoch)

    def begin_step(self, now: Now) -> None:
        """A frozen side computes as it will later."""
        if self.settings.frozen == "pictures":
            self.encoder.eval()
        elif self.settings.frozen == "words":
            self.words.text.eval()

    def picture(self, view: Tensor) -> Tensor:
        """Unit vectors of pictures.  B 3 S S -> B D"""
        return F.normalize(self.words.place(self.encoder(view)).float(), dim=1)

    def text(self, numbers: Tensor) -> Tensor:
        """Unit vectors of texts.  B L -> B D"""
        return F.normalize(self.words(numbers).float(), dim=1)

    def after_step(self, now: Now) -> None:
        self.words.keep_in_bounds()

    def save(self, folder: Path) -> None:
        save_words(self.words, folder)

    def dual(self) -> DualEncoder:
        """Both sides as they are now."""
        return DualEncoder(self.encoder, self.words)


def _shuffled(names: np.ndarray, batch: int, *, seed: int, epoch: int) -> np.ndarray:
    return shuffled(len(names), batch, seed=seed, epoch=epoch)
