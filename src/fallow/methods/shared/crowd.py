"""Every picture judged by a fixed number of others: the cost grows with the pictures alone.

Patches are compared as MuSc does, but the maps of all layers are joined and turned to their main
directions, so that one product per degree and pair of pictures is enough; and a picture's score is
the mean of its oddest patches, which one stray patch does not make. What is usual at a place is
taken off first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fallow.images import Images
from fallow.methods.shared.alike import ASKED, alike
from fallow.methods.shared.nearness import (
    counts,
    mean_distance,
    mirrored,
    nearest_to,
    points_of,
    searching,
)
from fallow.methods.shared.oddness import Bank, Found, Judge, Tell, together
from fallow.problems import SourceProblem

WIDTH = 64  # directions patches are compared in
ASKABLE = 6  # pictures from which on it can be said whether they show the same thing
COARSE = 16
PLACE = 1.0  # of what is usual at a place that is taken off; chosen by recipes.judgement.spot
PLACED = 10  # pictures from which on it can be said what is usual
FITTED = 20_000  # patches that say which directions are the main ones


def described(maps: list[Tensor], degree: int) -> Tensor:
    """Unit vectors of all places, row by row: all layers (B h w C each) with their surroundings.

    Each picture's layer has mean 0 and variance 1, so that its light and contrast do not count.

    >>> described([torch.rand(2, 4, 4, 6), torch.rand(2, 4, 4, 10)], 3).shape
    torch.Size([2, 16, 16])
    """
    joined = torch.cat([F.layer_norm(each.float(), each.shape[1:]) for each in maps], 3)
    mean = F.avg_pool2d(
        joined.permute(0, 3, 1, 2), degree, 1, degree // 2, count_include_pad=False
    )  # fmt: skip
    return F.normalize(mean.flatten(2).transpose(1, 2), dim=2)  # B L C


def main_directions(features: Tensor, width: int) -> Tensor:
    """The directions in which features (..., C) differ most, C by at most `width`.

    >>> flat = torch.tensor([[0.0, 3.0, 0.0], [0.0, -3.0, 0.0], [0.1, 0.0, 0.0]])
    >>> main_directions(flat, 1)[:, 0].abs().round()
    tensor([0., 1., 0.])
    """
    flat = features.flatten(0, -2)
    some = flat[:: max(1, len(flat) // FITTED)].double()
    some = some - some.mean(0)
    return torch.linalg.eigh(some.T @ some).eigenvectors[:, -width:].flip(1).float().contiguous()


def usual_at(patches: np.ndarray, share: float = PLACE) -> np.ndarray:
    """What patch scores (N h w) are above the mean at each place in most pictures.  h w

    An edge or a seam that is never quite the same is no fault. Few pictures do not say.

    >>> rim = np.array([[0.0, 2.0]]) + np.zeros((20, 1, 2))
    >>> usual_at(rim, 1.0)
    array([[-1.,  1.]], dtype=float32)
    """
    if len(patches) < PLACED:
        return np.zeros(patches.shape[1:], np.float32)
    middle = np.median(patches, axis=0)
    return (share * (middle - middle.mean())).astype(np.float32)


def _coarse(maps: Tensor) -> Tensor:
    """Maps of at most COARSE places a side: whether pictures show one thing is no fine question."""
    sides = (min(maps.shape[1], COARSE), min(maps.shape[2], COARSE))
    return F.adaptive_avg_pool2d(maps.permute(0, 3, 1, 2).float(), sides).permute(0, 2, 3, 1)


@dataclass(frozen=True)
class Kind:
    """The pictures of a bank at one degree, ready to be compared with."""

    degree: int
    turn: Tensor  # C width
    centre: Tensor  # width
    facing: Tensor  # M L width and what turns a product into a distance


class Crowd(Judge):
    """MuSc's question put to a fixed number of pictures, drawn once for all."""

    def kept(self, maps: Tensor) -> Tensor:
        return maps

    @property
    def most(self) -> int | None:
        return self.settings.references  # type: ignore[no-any-return]

    def among(self, images: Images, seed: int, tell: Tell) -> tuple[Found, Bank]:
        """Some pictures judge each other and then all the others, which are looked at in parts."""
        order = np.random.default_rng(seed).permutation(len(images))
        first = np.sort(order[: self.most])
        rows, bank = self.looked(images.select(first))
        if len(rows) < 2:
            raise SourceProblem(
                f"only one image of {images.name} can be decoded: there is nothing to compare"
            )
        asked = None
        if len(rows) >= ASKABLE:
            coarse = [_coarse(each[:ASKED]) for each in bank.maps]
            asked = alike(described(coarse, 3), (coarse[0].shape[1], coarse[0].shape[2]))
        own = Found(first[rows], self.scores(bank, None).numpy(), bank.vectors, asked)
        rest = np.setdiff1d(np.arange(len(images)), first)
        found = own
        if len(rest):
            others = self.against(images.select(rest), bank, tell)
            found = together([own, others._replace(rows=rest[others.rows])])
        return found._replace(patches=self.settled(found.patches, bank)), bank

    def scores(self, seen: Bank, known: Bank | None) -> Tensor:
        return self.judging(known or seen)(seen, known is None)

    def asked(self, bank: Bank) -> Callable[[Bank], Tensor]:
        judge = self.judging(bank)
        usual = 0.0 if bank.usual is None else bank.usual
        return lambda seen: judge(seen, False) - usual

    def settled(self, patches: np.ndarray, bank: Bank) -> np.ndarray:
        """Without what is usual at each place."""
        usual = usual_at(patches)
        bank.usual = torch.from_numpy(usual)
        return patches - usual

    def judging(self, bank: Bank) -> Callable[[Bank, bool], Tensor]:
        """What scores pictures by those of a bank, prepared once; its own each without itself."""
        s, device, bf16 = self.settings, self.encoder.device, self.bf16
        kinds = []
        for degree in s.degrees:
            features = described(bank.maps, degree).to(device)
            turn = main_directions(features, s.width).to(device)
            features = features @ turn
            centre = features.mean((0, 1))
            facing = mirrored(points_of(features, centre, bf16))
            kinds.append(Kind(degree, turn, centre, facing))

        def judge(seen: Bank, own: bool) -> Tensor:
            total = torch.zeros(len(seen), math.prod(self.how.grid))
            for kind in kinds:
                features = described(seen.maps, kind.degree).to(device) @ kind.turn
                for place, one in enumerate(points_of(features, kind.centre, bf16)):
                    found = self._found(one, kind.facing)
                    if own:
                        found = torch.cat([found[:place], found[place + 1 :]])
                    start, stop = counts(s.interval, len(found))
                    near = found.float().topk(stop, dim=0).values.T[None]  # 1 L k
                    total[place] += mean_distance(near, start)[0].cpu()
            return (total / len(kinds)).unflatten(1, self.how.grid)

        return judge

    def image_scores(self, patches: np.ndarray) -> np.ndarray:
        """The mean of each picture's oddest patches."""
        flat = patches.reshape(len(patches), -1)
        count = max(1, round(self.settings.top * flat.shape[1]))
        return np.sort(flat, axis=1)[:, -count:].mean(1)  # type: ignore[no-any-return]

    def _found(self, one: Tensor, facing: Tensor) -> Tensor:
        """Minus half the squared distance of each patch to the nearest in each picture.  M L"""
        if self.settings.window is None:
            return nearest_to(one, facing)
        near = searching(len(one), self.settings.window, self.how.grid)
        return torch.cat([there for _, there, _ in near(one, facing, 0)])
