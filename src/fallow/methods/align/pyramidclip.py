"""PyramidCLIP: pictures and captions at three levels each, aligned level by level and across."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders import Encoder
from fallow.encoders.attention_pool import AttentionPool
from fallow.encoders.local import REAR, rear
from fallow.encoders.vit import ViT
from fallow.images import Images, Pack
from fallow.images.captions import CAPTION
from fallow.losses.alignment import pair_contrast
from fallow.methods.shared.words import WordsMethod, WordsSettings
from fallow.parts.summary import SUMMARY, with_summaries
from fallow.problems import SettingProblem
from fallow.regions.objects import REGIONS, TAGS, region_table
from fallow.train import Batch, Loss, Now
from fallow.train.method import Beside
from fallow.views import Recipe, View

# term: level of the picture, level of the text, and how it is reached
TERMS = {
    "GS": ("global", SUMMARY, "peer"),
    "LT": ("local", CAPTION, "peer"),
    "GA": ("global", TAGS, "across global"),
    "RS": (REGIONS, SUMMARY, "across global"),
    "LA": ("local", TAGS, "across local"),
    "RT": (REGIONS, CAPTION, "across local"),
}


def term_weights(levels: set[str], across_global: float, across_local: float) -> dict[str, float]:
    """Weights of the terms whose two levels there are; they sum to 1.

    >>> term_weights({"global", "local", "summary", "caption"}, 1 / 3, 1 / 3)
    {'GS': 0.5, 'LT': 0.5}
    """
    share = {
        "peer": 1 - across_global - across_local,
        "across global": across_global,
        "across local": across_local,
    }
    found = {
        name: share[how] / 2
        for name, (image, text, how) in TERMS.items()
        if image in levels and text in levels and share[how] > 0
    }
    if not found:
        raise SettingProblem(
            "no pair of levels is left to align: give regions or tags, or weigh the peers"
        )
    whole = sum(found.values())
    return {name: weight / whole for name, weight in found.items()}


class PyramidCLIP(WordsMethod):
    """Picture, part and things with summary, caption and tags of it (Gao et al. 2022).

    The things (`regions`) and their names (`tags`) come from the picture, not from its caption, so
    that a wrong caption does not spoil them; without these columns the terms that need them are
    left out. Targets are softened, for in a batch other pictures often fit a caption, too.
    """

    family = "contrastive"
    predicts = "which text of the batch belongs to a picture, at three levels of both"
    reads = (CAPTION, SUMMARY, TAGS, REGIONS)
    columns = (CAPTION, SUMMARY, TAGS)

    class Settings(WordsSettings):
        softness: float = Field(
            0.2, ge=0, lt=1, description="part of a target that the other texts share"
        )
        literal: bool = Field(
            False, description="give the own text such a share, too, as the equations are printed"
        )
        across_global: float = Field(
            1 / 3, ge=0, le=1, description="weight of whole picture with tags, things with summary"
        )
        across_local: float = Field(
            1 / 3, ge=0, le=1, description="weight of part with tags, things with caption"
        )
        crop_global: float = Field(0.9, gt=0, le=1, description="least share the whole view shows")
        things: int = Field(10, ge=1, description="things of a picture, at most")
        thing_width: int | None = Field(
            None, gt=0, description="numbers of a thing, box included; none: no things are read"
        )
        rear: int = Field(REAR, ge=1, description="last blocks of a transformer that read things")
        pool: Literal["end", "last", "max"] = Field(
            "max", description="what stands for a text: the largest of each place, padding too"
        )

        @model_validator(mode="after")
        def _weights(self) -> PyramidCLIP.Settings:
            if self.across_global + self.across_local > 1:
                raise ValueError("across_global and across_local together weigh at most 1")
            return self

    presets: ClassVar = {
        "paper": {
            "size": 224,
            "epochs": 32,
            "batch": 256,
            "learning_rate": 5e-4,
            "warmup": 0.05,
            "clip": None,
            "output": 512,
            "text_width": 512,
            "text_layers": 12,
            "text_heads": 8,
            "context": 77,
            "tokeniser": "clip",
            "compose": "shuffled",
            "thing_width": 2052,
        }
    }

    @classmethod
    def suited(cls, images: Images) -> dict[str, int]:
        """Settings that these pictures' columns decide."""
        if REGIONS not in images.columns:
            return {}
        first = np.flatnonzero([cell is not None for cell in images.column(REGIONS)])[:1]
        if not len(first):
            return {}
        return {"thing_width": region_table(images, first, 1)[0].shape[2]}

    def recipe(self) -> Recipe:
        s = self.settings
        whole = View(s.size, area=(s.crop_global, 1.0), flip=0.0)
        return Recipe((whole, View(s.size, area=(s.crop, 1.0), flip=0.0, role="local")))

    def build(self, encoder: Encoder) -> None:
        super().build(encoder)
        s = self.settings
        if s.thing_width is None:
            return
        network = encoder.network
        if not isinstance(network, ViT) and not _attends(network):
            raise SettingProblem(
                f"things are read by the last blocks of a transformer, or by attention at the end "
                f"of a residual network (pool_side=), and {encoder.name} has neither"
            )
        self.things = nn.Linear(s.thing_width, encoder.dimension, bias=False)
        if isinstance(network, ViT):
            if network.cls_token is None or network.pool != "cls":
                raise SettingProblem("things are read beside a class token: use such a transformer")
            self.thing_norm = nn.LayerNorm(encoder.dimension)

    def beside(self, name: str, images: Images, pack: Pack, seed: int) -> Beside:
        if CAPTION in images.columns and SUMMARY not in images.columns:
            images = with_summaries(images)
        texts = super().beside(name, images, pack, seed)
        if self.settings.thing_width is None or REGIONS not in images.columns:
            return texts
        table, known = region_table(images, pack.rows, self.settings.things)
        if table.shape[2] != self.settings.thing_width:
            raise SettingProblem(
                f"the things of {images.name} have {table.shape[2]} numbers, and thing_width is "
                f"{self.settings.thing_width}"
            )

        def both(rows: np.ndarray, epoch: int) -> dict[str, Tensor]:
            things = {
                REGIONS: torch.from_numpy(table[rows]),
                f"{REGIONS}_each": torch.from_numpy(known[rows]),
                f"{REGIONS}_known": torch.from_numpy(known[rows].any(1)),
            }
            return texts(rows, epoch) | things

        return both

    def thing_vectors(self, regions: Tensor, known: Tensor) -> Tensor:
        """Unit vectors (B, D) of pictures by their things (B, M, F) alone; `known` (B, M)."""
        network = self.encoder.network
        tokens = self.things(regions)
        if isinstance(network, ViT):
            assert network.cls_token is not None
            lead = network.cls_token.expand(len(tokens), -1, -1).to(tokens.dtype)
            tokens = self.thing_norm(torch.cat([lead, tokens], 1))
            looked = torch.cat([known.new_ones(len(known), 1), known], 1)
            seen = rear(network, tokens, looked, self.settings.rear)
        else:
            seen = network.pool.rear(tokens, known)  # type: ignore[union-attr, operator]
        return F.normalize(self.words.place(seen).float(), dim=1)

    def levels(self, batch: Batch) -> dict[str, Tensor]:
        """Unit vectors (B, D) of every level there is: six passes at most, each used twice."""
        found = {"global": self.picture(batch.views[0]), "local": self.picture(batch.views[1])}
        if REGIONS in batch.beside:
            found[REGIONS] = self.thing_vectors(
                batch.beside[REGIONS], batch.beside[f"{REGIONS}_each"]
            )
        return found | {c: self.text(batch.beside[c]) for c in self.columns if c in batch.beside}

    def loss(self, batch: Batch, now: Now) -> Loss:
        s = self.settings
        levels = self.levels(batch)
        weights = term_weights(set(levels), s.across_global, s.across_local)
        terms = {
            name: pair_contrast(
                levels[TERMS[name][0]],
                levels[TERMS[name][1]],
                self.words.scale,
                used=_known(batch, *TERMS[name][:2]),
                softness=s.softness,
                literal=s.literal,
            )
            for name in weights
        }
        total = torch.stack([weight * terms[name] for name, weight in weights.items()]).sum()
        parts: dict[str, Tensor | float] = {name: one.detach() for name, one in terms.items()}
        parts["scale"] = self.words.scale.detach()
        trivial = math.log(len(batch) * now.world)
        return Loss(total, parts, embedding=levels["global"], trivial=trivial)


def _known(batch: Batch, image: str, text: str) -> Tensor | None:
    """Which pictures have both levels of a term; none where every picture has, on every rank."""
    asked = [batch.beside[f"{one}_known"] for one in (image, text) if one in (REGIONS, TAGS)]
    return torch.stack(asked).all(0) if asked else None


def _attends(network: nn.Module) -> bool:
    return isinstance(getattr(network, "pool", None), AttentionPool)


def ablation() -> Mapping[str, dict[str, float]]:
    """Settings of the rows between CLIP and all of PyramidCLIP, to tell what each part adds.

    >>> list(ablation())
    ['peers', 'peers, softened', 'and across, global', 'and across, local']
    """
    return {
        "peers": {"softness": 0.0, "across_global": 0.0, "across_local": 0.0},
        "peers, softened": {"across_global": 0.0, "across_local": 0.0},
        "and across, global": {"across_global": 0.5, "across_local": 0.0},
        "and across, local": {},
    }
