"""Segment Anything through transformers: prompted at a grid of points, its masks sifted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.encoders.base import IMAGENET_MEAN, IMAGENET_STD
from fallow.problems import Problem

EDGE = 20  # pixels: a mask that ends at a crop's border this near is cut off by it


class Found(NamedTuple):
    """Masks in the image's own pixels, how good the model thinks each is, and their boxes."""

    masks: Tensor  # n H W bool
    quality: Tensor  # n
    boxes: Tensor  # n 4: left, top, right, bottom, the last two beyond the mask


@dataclass
class Generator:
    """All masks a SAM model finds in an image: proposals n H W bool, which overlap.

    The model is asked at a grid of points, on the image and on `crops` layers of overlapping
    parts of it; masks it is sure of and that hardly change with the threshold stay, the better
    of two that are nearly the same; holes and islands below `smallest` pixels are mended.
    """

    model: Any
    name: str = "sam"
    points: int = 32  # along a side
    quality: float = 0.86  # least IoU the model predicts for its mask
    stability: float = 0.92  # least IoU of the mask at thresholds `offset` above and below
    offset: float = 1.0
    crops: int = 1  # layers of crops; layer i cuts the image into 2^i x 2^i parts
    overlap: float = 512 / 1500  # of neighbouring crops, as a share of the image's short side
    fewer: int = 2  # points along a side of a crop of layer i: points / fewer^i
    smallest: int = 100
    same: float = 0.7  # IoU of boxes from which two masks are the same
    batch: int = 64  # points at once

    def __post_init__(self) -> None:
        self.model.eval()
        if torch.cuda.is_available():
            self.model.cuda()

    @cached_property
    def about(self) -> dict[str, Any]:
        from fallow.regions.keep import weights

        told = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "model"}
        return {**told, "weights": weights(self.model)}

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape[:2]
        parts, areas = [], []
        for box, points in self._crops(height, width):
            found = self._in_crop(pixels, box, points)
            parts.append(found)
            areas += [(box[2] - box[0]) * (box[3] - box[1])] * len(found.masks)
        masks = torch.cat([part.masks for part in parts])
        boxes = torch.cat([part.boxes for part in parts])
        if len(parts) > 1:  # what a smaller crop saw, it saw better
            better = -torch.tensor(areas, dtype=torch.float32)
            kept = distinct(boxes, better, self.same)
            masks, boxes = masks[kept], boxes[kept]
        return self._mended(masks.cpu().numpy())

    def _crops(self, height: int, width: int) -> Iterator[tuple[tuple[int, int, int, int], int]]:
        """Box (left, top, right, bottom) and points along a side: the image first."""
        yield (0, 0, width, height), self.points
        short = min(height, width)
        for layer in range(1, self.crops + 1):
            parts = 2**layer
            points = max(1, self.points // self.fewer**layer)
            shared = int(self.overlap * short * 2 / parts)
            wide, high = (-(-(shared * (parts - 1) + side) // parts) for side in (width, height))
            for row in range(parts):
                for column in range(parts):
                    left, top = (wide - shared) * column, (high - shared) * row
                    yield (left, top, min(left + wide, width), min(top + high, height)), points

    def _in_crop(self, pixels: np.ndarray, box: tuple[int, int, int, int], points: int) -> Found:
        left, top, right, bottom = box
        height, width = pixels.shape[:2]
        part = pixels[top:bottom, left:right]
        seen, scale = self._prepared(part)
        embedding = self.model.get_image_embeddings(seen)
        middle = (np.arange(points) + 0.5) / points
        places = np.stack(np.meshgrid(middle, middle), 2).reshape(-1, 2)
        places = places * [right - left, bottom - top] * scale
        grid = torch.from_numpy(places).float().to(seen.device)
        found = [
            self._asked(embedding, some, part.shape[:2], seen.shape[2], scale)
            for some in grid.split(self.batch)
        ]
        masks, quality, boxes = (torch.cat(each) for each in zip(*found, strict=True))
        kept = torch.ones(len(masks), dtype=torch.bool, device=masks.device)
        for side, (own, whole) in enumerate(zip(box, (0, 0, width, height), strict=True)):
            if own != whole:  # a border inside the image
                at = boxes[:, side] + (left, top)[side % 2]
                kept &= (at - own).abs() > EDGE
        masks, quality, boxes = masks[kept], quality[kept], boxes[kept]
        kept = distinct(boxes, quality, self.same)
        masks, quality, boxes = masks[kept], quality[kept], boxes[kept]
        shift = torch.tensor([left, top, left, top], device=boxes.device)
        padded = F.pad(masks, (left, width - right, top, height - bottom))
        return Found(padded, quality, boxes + shift)

    def _prepared(self, part: np.ndarray) -> tuple[Tensor, float]:
        """The model's square input: the long side fills it, below or beside lie zeros."""
        side = int(self.model.config.vision_config.image_size)
        scale = side / max(part.shape[:2])
        height, width = (int(length * scale + 0.5) for length in part.shape[:2])
        device = next(self.model.parameters()).device
        pixels = torch.from_numpy(np.ascontiguousarray(part)).permute(2, 0, 1)[None].to(device)
        pixels = F.interpolate(pixels.float(), (height, width), mode="bilinear", antialias=True)
        mean, std = (
            torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD)
        )
        seen = (pixels / 255 - mean) / std
        return F.pad(seen, (0, side - width, 0, side - height)), scale

    @torch.no_grad()
    def _asked(
        self, embedding: Tensor, points: Tensor, size: tuple[int, int], side: int, scale: float
    ) -> Found:
        """The good masks at some points (n 2: x, y in the model's input), at the part's size."""
        output = self.model(
            image_embeddings=embedding, input_points=points[None, :, None], multimask_output=True
        )
        quality = output.iou_scores.flatten()
        logits = output.pred_masks.flatten(0, 2)  # 3n h w
        good = quality >= self.quality
        logits, quality = logits[good], quality[good]
        height, width = (int(length * scale + 0.5) for length in size)
        logits = F.interpolate(logits[:, None].float(), (side, side), mode="bilinear")
        logits = F.interpolate(logits[..., :height, :width], size, mode="bilinear")[:, 0]
        steady = stability(logits, self.offset) >= self.stability
        masks, quality = logits[steady] > 0, quality[steady]
        some = masks.flatten(1).any(1)
        return Found(masks[some], quality[some], boxes_of(masks[some]))

    def _mended(self, masks: np.ndarray) -> np.ndarray:
        """Small holes filled, small islands removed; of masks that became alike one stays."""
        mended = np.stack([mend(mask, self.smallest) for mask in masks]) if len(masks) else masks
        some = mended.any((1, 2))
        mended, changed = mended[some], (mended != masks).any((1, 2))[some]
        if not len(mended):
            return mended
        boxes = boxes_of(torch.from_numpy(mended))
        kept = distinct(boxes, torch.from_numpy(~changed).float(), self.same)
        return mended[np.sort(kept.numpy())]


def stability(logits: Tensor, offset: float = 1.0) -> Tensor:
    """IoU of each mask (n H W) at a higher and at a lower threshold; 0 where both are empty.

    >>> stability(torch.tensor([[[5.0, 0.5, -5.0]], [[0.5, -0.5, -5.0]]]))
    tensor([0.5000, 0.0000])
    """
    inside = (logits > offset).flatten(1).sum(1)
    outside = (logits > -offset).flatten(1).sum(1)
    return inside / outside.clamp(min=1)


def boxes_of(masks: Tensor) -> Tensor:
    """Boxes (n 4: left, top, right, bottom, int64) of masks that are not empty.

    >>> boxes_of(torch.tensor([[[False, True, True], [False, False, False]]]))
    tensor([[1, 0, 3, 1]])
    """
    columns, rows = masks.any(1), masks.any(2)

    def ends(line: Tensor) -> tuple[Tensor, Tensor]:
        first = line.int().argmax(1)
        return first, line.shape[1] - line.flip(1).int().argmax(1)

    (left, right), (top, bottom) = ends(columns), ends(rows)
    return torch.stack([left, top, right, bottom], 1)


def distinct(boxes: Tensor, better: Tensor, same: float) -> Tensor:
    """Rows to keep, the better first: those whose box overlaps no kept one by more than `same`.

    >>> boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9], [5, 5, 9, 9]])
    >>> distinct(boxes, torch.tensor([0.1, 0.9, 0.5]), 0.7)
    tensor([1, 2])
    """
    left = better.argsort(descending=True, stable=True)
    kept = []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while len(left):
        one, left = left[0], left[1:]
        kept.append(one)
        low = torch.maximum(boxes[one, :2], boxes[left, :2])
        high = torch.minimum(boxes[one, 2:], boxes[left, 2:])
        shared = (high - low).clamp(min=0).prod(1)
        left = left[shared <= same * (areas[one] + areas[left] - shared)]
    return torch.stack(kept) if kept else torch.zeros(0, dtype=torch.long, device=boxes.device)


def mend(mask: np.ndarray, smallest: int) -> np.ndarray:
    """A mask without holes and islands below `smallest` pixels; its largest island stays.

    >>> mend(np.array([[1, 1, 1, 0, 1], [1, 0, 1, 0, 0], [1, 1, 1, 0, 0]], bool), 2).astype(int)
    array([[1, 1, 1, 0, 0],
           [1, 1, 1, 0, 0],
           [1, 1, 1, 0, 0]])
    """
    from scipy.ndimage import label

    if smallest <= 0:
        return mask
    holes, _ = label(~mask, np.ones((3, 3)))
    sizes = np.bincount(holes.ravel())
    sizes[0] = smallest
    whole = mask | (sizes[holes] < smallest)
    islands, count = label(whole, np.ones((3, 3)))
    if count < 2:
        return whole
    sizes = np.bincount(islands.ravel())
    sizes[0] = 0
    keep = sizes >= smallest
    if not keep.any():
        keep[sizes.argmax()] = True
    return keep[islands]


def load(name: str) -> Any:
    """A SAM model of the hub, of the local cache, or of a folder."""
    from fallow.encoders.hub_files import pretrained

    model = pretrained(name, "SamModel", "sam")
    if not hasattr(model, "get_image_embeddings"):
        raise Problem(f"{name} is not a model that can be asked for masks: use a SAM model.")
    return model
