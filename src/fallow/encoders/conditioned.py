"""A generator of pictures that a text steers, place by place (after SSA-GAN, Liao et al. 2022)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = 256  # of the two layers that make a scale or a shift of a text
MASKED = 100  # channels before a mask
NOISE = 100
WIDTHS = (8, 8, 8, 8, 4, 2, 1)  # of the seven blocks, in channels of the last


def _of_text(text: int, channels: int) -> nn.Sequential:
    """A number for each channel; 0 for every text at first."""
    last = nn.Linear(HIDDEN, channels)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(text, HIDDEN), nn.ReLU(), last)


class TextNorm(nn.Module):
    """Batch norm whose scale and shift come from a text, where a mask lets them.

    At first it is plain batch norm.
    """

    def __init__(self, channels: int, text: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale = _of_text(text, channels)
        self.shift = _of_text(text, channels)

    def forward(self, x: Tensor, text: Tensor, mask: Tensor) -> Tensor:  # B C h w, B D, B 1 h w
        scale, shift = (made(text)[..., None, None] for made in (self.scale, self.shift))
        normed: Tensor = self.norm(x)
        return (1 + mask * scale) * normed + mask * shift


def _mask_head(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, MASKED, 3, padding=1),
        nn.BatchNorm2d(MASKED),
        nn.ReLU(),
        nn.Conv2d(MASKED, 1, 1),
    )


class TextBlock(nn.Module):
    """Two convolutions steered by the text beside the identity, with a weight that starts at 0."""

    def __init__(self, inputs: int, outputs: int, text: int, masks: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.one = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.two = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm_one = TextNorm(inputs, text)
        self.norm_two = TextNorm(outputs, text)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.mask = _mask_head(outputs) if masks else None

    def forward(self, x: Tensor, text: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """The next features, and the logits of the next mask, if it makes one."""
        made = self.one(F.relu(self.norm_one(x, text, mask)))
        made = self.two(F.relu(self.norm_two(made, text, mask)))
        y = self.skip(x) + self.weight * made
        return y, None if self.mask is None else self.mask(y)


class TextGenerator(nn.Module):
    """From a text's vector and noise a picture in -1 ... 1, of 4 pixels and a doubling per block.

    `width` are the channels of the last block; seven blocks make 256 pixels, as published.
    """

    def __init__(self, text: int, width: int = 64, blocks: int = 7) -> None:
        super().__init__()
        channels = [width * times for times in (8, *WIDTHS[-blocks:])]
        channels[0] = channels[1]
        self.width = channels[0]
        self.begin = nn.Linear(NOISE, channels[0] * 16)
        self.mask = _mask_head(channels[0])
        self.blocks = nn.ModuleList(
            TextBlock(inputs, outputs, text, masks=number < blocks - 1)
            for number, (inputs, outputs) in enumerate(pairwise(channels))
        )
        self.out = nn.Sequential(
            nn.BatchNorm2d(width), nn.LeakyReLU(0.2), nn.Conv2d(width, 3, 3, padding=1), nn.Tanh()
        )

    def forward(self, noise: Tensor, text: Tensor) -> Tensor:  # B 100, B D -> B 3 S S
        return self.with_masks(noise, text)[0]

    def with_masks(self, noise: Tensor, text: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The picture, and the mask of every block."""
        x = self.begin(noise).view(len(noise), self.width, 4, 4)
        logits: Tensor | None = self.mask(x)
        masks = []
        for number, block in enumerate(self.blocks):
            assert logits is not None
            if number:
                x = F.interpolate(x, scale_factor=2)
                logits = F.interpolate(logits, x.shape[2:], mode="bilinear", align_corners=True)
            masks.append(torch.sigmoid(logits))
            x, logits = block(x, text, masks[-1])
        made: Tensor = self.out(x)
        return made, masks
