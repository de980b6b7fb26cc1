"""CLIPSep: one sound out of a recording, by words, learnt from pictures (Dong et al. 2023).

Two clips are mixed, and the picture that belongs to one says which is to come out. Words stand in
the pictures' space, so they may ask later. With noise heads (NIT) a part of the mixture that no
picture explains goes elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from fallow.encoders.sound_net import SoundNet
from fallow.files import atomic_write
from fallow.problems import Problem, SettingProblem, SourceProblem
from fallow.sounds.spectra import bent, sound, spectrum, straight
from fallow.train.schedules import linear_fall

SMALLEST = 1e-10
LENGTH = 10.0  # of every query; about that of the published encoder's vectors


def asking(vectors: np.ndarray) -> np.ndarray:
    """Vectors of pictures or of words (... D) as queries: all of one length.

    The published encoder's are about as long as each other as they come. Those of others are not,
    and words twenty times as long as the pictures that taught ask for nothing.

    >>> asking(np.array([[0.3, 0.4], [30.0, 40.0]])).round(6).tolist()
    [[6.0, 8.0], [6.0, 8.0]]
    """
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    found: np.ndarray = (LENGTH * vectors / np.maximum(length, SMALLEST)).astype(np.float32)
    return found


class Settings(BaseModel):
    """What the separation can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate: int = Field(8_000, ge=1_000, description="samples a second")
    size: int = Field(512, ge=32, description="samples of a spectrum")
    hop: int = Field(128, ge=8, description="samples between spectra")
    rows: int = Field(128, ge=16, description="bent rows of a spectrum")
    frames: int = Field(128, ge=16, description="spectra of a clip")
    maps: int = Field(16, ge=1, description="maps a query weighs")
    width: int = Field(16, ge=1, description="channels of the network's first step")
    steps: int = Field(5, ge=1, description="halvings of the network")
    noise: bool = Field(True, description="noise heads for what no picture explains (NIT)")
    noise_weight: float = Field(0.1, ge=0, description="on noise masks that are too full")
    noise_share: float = Field(0.25, ge=0, description="how full both may be together")
    noise_start: float = Field(
        -2.0, description="of the noise logits; 0, as published, begins where nothing learns"
    )
    margin_weight: float = Field(0.0, ge=0, description="on noise that explains as much alone")
    margin: float = Field(0.0, description="by how much less it has to")
    batch: int = Field(16, ge=1)
    training_steps: int = Field(1_000, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    seed: int = 0


presets: dict[str, dict[str, Any]] = {
    "paper": {
        "rate": 16_000,
        "size": 1024,
        "hop": 256,
        "rows": 256,
        "frames": 256,
        "maps": 32,
        "width": 64,
        "steps": 7,
        "noise_start": 0.0,
        "batch": 32,
        "training_steps": 200_000,
    },
}


class Targets(NamedTuple):
    """What a mixture's masks should be, everywhere with a weight.  All B 1 R T"""

    masks: list[Tensor]
    weight: Tensor
    mixture: Tensor  # bent magnitude


def targets(mixture: Tensor, sources: Sequence[Tensor], rows: int = 256) -> Targets:
    """Of magnitudes (B 1 F T): a mask is where a source has more than half of the mixture."""
    whole = bent(mixture + SMALLEST, rows)
    masks = [(bent(one, rows) > 0.5 * whole).to(whole.dtype) for one in sources]
    return Targets(masks, torch.log1p(whole).clamp(1e-3, 10.0), whole)


class Query(nn.Module):
    """Vectors of pictures or words become weights of maps, and these a mask's logit."""

    def __init__(self, dimension: int, maps: int, noise_start: float = 0.0) -> None:
        super().__init__()
        self.ask = nn.Linear(dimension, maps)
        self.noises = nn.ModuleList(nn.Linear(maps, maps) for _ in range(2))
        self.scale = nn.Parameter(torch.ones(maps))
        self.bias = nn.Parameter(torch.zeros(1))
        self.noise_start = noise_start
        for layer in (self.ask, *self.noises):
            nn.init.normal_(layer.weight, 0.0, 1e-4)
            nn.init.zeros_(layer.bias)

    def logit(self, asked: Tensor, maps: Tensor) -> Tensor:
        """Of queries before their sigmoid (B C) and maps (B C R T).  B 1 R T"""
        weights = torch.sigmoid(asked) * self.scale
        return torch.einsum("bc,bcrt->brt", weights, maps)[:, None] + self.bias

    def noise_logits(self, asked: Sequence[Tensor], maps: Tensor) -> list[Tensor]:
        """What no picture explains, in two parts, from the mean of what was asked."""
        mean = torch.stack(list(asked)).mean(0)
        return [self.logit(layer(mean), maps) + self.noise_start for layer in self.noises]


def plain_loss(logits: Sequence[Tensor], found: Targets) -> Tensor:
    """Weighted cross-entropy of every source's mask, mean over sources."""
    losses = [
        F.binary_cross_entropy(torch.sigmoid(one), mask, weight=found.weight)
        for one, mask in zip(logits, found.masks, strict=True)
    ]
    return torch.stack(losses).mean()


def _each(prediction: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross-entropy of each row.  B"""
    # of probabilities: their sum with noise is no logit
    loss = F.binary_cross_entropy(prediction, mask, weight=weight, reduction="none")
    return loss.mean((1, 2, 3))


def noise_invariant_loss(
    logits: Sequence[Tensor],
    noises: Sequence[Tensor],
    found: Targets,
    weight: float = 0.1,
    share: float = 0.25,
    margin_weight: float = 0.0,
    margin: float = 0.0,
) -> Tensor:
    """Each mask may be helped by one of two noises, whichever way round is better, row by row.

    Noises that are fuller than `share` together cost `weight`; with `margin_weight` so does a
    noise that alone explains a source nearly as well.
    """
    one, two = (torch.sigmoid(logit) for logit in logits)
    noise = [torch.sigmoid(logit) for logit in noises]
    first, second = found.masks

    def way(a: Tensor, b: Tensor) -> Tensor:
        losses = []
        for asked, helped, mask in ((one, a, first), (two, b, second)):
            own = _each((asked + helped).clamp(max=1), mask, found.weight)
            if margin_weight:
                alone = _each(helped, mask, found.weight)
                own = own + margin_weight * F.relu(own - alone + margin)
            losses.append(own)
        return (losses[0] + losses[1]) / 2

    better = torch.minimum(way(noise[0], noise[1]), way(noise[1], noise[0])).mean()
    return better + weight * F.relu((noise[0] + noise[1]).mean() - share)


class Separator(nn.Module):
    """A network over spectra and the heads that queries go through."""

    def __init__(self, dimension: int, settings: Settings) -> None:
        super().__init__()
        s = settings
        least = 2**s.steps
        if s.rows % least or s.frames % least:
            raise SettingProblem(
                f"{s.steps} halvings need rows and frames that are multiples of {least}, not "
                f"{s.rows} and {s.frames}"
            )
        self.settings, self.dimension = s, dimension
        self.net = SoundNet(s.maps, s.width, s.steps)
        self.query = Query(dimension, s.maps, s.noise_start)

    @property
    def length(self) -> int:
        """Samples of a clip."""
        return (self.settings.frames - 1) * self.settings.hop

    def loss(self, clips: Tensor, queries: Tensor) -> Tensor:
        """Of pairs of clips (B 2 N) and what asks for each (B 2 D)."""
        s = self.settings
        spectra = [spectrum(clips[:, k] / 2, s.size, s.hop) for k in (0, 1)]
        magnitudes = [one.abs()[:, None] for one in spectra]
        found = targets((spectra[0] + spectra[1]).abs()[:, None], magnitudes, s.rows)
        maps = self.net(found.mixture.log())
        asked = [self.query.ask(queries[:, k]) for k in (0, 1)]
        logits = [self.query.logit(one, maps) for one in asked]
        if not s.noise:
            return plain_loss(logits, found)
        noises = self.query.noise_logits(asked, maps)
        return noise_invariant_loss(
            logits, noises, found, s.noise_weight, s.noise_share, s.margin_weight, s.margin
        )

    @torch.inference_mode()
    def separate(self, samples: np.ndarray, queries: Tensor) -> np.ndarray:
        """What each query (Q D) asks for, of a recording of any length.  Q N

        In windows that overlap by half and fade into one another: memory does not grow with the
        recording. One pass of the network serves all queries.
        """
        self.eval()
        s = self.settings
        window = np.hanning(self.length + 2)[1:-1].astype(np.float32)
        step = self.length // 2
        count = len(samples)
        padded = np.pad(samples.astype(np.float32), (step, 2 * self.length))
        out = np.zeros((len(queries), len(padded)), np.float32)
        weight = np.zeros(len(padded), np.float32)
        asked = self.query.ask(queries.float())
        for start in range(0, count + step, step):
            part = torch.from_numpy(padded[start : start + self.length])[None]
            whole = spectrum(part, s.size, s.hop)
            maps = self.net(bent(whole.abs()[:, None] + SMALLEST, s.rows).log())
            logits = self.query.logit(asked, maps.expand(len(asked), -1, -1, -1))
            masks = straight(torch.sigmoid(logits), s.size // 2 + 1)[:, 0]
            made = sound(masks * whole, s.size, s.hop, self.length).numpy()
            out[:, start : start + self.length] += made * window
            weight[start : start + self.length] += window
        return (out / np.maximum(weight, 1e-6))[:, step : step + count]


@dataclass
class Learnt:
    """A separator, and how its training went."""

    separator: Separator
    losses: list[float]


def learnt(
    clips: Sequence[np.ndarray],
    queries: np.ndarray,
    settings: Settings,
    tell: Callable[[str], None] = lambda line: None,
) -> Learnt:
    """Train on clips (each N samples) and the vectors of what is seen with them (C D).

    Two clips of a batch are mixed, at a loudness of their own; a short clip is repeated.
    """
    s = settings
    if len(clips) < 2 or len(clips) != len(queries):
        raise Problem(f"{len(clips)} clips and {len(queries)} queries: two pairs are the least")
    silent = [row for row, clip in enumerate(clips) if not len(clip) or np.abs(clip).max() == 0]
    if silent:
        raise SourceProblem(f"{len(silent)} of {len(clips)} clips are silent, the first is number "
                            f"{silent[0]}: leave them out")  # fmt: skip
    torch.manual_seed(s.seed)
    separator = Separator(queries.shape[1], s)
    optimiser = torch.optim.Adam(separator.parameters(), s.learning_rate)
    draw = np.random.default_rng(s.seed)
    vectors = torch.from_numpy(np.asarray(queries, np.float32))
    warm = max(1, s.training_steps // 40)
    losses = []
    separator.train()
    for step in range(s.training_steps):
        pairs = np.stack([draw.choice(len(clips), 2, replace=False) for _ in range(s.batch)])
        made = np.stack(
            [[_cut(clips[row], separator.length, draw) for row in two] for two in pairs]
        )
        rate = s.learning_rate * linear_fall(step, warm, max(warm + 1, s.training_steps // 2))
        optimiser.param_groups[0]["lr"] = rate
        loss = separator.loss(torch.from_numpy(made), vectors[torch.from_numpy(pairs)])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(separator.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        if (step + 1) % 100 == 0:
            tell(f"step {step + 1:,} of {s.training_steps:,}: loss {np.mean(losses[-100:]):.3f}")
    return Learnt(separator.eval(), losses)


def _cut(clip: np.ndarray, length: int, draw: np.random.Generator) -> np.ndarray:
    """A part of a clip of that length, louder or softer."""
    if len(clip) < length:
        clip = np.tile(clip, -(-length // len(clip)))
    start = int(draw.integers(len(clip) - length + 1))
    part = clip[start : start + length] * draw.uniform(0.5, 1.5)
    return np.clip(part, -1, 1).astype(np.float32)


def save_separator(separator: Separator, folder: str | PathLike[str], encoder: str) -> Path:
    """Weights and settings; the dual encoder that queries come from is named."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    held = {name: value.contiguous() for name, value in separator.state_dict().items()}
    about = {"encoder": encoder, "dimension": separator.dimension,
             "settings": separator.settings.model_dump()}  # fmt: skip
    with atomic_write(place / "separator.safetensors") as target:
        target.write(to_bytes(held))
    with atomic_write(place / "separator.json") as target:
        target.write(json.dumps(about, indent=1).encode())
    return place


def load_separator(folder: str | PathLike[str]) -> tuple[Separator, str]:
    """What `save_separator` wrote, and the dual encoder it was learnt with."""
    place = Path(folder)
    try:
        about = json.loads((place / "separator.json").read_text())
        separator = Separator(about["dimension"], Settings(**about["settings"]))
        separator.load_state_dict(from_bytes((place / "separator.safetensors").read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise SourceProblem(f"{folder} holds no separator: {error}") from error
    return separator.eval(), about["encoder"]
