"""Training pixels instead of weights: the real images, the few synthetic ones, and the loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from fallow.problems import Problem, SourceProblem

if TYPE_CHECKING:
    from fallow.images import Images

RECORDED = 200  # values of a loss curve


@dataclass(frozen=True)
class Space:
    """Where synthetic pixels live: colours standardised, and whitened if asked for."""

    mean: Tensor  # 1 3 1 1, of pixels in 0…1
    deviation: Tensor
    centre: Tensor | None = None  # D
    whiten: Tensor | None = None  # D D
    colour: Tensor | None = None  # D D, its inverse

    @classmethod
    def of(cls, pixels: Tensor, *, whiten: bool = False, epsilon: float = 0.1) -> Space:
        """Made for uint8 images (N, 3, S, S); `whiten` is ZCA.

        >>> pixels = torch.randint(256, (64, 3, 4, 4), dtype=torch.uint8)
        >>> space = Space.of(pixels, whiten=True)
        >>> np.abs(space.leave(space.enter(pixels)) - pixels.permute(0, 2, 3, 1).numpy()).max()
        np.uint8(0)
        """
        unit = pixels.float() / 255
        deviation, mean = torch.std_mean(unit, (0, 2, 3), keepdim=True)
        plain = cls(mean, deviation.clamp(min=1e-3))
        if not whiten:
            return plain
        flat = plain.enter(pixels).flatten(1)
        centre = flat.mean(0)
        spread = (flat - centre).T @ (flat - centre) / max(1, len(flat) - 1)
        values, vectors = torch.linalg.eigh(spread)
        root = (values.clamp(min=0) + epsilon).sqrt()
        return cls(
            plain.mean, plain.deviation, centre,
            (vectors / root) @ vectors.T, (vectors * root) @ vectors.T,
        )  # fmt: skip

    def enter(self, pixels: Tensor) -> Tensor:
        """From uint8 (N, 3, S, S)."""
        x = (pixels.float() / 255 - self.mean) / self.deviation
        if self.whiten is None or self.centre is None:
            return x
        return ((x.flatten(1) - self.centre) @ self.whiten).view_as(x)

    def leave(self, x: Tensor) -> np.ndarray:
        """Pictures (N, S, S, 3) uint8: clipped for the eye, the synthetic pixels are not."""
        x = x.detach()
        if self.colour is not None and self.centre is not None:
            x = (x.flatten(1) @ self.colour + self.centre).view_as(x)
        pixels = (x * self.deviation + self.mean) * 255
        return pixels.round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()

    def to(self, device: torch.device) -> Space:
        return Space(*(None if v is None else v.to(device) for v in vars(self).values()))  # type: ignore[arg-type]

    def arrays(self) -> dict[str, Tensor]:
        """What must be stored with the synthetic pixels."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Real:
    """Real images of one size with their classes, in memory as bytes."""

    pixels: Tensor  # N 3 S S uint8
    labels: Tensor  # N
    names: tuple[str, ...]
    space: Space
    rows: tuple[Tensor, ...]  # of each class

    @classmethod
    def of(cls, pixels: Tensor, labels: Tensor, names: Any, *, space: Space | None = None) -> Real:
        rows = tuple((labels == code).nonzero()[:, 0] for code in range(len(names)))
        return cls(pixels, labels, tuple(names), space or Space.of(pixels), rows)

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def size(self) -> int:
        return int(self.pixels.shape[-1])

    def take(self, rows: Tensor) -> Tensor:
        return self.space.enter(self.pixels[rows])

    def some(self, code: int, count: int, generator: torch.Generator) -> Tensor:
        """`count` images of a class drawn without repetition; all of them where there are fewer."""
        return self.rows[code][torch.randperm(len(self.rows[code]), generator=generator)[:count]]

    def batches(self, batch: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch in random order."""
        for rows in torch.randperm(len(self), generator=generator).split(batch):
            yield self.take(rows), self.labels[rows]

    def to(self, device: torch.device) -> Real:
        if device.type == "cpu":
            return self
        return Real(
            self.pixels.to(device), self.labels.to(device), self.names, self.space.to(device),
            tuple(each.to(device) for each in self.rows),
        )  # fmt: skip


def squares(images: Images, size: int) -> tuple[np.ndarray, Tensor]:
    """Readable rows, and the centre square of each image.  N, N 3 S S uint8"""
    from fallow.encoders import Preprocessing

    fit = Preprocessing(size=size, short=size).fit
    found = [(row, one) for row, one in images.map(fit, side=size) if isinstance(one, Tensor)]
    if not found:
        raise SourceProblem(f"none of the {len(images):,} images in {images.name} can be decoded")
    return np.array([row for row, _ in found]), torch.stack([one for _, one in found])


class Steps(Protocol):
    """What `refine` runs: a host of fallow.methods.distil."""

    pixels: Tensor
    labels: Tensor
    steps: ClassVar[int]  # when no budget is given

    def prepare(self, tell: Callable[[str], None]) -> None: ...

    def step(self) -> float: ...


@dataclass
class Refined:
    """A finished run of a host."""

    pixels: Tensor  # classes * per_class, 3 S S, not clipped
    labels: Tensor
    start: Tensor  # the same images before the first step
    history: list[dict[str, float]]
    steps: int
    seconds: float


def refine(
    host: Steps,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Refined:
    """Run a host for some steps or minutes; the last images are kept, none is picked by a score."""
    begin = time.monotonic()
    host.prepare(tell)
    start = host.pixels.detach().clone()
    limit = None if minutes is not None else steps or host.steps
    history: list[dict[str, float]] = []
    losses: list[float] = []
    every = max(1, (limit or 2000) // RECORDED)
    done = 0
    while True:
        loss = host.step()
        done += 1
        if not np.isfinite(loss):
            raise Problem(
                f"the images ran away after {done} steps (the loss is {loss}): use a smaller rate"
            )
        losses.append(loss)
        spent = time.monotonic() - begin
        ready = done >= limit if limit is not None else spent >= 60 * float(minutes or 0)
        if ready or done % every == 0:
            mean = float(np.mean(losses))
            history.append({"step": done, "minutes": spent / 60, "loss": mean})
            losses = []
        if ready:
            break
        if done == 3 or done % max(1, every * RECORDED // 10) == 0:
            share = done / limit if limit is not None else spent / (60 * float(minutes or 1))
            tell(f"step {done:,}, loss {loss:.4g}, {spent * (1 / share - 1):.0f} s left")
    pixels = host.pixels.detach().clone()
    return Refined(pixels, host.labels, start, history, done, time.monotonic() - begin)
