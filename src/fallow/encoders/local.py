"""Transformers that mix neighbouring patches in their early blocks, as PyramidCLIP has them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fallow.encoders.tower_shapes import quick_gelu
from fallow.encoders.vit import LAYOUTS, Block, ViT
from fallow.problems import SettingProblem

REAR = 3  # last blocks, which stay as they are and also read regions
PREFIX = "local-"
NAMES = tuple(f"{PREFIX}{name}" for name in LAYOUTS)


class LocalPerceptron(nn.Module):
    """A block's two linear layers with a 3x3 convolution of every channel between them.

    Patches of a square grid pass through it, each step normed over the batch; the class token,
    which has no neighbours, comes out as it went in.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.norm1 = nn.BatchNorm1d(hidden)
        self.mix = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False)
        self.norm2 = nn.BatchNorm2d(hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.norm3 = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        lead, patches = x[:, :1], x[:, 1:]  # B 1 D, B L D
        side = math.isqrt(patches.shape[1])
        if side * side != patches.shape[1]:
            raise SettingProblem(
                f"neighbouring patches are mixed on a square grid, and {patches.shape[1]} patches "
                "are none: use square pictures"
            )
        hidden = quick_gelu(self.norm1(self.fc1(patches).transpose(1, 2)))  # B 4D L
        mixed = quick_gelu(self.norm2(self.mix(hidden.unflatten(2, (side, side)))))
        out = self.fc2(mixed.flatten(2).transpose(1, 2)).transpose(1, 2)
        return torch.cat([lead, quick_gelu(self.norm3(out)).transpose(1, 2)], 1)


class LocalViT(ViT):
    """A transformer whose blocks before the last few mix neighbouring patches.

    A norm follows the places of patches, and the patches' linear map stays as it began, which
    keeps training calm.
    """

    def __init__(self, name: str, *, patch: int, size: int | tuple[int, int]) -> None:
        layout = LAYOUTS[name]
        super().__init__(layout, patch=patch, size=size, positions="learned")
        self.pre_norm = nn.LayerNorm(layout.width)
        for block in list(self.blocks)[: max(1, layout.depth - REAR)]:
            assert isinstance(block, Block)
            block.mlp = LocalPerceptron(layout.width, 4 * layout.width)  # type: ignore[assignment]
        self.patch_embed.requires_grad_(False)

    def embed_patches(
        self,
        x: Tensor,
        keep: Tensor | None = None,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> Tensor:
        if keep is not None:
            raise SettingProblem("a transformer that mixes neighbours looks at all patches")
        return self.pre_norm(super().embed_patches(x, None, mask, mask_token))


def local_vit(name: str, *, patch: int = 16, size: int | tuple[int, int] = 224) -> LocalViT:
    """A randomly initialised one, called as plain transformers are, with "local-" before it.

    >>> local_vit("local-vit-pico", patch=4, size=16)(torch.zeros(2, 3, 16, 16)).shape
    torch.Size([2, 96])
    """
    return LocalViT(name.removeprefix(PREFIX), patch=patch, size=size)


def rear(network: ViT, tokens: Tensor, known: Tensor, count: int = REAR) -> Tensor:
    """What the last blocks of a transformer make of tokens (B, T, D), the first of them the lead.

    Tokens that are not `known` (B, T) are not looked at.

    >>> from fallow.encoders.vit import vit
    >>> network = vit("vit-pico", patch=4, size=8)
    >>> rear(network, torch.zeros(2, 3, 96), torch.ones(2, 3).bool(), 1).shape
    torch.Size([2, 96])
    """
    for block in list(network.blocks)[-count:]:
        tokens = block(tokens, known)
    return network.norm(tokens)[:, 0]
