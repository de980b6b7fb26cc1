"""Every picture judged by a fixed number of others: the cost grows with the pictures alone.

Patches are compared as MuSc does, in one space: the maps of all layers are put on one scale, joined
and turned to their main directions, so that one product per degree and pair of pictures is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fallow.images import Images
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
FITTED = 20_000  # patches that say which directions are the main ones


@dataclass(frozen=True)
class Space:
    """Where patches are compared: every layer on one scale, and the main directions of all."""

    centres: list[Tensor]  # per layer, C
    scales: list[Tensor]
    turn: Tensor  # all C together, width

    def described(self, maps: list[Tensor]) -> Tensor:
        """Maps of every layer (B h w C) as one map of the main directions, B h w width."""
        scaled = [
            (each.float() - centre) * scale
            for each, centre, scale in zip(maps, self.centres, self.scales, strict=True)
        ]
        return torch.cat(scaled, 3) @ self.turn


def space_of(maps: list[Tensor], width: int = WIDTH) -> Space:
    """The space of some pictures: channels of mean 0 and spread 1, every layer of one weight.

    >>> space = space_of([torch.rand(3, 4, 4, 6), torch.rand(3, 4, 4, 10)], width=5)
    >>> space.described([torch.rand(2, 4, 4, 6), torch.rand(2, 4, 4, 10)]).shape
    torch.Size([2, 4, 4, 5])
    """
    centres, scales, joined = [], [], []
    for each in maps:
        flat = each.flatten(0, 2)
        patches = flat[:: max(1, len(flat) // FITTED)].float()
        centre, spread = patches.mean(0), patches.std(0)
        alive = spread > 1e-6 * spread.max()  # a channel that never answers says nothing
        scale = torch.where(alive, 1 / (spread * alive.sum().sqrt()), 0.0)
        centres.append(centre)
        scales.append(scale)
        joined.append((patches - centre) * scale)
    together = torch.cat(joined, 1).double()
    directions = torch.linalg.eigh(together.T @ together).eigenvectors
    return Space(centres, scales, directions[:, -width:].flip(1).float().contiguous())


def pooled(maps: Tensor, degree: int) -> Tensor:
    """Every place averaged with those around it that lie in the picture, row by row.  B L C

    >>> pooled(torch.ones(1, 3, 3, 2), 3).unique()
    tensor([1.])
    """
    mean = F.avg_pool2d(
        maps.permute(0, 3, 1, 2), degree, 1, degree // 2, count_include_pad=False
    )  # fmt: skip
    return mean.flatten(2).transpose(1, 2)


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
        rows, bank = self._looked(images.select(first))
        if len(rows) < 2:
            raise SourceProblem(
                f"only one image of {images.name} can be decoded: there is nothing to compare"
            )
        own = Found(first[rows], self.scores(bank, None).numpy(), bank.vectors)
        rest = np.setdiff1d(np.arange(len(images)), first)
        if not len(rest):
            return own, bank
        others = self.against(images.select(rest), bank, tell)
        return together([own, others._replace(rows=rest[others.rows])]), bank

    def scores(self, seen: Bank, known: Bank | None) -> Tensor:
        return self.judging(known or seen)(seen, known is None)

    def asked(self, bank: Bank) -> Callable[[Bank], Tensor]:
        judge = self.judging(bank)
        return lambda seen: judge(seen, False)

    def judging(self, bank: Bank) -> Callable[[Bank, bool], Tensor]:
        """What scores pictures by those of a bank, prepared once; its own each without itself."""
        s, device = self.settings, self.encoder.device
        space = space_of(bank.maps, s.width)
        held = space.described(bank.maps).to(device)
        kinds = []
        for degree in s.degrees:
            features = pooled(held, degree)
            centre = features.mean((0, 1))
            kinds.append((degree, centre, mirrored(points_of(features, centre, self.bf16))))

        def judge(seen: Bank, own: bool) -> Tensor:
            described = space.described(seen.maps).to(device)
            total = torch.zeros(described.shape[:3])
            for degree, centre, facing in kinds:
                points = points_of(pooled(described, degree), centre, self.bf16)
                for place, one in enumerate(points):
                    found = self._found(one, facing)
                    if own:
                        found = torch.cat([found[:place], found[place + 1 :]])
                    start, stop = counts(s.interval, len(found))
                    near = found.float().topk(stop, dim=0).values.T[None]  # 1 L k
                    total[place] += mean_distance(near, start)[0].cpu().view(total.shape[1:])
            return total / len(kinds)

        return judge

    def _found(self, one: Tensor, facing: Tensor) -> Tensor:
        """Minus half the squared distance of each patch to the nearest in each picture.  M L"""
        if self.settings.window is None:
            return nearest_to(one, facing)
        near = searching(len(one), self.settings.window, self.how.grid)
        return torch.cat([there for _, there, _ in near(one, facing, 0)])
