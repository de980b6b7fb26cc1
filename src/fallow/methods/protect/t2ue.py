"""T2UE: captions become patterns that make captioned pictures useless to learn from (2025).

A generator learns, against a frozen dual encoder, to turn a text's vector into a small pattern
with which any picture of that text is matched at once: who trains on such pairs has nothing left
to learn. Afterwards texts are enough; the pictures stay with their owner.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor
from torch.nn import functional as F

from fallow.encoders import Encoder
from fallow.encoders.conditioned import NOISE, TextGenerator
from fallow.encoders.dual import Words, load_words, save_words
from fallow.files import atomic_write
from fallow.images.captions import CAPTION
from fallow.losses.alignment import pair_contrast
from fallow.methods.shared.words import WordsMethod, WordsSettings
from fallow.problems import SettingProblem, SourceProblem
from fallow.train import Batch, Loss, Now
from fallow.train.words import NAMES
from fallow.views.perturb import Budget, added, stepped, steps_at, stretched

LIMITS = (
    "This is not a guarantee. It fails where a stranger has other pictures of the same kind (in "
    "the authors' trial a classifier taught with 80 % of the pictures protected was still right in "
    "68 of 100 cases, and in 10 when all were), where captions are written anew, and under strong "
    "JPEG compression."
)


class T2UE(WordsMethod):
    """Patterns from texts, after which a picture has nothing left to be matched by."""

    family = "protection"
    predicts = "a pattern that makes a picture match its text, from the text alone"

    class Settings(WordsSettings):
        batch: int = Field(32, ge=2, description="pictures a step, over all ranks")
        learning_rate: float = Field(8e-4, gt=0, description="at batch 256")
        weight_decay: float = 0.0
        warmup: float = Field(0.0, ge=0, lt=1)
        width: int = Field(16, ge=1, description="channels of the generator's last block")
        blocks: int = Field(5, ge=2, le=7, description="doublings: 5 make patterns of 64 pixels")
        eps: float = Field(8.0, gt=0, description="largest change of a value, of 255 levels")
        bound: Literal["scale", "tanh", "clamp"] = Field(
            "scale", description="clamp, as published, has no gradient where a pattern is large"
        )

    presets: ClassVar = {
        # MSCOCO, ViT-B/32
        "paper": {
            "size": 224,
            "batch": 128,
            "epochs": 500,
            "learning_rate": 1e-4 * 256 / 128,
            "width": 64,
            "blocks": 7,
            "bound": "clamp",
        },
    }

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        if s.start is None:
            raise SettingProblem(
                "t2ue learns against a dual encoder that exists: give its folder, a run of align, "
                "or hf:NAME, with start="
            )
        super().build(encoder)
        encoder.requires_grad_(False)
        self.words.requires_grad_(False)
        self.generator = TextGenerator(self.words.dimension, s.width, s.blocks)

    def train(self, mode: bool = True) -> T2UE:
        """Both towers compute as they will later."""
        super().train(mode)
        self.encoder.eval()
        self.words.eval()
        return self

    def pattern(self, text: Tensor, noise: Tensor) -> Tensor:
        """Bounded patterns for vectors of texts.  B D, B 100 -> B 3 P P"""
        return bounded(self.generator(noise, text).float(), self.settings.eps, self.settings.bound)

    def loss(self, batch: Batch, now: Now) -> Loss:
        seen = batch.views[0].float()
        mean, std = (
            seen.new_tensor(v).view(1, 3, 1, 1) for v in (self.encoder.mean, self.encoder.std)
        )
        text = self.words(batch.beside[CAPTION]).float().detach()
        noise = torch.randn(len(text), NOISE, device=text.device)
        change = stretched(self.pattern(text, noise), (seen.shape[2], seen.shape[3]))
        changed = added((seen * std + mean).clamp(0, 1), change)
        image = self.picture((changed - mean) / std)
        unit = F.normalize(text, dim=1)
        total = pair_contrast(image, unit, self.words.scale.detach(), names=batch.beside[NAMES])
        return Loss(total, {"strength": change.detach().abs().mean() * 255 / self.settings.eps})

    def after_step(self, now: Now) -> None:
        """Nothing of the dual encoder changes."""

    def save(self, folder: Path) -> None:
        self.writer().save(folder / "writer")

    def writer(self, seed: int = 0) -> PatternWriter:
        """What makes patterns of texts from now on."""
        s = self.settings
        return PatternWriter(self.words, self.generator.eval(), Budget(s.eps), s.bound, seed)


def bounded(raw: Tensor, eps: float, how: str) -> Tensor:
    """A generator's output (B 3 P P) within `eps` of 255 levels.

    >>> bounded(torch.tensor([0.5, -0.01]), 25.5, "clamp")
    tensor([ 0.1000, -0.0100])
    """
    budget = Budget(eps)
    if how == "clamp":
        return budget.clamped(raw)
    return budget.scaled(raw.tanh() if how == "tanh" else raw)


@dataclass
class PatternWriter:
    """Makes patterns of texts: no picture is needed, and none is looked at.

    Whoever has it can make the patterns again and take them off: it is not to be published.
    """

    words: Words
    generator: TextGenerator
    budget: Budget
    bound: str
    seed: int = 0  # one noise for all texts: a text always gets the same pattern

    @torch.inference_mode()
    def patterns(self, texts: Sequence[str], batch: int = 32) -> Tensor:
        """A pattern for each text.  N 3 P P"""
        self.words.eval()
        self.generator.eval()
        device = next(self.generator.parameters()).device
        noise = torch.randn(1, NOISE, generator=torch.Generator().manual_seed(self.seed)).to(device)
        made = []
        for first in range(0, len(texts), batch):
            numbers = self.words.read(texts[first : first + batch])
            text = self.words(numbers).float()
            raw = self.generator(noise.expand(len(text), -1), text.to(device)).float()
            made.append(bounded(raw, self.budget.size, self.bound).cpu())
        return torch.cat(made)

    def save(self, folder: str | Path) -> Path:
        """The words, the generator's weights, and what else it takes to make patterns again."""
        place = Path(folder)
        save_words(self.words, place)
        about = {
            "width": self.generator.out[2].in_channels,
            "blocks": len(self.generator.blocks),
            "eps": self.budget.size,
            "bound": self.bound,
            "seed": self.seed,
        }
        held = {name: value.contiguous() for name, value in self.generator.state_dict().items()}
        with atomic_write(place / "generator.safetensors") as target:
            target.write(to_bytes(held))
        with atomic_write(place / "writer.json") as target:
            target.write(json.dumps(about, indent=1).encode())
        return place


def load_writer(folder: str | Path) -> PatternWriter:
    """What `PatternWriter.save` wrote."""
    place = Path(folder)
    try:
        about = json.loads((place / "writer.json").read_text())
        words = load_words(place)
        generator = TextGenerator(words.dimension, about["width"], about["blocks"])
        generator.load_state_dict(from_bytes((place / "generator.safetensors").read_bytes()))
        return PatternWriter(words, generator, Budget(about["eps"]), about["bound"], about["seed"])
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise SourceProblem(f"{folder} holds no writer of patterns: {error}") from error


def protected(pixels: np.ndarray, pattern: Tensor, budget: Budget) -> np.ndarray:
    """A copy of one uint8 picture (H W 3) with a pattern (3 P P) at its own size.

    >>> protected(np.full((2, 2, 3), 100, np.uint8), torch.full((3, 1, 1), 0.02), Budget(8)).max()
    np.uint8(105)
    """
    return stepped(pixels, steps_at(pattern, pixels.shape[:2], budget, "nearest"))


def cut_down(pixels: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Pictures (... H W 3 uint8) with a change (... 3 H W) in 0 ... 1, as published.

    8 bits by cutting off, which loses up to a level: `protected` rounds.
    """
    moved = np.moveaxis(change, -3, -1)
    return (np.clip(pixels / np.float32(255) + moved, 0, 1) * 255).astype(np.uint8)
