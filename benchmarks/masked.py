"""MAE's training steps per second beside the same transformer on all patches, without a decoder."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.record import Line, alternate, line

ALONE = True  # no peer to install

TARGET = 1 / 0.45  # a step of MAE takes at most this share of the other's time


@dataclass(frozen=True)
class Work:
    encoder: str
    size: int
    batch: int


WORKS = (Work("vit-nano/4", 32, 128), Work("vit-tiny/16", 224, 16))


def run(data: Path, python: str | None, quick: bool) -> list[Line]:
    """Noise for images: what they show costs nothing; neither data nor peers are needed."""
    lines = []
    for work in WORKS:
        rebuild, see_all = steps(work)
        pairs = alternate(
            lambda step=rebuild: rate(step, 1 if quick else 5),  # type: ignore[misc]
            lambda step=see_all: rate(step, 1 if quick else 5),  # type: ignore[misc]
            3 if quick else 7,
        )
        name = f"MAE steps/s at 75 % masking, {work.encoder} at {work.size} px, batch {work.batch}"
        lines.append(line(name, "the encoder alone on all patches", "", pairs, TARGET))
    return lines


def steps(work: Work) -> tuple[Callable[[], None], Callable[[], None]]:
    """One optimiser step of MAE, and one of its encoder on whole images."""
    import fallow
    from fallow.methods.learn.mae import MAE
    from fallow.train import Batch, Facts, Now

    images = torch.randn(work.batch, 3, work.size, work.size)
    batch = Batch([images], [images], torch.arange(work.batch), torch.empty(0), torch.empty(0))
    now = Now(0, 0, 0.0, 1)
    settings = MAE.Settings(size=work.size, masked=0.75)
    method = MAE(fallow.encoder(work.encoder, size=work.size), settings, Facts(work.batch, 1))
    whole = fallow.encoder(work.encoder, size=work.size)
    first, second = (torch.optim.AdamW(module.parameters()) for module in (method, whole))

    def rebuild() -> None:
        _step(first, method(batch, now).total)

    def see_all() -> None:
        _step(second, whole(images).square().mean())

    return rebuild, see_all


def _step(optimiser: Any, loss: torch.Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def rate(step: Callable[[], None], count: int) -> float:
    """Steps per second: of the median step, after one that is not counted."""
    step()
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return 1 / median(seconds)
