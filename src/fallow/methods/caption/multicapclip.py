"""MultiCapCLIP: captions learnt from texts alone (Yang et al. 2023).

A writer learns to say again what a dual encoder makes of a sentence: through noise, with the
phrases that are nearest, and from sentences that say nearly the same. Later the vector of a
picture takes the sentence's place, in the same space. No picture is seen in training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders import Encoder
from fallow.encoders.dual import DualEncoder, dual_encoder
from fallow.encoders.tokeniser import Tokeniser, learnt, restored
from fallow.encoders.writer import Writer, WriterShape, beam, shifted
from fallow.files import atomic_write
from fallow.losses.language import next_words
from fallow.parts.concepts import phrases, related
from fallow.problems import Problem, SettingProblem, SourceProblem
from fallow.train import Batch, Loss, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.train.method import Optimiser
from fallow.train.words import Reading

TEXTS = "texts"
BEAMS, SHORTEST = 3, 3


class Prompted(NamedTuple):
    """What a writer is given in place of a sentence or a picture."""

    indices: Tensor  # B K, of the bank
    prompts: Tensor  # B K D
    memory: Tensor  # B T W, looked at from every layer
    prefix: Tensor  # B K W, before the words


class Prompts(nn.Module):
    """Vectors of sentences, pictures or frames, and the phrases nearest to them."""

    def __init__(self, dimension: int, width: int, dropout: float = 0.1, eps: float = 1e-12):
        super().__init__()
        self.memory = nn.Linear(dimension, width)
        self.memory_norm = nn.LayerNorm(width, eps=eps)
        self.prefix = nn.Linear(dimension, width)
        self.prefix_norm = nn.LayerNorm(width, eps=eps)
        self.drop = nn.Dropout(dropout)

    def forward(self, vectors: Tensor, bank: Tensor, count: int, apart: bool = True) -> Prompted:
        """Unit vectors (B D, or B T D of a video) with the `count` nearest of a bank (C D).

        What frames are near to is averaged. Unless `apart`, the phrases stand in the memory, too.
        """
        frames = vectors[:, None] if vectors.dim() == 2 else vectors  # B T D
        near = (frames @ bank.T).mean(1)
        indices = near.topk(min(count, len(bank)), 1).indices
        prompts = bank[indices]
        looked = frames if apart else torch.cat([frames, prompts], 1)
        memory = self.drop(self.memory_norm(self.memory(looked)))
        return Prompted(indices, prompts, memory, self.drop(self.prefix_norm(self.prefix(prompts))))


def noisy(vectors: Tensor, noise: Tensor, spread: float) -> Tensor:
    """Unit vectors with noise of that spread in every direction, of unit length again.

    In 512 dimensions a spread of 0.1 is a noise longer than the vector: it is meant so.
    """
    return F.normalize(F.normalize(vectors, dim=-1) + spread * noise, dim=-1)


class MultiCapCLIP(Method):
    """Say a sentence again from its vector, as a picture's vector will stand there later."""

    family = "captioning"
    predicts = "a sentence, word by word, from the noisy vector of one that says nearly the same"
    reads: ClassVar[tuple[str, ...]] = ("text",)

    class Settings(BaseSettings):
        start: str | None = Field(
            None, description="folder of a dual encoder (a run of align), or hf:NAME of a CLIP"
        )
        batch: int = Field(32, ge=1, description="sentences a step")
        noise: float = Field(
            0.1, ge=0, description="spread in each direction; 0.01 where texts are of other things"
        )
        phrases: int = Field(1000, ge=1, description="commonest phrases of the texts that are kept")
        prompts: int = Field(16, ge=0, description="nearest phrases a writer is given; 0: none")
        related: int = Field(5, ge=1, description="sentences that may stand for one; 1: itself")
        smoothing: float = Field(0.1, ge=0, lt=1, description="share of a word given to all others")
        width: int = Field(256, gt=0, description="of the writer; 512 in the paper")
        layers: int = Field(3, gt=0, description="of the writer; 6 in the paper")
        heads: int = Field(4, gt=0, description="attention heads of the writer; 8 in the paper")
        dropout: float = Field(0.1, ge=0, lt=1)
        vocabulary: int = Field(2000, ge=514, description="pieces of words, learnt from the texts")
        context: int = Field(40, ge=4, description="longest sentence, in pieces of words")
        optimiser: Optimiser = "adamw"
        learning_rate: float = Field(8e-3, gt=0, description="at batch 256")
        second_momentum: float = Field(0.98, ge=0, lt=1)
        weight_decay: float = Field(0.01, ge=0)
        clip: float | None = Field(1.0, gt=0)
        precision: Literal["auto", "32", "bf16"] = "32"

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "epochs": 10,
            "width": 512,
            "layers": 6,
            "heads": 8,
            "learning_rate": 1e-4 * 256 / 32,
            "vocabulary": 30522,
            "warmup": 0.1,
            "final_rate": 1.0,  # constant after the warm-up
        },
    }

    bank: Tensor
    sentences: Tensor
    near: Tensor

    def recipe(self) -> Any:
        return {TEXTS: Reading(self.tokeniser, self.settings.context)}

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        if s.start is None:
            raise SettingProblem(
                "multicapclip learns in the space of a dual encoder: give its folder, a run of "
                "align, or hf:NAME"
            )
        if not self.facts.texts:
            raise SettingProblem("multicapclip learns from texts: give a file of them")
        encoder.requires_grad_(False)
        self.dual = dual_encoder(s.start).requires_grad_(False).eval()
        self.tokeniser: Tokeniser = learnt(self.facts.texts, s.vocabulary, context=s.context)
        self.names = phrases(self.facts.texts, s.phrases)
        if not self.names:
            raise Problem("the texts have no words to make phrases of")
        self.register_buffer("bank", self._read(self.names))
        count = self.facts.count
        self.register_buffer("sentences", torch.zeros(count, self.dual.dimension))
        self.register_buffer("near", torch.zeros(count, s.related, dtype=torch.long))
        self.prompter = Prompts(self.dual.dimension, s.width, s.dropout)
        self.writer = Writer(self.shape())

    def shape(self) -> WriterShape:
        s = self.settings
        return WriterShape(
            vocabulary=self.tokeniser.size, context=s.context, width=s.width, layers=s.layers,
            heads=s.heads, hidden=4 * s.width, memory=s.width, dropout=s.dropout,
            eps=1e-12, norm_first=False,
        )  # fmt: skip

    def _read(self, texts: Sequence[str]) -> Tensor:
        return torch.from_numpy(self.dual.embed_texts(texts, normalise=True))

    def train(self, mode: bool = True) -> MultiCapCLIP:
        """The dual encoder stays as it is."""
        super().train(mode)
        self.dual.eval()
        return self

    def before_training(self, pack: Any, seed: int) -> None:
        texts = pack.texts
        vectors = self._read(texts)
        found = related(vectors.numpy(), texts, self.settings.related)
        found = np.pad(found, ((0, 0), (0, self.settings.related - found.shape[1])), mode="edge")
        self.sentences.copy_(vectors)
        self.near.copy_(torch.from_numpy(found))

    def loss(self, batch: Any, now: Now) -> Loss:
        one: Batch = batch if isinstance(batch, Batch) else batch[TEXTS]
        rows = one.index
        choice = torch.randint(self.settings.related, (len(rows),), device=rows.device)
        vectors = self.sentences[self.near[rows, choice]]
        vectors = noisy(vectors, torch.randn_like(vectors), self.settings.noise)
        given = self.prompter(vectors, self.bank, self.settings.prompts)
        said, wanted = shifted(one.beside["text"], self.tokeniser.pad, self.tokeniser.end)
        scores = self.writer(said, memory=given.memory, prefix=given.prefix)
        total = next_words(scores, wanted, self.settings.smoothing)
        right = (scores.argmax(2) == wanted)[wanted >= 0].float().mean()
        return Loss(total, parts={"right words": right.detach()})

    def captioner(self) -> Captioner:
        """What captions pictures from now on."""
        return Captioner(
            self.dual, self.prompter.eval(), self.writer.eval(), self.tokeniser,
            self.bank, self.names, self.settings.prompts,
        )  # fmt: skip

    def save(self, folder: Path) -> None:
        self.captioner().save(folder / "captioner", str(self.settings.start))


@dataclass
class Captioner:
    """Words for vectors of pictures; frames of one video are vectors of one row."""

    dual: DualEncoder
    prompter: Prompts
    writer: Writer
    tokeniser: Tokeniser
    bank: Tensor
    names: Sequence[str]
    prompts: int

    @torch.inference_mode()
    def write(
        self, vectors: np.ndarray, *, beams: int = BEAMS, shortest: int = SHORTEST, batch: int = 32
    ) -> list[tuple[str, float, list[str]]]:
        """For every unit vector (N D, or N T D) a caption, its score, and the nearest phrases."""
        found = []
        longest = self.writer.shape.context - 1
        for some in torch.from_numpy(np.asarray(vectors, np.float32)).split(batch):
            given = self.prompter(some.to(self.bank.device), self.bank, self.prompts)
            texts = beam(
                self.writer, self.writer.begin(memory=given.memory), len(some),
                start=self.tokeniser.start, end=self.tokeniser.end, longest=longest,
                shortest=shortest, prefix=given.prefix, beams=beams,
            )  # fmt: skip
            for (numbers, score), indices in zip(texts, given.indices.tolist(), strict=True):
                text = self.tokeniser.decode(numbers).strip()
                found.append((text, score, [self.names[k] for k in indices]))
        return found

    def save(self, folder: str | Path, start: str) -> Path:
        """Writer, prompts and phrases; the dual encoder is named, not copied."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        held = {f"writer.{name}": value for name, value in self.writer.state_dict().items()}
        held |= {f"prompter.{name}": value for name, value in self.prompter.state_dict().items()}
        held["bank"] = self.bank
        about = {
            "start": start,
            "shape": asdict(self.writer.shape),
            "names": list(self.names),
            "prompts": self.prompts,
            "tokeniser": self.tokeniser.describe(),
        }
        self.tokeniser.save(place)
        with atomic_write(place / "captioner.safetensors") as target:
            target.write(to_bytes({name: value.contiguous() for name, value in held.items()}))
        with atomic_write(place / "captioner.json") as target:
            target.write(json.dumps(about, indent=1, ensure_ascii=False).encode())
        return place


def load_captioner(folder: str | PathLike[str]) -> Captioner:
    """What a run of `caption` left in its folder."""
    place = Path(folder)
    place = place / "captioner" if (place / "captioner").is_dir() else place
    try:
        about = json.loads((place / "captioner.json").read_text(encoding="utf-8"))
        held = from_bytes((place / "captioner.safetensors").read_bytes())
        writer = Writer(WriterShape(**about["shape"]))
        writer.load_state_dict(_part(held, "writer."))
        bank = held["bank"]
        prompter = Prompts(bank.shape[1], writer.shape.width)
        prompter.load_state_dict(_part(held, "prompter."))
        tokeniser = restored(place, about["tokeniser"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise SourceProblem(f"{folder} holds no captioner: {error}") from error
    return Captioner(
        dual_encoder(about["start"]), prompter.eval(), writer.eval(), tokeniser, bank,
        about["names"], about["prompts"],
    )  # fmt: skip


def _part(held: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in held.items() if name.startswith(prefix)}


def gap(pictures: np.ndarray, sentences: np.ndarray) -> float:
    """How near pictures (N D unit) are to their nearest sentence: what the noise has to bridge.

    Measured without captions, so that the noise may be chosen by it.
    """
    return float((pictures @ sentences.T).max(1).mean())
