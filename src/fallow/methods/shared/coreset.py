"""What a few images are worth: networks trained on them alone, and rivals picked from data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.encoders.convnet import ConvNet
from fallow.views.siamese import Draw, Numbers, draw

if TYPE_CHECKING:
    from fallow.methods.shared.tiny import Real

BATCH = 256


def trained(
    x: Tensor,
    labels: Tensor,
    classes: int,
    *,
    seed: int,
    epochs: int,
    mirror: bool = True,
    rate: float = 0.01,
    width: int = 64,
    depth: int = 3,
) -> ConvNet:
    """A new network trained on these images as the papers do: momentum, two rates, augmentation.

    `mirror` is for all rows of a comparison alike: whether augmentation may mirror.
    """
    generator = torch.Generator().manual_seed(seed)
    net = ConvNet(classes, width=width, depth=depth, size=x.shape[-1]).to(x.device)
    net.fresh(generator)
    optimiser = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
    for epoch in range(epochs):
        if epoch == epochs // 2 + 1:
            for group in optimiser.param_groups:
                group["lr"] = rate / 10
        for rows in torch.randperm(len(x), generator=generator).split(BATCH):
            transform = per_image(x, len(rows), generator, mirror)
            loss = F.cross_entropy(net(transform(x[rows])), labels[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
    return net


def reference(
    real: Real, *, seed: int, steps: int = 250, width: int = 32, depth: int = 3
) -> ConvNet:
    """A small network trained for a moment on all real images, never on a mirrored one.

    What it makes of mirror images tells whether they mean the same; its features pick rivals.
    """
    generator = torch.Generator().manual_seed(seed)
    net = ConvNet(len(real.names), width=width, depth=depth, size=real.size).to(real.labels.device)
    net.fresh(generator)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    done = 0
    while done < steps:
        for x, labels in real.batches(64, generator):
            transform = per_image(x, len(x), generator, mirror=False)
            loss = F.cross_entropy(net(transform(x)), labels)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            done += 1
            if done == steps:
                break
    return net


def per_image(x: Tensor, count: int, generator: torch.Generator, mirror: bool) -> Draw:
    """One kind of transform for the batch, with other numbers for each image."""
    size = (int(x.shape[2]), int(x.shape[3]))
    return draw(Numbers(generator, count), size, flip="drawn" if mirror else "never")


@torch.no_grad()
def predicted(net: ConvNet, real: Real, *, turned: bool = False) -> Tensor:
    """The network's class for every image, or for every mirror image."""
    found = []
    for rows in torch.arange(len(real), device=real.labels.device).split(BATCH):
        x = real.take(rows)
        found.append(net(x.flip(-1) if turned else x).argmax(1))
    return torch.cat(found)


def accuracy_of(net: ConvNet, real: Real) -> float:
    return float((predicted(net, real) == real.labels).float().mean())


@torch.no_grad()
def embedded(net: ConvNet, real: Real) -> Tensor:
    """The network's features of every image.  N D"""
    return torch.cat([net.embed(real.take(rows)) for rows in torch.arange(len(real)).split(BATCH)])


# --- images picked from a class by their features; rows of `features`, best first ---


def k_centre(features: Tensor, count: int) -> list[int]:
    """First the one nearest the mean, then always the one farthest from those picked.

    >>> k_centre(torch.tensor([[0.0], [1.0], [4.0], [9.0]]), 3)
    [2, 3, 0]
    """
    picked = [int((features - features.mean(0)).norm(dim=1).argmin())]
    nearest = (features - features[picked[0]]).norm(dim=1)
    while len(picked) < count:
        picked.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (features - features[picked[-1]]).norm(dim=1))
    return picked


def herding(features: Tensor, count: int) -> list[int]:
    """Always the one that brings the mean of those picked nearest to the mean of all.

    >>> herding(torch.tensor([[0.0], [2.0], [3.0], [7.0]]), 2)
    [2, 1]
    """
    mean, total = features.mean(0), torch.zeros_like(features[0])
    picked: list[int] = []
    left = torch.ones(len(features), dtype=torch.bool, device=features.device)
    while len(picked) < count:
        distance = ((total + features) / (len(picked) + 1) - mean).norm(dim=1)
        picked.append(int(distance.masked_fill(~left, torch.inf).argmin()))
        left[picked[-1]] = False
        total = total + features[picked[-1]]
    return picked


def picked(real: Real, features: Tensor, per_class: int, rule: str) -> Tensor:
    """Rows of `per_class` images of each class, by k_centre or herding."""
    choose = {"k-centre": k_centre, "herding": herding}[rule]
    rows: Sequence[Tensor] = real.rows
    return torch.cat([own[choose(features[own], per_class)] for own in rows])
