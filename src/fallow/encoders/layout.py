"""What lies where in a picture: a network's map on a grid, in few numbers, for two kinds of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders.base import Encoder
from fallow.encoders.maps import depth_of
from fallow.encoders.pooling import by_place


class Layout(nn.Module):
    """Vectors that say what lies where, of kinds of pictures that show the same (photo, sketch).

    Of the network's maps it is the deepest that tells as many cells a side apart. Each kind is
    seen from its own usual picture: how sketches differ from photos tells nothing about which
    photo it is.

    >>> import fallow
    >>> encoder = fallow.encoder("resnet8/8", size=32)
    >>> layout = Layout(encoder, cells=4, length=6)
    >>> layout(encoder, torch.zeros(2, 3, 32, 32), kind=0).shape
    torch.Size([2, 6])
    """

    def __init__(self, encoder: Encoder, cells: int, length: int, kinds: int = 2) -> None:
        super().__init__()
        with torch.no_grad():
            probe = torch.zeros(1, 3, encoder.size, encoder.size, device=encoder.device)
            maps = encoder.patches(probe, range(depth_of(encoder.network)))  # 1 h w C each
        fine = [layer for layer, one in enumerate(maps) if min(one.shape[1:3]) >= cells]
        self.cells, self.layer = cells, max(fine, default=0)
        numbers = maps[self.layer].shape[3] * cells**2
        self.directions = nn.Parameter(nn.init.orthogonal_(torch.empty(length, numbers)))
        self.usual = nn.Parameter(torch.zeros(kinds, length))

    def forward(self, encoder: Encoder, pictures: Tensor, kind: int) -> Tensor:
        """Unit vectors of pictures (B 3 S S) of one kind.  B length"""
        along = self.laid(encoder, pictures) @ self.directions.T
        return F.normalize(along - self.usual[kind], dim=1, eps=1e-12)

    def laid(self, encoder: Encoder, pictures: Tensor) -> Tensor:
        """The map of the layer on the grid, cell by cell.  B 3 S S -> B C cells^2"""
        (maps,) = encoder.patches(pictures, [self.layer])  # B h w C
        return by_place(maps.permute(0, 3, 1, 2), self.cells).flatten(1)

    @torch.no_grad()
    def begin(self, encoder: Encoder, kinds: Sequence[Tensor], batch: int = 32) -> None:
        """See some pictures of every kind (each N 3 S S): what is usual, and how they differ."""
        rows = [
            torch.cat([self.laid(encoder, part) for part in pictures.split(batch)]).double()
            for pictures in kinds
        ]
        middles = torch.stack([one.mean(0) for one in rows])
        apart = torch.cat([one - middle for one, middle in zip(rows, middles, strict=True)])
        found = torch.linalg.svd(apart, full_matrices=False).Vh[: len(self.directions)]
        self.directions[: len(found)] = found.to(self.directions)
        self.usual.copy_(middles.to(self.directions) @ self.directions.T)
