"""Bi-Mix: labelled objects of the day pasted into the night teach the segmenter, moving objects of
the paired day picture pasted into the night teach a network that lights pictures anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from fallow.encoders import Encoder
from fallow.encoders.judges import MapJudge
from fallow.encoders.relighting import Curves
from fallow.losses.adversarial import told_from
from fallow.losses.coarse import (
    IGNORE,
    blended,
    rare_weights,
    share_sure,
    tolerant,
    tolerant_as_published,
)
from fallow.losses.relighting import relighting, roughness
from fallow.losses.segmentation import masked_cross_entropy
from fallow.methods.shared.carrying import Carrier, CarrySettings, InUse, save_relighting
from fallow.parts.judge import Judge
from fallow.problems import SettingProblem, SourceProblem
from fallow.train import Batch, Loss, Now
from fallow.train.session import rate
from fallow.views import Recipe
from fallow.views.mixing import class_mask, class_mix_masks, half_of_classes, paste

if TYPE_CHECKING:
    from fallow.images import Images, Pack

MOVING = 11  # of Cityscapes' 19 classes, the first of those that move
PASTED = 12  # and the first of those the authors paste: all that move but the person
# share of each of Cityscapes' classes among its labelled pixels
CITYSCAPES = (
    0.36869696, 0.06084986, 0.22824049, 0.00655399, 0.00877272, 0.01227341, 0.00207795, 0.0055127,
    0.15928651, 0.01157818, 0.04018982, 0.01218957, 0.00135122, 0.06994545, 0.00267456, 0.00235192,
    0.00232904, 0.00098658, 0.00413907,
)  # fmt: skip


class BiMix(Carrier):
    """Bidirectional mixing for other light (Yang et al. 2021), on top of DANNet."""

    wants_masks = True
    predicts = "labels of source objects in target pictures, and the paired picture's labels"

    class Settings(CarrySettings):
        learning_rate: float = Field(
            0.128, gt=0, description="at batch 256: 1e-3 at batch 2; scales with the batch"
        )
        schedule: Literal["cosine", "power", "inverse", "linear"] = "power"
        warmup: float = Field(0.0, ge=0, lt=1, description="share of the budget it rises in")
        smallest: float = Field(
            0.5, gt=0, le=1, description="least side of a source crop, of a view's"
        )
        relight: bool = Field(True, description="light every picture anew before it is segmented")
        width: int = Field(32, ge=1, description="filters of the network that does so")
        block: int = Field(32, ge=1, description="pixels a side of the parts light is judged in")
        class_mix: bool = Field(True, description="paste labelled objects into target pictures")
        object_mix: bool = Field(True, description="paste what moves by day into the night")
        moving: tuple[int, ...] = Field((), description="codes of the classes that move")
        frequencies: tuple[float, ...] = Field(
            (), description="share of each class in the source; none: as its masks have it"
        )
        spread: float = Field(0.05, ge=0, description="of class weights around 1, in training")
        test_spread: float = Field(0.16, ge=0, description="of class weights, in use")
        day_share: float = Field(0.8, ge=0, le=1, description="of the day in labels it is sure of")
        day_sure: float = Field(0.4, description="logit above which the day is sure")
        sure: float = Field(0.968, ge=0, le=1, description="probability of a pixel to be counted")
        adversarial_weight: float = Field(0.01, ge=0, description="of outputs that give away")
        light_weight: float = Field(0.01, ge=0, description="of the light of pairs; source: 1")
        object_weight: float = Field(0.001, ge=0, description="of equal relighting of objects")
        class_weight: float = Field(0.001, ge=0, description="of the mixture's labels")
        still_weight: float = Field(1.0, ge=0, description="of the labels of what stands still")
        judge_width: int = Field(16, ge=1, description="filters of the judges; 64 in the paper")
        judge_rate: float = Field(1e-4, gt=0, description="of the judges' Adam")
        faithful: bool = Field(
            False,
            description="as the authors' code has it: labels moved in place, mixtures not relit, "
            "what is ignored pasted like a class, the first moving class never",
        )

    presets: ClassVar = {
        "paper": {
            "size": 512,
            "side": 512,
            "batch": 2,
            "epochs": 82.8,  # 100,000 steps over 2,416 pairs
            "learning_rate": 2.5e-4 * 128,
            "moving": tuple(range(MOVING, 19)),
            "frequencies": CITYSCAPES,
            "judge_width": 64,
            "faithful": True,
        }
    }

    weights: Tensor  # K, in training
    test_weights: Tensor  # K, in use

    def build(self, encoder: Encoder) -> None:
        super().build(encoder)
        s = self.settings
        high = [code for code in s.moving if not 0 <= code < self.classes]
        if high:
            raise SettingProblem(
                f"class {high[0]} cannot move: the segmenter has {self.classes} classes from 0 on"
            )
        if s.frequencies and len(s.frequencies) != self.classes:
            raise SettingProblem(
                f"there are {len(s.frequencies)} frequencies and {self.classes} classes: "
                "give one for each"
            )
        self.relit = Curves(s.width, encoder.mean, encoder.std) if s.relight else None
        self.judges = nn.ModuleDict(
            {
                name: Judge(MapJudge(self.classes, s.judge_width), s.judge_rate)
                for name in ("day", "night")
            }
        )
        for name in ("weights", "test_weights"):
            self.register_buffer(name, torch.ones(self.classes))
        self.moves = torch.zeros(self.classes, dtype=torch.bool)
        self.moves[list(s.moving)] = True
        self.outputs: dict[str, list[Tensor]] = {}

    @property
    def pasted(self) -> list[int]:
        """Classes of the day that are pasted into the night."""
        codes = sorted(self.settings.moving)
        return codes[1:] if self.settings.faithful else codes

    def recipe(self) -> Mapping[str, Recipe]:
        seen = self.seen()
        share = min(1.0, self.settings.size / self.side)
        scales = (1.0, 1 / self.settings.smallest)  # a crop of half the side is enlarged twice
        one = replace(seen.views[0], square=0.0, zoom=scales) if share < 1 else seen.views[0]
        return {"target": seen, "source": replace(seen, views=(one,))}

    def meet(self, images: Mapping[str, Images], packs: Mapping[str, Pack]) -> None:
        s, source = self.settings, images["source"]
        if "mask" not in source.columns:
            raise SourceProblem(
                f"bimix learns from masks and {source.name} has none: name their folder"
            )
        counts = np.zeros(256, np.int64)
        for row in np.flatnonzero(source.table.column("mask").is_valid().to_numpy()):
            counts += np.bincount(source.mask(int(row)).ravel(), minlength=256)[:256]
        known = np.flatnonzero(counts[:IGNORE])
        if len(known) == 0:
            raise SourceProblem(f"no mask of {source.name} marks anything")
        if known[-1] >= self.classes:
            raise SourceProblem(
                f"a mask of {source.name} holds class {known[-1]} and the segmenter knows "
                f"{self.classes} classes from 0 on: their classes must be the same"
            )
        share = torch.tensor(s.frequencies or counts[: self.classes] / counts[:IGNORE].sum())
        share = share.float().clamp(min=1e-6)  # a class the source lacks is rare, not endlessly so
        self.weights.copy_(rare_weights(share, s.spread))
        self.test_weights.copy_(rare_weights(share, s.test_spread))

    def prepare(self, name: str, batch: Batch, draw: np.random.Generator) -> Batch:
        """Nobody looks at masks of the target, if it has some."""
        return replace(batch, masks=[]) if name == "target" else batch

    def residual(self, x: Tensor) -> Tensor:
        """What relighting adds to pictures."""
        return torch.zeros_like(x) if self.relit is None else self.relit(x)

    def loss(self, batch: Mapping[str, Batch], now: Now) -> Loss:
        s = self.settings
        night, day = batch["target"].views[0], batch["target"].beside["reference"]
        source, truth = batch["source"].views[0], batch["source"].masks[0]
        light = night.mean()
        by_day, by_night, labelled = (self.lit(x) for x in (day, night, source))
        parts: dict[str, Tensor | float] = {
            "rough": roughness(by_night.residual).detach(),
            "residual": by_night.residual.detach().abs().mean(),
        }
        terms: dict[str, tuple[Tensor, float]] = {}
        for name, one in (("day", by_day), ("night", by_night)):
            scores = self.judges[name](one.logits.softmax(1))
            terms[f"{name}_judged"] = (told_from(scores, 0.0), s.adversarial_weight)
        if self.relit is not None:
            for name, one, weight in (
                ("day_light", by_day, s.light_weight),
                ("night_light", by_night, s.light_weight),
                ("source_light", labelled, 1.0),
            ):
                lit = relighting(one.residual, one.relit, one.picture, light, s.block)
                terms[name] = (lit, weight)
            if s.object_mix and self.pasted:
                terms["objects"] = (self.objects(day, night, by_day.residual), s.object_weight)
        guess = self.guess(by_day.logits, by_night.logits)
        mixed, target, where, trusted = self.mixture(batch["source"], night, guess, by_night.logits)
        logits = by_night.logits if mixed is None else self.mixed_logits(mixed)
        if mixed is not None:
            mixing = masked_cross_entropy(logits, target, trusted, over="all")
            terms["mixture"] = (mixing, s.class_weight)
        terms["still"] = (self.still(logits, guess, where), s.still_weight)
        weights = self.weights.to(truth.device)[torch.where(truth == IGNORE, 0, truth)]
        given = masked_cross_entropy(labelled.logits, truth, weights, over="weight")
        terms["labels"] = (given, 1.0)
        for name, one in (("day", by_day), ("night", by_night), ("source", labelled)):
            self.outputs.setdefault(name, []).append(one.logits.detach().softmax(1))
        parts |= {name: term.detach() for name, (term, _) in terms.items()}
        total = torch.stack([weight * term for term, weight in terms.values()]).sum()
        return Loss(total, parts)

    def lit(self, x: Tensor) -> Lit:
        """A picture lit anew, and what the segmenter says of it."""
        residual = self.residual(x)
        return Lit(x, residual, x + residual, self.model(x + residual))

    def objects(self, day: Tensor, night: Tensor, residual: Tensor) -> Tensor:
        """Relighting must change what moves alike, by day and pasted into the night."""
        with torch.no_grad():
            said = self.model(day).argmax(1)
        mixed = paste(night, day, class_mask(said, self.pasted))
        return (self.residual(mixed) - residual).abs().mean()

    @torch.no_grad()
    def guess(self, day: Tensor, night: Tensor) -> Tensor:
        """Labels of the night (B H W), of both pictures of a pair."""
        s = self.settings
        score = blended(day, night, self.moves, s.day_sure, s.day_share)
        return (score * self.weights.view(1, -1, 1, 1)).argmax(1)

    def mixture(
        self, source: Batch, night: Tensor, guess: Tensor, logits: Tensor
    ) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:
        """Night pictures with labelled objects in them: pixels, labels, where, and their weights.

        Without class-mix there are none, and nothing is pasted anywhere.
        """
        s = self.settings
        if not s.class_mix:
            nowhere = torch.zeros_like(guess, dtype=torch.bool)
            return None, guess, nowhere, nowhere.float()
        truth = source.masks[0]
        chosen = half_of_classes(truth, ignore=None if s.faithful else IGNORE)
        where = class_mix_masks(truth, chosen)
        mixed, target = paste(night, source.views[0], where), paste(guess, truth, where)
        share = share_sure(logits.detach().softmax(1), s.sure).to(night.dtype)
        return mixed, target, where, torch.where(where, 1.0, share)

    def mixed_logits(self, mixed: Tensor) -> Tensor:
        """The mixture is lit anew like any picture; the authors' code leaves that out."""
        return self.model(mixed if self.settings.faithful else mixed + self.residual(mixed))

    def still(self, logits: Tensor, guess: Tensor, where: Tensor) -> Tensor:
        """The labels of what stands still, true up to a pixel; not where something was pasted."""
        rest = torch.where(self.moves.to(guess.device)[guess], IGNORE, guess)
        if self.settings.faithful:
            return tolerant_as_published(logits, rest, self.weights)[0]
        return tolerant(logits, torch.where(where, IGNORE, rest), self.weights)

    def begin_step(self, now: Now) -> None:
        self.outputs = {}

    def after_step(self, now: Now) -> None:
        """The judges learn to tell the outputs of this step apart."""
        fallen = rate(self.settings, now.progress) / rate(self.settings, self.settings.warmup)
        said = {name: torch.cat(maps) for name, maps in self.outputs.items()}
        for name, judge in self.judges.items():
            judge.learn(  # type: ignore[operator]
                lambda network, name=name: (
                    (told_from(network(said["source"]), 0.0) + told_from(network(said[name]), 1.0))
                    / 2
                ),
                fallen,
            )
        self.outputs = {}

    def predictor(self) -> nn.Module:
        """Lit anew, segmented, rare classes raised."""
        return InUse(self.model, self.relit, self.test_weights)

    def save(self, folder: Path) -> None:
        super().save(folder)
        save_relighting(self.predictor(), folder)


class Lit(NamedTuple):
    """A picture, what relighting adds to it, both together, and its logits."""

    picture: Tensor
    residual: Tensor
    relit: Tensor
    logits: Tensor
