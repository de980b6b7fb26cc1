"""A scene by day and by night, a little shifted, and a segmenter that knows the day."""

from __future__ import annotations

import numpy as np
import torch

import fallow
from fallow.encoders.segmenter import Segmenter
from fallow.images import open as open_images
from fallow.images.masks import with_masks, without_masks
from fallow.images.pairs import paired
from fallow.images.samples import cells
from fallow.losses.segmentation import masked_cross_entropy
from fallow.methods.shared.segment import on_stage

SHIFT = 2


def scenes(count=8, side=48, seed=0):
    """Drawn cells with masks in three classes: ground, cells, and the brightest of the cells."""
    images = cells(count, seed=seed, side=side)
    pixels = [images[k] for k in range(count)]
    codes = [(images.mask(k) > 0).astype(np.uint8) for k in range(count)]
    return pixels, codes


def darkened(pixels, seed=0, shift=SHIFT):
    """By night: gamma, blue, noise, and the camera a little to the right."""
    random = np.random.default_rng(seed)
    moved = np.roll(pixels, -shift, axis=1)
    light = 0.55 * (moved / 255.0) ** 1.6 * np.array([0.7, 0.8, 1.15])
    light = light + random.normal(0, 0.015, light.shape)
    return (light.clip(0, 1) * 255).astype(np.uint8)


def day_and_night(count=8, side=48, seed=0):
    """Day pictures with masks, night ones paired with bare day ones, and the night's masks."""
    pixels, codes = scenes(count, side, seed)
    day = open_images(pixels)
    night = open_images([darkened(one, seed + k) for k, one in enumerate(pixels)])
    masked = with_masks(day, dict(enumerate(codes)))
    pairs = paired(night, without_masks(day), np.arange(count))
    return masked, pairs, [np.roll(one, -SHIFT, axis=1) for one in codes]


def by_day(day, steps=60, side=32, seed=0, name="unet/4"):
    """A segmenter taught on labelled day pictures as they are."""
    torch.manual_seed(seed)
    model = Segmenter(fallow.encoder(name, seed=seed), 2)
    x = torch.cat([on_stage(model.encoder, day[k], side) for k in range(len(day))])
    y = torch.stack([torch.from_numpy(day.mask(k)[None].copy()).float() for k in range(len(day))])
    y = torch.nn.functional.interpolate(y, x.shape[2:])[:, 0].long()
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    model.train()
    for _ in range(steps):
        optimiser.zero_grad()
        masked_cross_entropy(model(x), y, over="valid").backward()
        optimiser.step()
    return model.eval()


def overlap(model, images, codes, side=32):
    """IoU of the cells over some pictures."""
    both = either = 0
    for k, truth in enumerate(codes):
        with torch.no_grad():
            said = model(on_stage(model.encoder, images[k], side)).argmax(1)[0]
        said = torch.nn.functional.interpolate(said[None, None].float(), truth.shape)[0, 0].numpy()
        both += int(((said > 0) & (truth > 0)).sum())
        either += int(((said > 0) | (truth > 0)).sum())
    return both / max(1, either)
