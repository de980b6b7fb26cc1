"""What a stranger learns from published pictures: a small network, trained on them from scratch."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.device import best_device
from fallow.problems import Problem
from fallow.train.schedules import half_cosine

SMALL = 32  # up to this side the network does not shrink a picture at once


@dataclass(frozen=True)
class LabelMap:
    """One way to label pictures: the group of each class."""

    name: str
    groups: np.ndarray  # C

    @property
    def count(self) -> int:
        return int(self.groups.max()) + 1


def label_maps(classes: int, seed: int = 0) -> list[LabelMap]:
    """The classes themselves, pairs of them, thirds and halves, put together at random.

    Maps that say the same, or nothing, are left out.

    >>> [(one.name, one.count) for one in label_maps(10)]
    [('classes', 10), ('pairs of classes', 5), ('thirds', 3), ('halves', 2)]
    >>> [one.name for one in label_maps(2)]
    ['classes']
    """
    draw = np.random.default_rng([seed, 8])
    made = [LabelMap("classes", np.arange(classes))]
    for name, groups in (("pairs of classes", (classes + 1) // 2), ("thirds", 3), ("halves", 2)):
        made.append(LabelMap(name, draw.permutation(classes) % groups))
    seen: set[tuple[int, ...]] = set()
    kept = []
    for one in made:
        first = {group: at for at, group in reversed(list(enumerate(one.groups.tolist())))}
        said = tuple(first[group] for group in one.groups.tolist())
        if len(first) > 1 and said not in seen:
            kept.append(one)
            seen.add(said)
    return kept


def jpeg(pixels: np.ndarray, quality: int = 90) -> np.ndarray:
    """A uint8 picture (H W 3) after JPEG.

    >>> jpeg(np.full((8, 8, 3), 77, np.uint8)).shape
    (8, 8, 3)
    """
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def crop_and_flip(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture (B 3 S S) moved by up to an eighth of its side, half of them mirrored.

    >>> crop_and_flip(torch.zeros(2, 3, 16, 16), torch.Generator()).shape
    torch.Size([2, 3, 16, 16])
    """
    count, _, height, width = pictures.shape
    reach = max(1, height // 8)
    padded = F.pad(pictures, (reach,) * 4, mode="reflect")
    places = torch.randint(0, 2 * reach + 1, (count, 2), generator=generator).tolist()
    moved = torch.stack(
        [one[:, y : y + height, x : x + width] for one, (y, x) in zip(padded, places, strict=True)]
    )
    mirrored = torch.rand(count, generator=generator) < 0.5
    return torch.where(mirrored.view(-1, 1, 1, 1).to(moved.device), moved.flip(3), moved)


def trained_by_stranger(
    pictures: Tensor,
    labels: np.ndarray,
    test: Tensor,
    truth: np.ndarray,
    *,
    classes: int,
    epochs: int = 15,
    batch: int = 64,
    rate: float = 0.1,
    width: int = 16,
    augment: bool = False,
    seed: int = 0,
) -> float:
    """Accuracy on `test` of a ResNet-8 trained on `pictures` (both uint8 N 3 S S) from scratch.

    SGD with momentum 0.9, weight decay 5e-4 and half a cosine, as strangers do; `augment` moves
    and mirrors the pictures in training.

    >>> pictures = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 8, 8)
    >>> both = pictures.repeat(16, 1, 1, 1)
    >>> answers = np.tile([0, 1], 16)
    >>> trained_by_stranger(both, answers, pictures, answers[:2], classes=2, epochs=10, width=4)
    1.0
    """
    if len(pictures) < 2:
        raise Problem("a stranger's model needs at least two pictures to learn from")
    from fallow.device import fast_bf16
    from fallow.encoders.resnet import resnet

    device = best_device()
    stem = "small" if pictures.shape[2] <= SMALL else "imagenet"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = resnet("resnet8", width=width, stem=stem)
        model = nn.Sequential(body, nn.Linear(body.dimension, classes)).to(device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    quick = torch.autocast(device.type, torch.bfloat16, enabled=fast_bf16(device))
    generator = torch.Generator().manual_seed(seed)
    answers = torch.from_numpy(np.asarray(labels)).long().to(device)
    seen = pictures.to(device)
    batch = max(2, min(batch, len(seen) // 8))  # a few steps an epoch, however few there are
    per_epoch = len(seen) // batch
    optimiser = torch.optim.SGD(model.parameters(), rate, momentum=0.9, weight_decay=5e-4)
    for step in range(epochs * per_epoch):
        if step % per_epoch == 0:
            order = torch.randperm(len(seen), generator=generator).to(device)
        at = step % per_epoch * batch
        rows = order[at : at + batch]
        x = _input(seen[rows])
        if augment:
            x = crop_and_flip(x, generator)
        for group in optimiser.param_groups:
            group["lr"] = half_cosine(step, epochs * per_epoch, rate)
        with quick:
            scores = model(x)
        loss = F.cross_entropy(scores.float(), answers[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    model.eval()
    with torch.no_grad(), quick:
        guesses = [model(_input(part.to(device))).argmax(1).cpu() for part in test.split(256)]
    return float((torch.cat(guesses).numpy() == np.asarray(truth)).mean())


def _input(pictures: Tensor) -> Tensor:
    return (pictures.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
