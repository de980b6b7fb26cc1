"""Paste parts of pictures, labels and confidences onto others: pure functions of tensors.

A place mask is true (1) where the second picture is pasted. It is B *S, or 1 *S for all of a batch,
and covers channels by itself. *S is H W or D H W.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fallow.problems import SettingProblem


def block_sides(size: Sequence[int], share: float = 2 / 3) -> tuple[int, ...]:
    """The sides of a block that takes `share` of every axis, rounded down.

    >>> block_sides((256, 256)), block_sides((96, 96, 96))
    ((170, 170), (64, 64, 64))
    """
    return tuple(int(share * side) for side in size)


def block_mask(
    size: Sequence[int],
    share: float = 2 / 3,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """BCP's mask for a whole batch (*S): 0 inside one block at a random place, 1 outside.

    The corner lies anywhere in 0 ... side - block side - 1, so the last row and column are never
    inside.

    >>> mask = block_mask((9, 12))
    >>> mask.shape, int((mask == 0).sum())
    (torch.Size([9, 12]), 48)
    """
    mask = torch.ones(tuple(size), dtype=torch.int64, device=device)
    cut = []
    for side, block in zip(size, block_sides(size, share), strict=True):
        if not 0 < block < side:
            raise SettingProblem(f"a block of {share:g} of {side} pixels leaves nothing to mix")
        corner = int(torch.randint(0, side - block, (), generator=generator))
        cut.append(slice(corner, corner + block))
    mask[tuple(cut)] = 0
    return mask


def cutmix_boxes(
    batch: int,
    size: int | Sequence[int],
    *,
    probability: float = 0.5,
    area: tuple[float, float] = (0.02, 0.4),
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
    generator: torch.Generator | None = None,
) -> Tensor:
    """A box for each picture, or none with chance 1 - probability: B H W, true inside.

    >>> boxes = cutmix_boxes(64, 32, generator=torch.Generator().manual_seed(0))
    >>> boxes.shape, bool(boxes.flatten(1).any(1).float().mean() < 0.8)
    (torch.Size([64, 32, 32]), True)
    """
    height, width = (size, size) if isinstance(size, int) else size

    def draw(low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    boxes = torch.zeros(batch, height, width, dtype=torch.bool)
    for box in boxes:
        if draw() >= probability:
            continue
        while True:
            content = draw(*area) * height * width
            ratio = draw(*aspect)
            w, h = int(math.sqrt(content / ratio)), int(math.sqrt(content * ratio))
            left, top = int(draw(0, width)), int(draw(0, height))
            if left + w <= width and top + h <= height:
                break
        box[top : top + h, left : left + w] = True
    return boxes


def paste(base: Tensor, other: Tensor, where: Tensor) -> Tensor:
    """`base`, and `other` where the mask is true; a new tensor.

    >>> paste(torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2), torch.eye(2)[None]).sum()
    tensor(6.)
    """
    places = where.to(device=base.device, dtype=torch.bool)
    if places.ndim == base.ndim - 1:  # B *S over B C *S
        places = places[:, None]
    return torch.where(places, other, base)


def paste_all(
    base: Mapping[str, Tensor], other: Mapping[str, Tensor], where: Tensor
) -> dict[str, Tensor]:
    """The same for all that belongs to a picture: image, labels, confidence, ignore.

    >>> one = {"images": torch.zeros(1, 3, 2, 2), "labels": torch.zeros(1, 2, 2)}
    >>> two = {name: value + 1 for name, value in one.items()}
    >>> {name: int(value.sum()) for name, value in paste_all(one, two, torch.eye(2)[None]).items()}
    {'images': 6, 'labels': 2}
    """
    return {name: paste(value, other[name], where) for name, value in base.items()}


def class_mask(labels: Tensor, classes: Tensor | Sequence[int]) -> Tensor:
    """Where labels are of some classes; 255 may be one of them.  B H W -> B H W

    >>> class_mask(torch.tensor([[[0, 1, 2]]]), [0, 2]).tolist()
    [[[True, False, True]]]
    """
    wanted = torch.as_tensor(classes, device=labels.device, dtype=labels.dtype)
    return torch.isin(labels, wanted)


def half_of_classes(
    labels: Tensor, generator: torch.Generator | None = None, ignore: int | None = 255
) -> list[Tensor]:
    """ClassMix: of the classes in each picture (B H W) one half, rounded up, at random.

    What is to be ignored is no class; with `ignore` None it is one, as some papers have it.

    >>> [len(some) for some in half_of_classes(torch.tensor([[[0, 1, 2]], [[4, 4, 255]]]))]
    [2, 1]
    """
    found = []
    for one in labels:
        present = one.unique()
        if ignore is not None:
            present = present[present != ignore]
        order = torch.randperm(len(present), generator=generator)
        found.append(present[order[: (len(present) + 1) // 2].to(present.device)])
    return found


def class_mix_masks(labels: Tensor, chosen: Sequence[Tensor]) -> Tensor:
    """Where each picture shows one of the classes chosen for it.  B H W

    >>> class_mix_masks(torch.tensor([[[0, 1]], [[0, 1]]]), [torch.tensor([0]), torch.tensor([1])])
    tensor([[[ True, False]],
    <BLANKLINE>
            [[False,  True]]])
    """
    pairs = zip(labels, chosen, strict=True)
    return torch.stack([class_mask(one, classes) for one, classes in pairs])


def boxes_around(
    centres: Tensor, halves: Tensor, size: Sequence[int], limits: Sequence[int] | None = None
) -> Tensor:
    """Where boxes about whole centres (B N 2: x, y) lie: B H W, true inside any of them.

    They reach `halves` (B N 2) to either side, the last row and column not included, and are cut
    at the rim; or at other `limits` of x and y, as published code has them exchanged.

    >>> boxes_around(torch.tensor([[[1, 0]]]), torch.tensor([[[1, 1]]]), (2, 4))[0].int().tolist()
    [[1, 1, 0, 0], [0, 0, 0, 0]]
    """
    height, width = size
    far = torch.as_tensor(limits or (width, height), device=centres.device)
    low = (centres - halves).clamp_min(0).minimum(far)[..., None]  # B N 2 1
    high = (centres + halves).clamp_min(0).minimum(far)[..., None]
    (left, top), (right, bottom) = low.unbind(2), high.unbind(2)
    x = torch.arange(width, device=centres.device)
    y = torch.arange(height, device=centres.device)
    across, down = (x >= left) & (x < right), (y >= top) & (y < bottom)  # B N W, B N H
    return (down[..., :, None] & across[..., None, :]).any(1)


def cover(
    images: Tensor, places: Tensor, donors: Tensor, their_places: Tensor, halves: Tensor
) -> Tensor:
    """Patches cut around places of other pictures, laid over places of these; a new tensor.

    For each picture (B C H W) `donors` (B C H W) gives the other; `places` and `their_places`
    (B N 2: x, y) are whole centres, and a patch reaches `halves` (B N 2) to either side as far as
    both pictures go. Later patches lie over earlier ones.

    >>> other = torch.arange(9.0).view(1, 1, 3, 3)
    >>> at, there, one = (torch.tensor([[[x, x]]]) for x in (0, 1, 1))
    >>> cover(torch.zeros(1, 1, 3, 3), at, other, there, one)[0, 0].tolist()
    [[4.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    made = images.clone()
    last = places.new_tensor([images.shape[3] - 1, images.shape[2] - 1])
    low = torch.maximum(-halves, -torch.minimum(places, their_places))  # B N 2, from the centres
    high = torch.minimum(halves, last - torch.maximum(places, their_places))
    rows = torch.cat([places + low, places + high, their_places + low], -1).tolist()
    for one, donor, patches in zip(made, donors, rows, strict=True):
        for left, top, right, bottom, x, y in patches:
            if left < right and top < bottom:
                one[:, top:bottom, left:right] = donor[
                    :, y : y + bottom - top, x : x + right - left
                ]
    return made
