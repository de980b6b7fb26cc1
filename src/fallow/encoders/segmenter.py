"""A network that gives every pixel a class: an encoder and the decoder that fits it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders.base import Encoder
from fallow.encoders.lite import Lite
from fallow.encoders.parts import train_last
from fallow.encoders.pyramid import Pyramid
from fallow.encoders.unet import Contracting
from fallow.problems import SettingProblem, SourceProblem

WIDTH = 64  # channels of the general decoder, at most
FINE = 16  # channels of its closer look
LEARNING = 4  # last stages of lite: those before, up to stride 8, take most of a step's time


class Segmenter(nn.Module):
    """Logits for every pixel, from an encoder's stages or patches.

    A U-Net or V-Net is completed by its own expanding half, and lite, which goes on learning
    gently, by a pyramid of its four maps; any other encoder gets a decoder in the manner of
    DeepLabV3+. Both have a closer look at the picture. `decode(features(x), size)` is `self(x)`:
    whoever wants to disturb features does it in between.

    >>> from fallow.encoders import encoder
    >>> Segmenter(encoder("unet/8"), 3)(torch.zeros(2, 3, 32, 48)).shape
    torch.Size([2, 3, 32, 48])
    >>> Segmenter(encoder("resnet8/8"), 3)(torch.zeros(2, 3, 32, 48)).shape
    torch.Size([2, 3, 32, 48])
    """

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        if classes < 2:
            raise SettingProblem(f"a segmenter tells at least two classes apart, not {classes}")
        self.encoder, self.classes = encoder, classes
        self.own = isinstance(encoder.network, Contracting)
        if isinstance(encoder.network, Contracting):
            self.dimensions = encoder.network.dimensions
            self.decoder: nn.Module = encoder.network.decoder(classes)  # type: ignore[operator]
        elif isinstance(encoder.network, Lite):
            self.dimensions = 2
            encoder.network.hold()
            train_last(encoder, LEARNING)
            self.decoder = Pyramid(encoder.network.channels, classes)
        else:
            self.dimensions = 2
            low, deep = self._probed()
            if deep[0, 0].numel() == 1:
                raise SettingProblem(
                    f"{encoder.name} sees a picture of {encoder.size} pixels as a single place: "
                    "give it larger ones (size), or choose unet/16"
                )
            self.decoder = DeepLab(
                low.shape[1],
                deep.shape[1],
                classes,
                width=min(WIDTH, max(16, deep.shape[1] // 2)),
                stride=min(2, encoder.size // low.shape[2]),
            )

    def _probed(self) -> list[Tensor]:
        """Maps of an empty picture, for their sizes."""
        side = self.encoder.size
        training = [module for module in self.encoder.modules() if module.training]
        self.encoder.eval()
        with torch.no_grad():
            found = self._maps(torch.zeros(1, 3, side, side, device=self.encoder.device))
        for module in training:
            module.training = True
        return found

    def _maps(self, x: Tensor) -> list[Tensor]:
        """The encoder's first and last maps, B C h w."""
        return [maps.movedim(-1, 1) for maps in self.encoder.patches(x, [0, -1])]

    def features(self, x: Tensor) -> list[Tensor]:
        """What the decoder reads, largest first, each B C *s."""
        if self.own:
            return self.encoder.network.stages(x)  # type: ignore[operator]
        network = self.encoder.network
        if isinstance(network, Lite):
            maps = [seen.float() for seen in network.stages(x)]
        else:
            maps = self._maps(x)
        return [self.decoder.closer(x), *maps]  # type: ignore[operator]

    def decode(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Logits B K *S at a size."""
        return self.decoder(features, tuple(size))

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.features(x), x.shape[2:])


class DeepLab(nn.Module):
    """DeepLabV3+'s decoder: deep features at several dilations, joined with low-level ones.

    Features of a quarter of the side, as most encoders' first are, cannot follow thin lines:
    `closer` looks at the picture itself at half its side, and corrects what the rest says.

    >>> head, x = DeepLab(8, 32, classes=4, width=16), torch.zeros(2, 3, 32, 32)
    >>> head([head.closer(x), torch.zeros(2, 8, 8, 8), torch.zeros(2, 32, 2, 2)], (32, 32)).shape
    torch.Size([2, 4, 32, 32])
    """

    def __init__(
        self,
        low: int,
        deep: int,
        classes: int,
        *,
        width: int = 256,
        stride: int = 2,
        dilations: Sequence[int] = (6, 12, 18),
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                _layer(deep, width, 1),
                *(_layer(deep, width, 3, dilation) for dilation in dilations),
            ]
        )
        # the mean over a whole picture of one image has no batch statistics
        self.overall = nn.Sequential(nn.Conv2d(deep, width, 1), nn.ReLU())
        self.joined = _layer(width * (len(dilations) + 2), width, 1)
        few = max(8, width * 48 // 256)
        self.low = _layer(low, few, 1)
        self.fuse = nn.Sequential(_layer(width + few, width, 3), _layer(width, width, 3))
        self.closer = nn.Sequential(_layer(3, FINE, 3, stride=stride), _layer(FINE, FINE, 3))
        self.narrow = nn.Conv2d(width, FINE, 1)
        self.correct = nn.Sequential(_layer(2 * FINE, FINE, 3), nn.Conv2d(FINE, classes, 1))
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        fine, low, deep = features
        overall = self.overall(deep.mean((2, 3), keepdim=True)).expand(-1, -1, *deep.shape[2:])
        seen = self.joined(torch.cat([*(branch(deep) for branch in self.branches), overall], 1))
        seen = F.interpolate(seen, low.shape[2:], mode="bilinear", align_corners=True)
        fused = self.fuse(torch.cat([self.low(low), seen], 1))
        logits, what = (
            F.interpolate(maps, fine.shape[2:], mode="bilinear", align_corners=True)
            for maps in (self.classify(fused), self.narrow(fused))
        )
        logits = logits + self.correct(torch.cat([fine, what], 1))
        return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=True)  # B K H W


def _layer(
    inputs: int, outputs: int, side: int, dilation: int = 1, stride: int = 1
) -> nn.Sequential:
    padding = dilation * (side // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def sibling(encoder: Encoder, seed: int) -> Encoder:
    """A second of its kind: random weights are drawn anew, learnt ones are where both begin.

    >>> from fallow.encoders import encoder
    >>> one = encoder("unet/8")
    >>> two = sibling(one, seed=1)
    >>> (
    ...     two.name,
    ...     bool(torch.equal(two.network.blocks[0][0].weight, one.network.blocks[0][0].weight)),
    ... )
    ('unet/8', False)
    """
    from fallow.encoders.building import describe, rebuild

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        other = rebuild(describe(encoder)).to(encoder.device)
    if not encoder.random:
        other.plain.load_state_dict(encoder.plain.state_dict())
    return other


def save_segmenter(segmenter: Segmenter, folder: str | os.PathLike[str], about: Any = None) -> Path:
    """Write the encoder as encoders are saved, and the decoder beside it."""
    from safetensors.torch import save as to_bytes

    from fallow.encoders.saving import save
    from fallow.files import atomic_write

    place = save(segmenter.encoder, Path(folder))
    held = {name: value.contiguous() for name, value in segmenter.decoder.state_dict().items()}
    with atomic_write(Path(place) / "decoder.safetensors") as target:
        target.write(to_bytes(held))
    with atomic_write(Path(place) / "segmenter.json") as target:
        target.write(json.dumps({"classes": segmenter.classes, "about": about}, indent=1).encode())
    return Path(place)


def load_segmenter(folder: str | os.PathLike[str]) -> tuple[Segmenter, Any]:
    """What `save_segmenter` wrote: the network, in eval mode, and what was said about it."""
    from safetensors.torch import load as from_bytes

    from fallow.encoders.saving import load

    place = Path(folder)
    try:
        said = json.loads((place / "segmenter.json").read_text())
        held = from_bytes((place / "decoder.safetensors").read_bytes())
    except FileNotFoundError:
        raise SourceProblem(
            f"{place} holds no saved segmenter: it needs segmenter.json and decoder.safetensors"
        ) from None
    segmenter = Segmenter(load(place), said["classes"])
    segmenter.decoder.load_state_dict(held)
    return segmenter.eval(), said["about"]
