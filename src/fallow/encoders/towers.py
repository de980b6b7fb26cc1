"""The two towers of CLIP and SigLIP: transformers for pictures and for text, with public names.

Parameter names and numbers are those of Hugging Face's weights, so that these load as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders.tower_shapes import ACTIVATIONS, ImageShape, Pool, TextShape
from fallow.problems import SettingProblem


class Attention(nn.Module):
    """Self-attention with separate maps for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        query, key, value = (
            project(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # B heads T d
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class Perceptron(nn.Module):
    """The two linear layers of a block."""

    def __init__(self, width: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))


class Block(nn.Module):
    """Attention and a perceptron, each behind a norm and with a shortcut."""

    def __init__(self, shape: TextShape | ImageShape) -> None:
        super().__init__()
        self.self_attn = Attention(shape.width, shape.heads)
        self.layer_norm1 = nn.LayerNorm(shape.width, eps=shape.eps)
        self.mlp = Perceptron(shape.width, shape.hidden, shape.activation)
        self.layer_norm2 = nn.LayerNorm(shape.width, eps=shape.eps)

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x), causal)
        return x + self.mlp(self.layer_norm2(x))


class Stack(nn.Module):
    """Blocks one after the other, begun with CLIP's spreads."""

    def __init__(self, shape: TextShape | ImageShape) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        narrow = shape.width**-0.5
        for layer in self.layers:
            assert isinstance(layer, Block)
            for name, linear in layer.named_modules():
                if not isinstance(linear, nn.Linear):
                    continue
                spread = narrow
                if name.endswith(("out_proj", "fc2")):  # these add to the shortcut
                    spread *= (2 * shape.layers) ** -0.5
                elif name.endswith("fc1"):
                    spread = (2 * shape.width) ** -0.5
                nn.init.normal_(linear.weight, std=spread)
                nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        for layer in self.layers:
            x = layer(x, causal)
        return x

    def outputs(self, x: Tensor) -> list[Tensor]:
        """What comes out of every block."""
        found = []
        for layer in self.layers:
            x = layer(x)
            found.append(x)
        return found


class TextEmbeddings(nn.Module):
    """Vectors of numbers and of places."""

    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.position_embedding = nn.Embedding(shape.context, shape.width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.position_embedding.weight, std=0.01)

    def forward(self, numbers: Tensor) -> Tensor:
        length = numbers.shape[1]
        if length > self.position_embedding.num_embeddings:
            raise SettingProblem(
                f"a text of {length} numbers is longer than the "
                f"{self.position_embedding.num_embeddings} this text tower knows"
            )
        return self.token_embedding(numbers) + self.position_embedding.weight[:length]


class TextModel(nn.Module):
    """A text tower without CLIP's last map."""

    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.shape = shape
        self.embeddings = TextEmbeddings(shape)
        self.encoder = Stack(shape)
        self.final_layer_norm = nn.LayerNorm(shape.width, eps=shape.eps)
        if shape.bias:  # SigLIP keeps its last map in here
            self.head = nn.Linear(shape.width, shape.output)

    def forward(self, numbers: Tensor) -> Tensor:
        return self.final_layer_norm(self.encoder(self.embeddings(numbers), self.shape.causal))


def pooled(tokens: Tensor, pool: Pool) -> Tensor:
    """One vector of all positions (B, L, D), whatever stands there, padding too.

    >>> pooled(torch.tensor([[[1.0, 5.0], [3.0, 2.0]]]), "max")
    tensor([[3., 5.]])
    """
    return tokens.amax(1) if pool == "max" else tokens[:, -1]


class TextTower(nn.Module):
    """Vectors (B, D) of texts given as numbers (B, L).

    >>> shape = TextShape(9, context=5, width=8, layers=1, heads=2, hidden=8, output=4)
    >>> TextTower(shape)(torch.tensor([[7, 1, 2, 8, 0]])).shape
    torch.Size([1, 4])
    """

    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.shape = shape
        self.text_model = TextModel(shape)
        if not shape.bias:
            self.text_projection = nn.Linear(shape.width, shape.output, bias=False)
            nn.init.normal_(self.text_projection.weight, std=shape.width**-0.5)

    @property
    def dimension(self) -> int:
        return self.shape.output

    def tokens(self, numbers: Tensor) -> Tensor:
        """Normed outputs of all positions.  B L -> B L width"""
        return self.text_model(numbers)

    def forward(self, numbers: Tensor) -> Tensor:
        pool = self.shape.pool
        if pool in ("max", "last"):
            found = pooled(self.tokens(numbers), pool)
        else:
            place = self._end(numbers)
            if self.shape.causal:  # what stands after the last end changes nothing before it
                numbers = numbers[:, : int(place.max()) + 1]
            found = self.tokens(numbers)[torch.arange(len(place), device=place.device), place]
        return self.text_model.head(found) if self.shape.bias else self.text_projection(found)

    def _end(self, numbers: Tensor) -> Tensor:
        if self.shape.pool == "end":
            return numbers.argmax(1)
        return (numbers == self.shape.end).int().argmax(1)


class ImageEmbeddings(nn.Module):
    """Vectors of patches and of their places; CLIP's with a class token before them."""

    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        clip = shape.kind == "clip"
        self.side = shape.size // shape.patch
        self.patch = shape.patch
        if clip:
            self.class_embedding = nn.Parameter(torch.randn(shape.width) * shape.width**-0.5)
        self.patch_embedding = nn.Conv2d(3, shape.width, shape.patch, shape.patch, bias=not clip)
        self.position_embedding = nn.Embedding(self.side**2 + clip, shape.width)
        nn.init.normal_(self.patch_embedding.weight, std=0.02)
        nn.init.normal_(self.position_embedding.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[2] // self.patch, x.shape[3] // self.patch
        if rows < 1 or columns < 1:
            raise SettingProblem(f"pictures of {tuple(x.shape[2:])} are smaller than one patch")
        tokens = self.patch_embedding(x).flatten(2).transpose(1, 2)
        if hasattr(self, "class_embedding"):
            lead = self.class_embedding.expand(x.shape[0], 1, -1).to(tokens.dtype)
            tokens = torch.cat([lead, tokens], 1)
        return tokens + self._places(rows, columns)

    def _places(self, rows: int, columns: int) -> Tensor:
        """The places of a grid; of another than the native one, resampled."""
        places = self.position_embedding.weight
        if (rows, columns) == (self.side, self.side):
            return places
        lead = len(places) - self.side**2
        square = places[lead:].T.reshape(1, -1, self.side, self.side)
        square = F.interpolate(square, (rows, columns), mode="bicubic", align_corners=False)
        return torch.cat([places[:lead], square[0].flatten(1).T])


class AttentionHead(nn.Module):
    """SigLIP's pooling: one learnt question to all patches, and a perceptron."""

    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.randn(1, 1, shape.width) * shape.width**-0.5)
        self.attention = nn.MultiheadAttention(shape.width, shape.heads, batch_first=True)
        self.layernorm = nn.LayerNorm(shape.width, eps=shape.eps)
        self.mlp = Perceptron(shape.width, shape.hidden, shape.activation)

    def forward(self, tokens: Tensor) -> Tensor:
        probe = self.probe.expand(tokens.shape[0], -1, -1)
        seen = self.attention(probe, tokens, tokens, need_weights=False)[0]
        return (seen + self.mlp(self.layernorm(seen)))[:, 0]


class ImageModel(nn.Module):
    """A picture tower without CLIP's last map."""

    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        self.embeddings = ImageEmbeddings(shape)
        self.encoder = Stack(shape)
        self.post_layernorm = nn.LayerNorm(shape.width, eps=shape.eps)
        if shape.kind == "clip":
            self.pre_layrnorm = nn.LayerNorm(shape.width, eps=shape.eps)  # sic, in all weights
        else:
            self.head = AttentionHead(shape)

    def begin(self, x: Tensor) -> Tensor:
        """What enters the first block."""
        tokens = self.embeddings(x)
        return self.pre_layrnorm(tokens) if hasattr(self, "pre_layrnorm") else tokens


class ImageTower(nn.Module):
    """Vectors (B, D) of pictures (B, 3, S, S), and maps of their patches.

    >>> shape = ImageShape(size=16, patch=8, width=8, layers=2, heads=2, hidden=8, output=4)
    >>> tower = ImageTower(shape)
    >>> (
    ...     tower(torch.zeros(2, 3, 16, 16)).shape,
    ...     tower.patches(torch.zeros(2, 3, 16, 16), [-1])[0].shape,
    ... )
    (torch.Size([2, 4]), torch.Size([2, 2, 2, 8]))
    """

    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        self.shape = shape
        self.vision_model = ImageModel(shape)
        if shape.kind == "clip":
            self.visual_projection = nn.Linear(shape.width, shape.output, bias=False)
            nn.init.normal_(self.visual_projection.weight, std=shape.width**-0.5)

    @property
    def dimension(self) -> int:
        return self.shape.output if self.shape.kind == "clip" else self.shape.width

    def tokens(self, x: Tensor) -> Tensor:
        """What comes out of the last block, before the last norm."""
        return self.vision_model.encoder(self.vision_model.begin(x))

    def forward(self, x: Tensor) -> Tensor:
        return self._vector(self.tokens(x))

    def _vector(self, tokens: Tensor) -> Tensor:
        model = self.vision_model
        if self.shape.kind == "clip":
            return self.visual_projection(model.post_layernorm(tokens[:, 0]))
        return model.head(model.post_layernorm(tokens))

    def patches(self, x: Tensor, layers: Sequence[int], norm: bool = True) -> list[Tensor]:
        """Patches after the chosen blocks as maps, each B h w C."""
        return self.look(x, layers, norm)[1]

    def look(
        self, x: Tensor, layers: Sequence[int], norm: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """The vectors and the maps of chosen layers, from one run."""
        model = self.vision_model
        outputs = model.encoder.outputs(model.begin(x))
        grid = (x.shape[2] // self.shape.patch, x.shape[3] // self.shape.patch)
        wanted = [outputs[layer] for layer in layers]
        tokens = [model.post_layernorm(one) if norm else one for one in wanted]
        maps = [one[:, one.shape[1] - grid[0] * grid[1] :].unflatten(1, grid) for one in tokens]
        return self._vector(outputs[-1]), maps


def clip(size: int = 224, **options: Any) -> ImageTower:
    """A picture tower as CLIP has it, from random.

    >>> clip(32, patch=8, width=16, layers=1, heads=2, hidden=32, output=8).dimension
    8
    """
    return ImageTower(ImageShape(kind="clip", size=size, **options))


def siglip(size: int = 224, **options: Any) -> ImageTower:
    """A picture tower as SigLIP has it, from random.

    >>> siglip(32, patch=8, width=16, layers=1, heads=2, hidden=32).dimension
    16
    """
    usual = {"activation": "gelu_pytorch_tanh", "eps": 1e-6, "patch": 16}
    return ImageTower(ImageShape(kind="siglip", size=size, **{**usual, **options}))


NETWORKS: dict[str, Callable[..., ImageTower]] = {"clip": clip, "siglip": siglip}
