"""Patch features of whole images on one grid, whatever the network and the images' sizes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders.base import Encoder
from fallow.encoders.hub import HubNetwork
from fallow.encoders.hub_timm import TimmNetwork
from fallow.encoders.moments import Moments
from fallow.encoders.resnet import ResNet
from fallow.encoders.unet import Contracting
from fallow.encoders.vit import ViT
from fallow.problems import SettingProblem

LARGEST = 518  # side of a transformer's input: 37 patches of 14 pixels
SIDE = 32  # patches along a side of a convolutional network's grid, at most
CONVOLUTIONAL = 256  # its input, where the network has no size of its own


@dataclass(frozen=True)
class Sight:
    """How images are looked at: all of each, squashed to rows x columns inputs of the network."""

    size: int  # side of one input
    layers: tuple[int, ...]
    norm: bool  # a transformer's final norm on every layer
    side: int  # patches along a side of one input
    tiles: tuple[int, int] = (1, 1)  # rows, columns

    @property
    def grid(self) -> tuple[int, int]:
        return self.tiles[0] * self.side, self.tiles[1] * self.side

    @property
    def pixels(self) -> tuple[int, int]:
        return self.tiles[0] * self.size, self.tiles[1] * self.size


class Seen(NamedTuple):
    """Some images: their rows, unit vectors and, per layer, maps on the common grid."""

    rows: list[int]
    vectors: Tensor  # B D
    maps: list[Tensor]  # each B h w C


def sight(
    encoder: Encoder,
    *,
    size: int | None = None,
    layers: Sequence[int] | None = None,
    norm: bool | None = None,
    side: int | None = None,
    tiles: tuple[int, int] = (1, 1),
) -> Sight:
    """What is not given is chosen to fit the network.

    Of a transformer the blocks at a quarter, half, three quarters and the end, with the final norm
    except for CLIP's and SigLIP's; of a convolutional network the stages before the last.

    >>> from fallow.encoders import encoder
    >>> sight(encoder("vit-tiny/4")).layers, sight(encoder("untrained")).grid
    ((2, 5, 8, 11), (32, 32))
    """
    network = encoder.network
    depth = depth_of(network)
    patch = _patch(network)
    if patch is None:
        own = encoder.size if isinstance(network, HubNetwork | TimmNetwork) else CONVOLUTIONAL
        wanted = tuple(range(max(1, depth - 1)))
    else:
        # a transformer of our own was trained on small images: not more than 32 patches a side
        most = LARGEST if isinstance(network, HubNetwork) else min(LARGEST, SIDE * patch)
        own = encoder.size if isinstance(network, TimmNetwork) else most // patch * patch
        wanted = tuple(sorted({max(0, depth * quarter // 4 - 1) for quarter in (1, 2, 3, 4)}))
    if layers is not None:
        for layer in layers:
            if not -depth <= layer < depth:
                raise SettingProblem(
                    f"{encoder.name} has the layers 0 to {depth - 1}: there is no layer {layer}."
                )
        wanted = tuple(range(depth)[layer] for layer in layers)
    if not wanted:
        raise SettingProblem("layers is empty: name at least one, or leave it out.")
    size = own if size is None else size
    if size < 8 or (patch is not None and size % patch):
        raise SettingProblem(
            f"a size of {size} does not fit {encoder.name}: use a multiple of {patch or 8}."
        )
    if norm is None:
        norm = not (isinstance(network, HubNetwork) and _is_clip(network))
    if side is None:
        side = size // patch if patch is not None else _side(encoder, size, wanted)
    return Sight(size, wanted, norm, side, tiles)


def look(encoder: Encoder, images: Any, how: Sight, batch: int = 8) -> Iterator[Seen]:
    """Look at images (`Images`, or a list of uint8 arrays), a few at a time and in order.

    Unreadable ones are left out; a collection lists them among its problems.

    >>> from fallow.encoders import encoder
    >>> chosen = encoder("untrained")
    >>> (seen,) = look(chosen, [np.zeros((40, 90, 3), np.uint8)], sight(chosen, size=64))
    >>> [tuple(each.shape) for each in seen.maps]
    [(1, 16, 16, 32), (1, 16, 16, 64)]
    """
    preprocessing = replace(encoder.preprocessing, size=how.size, short=how.size)

    def fit(pixels: np.ndarray) -> Tensor:
        return preprocessing.squash(pixels, *how.tiles)

    if hasattr(images, "map"):
        fitted = images.map(fit, side=max(how.pixels))
    else:
        fitted = ((row, fit(pixels)) for row, pixels in enumerate(images))
    readable = ((row, pixels) for row, pixels in fitted if isinstance(pixels, Tensor))
    while some := list(islice(readable, batch)):
        pixels = torch.stack([pixels for _, pixels in some]).to(encoder.device)
        with asked(encoder):
            seen = _seen(encoder, preprocessing.normalise(_cut(pixels, how)), how)
        yield Seen([row for row, _ in some], *seen)


@contextlib.contextmanager
def asked(encoder: Encoder) -> Iterator[None]:
    """Eval mode without gradients; the encoder is left as it was found."""
    training = [module for module in encoder.modules() if module.training]
    encoder.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def _seen(encoder: Encoder, inputs: Tensor, how: Sight) -> tuple[Tensor, list[Tensor]]:
    vectors, maps = encoder.look(inputs, how.layers, how.norm)
    tiles = how.tiles[0] * how.tiles[1]
    vectors = F.normalize(vectors.float(), dim=1).unflatten(0, (-1, tiles)).mean(1)
    return F.normalize(vectors, dim=1), [_joined(_resampled(m, how.side), how) for m in maps]


def _cut(pixels: Tensor, how: Sight) -> Tensor:
    """Whole pictures as inputs of the network, row of tiles after row."""
    rows, columns = how.tiles
    tiles = pixels.reshape(len(pixels), 3, rows, how.size, columns, how.size)
    return tiles.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)  # B*T 3 S S


def _joined(maps: Tensor, how: Sight) -> Tensor:
    """The maps of the tiles put together as they lie in the picture."""
    parts = maps.unflatten(0, (-1, *how.tiles))  # B r c s s C
    return parts.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)  # B h w C


def _resampled(maps: Tensor, side: int) -> Tensor:
    """Maps on a grid of side x side: averaged where they are finer, interpolated where coarser."""
    if maps.shape[1:3] == (side, side):
        return maps.float()
    channels_first = maps.permute(0, 3, 1, 2).float()
    if min(maps.shape[1:3]) > side:
        channels_first = F.adaptive_avg_pool2d(channels_first, side)
    else:
        channels_first = F.interpolate(channels_first, (side, side), mode="bilinear")
    return channels_first.permute(0, 2, 3, 1)


def depth_of(network: nn.Module) -> int:
    if isinstance(network, ViT):
        return len(network.blocks)
    if isinstance(network, HubNetwork):
        config = network.config
        return config.num_hidden_layers if network.family.norm else len(config.depths)
    if isinstance(network, TimmNetwork):
        return len(network.model.feature_info)
    stages = network.model if isinstance(network, Moments) else network
    if not isinstance(stages, ResNet):
        # any other network says so itself
        return int(network.depth)  # type: ignore[arg-type]
    return len(stages.stage_names)


def _patch(network: nn.Module) -> int | None:
    """Side of a transformer's patch; None for networks of stages."""
    if isinstance(network, ViT):
        return network.patch
    if isinstance(network, HubNetwork):
        return network.config.patch_size if network.family.norm else None
    if isinstance(network, TimmNetwork) and hasattr(network.model, "blocks"):
        return int(network.model.patch_embed.patch_size[0])
    return None


def stages_of(encoder: Encoder, x: Tensor) -> list[Tensor]:
    """Maps (B C h w) of every stage of a convolutional network, the deepest last; with gradients.

    Of a transformer, all of whose maps are of one size, there is the last alone.

    >>> from fallow.encoders import encoder
    >>> [one.shape[2] for one in stages_of(encoder("unet/8"), torch.zeros(1, 3, 32, 32))]
    [32, 16, 8, 4, 2]
    """
    network = encoder.network
    if isinstance(network, Contracting):
        return network.stages(x)
    layers = [-1] if _patch(network) is not None else list(range(depth_of(network)))
    return [maps.movedim(-1, 1) for maps in encoder.patches(x, layers)]


def _is_clip(network: HubNetwork) -> bool:
    return network.family.class_name.startswith(("CLIP", "Siglip"))


def _side(encoder: Encoder, size: int, layers: tuple[int, ...]) -> int:
    """The middle one of the stages' sides, within bounds."""
    with asked(encoder):
        maps = encoder.patches(torch.zeros(1, 3, size, size, device=encoder.device), layers)
    return min(SIDE, sorted(each.shape[1] for each in maps)[len(maps) // 2])
