"""Attention in place of the mean, at the end of a network of maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AttentionPool(nn.Module):
    """One vector of a map: its mean asks, and all places answer.

    Regions are read in the same way, without places but behind a norm of their own.
    """

    def __init__(self, width: int, side: int, heads: int, output: int | None = None) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.places = nn.Parameter(torch.randn(side * side + 1, width) * width**-0.5)
        self.region_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, output or width)

    def forward(self, x: Tensor) -> Tensor:
        """Vectors (B, D) of maps (B, C, h, w)."""
        tokens = x.flatten(2).transpose(1, 2)  # B L C
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
        return self._pooled(tokens + self._places(x.shape[2], x.shape[3]), None)

    def rear(self, regions: Tensor, known: Tensor | None = None) -> Tensor:
        """Vectors (B, D) of regions (B, M, C); those that are not `known` (B, M) do not count."""
        if known is None:
            known = torch.ones(regions.shape[:2], dtype=torch.bool, device=regions.device)
        share = known.to(regions.dtype)[..., None]
        mean = (regions * share).sum(1, keepdim=True) / share.sum(1, keepdim=True).clamp(min=1)
        tokens = self.region_norm(torch.cat([mean, regions], 1))
        return self._pooled(tokens, torch.cat([known.new_ones(len(known), 1), known], 1))

    def _pooled(self, tokens: Tensor, known: Tensor | None) -> Tensor:
        query, key, value = (
            project(part).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for project, part in (
                (self.query, tokens[:, :1]),
                (self.key, tokens),
                (self.value, tokens),
            )
        )
        mask = None if known is None else known[:, None, None]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))[:, 0]

    def _places(self, rows: int, columns: int) -> Tensor:
        if (rows, columns) == (self.side, self.side):
            return self.places
        square = self.places[1:].T.reshape(1, -1, self.side, self.side)
        square = F.interpolate(square, (rows, columns), mode="bicubic", align_corners=False)
        return torch.cat([self.places[:1], square[0].flatten(1).T])
