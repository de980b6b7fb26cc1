"""Vision transformers that can look at all patches, or only at those a mask leaves visible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.problems import SettingProblem

if TYPE_CHECKING:
    from fallow.encoders.base import Encoder


class Layout(NamedTuple):
    """Width, depth and heads of a transformer."""

    width: int
    depth: int
    heads: int


LAYOUTS = {
    "vit-pico": Layout(96, 4, 3),
    "vit-nano": Layout(128, 6, 4),
    "vit-tiny": Layout(192, 12, 3),
    "vit-small": Layout(384, 12, 6),
    "vit-base": Layout(768, 12, 12),
}


def patchify(images: Tensor, patch: int) -> Tensor:
    """Cut images into flat patches: row-major, within a patch row, column, channel.

    >>> patchify(torch.zeros(2, 3, 8, 12), 4).shape
    torch.Size([2, 6, 48])
    """
    b, c, height, width = images.shape
    cells = images.reshape(b, c, height // patch, patch, width // patch, patch)
    return cells.permute(0, 2, 4, 3, 5, 1).reshape(b, -1, patch * patch * c)  # B L p*p*C


def unpatchify(patches: Tensor, grid: tuple[int, int], patch: int) -> Tensor:
    """The images `patchify` cut, put together again.

    >>> image = torch.rand(1, 3, 8, 12)
    >>> bool((unpatchify(patchify(image, 4), (2, 3), 4) == image).all())
    True
    """
    rows, columns = grid
    cells = patches.reshape(len(patches), rows, columns, patch, patch, -1)
    return cells.permute(0, 5, 1, 3, 2, 4).reshape(
        len(patches), cells.shape[-1], rows * patch, columns * patch
    )


def sincos_at(x: Tensor, y: Tensor, dimension: int) -> Tensor:
    """Positions [sin x, cos x, sin y, cos y] of points, a quarter of the dimension each.

    >>> sincos_at(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 2.0]), 8).shape
    torch.Size([2, 8])
    """
    if dimension % 4:
        raise SettingProblem(f"sin-cos positions need a width divisible by 4, not {dimension}.")
    quarter = dimension // 4
    steps = torch.arange(quarter, dtype=torch.float64, device=x.device) / quarter
    frequencies = 10000.0**-steps
    angle_x, angle_y = (p.double()[:, None] * frequencies for p in (x, y))
    parts = [angle_x.sin(), angle_x.cos(), angle_y.sin(), angle_y.cos()]
    return torch.cat(parts, 1).float()  # L D


def sincos_positions(
    rows: int, columns: int, dimension: int, device: torch.device | None = None
) -> Tensor:
    """Fixed 2-D positions of a row-major grid, which need not be square.

    >>> sincos_positions(2, 3, 8).shape
    torch.Size([6, 8])
    """
    y, x = torch.meshgrid(
        torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij"
    )
    return sincos_at(x.flatten(), y.flatten(), dimension)


class Attention(nn.Module):
    """Multi-head self-attention through torch's fused kernel."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        b, t, d = x.shape
        qkv = self.qkv(x).reshape(b, t, 3, self.heads, d // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each B heads T d
        return query, key, value

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Tokens that are not `known` (B, T) are not looked at."""
        mask = None if known is None else known[:, None, None]
        mixed = F.scaled_dot_product_attention(*self._split(x), attn_mask=mask)
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def weights(self, x: Tensor) -> Tensor:
        """How much each token looks at each other one."""  # B heads T T
        query, key, _ = self._split(x)
        return (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)


class DropPath(nn.Module):
    """While training, leave a branch out for some images, and scale it up for the others."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        kept = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) >= self.rate
        return x * kept.to(x.dtype) / (1 - self.rate)


class Perceptron(nn.Module):
    """The two linear layers of a block."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention and a perceptron, each behind a norm and with a shortcut."""

    def __init__(
        self, width: int, heads: int, expansion: float = 4.0, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Perceptron(width, int(width * expansion))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x), known))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PatchEmbedding(nn.Module):
    """One linear map of every patch."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)  # B L D


class ViT(nn.Module):
    """A vision transformer for images of any size that is a multiple of the patch.

    `positions` is "sincos" (fixed, exact for every grid) or "learned" (for another grid than the
    native one resampled bicubically). `pool` is what `forward` gives: the "cls" token or the
    "mean" patch. Parameter names are those of public DINO, MAE and timm weights.
    """

    pos_embed: Tensor

    def __init__(
        self,
        layout: Layout,
        *,
        patch: int = 16,
        size: int | tuple[int, int] = 224,
        positions: str = "sincos",
        class_token: bool = True,
        pool: str = "cls",
        drop_path: float = 0.0,
        expansion: float = 4.0,
    ) -> None:
        super().__init__()
        if positions not in ("sincos", "learned"):
            raise SettingProblem(f'positions are "sincos" or "learned", not {positions!r}.')
        if pool not in ("cls", "mean") or (pool == "cls" and not class_token):
            raise SettingProblem('pool is "cls" (which needs class_token=True) or "mean".')
        width, depth, heads = layout
        self.patch, self.dimension, self.positions, self.pool = patch, width, positions, pool
        self.native = self.grid(*((size, size) if isinstance(size, int) else size))
        self.patch_embed = PatchEmbedding(patch, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width)) if class_token else None
        rates = [
            drop_path * index / max(depth - 1, 1) for index in range(depth)
        ]  # the last block drops most
        self.blocks = nn.ModuleList(Block(width, heads, expansion, rate) for rate in rates)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        if positions == "learned":
            length = self.native[0] * self.native[1] + self.prefix
            self.pos_embed = nn.Parameter(torch.zeros(1, length, width))
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        else:
            self.register_buffer("pos_embed", self._sincos(self.native)[None])
        self._initialise()

    @property
    def prefix(self) -> int:
        """How many tokens come before the patches."""
        return 0 if self.cls_token is None else 1

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        # the patch embedding is a linear map in all but name
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.view(self.dimension, -1))
        nn.init.zeros_(self.patch_embed.proj.bias)  # type: ignore[arg-type]
        if self.cls_token is not None:
            nn.init.trunc_normal_(self.cls_token, std=0.02)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches of an image."""
        if height % self.patch or width % self.patch:
            raise SettingProblem(
                f"an image of {height}x{width} does not divide into patches of {self.patch}: "
                f"choose a size that is a multiple of {self.patch}."
            )
        return height // self.patch, width // self.patch

    def _sincos(self, grid: tuple[int, int], device: torch.device | None = None) -> Tensor:
        patches = sincos_positions(*grid, self.dimension, device)
        return torch.cat([patches.new_zeros(self.prefix, self.dimension), patches])

    def positions_for(self, grid: tuple[int, int]) -> Tensor:
        """Positions of the leading token and of every patch of a grid."""  # 1 T D
        if grid == self.native:
            return self.pos_embed
        if self.positions == "sincos":
            return self._sincos(grid, self.pos_embed.device)[None].to(self.pos_embed.dtype)
        lead, patches = self.pos_embed[:, : self.prefix], self.pos_embed[:, self.prefix :]
        square = patches.reshape(1, *self.native, -1).permute(0, 3, 1, 2)
        # the tenth added to the size is part of how public weights are read at other sizes
        scale = [(grid[axis] + 0.1) / self.native[axis] for axis in (0, 1)]
        square = F.interpolate(square.float(), scale_factor=scale, mode="bicubic")
        resampled = square.flatten(2).transpose(1, 2).to(patches.dtype)
        return torch.cat([lead, resampled], 1)

    def embed_patches(
        self,
        x: Tensor,
        keep: Tensor | None = None,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> Tensor:
        """What enters the first block.

        `keep` (B K) are the row-major patches to look at, in the order wanted; `mask` (B L) marks
        patches to replace by `mask_token` (D) before positions are added.
        """
        tokens = self.patch_embed(x)
        if mask is not None:
            if mask_token is None:
                raise SettingProblem("a mask needs a mask_token to put in the masked places.")
            tokens = torch.where(mask[..., None], mask_token.to(tokens.dtype), tokens)
        positions = self.positions_for(self.grid(x.shape[2], x.shape[3]))
        tokens = tokens + positions[:, self.prefix :]
        if keep is not None:
            tokens = tokens.gather(1, keep[..., None].expand(-1, -1, self.dimension))
        if self.cls_token is None:
            return tokens
        # len(x) would fix the size of the batch in an exported model
        lead = (self.cls_token + positions[:, :1]).expand(x.shape[0], -1, -1)
        return torch.cat([lead.to(tokens.dtype), tokens], 1)  # B 1+K D

    def forward_tokens(
        self,
        x: Tensor,
        keep: Tensor | None = None,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> Tensor:
        """Normed output tokens, leading token first; only kept patches cost anything."""
        tokens = self.embed_patches(x, keep, mask, mask_token)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def block_outputs(
        self,
        x: Tensor,
        layers: Sequence[int],
        norm: bool = False,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> list[Tensor]:
        """Tokens after the chosen blocks (0 is the first, -1 the last), each B T D."""
        wanted = [range(len(self.blocks))[layer] for layer in layers]
        outputs = {}
        tokens = self.embed_patches(x, None, mask, mask_token)
        for index, block in enumerate(self.blocks[: max(wanted) + 1]):
            tokens = block(tokens)
            if index in wanted:
                outputs[index] = self.norm(tokens) if norm else tokens
        return [outputs[index] for index in wanted]

    def attention(self, x: Tensor) -> Tensor:
        """Attention of the last block, for pictures of what the network looks at."""  # B heads T T
        tokens = self.embed_patches(x)
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        last = self.blocks[-1]
        assert isinstance(last, Block)
        return last.attn.weights(last.norm1(tokens))

    def patches(self, x: Tensor, layers: Sequence[int], norm: bool = True) -> list[Tensor]:
        """Patch tokens after the chosen blocks as maps, each B h w C."""
        grid = self.grid(x.shape[2], x.shape[3])
        outputs = self.block_outputs(x, layers, norm)
        return [tokens[:, self.prefix :].unflatten(1, grid) for tokens in outputs]

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.forward_tokens(x)
        return tokens[:, 0] if self.pool == "cls" else tokens[:, self.prefix :].mean(1)  # B D


def transformer_of(encoder: Encoder) -> ViT:
    """The encoder's own transformer, for methods that work on its patches.

    >>> import fallow
    >>> transformer_of(fallow.encoder("vit-nano/4")).patch
    4
    """
    if not isinstance(encoder.network, ViT):
        raise SettingProblem(
            f"this method needs an encoder of patches, such as vit-nano/4, not {encoder.name}"
        )
    return encoder.network


def read_mean_patch(encoder: Encoder) -> ViT:
    """The same, for methods that train patches but no class token: features are the mean patch.

    >>> import fallow
    >>> read_mean_patch(fallow.encoder("vit-nano/4")).pool
    'mean'
    """
    network = transformer_of(encoder)
    network.pool = "mean"
    encoder.options = {**encoder.options, "pool": "mean"}  # a saved copy reads the same
    return network


def vit(
    name: str,
    *,
    patch: int = 16,
    size: int | tuple[int, int] = 224,
    positions: str = "sincos",
    class_token: bool = True,
    pool: str = "cls",
    drop_path: float = 0.0,
) -> ViT:
    """A randomly initialised transformer of a known layout.

    >>> vit("vit-nano", patch=4, size=16)(torch.zeros(2, 3, 16, 24)).shape
    torch.Size([2, 128])
    """
    return ViT(
        LAYOUTS[name],
        patch=patch,
        size=size,
        positions=positions,
        class_token=class_token,
        pool=pool,
        drop_path=drop_path,
    )
