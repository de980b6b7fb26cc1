"""Pictures of what a vision transformer looks at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fallow.encoders.base import Encoder
from fallow.encoders.vit import ViT

SIDE = 96  # pixels: small pictures are enlarged to about this


def attention_pictures(
    encoder: Encoder, images: Sequence[np.ndarray]
) -> dict[str, list[list[np.ndarray]]]:
    """Rows of an image, what all heads of the last block look at in it, and each head alone.

    For networks other than fallow's transformers with a class token there are none.

    >>> import fallow
    >>> images = [np.zeros((40, 50, 3), np.uint8)] * 2
    >>> shown = attention_pictures(fallow.encoder("vit-nano/4"), images)
    >>> [(title, len(rows), len(rows[0]), rows[0][0].shape) for title, rows in shown.items()]
    [('What the transformer looks at', 2, 6, (96, 96, 3))]
    """
    network = encoder.network
    if not isinstance(network, ViT) or network.cls_token is None or not len(images):
        return {}
    pixels = torch.stack([encoder.preprocessing.fit(image) for image in images])  # B 3 S S uint8
    with torch.inference_mode():
        looks = network.attention(encoder.preprocessing.normalise(pixels.to(encoder.device)))
    looks = looks[:, :, 0, network.prefix :].float().cpu()  # B heads L, of the class token
    looks = torch.cat([looks.mean(1, keepdim=True), looks], 1)
    grid = [side // network.patch for side in pixels.shape[2:]]
    rows = [
        [_large(image), *(_large(_lit(image, look)) for look in maps)]
        for image, maps in zip(pixels, looks.unflatten(2, grid), strict=True)
    ]
    return {"What the transformer looks at": rows}


def _lit(image: Tensor, look: Tensor) -> Tensor:
    """The image, dark where nobody looks."""
    light = F.interpolate(look[None, None], image.shape[1:], mode="bilinear")[0]
    low, high = light.min(), light.max()
    return image * (0.1 + 0.9 * (light - low) / (high - low).clamp(min=1e-12))


def _large(image: Tensor) -> np.ndarray:
    """H W 3 uint8, each pixel repeated until the picture is large enough to see."""
    times = max(1, SIDE // image.shape[1])
    enlarged = image.repeat_interleave(times, 1).repeat_interleave(times, 2)
    return enlarged.to(torch.uint8).permute(1, 2, 0).numpy()
