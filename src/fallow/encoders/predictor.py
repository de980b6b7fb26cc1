"""A small transformer that says, from the tokens an encoder saw, what is at other patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fallow.encoders.vit import Block, sincos_positions


class PatchPredictor(nn.Module):
    """MAE's decoder and I-JEPA's predictor: seen tokens in, one output per wanted patch.

    A token that waits for its content stands at every wanted patch and attends, block after
    block, to the seen tokens and to the others that wait. Outputs are made for wanted patches only.
    """

    positions: Tensor

    def __init__(
        self,
        dimension: int,
        output: int,
        grid: tuple[int, int],
        *,
        width: int,
        depth: int,
        heads: int,
        expansion: float = 4.0,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(dimension, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.ModuleList(Block(width, heads, expansion) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.proj = nn.Linear(width, output)
        # fixed, so no part of the state
        self.register_buffer("positions", sincos_positions(*grid, width)[None], persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def at(self, index: Tensor) -> Tensor:
        """Positions of the patches of an index (B, K)."""
        return self.positions[0][index]  # B K W

    def forward(self, seen: Tensor, where: Tensor, wanted: Tensor) -> Tensor:
        """Outputs (B, M, output) at `wanted` (B, M) from tokens (B, P+K, D) seen at `where` (B, K).

        The first P tokens, such as a class token, have no place.
        """
        tokens = self.embed(seen)
        lead = tokens.shape[1] - where.shape[1]
        tokens = torch.cat([tokens[:, :lead], tokens[:, lead:] + self.at(where)], 1)
        waiting = self.mask_token + self.at(wanted)
        tokens = torch.cat([tokens, waiting.to(tokens.dtype)], 1)  # B P+K+M W
        for block in self.blocks:
            tokens = block(tokens)
        return self.proj(self.norm(tokens[:, -wanted.shape[1] :]))
