"""ITIT: pictures from words and words from pictures, from few pairs and much that is unpaired.

One network with two decoders (Li et al. 2023). What has no partner goes round: a text becomes a
picture becomes the text again, a picture becomes a text becomes the picture again. The long way is
made without gradient; a single step of it is made again with one, through hard choices.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from fallow.encoders import Encoder
from fallow.encoders.base import Preprocessing
from fallow.encoders.patch_codes import PatchCodes, learnt_codes
from fallow.encoders.tokeniser import Tokeniser, encode, learnt, restored
from fallow.encoders.vit import Block
from fallow.encoders.writer import Writer, WriterShape, beam, greedy, shifted
from fallow.files import atomic_write, part_of
from fallow.images import Images
from fallow.images.captions import CAPTION
from fallow.losses.language import next_words
from fallow.losses.straight import chosen_rows, masked_cross_entropy
from fallow.parts.parallel import left_masked, written
from fallow.problems import SettingProblem, SourceProblem
from fallow.train import Batch, Loss, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.train.method import Beside, Optimiser
from fallow.train.words import Captions, Reading
from fallow.views import Recipe, View

PAIRS, PICTURES, TEXTS = "pairs", "pictures", "texts"  # streams; the last two may be missing
TAUGHT = 512  # pictures that the book of patches is made of, at most


class Joint(nn.Module):
    """Tokens of a picture and vectors of a text, read together; patches out, words out."""

    def __init__(self, codes: int, places: int, words: Tokeniser, settings: ITIT.Settings) -> None:
        super().__init__()
        s = settings
        self.codes = codes
        self.token = nn.Embedding(codes + 1, s.width)  # the last one says: masked
        self.place = nn.Parameter(torch.randn(1, places, s.width) * 0.02)
        # a stand-in for a pretrained reader of texts: fixed random vectors, learnt from here on
        self.word = nn.Embedding(words.size, s.width).requires_grad_(False)
        self.word_place = nn.Parameter(torch.randn(1, s.context, s.width) * 0.02)
        self.read = nn.Sequential(
            nn.Linear(s.width, s.width), nn.GELU(), nn.Linear(s.width, s.width)
        )
        self.nothing = nn.Parameter(torch.randn(1, 1, s.width) * 0.02)  # in place of a text
        self.blocks = nn.ModuleList(Block(s.width, s.heads) for _ in range(s.layers))
        self.norm = nn.LayerNorm(s.width)
        self.draw = nn.ModuleList(Block(s.width, s.heads) for _ in range(s.decoder))
        self.draw_norm = nn.LayerNorm(s.width)
        self.patch = nn.Linear(s.width, codes)
        self.writer = Writer(
            WriterShape(words.size, s.context, s.width, s.decoder, s.heads, 4 * s.width,
                        memory=s.width, dropout=0.0)
        )  # fmt: skip

    def tokens(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Vectors of a picture's patches (B L), those masked as such.  B L W"""
        return self.token(ids.masked_fill(mask, self.codes))

    def look(self, tokens: Tensor, text: Tensor | None, known: Tensor | None = None) -> Tensor:
        """Both read together; without a text something stands in its place.  B L+T W"""
        count = len(tokens)
        seen = tokens + self.place
        if text is None:
            text, known = self.nothing.expand(count, -1, -1), None
        else:
            text = self.read(text) + self.word_place[:, : text.shape[1]]
        x = torch.cat([seen, text], 1)
        mask = None
        if known is not None:
            ones = torch.ones(count, tokens.shape[1], dtype=torch.bool, device=x.device)
            mask = torch.cat([ones, known], 1)
        for block in self.blocks:
            x = block(x, mask)
        found: Tensor = self.norm(x)
        return found

    def patches(self, seen: Tensor, count: int) -> Tensor:
        """Scores of every patch of the book, everywhere.  B L V"""
        x = seen
        for block in self.draw:
            x = block(x)
        scores: Tensor = self.patch(self.draw_norm(x[:, :count]))
        return scores


class ITIT(Method):
    """Captions and pictures from one network, with cycles for what has no partner."""

    family = "captioning"
    predicts = (
        "masked patches from a text, the text from patches, and each from itself by the other"
    )
    reads: ClassVar[tuple[str, ...]] = (CAPTION,)

    class Settings(BaseSettings):
        cycle: Literal["paired", "half", "full"] = Field(
            "full", description="half: what was made on the way is taken as it is, without gradient"
        )
        size: int = Field(32, ge=8, description="side of the pictures in pixels")
        patch: int = Field(4, ge=1, description="side of a patch")
        codes: int = Field(128, ge=2, description="patches in the book")
        batch: int = Field(32, ge=2, description="of each: pairs, pictures and texts a step")
        width: int = Field(128, gt=0, description="of the network")
        layers: int = Field(3, gt=0, description="blocks that read both together")
        decoder: int = Field(2, gt=0, description="blocks of each decoder")
        heads: int = Field(4, gt=0)
        vocabulary: int = Field(1000, ge=514, description="pieces of words, learnt from the texts")
        context: int = Field(24, ge=4, description="longest text in pieces of words")
        steps: int = Field(8, ge=1, description="in which a picture is written; 24 in the paper")
        temperature: float = Field(4.5, ge=0, description="how freely patches are chosen")
        begin: float = Field(
            0.5,
            ge=0,
            le=1,
            description="share of the training before cycles: a bad start is amplified",
        )
        text_cycle: float = Field(0.3, ge=0, description="weight of text, picture, text")
        picture_cycle: float = Field(0.3, ge=0, description="weight of picture, text, picture")
        replace_all: bool = Field(
            False, description="patches that were not masked are replaced by predictions, too"
        )
        optimiser: Optimiser = "adamw"
        learning_rate: float = Field(8e-3, gt=0, description="at batch 256")
        weight_decay: float = 0.01
        second_momentum: float = 0.98
        clip: float | None = Field(1.0, gt=0)
        precision: Literal["auto", "32", "bf16"] = "32"

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"size": 256, "patch": 16, "codes": 1024, "context": 64, "steps": 24,
                  "width": 512, "layers": 12, "heads": 8},
    }  # fmt: skip

    def recipe(self) -> Any:
        s = self.settings
        plain = Recipe((View(s.size, centre=1.0, flip=0.0),))
        recipes: dict[str, Any] = {PAIRS: plain}
        for name in self.facts.streams:
            if name == PICTURES:
                recipes[name] = plain
            elif name == TEXTS:
                recipes[name] = Reading(self.tokeniser, s.context)
        return recipes

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        if not self.facts.texts:
            raise SettingProblem("itit needs some pictures with captions: give a file of captions")
        if s.size % s.patch:
            raise SettingProblem(f"a size of {s.size} holds no whole patches of {s.patch}")
        encoder.requires_grad_(False)
        self.tokeniser: Tokeniser = learnt(self.facts.texts, s.vocabulary, context=s.context)
        self.codes = PatchCodes(torch.zeros(s.codes, 3 * s.patch**2), s.patch)
        self.places = (s.size // s.patch) ** 2
        self.joint = Joint(s.codes, self.places, self.tokeniser, s)

    def beside(self, name: str, images: Images, pack: Any, seed: int) -> Beside | None:
        if name != PAIRS:
            return None
        return Captions(images, pack, Reading(self.tokeniser, self.settings.context), seed)

    def before_training(self, pack: Any, seed: int) -> None:
        """The book of patches, from the pictures themselves."""
        rows = np.random.default_rng(seed).permutation(len(pack))[:TAUGHT]
        s = self.settings
        fit = Preprocessing(s.size, s.size).fit
        pictures = torch.stack([fit(pack[int(row)]) for row in rows]).float() / 255
        book = learnt_codes(pictures, s.codes, s.patch, seed).book
        # fewer patches than asked for: the rest of the book repeats the last, and is never nearest
        filled = torch.cat([book, book[-1:].expand(s.codes - len(book), -1) + 9.0])
        self.codes.book.copy_(filled)

    # --- one direction each ---

    def numbers(self, batch: Batch) -> Tensor:
        """Patches of a batch's pictures.  B L"""
        view = batch.views[0].float()
        mean, std = (
            view.new_tensor(v).view(1, 3, 1, 1) for v in (self.encoder.mean, self.encoder.std)
        )
        return self.codes.read((view * std + mean).clamp(0, 1))

    def masked(self, count: int, device: torch.device) -> Tensor:
        """A mask for each row, of a share drawn as decoding will meet it; one place at least."""
        shares = torch.tensor([left_masked(float(u)) for u in torch.rand(count)], device=device)
        hidden = (shares * self.places).ceil().long().clamp(1, self.places)
        ranks = torch.rand(count, self.places, device=device).argsort(1).argsort(1)
        return ranks < hidden[:, None]

    def text(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of a text (B T W), and which of its places are real."""
        ended = (numbers == self.tokeniser.end).cumsum(1)
        known = (ended == 0) | ((numbers == self.tokeniser.end) & (ended == 1))
        return self.joint.word(numbers), known

    def said(self, tokens: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of every next word of a text for a picture, and what they should say."""
        given, wanted = shifted(numbers, self.tokeniser.pad, self.tokeniser.end)
        seen = self.joint.look(tokens, None)  # the text itself would give the answer away
        return self.joint.writer(given, memory=seen), wanted

    def drawn(self, ids: Tensor, mask: Tensor, text: Tensor, known: Tensor) -> Tensor:
        """Scores of patches for a text, where some are masked.  B L V"""
        seen = self.joint.look(self.joint.tokens(ids, mask), text, known)
        return self.joint.patches(seen, self.places)

    def paired(self, ids: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Picture to text, and text to picture."""
        mask = self.masked(len(ids), ids.device)
        words, wanted = self.said(self.joint.tokens(ids, mask), numbers)
        to_text = next_words(words, wanted)
        mask = self.masked(len(ids), ids.device)
        to_picture = masked_cross_entropy(self.drawn(ids, mask, *self.text(numbers)), ids, mask)
        return to_text, to_picture

    def text_round(self, numbers: Tensor) -> Tensor:
        """Text, picture, text: the picture is made without gradient, one step of it with."""
        text, known = self.text(numbers)
        ids = self.painted(text, known)
        mask = self.masked(len(ids), ids.device)
        scores = self.drawn(ids, mask, text, known)
        table = self.joint.token.weight[:-1]
        if self.settings.cycle == "full":
            made = chosen_rows(scores, table)
        else:
            made = table[scores.argmax(2)].detach()
        kept = self.joint.token(ids).detach()
        tokens = made if self.settings.replace_all else torch.where(mask[..., None], made, kept)
        hidden = self.masked(len(ids), ids.device)
        blank = self.joint.token.weight[-1].expand_as(tokens)
        words, wanted = self.said(torch.where(hidden[..., None], blank, tokens), numbers)
        return next_words(words, wanted)

    def picture_round(self, ids: Tensor) -> Tensor:
        """Picture, text, picture: the text is made without gradient, its choice of words with."""
        numbers = self.described(ids)
        mask = self.masked(len(ids), ids.device)
        words, _ = self.said(self.joint.tokens(ids, mask), numbers)
        table = self.joint.word.weight
        if self.settings.cycle == "full":
            made = chosen_rows(words, table)
        else:
            made = table[words.argmax(2)].detach()
        # what was said of each next word stands where that word is; the first is the beginning
        text = torch.cat([table[numbers[:, :1]], made], 1)
        known = self.text(numbers)[1]
        hidden = self.masked(len(ids), ids.device)
        return masked_cross_entropy(self.drawn(ids, hidden, text, known), ids, hidden)

    # --- the long ways, without gradient ---

    @torch.no_grad()
    def painted(
        self, text: Tensor, known: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Patches of a picture for each text, written in a few steps.  B L"""
        training = self.joint.training
        self.joint.eval()
        ids = torch.zeros(len(text), self.places, dtype=torch.long, device=text.device)
        unknown = torch.ones_like(ids, dtype=torch.bool)
        made = written(
            lambda ids, mask: self.drawn(ids, mask, text, known), ids, unknown,
            self.settings.steps, temperature=self.settings.temperature, generator=generator,
        )  # fmt: skip
        self.joint.train(training)
        return made

    @torch.no_grad()
    def described(self, ids: Tensor) -> Tensor:
        """The likeliest text for each picture, as numbers.  B T"""
        training = self.joint.training
        self.joint.eval()
        mask = torch.zeros_like(ids, dtype=torch.bool)
        seen = self.joint.look(self.joint.tokens(ids, mask), None)
        t = self.tokeniser
        texts = greedy(
            self.joint.writer, self.joint.writer.begin(memory=seen), len(ids), start=t.start,
            end=t.end, longest=self.settings.context - 2,
        )  # fmt: skip
        self.joint.train(training)
        numbers = torch.full((len(ids), self.settings.context), t.pad, device=ids.device)
        for row, text in enumerate(texts):
            said = [t.start, *text, t.end]
            numbers[row, : len(said)] = torch.tensor(said)
        return numbers

    def loss(self, batch: Any, now: Now) -> Loss:
        s = self.settings
        pairs = batch if isinstance(batch, Batch) else batch[PAIRS]
        to_text, to_picture = self.paired(self.numbers(pairs), pairs.beside[CAPTION])
        total = to_text + to_picture
        parts: dict[str, Tensor] = {"to text": to_text, "to picture": to_picture}
        if s.cycle != "paired" and now.progress >= s.begin and not isinstance(batch, Batch):
            if TEXTS in batch:
                parts["text round"] = self.text_round(batch[TEXTS].beside["text"])
                total = total + s.text_cycle * parts["text round"]
            if PICTURES in batch:
                parts["picture round"] = self.picture_round(self.numbers(batch[PICTURES]))
                total = total + s.picture_cycle * parts["picture round"]
        return Loss(
            total, {name: float(torch.as_tensor(part).detach()) for name, part in parts.items()}
        )

    def save(self, folder: Path) -> None:
        save_painter(self, folder / "painter")


class Painter:
    """Words for pictures, and pictures for words, from a finished run."""

    def __init__(self, method: ITIT) -> None:
        self.method = method.eval()

    def of(
        self, images: Images, beams: int = 3, batch: int = 64
    ) -> tuple[np.ndarray, list[tuple[str, float]]]:
        """Captions of a collection: which rows could be read, and a text and score for each."""
        side = self.method.settings.size
        rows, found, waiting = [], [], []
        for row, pixels in images.map(Preprocessing(side, side).fit, side=side):
            if not isinstance(pixels, Tensor):
                continue
            rows.append(row)
            waiting.append(pixels.float() / 255)
            if len(waiting) == batch:
                found += self.captions(torch.stack(waiting), beams)
                waiting = []
        if waiting:
            found += self.captions(torch.stack(waiting), beams)
        return np.array(rows, np.int64), found

    @torch.inference_mode()
    def captions(self, pictures: Tensor, beams: int = 3) -> list[tuple[str, float]]:
        """A text and its score for each picture (B 3 S S in 0 ... 1)."""
        m, t = self.method, self.method.tokeniser
        ids = m.codes.read(pictures)
        seen = m.joint.look(m.joint.tokens(ids, torch.zeros_like(ids, dtype=torch.bool)), None)
        found = beam(
            m.joint.writer, m.joint.writer.begin(memory=seen), len(ids), start=t.start, end=t.end,
            longest=m.settings.context - 2, beams=beams,
        )  # fmt: skip
        return [(t.decode(numbers).strip(), score) for numbers, score in found]

    @torch.inference_mode()
    def pictures(self, texts: list[str], seed: int = 0) -> np.ndarray:
        """A picture for each text.  N S S 3 uint8"""
        m = self.method
        numbers = encode(m.tokeniser, texts, m.settings.context)
        ids = m.painted(*m.text(numbers), torch.Generator().manual_seed(seed))
        made = m.codes.write(ids, m.settings.size)
        return (made.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def save_painter(method: ITIT, folder: Path) -> None:
    """Everything a `Painter` needs: the network, the book of patches, the pieces of words."""
    folder.mkdir(parents=True, exist_ok=True)
    held = {f"joint.{name}": value for name, value in method.joint.state_dict().items()}
    held["book"] = method.codes.book
    method.tokeniser.save(folder)
    about = {
        "settings": method.settings.model_dump(),
        "facts": {**asdict(method.facts), "texts": []},
        "tokeniser": method.tokeniser.describe(),
        "mean": list(method.encoder.mean),
        "std": list(method.encoder.std),
    }
    with atomic_write(folder / "painter.safetensors") as target:
        target.write(to_bytes({name: value.contiguous() for name, value in held.items()}))
    with atomic_write(folder / "painter.json") as target:
        target.write(json.dumps(about, indent=1).encode())


def load_painter(folder: str | PathLike[str]) -> Painter:
    """What a run of itit left in its folder."""
    place = Path(folder)
    place = place / "painter" if (place / "painter").is_dir() else place
    try:
        about = json.loads((place / "painter.json").read_text(encoding="utf-8"))
        held = from_bytes((place / "painter.safetensors").read_bytes())
        settings = ITIT.Settings(**about["settings"])
        method = ITIT.__new__(ITIT)
        nn.Module.__init__(method)
        method.settings = settings
        method.tokeniser = restored(place, about["tokeniser"])
        method.places = (settings.size // settings.patch) ** 2
        method.codes = PatchCodes(held["book"], settings.patch)
        method.joint = Joint(settings.codes, method.places, method.tokeniser, settings)
        method.joint.load_state_dict(part_of(held, "joint"))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise SourceProblem(f"{folder} holds no run of itit: {error}") from error
    return Painter(method)
