"""CMA's correlation in blocks beside all of it at once, and what the loader of groups costs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.peer import AT_ONCE, told_by
from benchmarks.record import Line, alternate, beyond, line, pin

ALONE = True  # no peer to install

SPEED, FLAT, OVERHEAD = 3.0, 0.9, 0.03
RADIUS, TEMPERATURE = 4, 0.02


@dataclass(frozen=True)
class Amount:
    side: int = 128  # places of a map
    coarse: int = 64  # of one that is compared everywhere
    width: int = 128
    sides: tuple[int, ...] = (128, 256)  # of maps whose memory is measured; 64 fill no block
    images: int = 100_000
    groups: int = 300
    batch: int = 32
    pairs: int = 7


QUICK = Amount(32, 16, 16, (16, 32), 2_000, 20, 8, 1)


def run(data: Path, python: str | None, quick: bool) -> list[Line]:
    """Maps are noise: what they show costs nothing; neither data nor peers are needed."""
    amount = QUICK if quick else Amount()
    pin()
    return [*volumes(amount), *memory(amount), loader(amount)]


# --- correlation ---


def volumes(amount: Amount) -> list[Line]:
    """Maps a second, on one core; both sides' flows are compared before the clock."""
    from fallow.parts.correspondence import around, everywhere

    lines = []
    for name, ours, theirs, side in (
        (f"up to {RADIUS} places away", around, whole_window, amount.side),
        ("everywhere", everywhere, whole_volume, amount.coarse),
    ):
        maps = noise(side, side, amount.width)
        torch.testing.assert_close(ours(*maps).flow, theirs(*maps), rtol=1e-3, atol=1e-3)
        pairs = alternate(
            lambda form=ours, maps=maps: rate(form, maps),  # type: ignore[misc]
            lambda form=theirs, maps=maps: rate(form, maps),  # type: ignore[misc]
            amount.pairs,
        )
        work = f"correlation {name}, {amount.width} x {side} x {side}: maps/s"
        lines.append(line(work, "all at once", torch.__version__, pairs, SPEED))
    return lines


def noise(height: int, width: int, channels: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(1, channels, height, width, generator=generator)
    return one, one.roll(2, dims=3) + 0.5 * torch.randn(one.shape, generator=generator)


def rate(form: Callable[..., Any], maps: tuple[Tensor, Tensor]) -> float:
    with torch.no_grad():
        begin = time.perf_counter()
        form(*maps)
        return 1 / (time.perf_counter() - begin)


def whole_window(one: Tensor, other: Tensor) -> Tensor:
    """The flow by all places of every window laid out side by side."""
    side, (height, width) = 2 * RADIUS + 1, one.shape[2:]
    ours, theirs = F.normalize(one, dim=1), F.normalize(other, dim=1)
    laid = F.unfold(theirs, side, padding=RADIUS).view(1, -1, side**2, height, width)
    inside = F.unfold(torch.ones(1, 1, height, width), side, padding=RADIUS)
    scores = (ours[:, :, None] * laid).sum(1) / TEMPERATURE  # 1 side^2 H W
    scores = scores.masked_fill(inside.view(1, side**2, height, width) == 0, -1e4)
    return torch.einsum("bkhw,kc->bchw", scores.softmax(1), places(side, side) - RADIUS)


def whole_volume(one: Tensor, other: Tensor) -> Tensor:
    """The flow by the whole table of places against places."""
    height, width = one.shape[2:]
    ours, theirs = (F.normalize(maps.flatten(2), dim=1)[0] for maps in (one, other))
    chance = (ours.T @ theirs / TEMPERATURE).softmax(1)  # N N
    flow = chance @ places(height, width) - places(height, width)
    return flow.T.view(1, 2, height, width)


def places(height: int, width: int) -> Tensor:
    """x and y of every place.  height*width 2"""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2).float()


# --- memory ---


def memory(amount: Amount) -> list[Line]:
    """Peak of a fresh process beyond its maps and its result, for larger and larger maps."""
    used = {side: peak("around", side, amount) for side in amount.sides}
    first, last = amount.sides[0], amount.sides[-1]
    plain = peak("whole_window", last, amount)
    return [
        *(
            line(
                f"correlation in blocks: peak memory at {first} x {first} over {side} x {side}",
                f"{side} x {side}", "", [(used[first], used[side])], FLAT, used[side],
            )
            for side in amount.sides[1:]
        ),
        line(
            f"correlation, {last} x {last}: peak memory of all at once over that of blocks",
            "blocks", "", [(plain, used[last])], None, plain,
        ),
    ]  # fmt: skip


def peak(form: str, side: int, amount: Amount) -> float:
    return told_by("adapt", form, side, amount.width, settings=AT_ONCE)


def _peak_here() -> None:
    from fallow.parts.correspondence import around

    form, side, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    look: Callable[..., Any] = {"around": around, "whole_window": whole_window}[form]
    look(*noise(64, 64, 4))  # what libraries allocate once
    maps = noise(side, side, width)
    result = 4 * 8 * side**2 / 2**20  # flow, certainty and what they are made of
    with torch.no_grad():
        print(json.dumps(beyond(lambda: look(*maps)) - result))


# --- groups ---


def loader(amount: Amount) -> Line:
    """An epoch's batches of groups: the time a batch takes beside the time of a small step."""
    import fallow
    from fallow.train.order import by_group

    groups = np.random.default_rng(0).integers(0, amount.groups, amount.images)
    begin = time.perf_counter()
    batches = by_group(groups, amount.batch, 4, seed=0, epoch=0)
    each = (time.perf_counter() - begin) / len(batches)
    encoder = fallow.encoder("resnet18", seed=0, size=96).train()
    head = torch.nn.Linear(encoder.dimension, 10)
    optimiser = torch.optim.SGD([*encoder.parameters(), *head.parameters()], 0.01)
    images, labels = torch.randn(amount.batch, 3, 96, 96), torch.randint(10, (amount.batch,))

    def step() -> float:
        begin = time.perf_counter()
        loss = F.cross_entropy(head(encoder(images)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return time.perf_counter() - begin

    step()
    share = each / min(step() for _ in range(3))
    work = (
        f"batches of groups, {amount.images:,} images in {amount.groups} groups, ResNet-18 at "
        "96 px: share of a step allowed over used"
    )
    return line(work, "-", "", [(OVERHEAD, share)], 1.0)


if __name__ == "__main__":
    _peak_here()
