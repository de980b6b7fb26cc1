"""DM's steps beside the hosts' own formulation, and MTT's memory over the steps of its walk."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.peer import AT_ONCE
from benchmarks.record import ROOT, Line, alternate, line, most_held

ALONE = True  # no peer to install

PEER = "one class after the other"
SPEED, FLAT = 2.0, 0.95


@dataclass(frozen=True)
class Amount:
    classes: int = 10
    per_class: int = 10
    real: int = 256
    width: int = 128
    size: int = 32
    steps: int = 2
    pairs: int = 5
    walk_width: int = 64
    walk_size: int = 32
    walks: tuple[int, ...] = (5, 20, 50)


QUICK = Amount(real=16, width=16, steps=1, pairs=1, walk_width=16, walk_size=16, walks=(2, 9))


def run(data: Path, python: str | None, quick: bool) -> list[Line]:
    """Noise for images: what they show costs nothing; neither data nor peers are needed."""
    amount = QUICK if quick else Amount()
    shape = (
        f"{amount.classes} x {amount.per_class} images of {amount.size} px, {amount.real} real a "
        f"class, width {amount.width}"
    )
    lines = []
    for copies, precision, target in (
        ("none", "auto", SPEED), ("mirror", "auto", SPEED), ("none", "32", None),
    ):  # fmt: skip
        made = host(amount, copies, precision)
        published = loop(amount, copies)
        pairs = alternate(
            lambda step=made.step: rate(step, amount),  # type: ignore[misc]
            lambda step=published: rate(step, amount),  # type: ignore[misc]
            amount.pairs,
        )
        kind = "bf16" if made.bf16 else "float32"
        what = "with FYI" if copies == "mirror" else "without FYI"
        work = f"DM steps/s {what}, {shape}, {kind}"
        lines.append(line(work, PEER, torch.__version__, pairs, target))
    return [*lines, *memory(amount)]


def host(amount: Amount, copies: str, precision: str) -> Any:
    from fallow.methods.distil.dm import DM

    settings = DM.Settings(
        width=amount.width, real=amount.real, copies=copies, precision=precision, flip="always"
    )
    return DM(images(amount), amount.per_class, settings, seed=0)


def images(amount: Amount, each: int = 300) -> Any:
    from fallow.methods.shared.tiny import Real

    generator = torch.Generator().manual_seed(0)
    count = amount.classes * each
    pixels = torch.randint(
        256, (count, 3, amount.size, amount.size), generator=generator, dtype=torch.uint8
    )
    labels = torch.arange(amount.classes).repeat_interleave(each)
    return Real.of(pixels, labels, [str(code) for code in range(amount.classes)])


def rate(step: Callable[[], Any], amount: Amount) -> float:
    """Steps per second, after one that is not counted."""
    step()
    begin = time.perf_counter()
    for _ in range(amount.steps):
        step()
    return amount.steps / (time.perf_counter() - begin)


# --- the published step, written out ---


def loop(amount: Amount, copies: str) -> Callable[[], float]:
    """A new network, then class by class: draw, transform, two passes, one term of the loss."""
    from fallow.encoders.convnet import ConvNet

    real = images(amount)
    all_images = real.take(torch.arange(len(real)))  # kept as floats, as the hosts do
    count = amount.classes * amount.per_class
    pixels = torch.randn(count, 3, amount.size, amount.size).requires_grad_()
    optimiser = torch.optim.SGD([pixels], lr=1.0, momentum=0.5)

    def step() -> float:
        net = ConvNet(amount.classes, width=amount.width, depth=3, size=amount.size)
        for parameter in net.parameters():
            parameter.requires_grad = False
        loss = torch.zeros(())
        for code in range(amount.classes):
            rows = real.rows[code]
            theirs = all_images[rows[torch.randperm(len(rows))[: amount.real]]]
            ours = pixels[code * amount.per_class : (code + 1) * amount.per_class]
            if copies == "mirror":
                ours = torch.cat([ours, ours.flip(3)])
            seed = int(torch.randint(2**31, (1,)))
            theirs, ours = transformed(theirs, seed), transformed(ours, seed)
            seen, made = net.embed(theirs).detach(), net.embed(ours)
            loss = loss + (seen.mean(0) - made.mean(0)).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    return step


def transformed(x: Tensor, seed: int) -> Tensor:
    """Mirrored by chance, then one of five: numbers for every image, of which the first counts."""
    generator = torch.Generator().manual_seed(seed)

    def shared(*shape: int) -> Tensor:
        values = torch.rand(len(x), *shape, generator=generator)
        values[:] = values[:1].clone()
        return values

    x = torch.where(shared(1, 1, 1) < 0.5, x.flip(3), x)
    item = int(torch.randint(5, (1,), generator=generator))
    if item == 0:
        x = x + (shared(1, 1, 1) - 0.5)
        grey = x.mean(1, keepdim=True)
        x = (x - grey) * (shared(1, 1, 1) * 2) + grey
        mean = x.mean((1, 2, 3), keepdim=True)
        return (x - mean) * (shared(1, 1, 1) + 0.5) + mean
    side = x.shape[2]
    places = torch.arange(side)
    if item == 1:
        reach = int(side * 0.125 + 0.5)
        rows, columns = (
            (places + int(shared()[0] * (2 * reach + 1)) - reach + 1).clamp(0, side + 1)
            for _ in range(2)
        )
        framed = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)
        which = torch.arange(len(x))[:, None, None]
        cut = framed[
            which, rows.expand(len(x), -1)[:, :, None], columns.expand(len(x), -1)[:, None]
        ]
        return cut.permute(0, 3, 1, 2)
    if item == 2:
        hole = int(side * 0.5 + 0.5)
        top, left = (int(shared()[0] * (side + 1)) - hole // 2 for _ in range(2))
        mask = torch.ones(len(x), side, side)
        mask[:, max(0, top) : top + hole, max(0, left) : left + hole] = 0
        return x * mask[:, None]
    zero = torch.zeros(len(x))
    if item == 3:
        sx, sy = (shared() * (1.2 - 1 / 1.2) + 1 / 1.2 for _ in range(2))
        rows_of = [[sx, zero, zero], [zero, sy, zero]]
    else:
        angle = (shared() - 0.5) * 30 / 180 * math.pi
        rows_of = [[angle.cos(), -angle.sin(), zero], [angle.sin(), angle.cos(), zero]]
    theta = torch.stack([torch.stack(row, -1) for row in rows_of], 1)
    grid = F.affine_grid(theta, list(x.shape), align_corners=True)
    return F.grid_sample(x, grid, align_corners=True)


# --- memory of MTT ---


def memory(amount: Amount) -> list[Line]:
    """Peak of a fresh process beyond what it holds before, for walks of several lengths."""
    own = [peak("two_passes", steps, amount) for steps in amount.walks]
    first, last = amount.walks[0], amount.walks[-1]
    whole = peak("unrolled", last, amount)
    return [
        *(
            line(
                f"MTT in two passes: peak memory at N={first} over that at N={steps}",
                f"N={steps}", "", [(own[0], used)], FLAT, used,
            )
            for steps, used in zip(amount.walks[1:], own[1:], strict=True)
        ),
        line(
            f"MTT at N={last}: peak memory of the whole graph over that of two passes",
            "two passes", "", [(whole, own[-1])], None, whole,
        ),
    ]  # fmt: skip


def peak(form: str, steps: int, amount: Amount) -> float:
    words = [form, steps, amount.walk_width, amount.walk_size, torch.get_num_threads()]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.distil", *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ | AT_ONCE,
    )  # fmt: skip
    return float(json.loads(done.stdout))


def _peak_here() -> None:
    from fallow.encoders.convnet import ConvNet, flat
    from fallow.methods.distil import mtt

    form = sys.argv[1]
    steps, width, size, threads = map(int, sys.argv[2:])
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    net = ConvNet(10, width=width, size=size).fresh(generator)
    start = flat(net.parameters())
    target = start + 0.01 * torch.randn(len(start), generator=generator)
    pixels = torch.randn(20, 3, size, size, generator=generator).requires_grad_()
    labels = torch.arange(10).repeat(4)

    def feed(number: int) -> tuple[Tensor, Tensor]:
        return torch.cat([pixels, pixels.flip(-1)]), labels

    mtt.slope(net, start.clone().requires_grad_(), *feed(0))  # what libraries allocate once
    before = most_held()
    getattr(mtt, form)(net, start, target, feed, steps, pixels, torch.tensor(0.01))
    print(json.dumps(most_held() - before))


if __name__ == "__main__":
    _peak_here()
