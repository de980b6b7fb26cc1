"""PairingNet: which torn pieces touch, and where (Zhou et al., ECCV 2024).

Complete pictures are torn by the machine, so where pieces touch is known without anybody's help.
First the points of two outlines learn to find each other; then, with these features frozen, a
whole piece learns to find its neighbours among all others. As published, pieces lie as they lay in
their picture; here they are seen along their outlines, so that they may lie as they like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from fallow.encoders.contours import PointNetwork, Streams, Summary, centred
from fallow.images.masks import packed_masks
from fallow.losses.correspondence import (
    dual_softmax,
    focal_correspondence,
    neighbours,
    padded,
    several_positives,
)
from fallow.methods.shared.pieces import (
    OFFSETS,
    Frame,
    Look,
    Outline,
    TornPairs,
    as_met,
    padded_outlines,
    pictures_of,
)
from fallow.parts.teacher import in_mode
from fallow.regions.rigid import Fit, Ransac, hypotheses, unlike
from fallow.train.method import Batch, Beside, Loss, Method, Now, Optimiser
from fallow.train.method import Settings as BaseSettings
from fallow.views import Recipe, identity

if TYPE_CHECKING:
    from fallow.encoders import Encoder
    from fallow.images import Images, Pack

TEMPERATURE = 8.0  # of points: the root of their 64 features
TOGETHER = 8  # pieces looked at in one go


class PairingNet(Method):
    """Points of outlines that find each other, then pieces that find their neighbours."""

    family = "self-labelled"
    predicts = "which points of two torn pieces touched, from their outlines and colours"
    wants_masks = True  # a picture that is a piece itself is torn within its mask

    class Settings(BaseSettings):
        size: int = Field(256, ge=32, description="short side pictures are torn at, in pixels")
        batch: int = Field(8, ge=1, description="pictures a step")
        pairs: int = Field(2, ge=1, description="touching pairs taken from each")
        points: int = Field(400, ge=20, description="points of an outline at most")
        stride: int = Field(2, ge=1, description="pixels of the outline from point to point")
        patch: int = Field(7, ge=3, description="places a side seen around a point")
        frame: Frame = Field(
            "line",
            description="line: pieces are seen along their outlines, so they may lie as they like; "
            "picture: as published, for pieces that nobody turned",
        )
        step: int = Field(2, ge=1, description="line: pixels from place to place of a patch")
        line: Literal["line", "filled", "both"] = Field(
            "line", description="what is drawn of a piece's form: its line, all of it, or apart"
        )
        streams: Streams = Field("both", description="both, or contour or texture alone")
        turn: float = Field(180.0, ge=0, le=180, description="degrees pieces are turned by at most")
        touching: int = Field(12, ge=1, description="points more than which touch in a pair")
        layouts: int = Field(4, ge=1, description="ways each picture is torn")
        blocks: int = Field(4, ge=1, description="graph blocks of each stream")
        depth: int = Field(2, ge=1, description="attention layers of a whole piece")
        canvas: float = Field(256.0, gt=0, description="pixels that places are shares of")
        first: float = Field(
            0.7, gt=0, le=1, description="share of the budget for points; the rest is for pieces"
        )
        alpha: float = Field(0.55, ge=0, le=1, description="weight of points that do touch")
        gamma: float = Field(8.0, ge=0, description="how little what is right already counts")
        temperature: float = Field(0.12, gt=0, description="of neighbours")
        own: float = Field(0.25, ge=0, description="weight of telling pieces of one side apart")
        certain: float = Field(0.006, gt=0, lt=1, description="certainty of a pair of points")
        cells: int = Field(10, ge=5, description="such pairs that a match takes at least")
        near: float = Field(5.0, gt=0, description="pixels of a pair that fits a map")
        agreeing: int = Field(8, ge=1, description="pairs more than which must fit")
        tries: int = Field(4000, ge=1, description="maps tried for a pair of pieces")
        optimiser: Optimiser = "adam"
        momentum: float = Field(0.9, ge=0, lt=1)
        learning_rate: float = Field(1e-3 * 256 / 8, gt=0, description="at batch 256")
        weight_decay: float = Field(5e-4, ge=0)
        warmup: float = Field(0.0, ge=0, lt=1)
        precision: Literal["auto", "32", "bf16"] = "32"

        @model_validator(mode="after")
        def _drawn(self) -> PairingNet.Settings:
            if self.frame == "line" and self.line != "line":
                raise ValueError(
                    f"line={self.line} needs frame=picture: seen along the line, the one piece is "
                    "where the other is not"
                )
            return self

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "size": 1319,
            "canvas": 1319.0,
            "stride": 1,
            "points": 2900,
            "pairs": 1,
            "batch": 25,
            "epochs": 256,  # 128 for points, 128 for pieces
            "first": 0.5,
            "blocks": 14,
            "depth": 5,
            "frame": "picture",
            "turn": 0.0,
            "touching": 50,
            "cells": 20,
            "near": 10.0,
            "agreeing": 15,
            "learning_rate": 1e-3 * 256 / 25,
        }
    }

    typical: Tensor  # pixels around a piece in training
    stage: Tensor  # 0: points learn, 1: pieces do

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        encoder.requires_grad_(False)  # outlines have networks of their own
        self.network = network_of(s)
        self.summary = Summary(depth=s.depth)
        self.register_buffer("typical", torch.zeros(()))
        self.register_buffer("stage", torch.zeros((), dtype=torch.long))

    def recipe(self) -> Recipe:
        return replace(identity(8), side=self.settings.size)  # the views are not looked at

    @property
    def look(self) -> Look:
        s = self.settings
        return look_of(s)

    def beside(self, name: str, images: Images, pack: Pack, seed: int) -> Beside:
        s = self.settings
        masks = packed_masks(images, pack) if "mask" in images.columns else None
        self.stream = TornPairs(
            pictures_of(pack, masks),
            self.look,
            pairs=s.pairs,
            points=s.points,
            turn=s.turn,
            touching=s.touching,
            layouts=s.layouts,
            seed=seed,
        )
        return self.stream

    def before_training(self, pack: Pack, seed: int) -> None:
        some = [
            len(one) * self.settings.stride
            for row in range(min(4, len(pack)))
            for one in self.stream.torn(row, 0).outlines
        ]
        self.typical.fill_(float(np.median(some)) if some else 0.0)

    def rate(self, now: Now, planned: Callable[[float], float]) -> float:
        """The learning rate falls once for points and once for pieces."""
        first = self.settings.first
        if now.progress < first:
            return planned(now.progress / first)
        return planned((now.progress - first) / (1 - first))

    def begin_step(self, now: Now) -> None:
        if now.progress >= self.settings.first and not self.stage:
            self.stage.fill_(1)
            self.network.requires_grad_(False)

    def loss(self, batch: Batch, now: Now) -> Loss:
        held = {name: value.flatten(0, 1) for name, value in batch.beside.items()}
        real = held["names"][:, 0] >= 0
        if not real.any():
            parameters = self.summary if self.stage else self.network
            return Loss(sum((p.sum() * 0 for p in parameters.parameters()), torch.zeros(())))
        held = {name: value[real] for name, value in held.items()}
        return self.of_pieces(held) if self.stage else self.of_points(held)

    def of_points(self, held: Mapping[str, Tensor]) -> Loss:
        """Every point of a touching stretch must be sure of the one it touched."""
        s = self.settings
        fused = self.network.fused(*self._both(held)).unflatten(0, (-1, 2))  # P 2 n W
        lengths, meets = held["lengths"], held["meets"]
        size = fused.shape[2]
        padding = padded(lengths[:, 0], lengths[:, 1], size)
        true = torch.zeros_like(padding)
        rows, places = (meets >= 0).nonzero(as_tuple=True)
        true[rows, places, meets[rows, places]] = True
        sure = dual_softmax(fused[:, 0], fused[:, 1], TEMPERATURE, padding)
        loss, right = focal_correspondence(sure, true, padding, s.alpha, s.gamma)
        parts = {"right": right.detach(), "sure": sure[true].mean().detach()}
        return Loss(loss, parts)

    def of_pieces(self, held: Mapping[str, Tensor]) -> Loss:
        """Every piece must find its neighbours among all targets of the batch."""
        s = self.settings
        with torch.no_grad(), in_mode(self.network, False):
            both = self._both(held)
        codes = self.summary(*both, held["lengths"].flatten()).unflatten(0, (-1, 2))
        one, other = codes.unbind(1)
        source, target = held["names"].unbind(1)
        loss = several_positives(one, other, neighbours(source, target), s.temperature)
        alone = [
            several_positives(x, x, names[:, None] == names[None], s.temperature)
            for x, names in ((one, source), (other, target))
        ]
        return Loss(loss + s.own * sum(alone), {"found": loss.detach()}, embedding=one)

    def _both(self, held: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Features of both pieces of every pair, one after the other; the second as it is met."""
        one, other = (
            {name: held[name][:, place] for name in ("points", "course", "lines", "colours")}
            for place in (0, 1)
        )
        other = met(other, self.settings)
        told = {name: torch.stack([one[name], other[name]], 1).flatten(0, 1) for name in one}
        return features(self.network, told | {"lengths": held["lengths"].flatten()}, self.settings)

    def save(self, folder: Any) -> None:
        save_matcher(self, folder)


def look_of(settings: Any) -> Look:
    """How outlines are looked at."""
    s = settings
    return Look(s.stride, s.patch, s.line, s.frame, s.step)


def network_of(settings: Any) -> PointNetwork:
    """The network of points; beside a line's patch it reads where it lies, or how it runs."""
    beside = 2 if settings.frame == "picture" else 2 * len(OFFSETS)
    return PointNetwork(settings.blocks, streams=settings.streams, beside=beside)


def met(held: dict[str, Tensor], settings: Any) -> dict[str, Tensor]:
    """Outlines as pieces that touch them show the same stretch: in one picture, as they are."""
    return held if settings.frame == "picture" else as_met(held)


def features(
    network: PointNetwork, held: Mapping[str, Tensor], settings: Any
) -> tuple[Tensor, Tensor]:
    """What lines and colours say at every point of padded outlines.  B n W each"""
    lengths, canvas = held["lengths"], settings.canvas
    seen_in_picture = settings.frame == "picture"
    beside = (
        centred(held["points"], lengths, canvas) if seen_in_picture else held["course"].flatten(2)
    )
    return network.both(beside, held["lines"], held["colours"], lengths)


def save_matcher(method: PairingNet, folder: Any) -> None:
    """What `load_matcher` reads: the two networks, and how they look at pieces."""
    from pathlib import Path

    from safetensors.torch import save

    from fallow.files import atomic_write, write_json

    held = {
        f"{part}.{name}": value.detach().cpu().contiguous()
        for part in ("network", "summary")
        for name, value in getattr(method, part).state_dict().items()
    }
    with atomic_write(Path(folder) / "matcher.safetensors") as file:
        file.write(save(held, metadata={"format": "pt"}))
    about = {"settings": method.settings.model_dump(), "typical": float(method.typical)}
    write_json(Path(folder) / "matcher.json", about)


def load_matcher(folder: Any) -> Matcher:
    """The networks of a finished run; a Problem that says what is missing."""
    import json
    from pathlib import Path

    from safetensors import SafetensorError
    from safetensors.torch import load

    from fallow.files import part_of
    from fallow.problems import SourceProblem

    place = Path(folder)
    try:
        about = json.loads((place / "matcher.json").read_text())
        settings = PairingNet.Settings(**about["settings"])
        network = network_of(settings)
        summary = Summary(depth=settings.depth)
        state = load((place / "matcher.safetensors").read_bytes())
        for part, module in (("network", network), ("summary", summary)):
            module.load_state_dict(part_of(state, part))
    except FileNotFoundError as error:
        raise SourceProblem(
            f"{place} is not a run of match on pieces: {Path(error.filename).name} is missing"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SourceProblem(f"the run in {place} cannot be used: {reason}") from error
    return Matcher(network, summary, settings, float(about["typical"]))


# --- asking ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """What the networks say of some pieces."""

    points: list[Tensor]  # each n W, what points are matched by
    met: list[Tensor]  # the same as pieces that touch them show it
    codes: np.ndarray  # N D, of unit length
    met_codes: np.ndarray  # N D


@dataclass(frozen=True)
class Match:
    """How two pieces were matched: pairs of points, and maps that many of them agree on."""

    ours: np.ndarray  # m, points of the source
    theirs: np.ndarray  # m, of the target
    fits: list[Fit]  # the best first; none where too few points met


class Matcher:
    """Trained networks, asked about outlines: each piece is looked at once, not once a pair."""

    def __init__(
        self, network: PointNetwork, summary: nn.Module, settings: Any, typical: float
    ) -> None:
        self.network, self.summary = network.eval(), summary.eval()
        self.settings, self.typical = settings, typical
        self.look = look_of(settings)

    @classmethod
    def of(cls, method: PairingNet) -> Matcher:
        return cls(method.network, method.summary, method.settings, float(method.typical))

    @torch.inference_mode()
    def know(self, outlines: Sequence[Outline]) -> Known:
        """Features of all points, and a code for each piece; pieces of like length together."""
        order = np.argsort([len(one) for one in outlines], kind="stable")
        points: list[list[Any]] = [[None] * len(outlines) for _ in range(2)]
        codes: list[list[Any]] = [[None] * len(outlines) for _ in range(2)]
        device = next(self.network.parameters()).device
        for start in range(0, len(order), TOGETHER):
            rows = order[start : start + TOGETHER].tolist()
            held = padded_outlines([outlines[row] for row in rows])
            held = {name: value.to(device) for name, value in held.items()}
            other = met(held, self.settings)
            found = self._looked(held)
            for side, (fused, seen) in enumerate(
                (found, found if other is held else self._looked(other))
            ):
                for k, row in enumerate(rows):
                    points[side][row] = fused[k, : len(outlines[row])].cpu()
                    codes[side][row] = seen[k].cpu().numpy()
        return Known(points[0], points[1], np.stack(codes[0]), np.stack(codes[1]))

    def _looked(self, held: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Features of the points of padded outlines (B n W), and their codes (B D)."""
        both = features(self.network, held, self.settings)
        return self.network.fused(*both), self.summary(*both, held["lengths"])

    @torch.inference_mode()
    def certainty(self, known: Known, source: int, target: int) -> np.ndarray:
        """How sure every point of a piece is of every point of another.  n m"""
        one, other = known.points[source][None], known.met[target][None]
        return dual_softmax(one, other, TEMPERATURE)[0].numpy()

    def match(
        self, known: Known, outlines: Sequence[Outline], source: int, target: int, seed: int = 0
    ) -> Match:
        """Points of two pieces that met, and the maps that may take the one to the other."""
        s = self.settings
        ours, theirs = np.nonzero(stripes(self.certainty(known, source, target) > s.certain))
        if len(ours) < s.cells:
            return Match(ours, theirs, [])
        how = Ransac(near=s.near, agreeing=s.agreeing, tries=s.tries)
        draw = np.random.default_rng([seed, source, target])
        places = outlines[source].points[ours], outlines[target].points[theirs]
        one, other = (points.astype(float) for points in places)
        return Match(ours, theirs, unlike(hypotheses(one, other, how, draw), one, 2 * s.near))


def ranking(codes: np.ndarray, met_codes: np.ndarray) -> np.ndarray:
    """How well all pieces go together (N N), either one asked; no piece is looked for by itself.

    >>> ranking(np.eye(2), np.eye(2)[::-1]).tolist()
    [[-1.0, 1.0], [1.0, -1.0]]
    """
    alike = codes @ met_codes.T
    alike = (alike + alike.T) / 2
    np.fill_diagonal(alike, -1.0)
    return alike  # type: ignore[no-any-return]


def stripes(sure: np.ndarray) -> np.ndarray:
    """Certainties (n m) where they run against the diagonal, as outlines that touch do; else 0.

    A cell keeps what both its neighbours on the antidiagonal have, and hands it to them.

    >>> stripes(np.fliplr(np.eye(4)))[1].tolist(), stripes(np.eye(4)).max().item()
    ([0.0, 0.0, 1.0, 0.0], 0.0)
    """
    up, down = _shifted(sure)
    least = np.minimum(up, down)
    up, down = _shifted(least)
    return np.maximum(np.maximum(up, down), least)


def _shifted(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each cell the one above to the right, and the one below to the left; 0 beyond."""
    up, down = np.zeros_like(plane), np.zeros_like(plane)
    up[1:, :-1] = plane[:-1, 1:]
    down[:-1, 1:] = plane[1:, :-1]
    return up, down
