"""What systems that learn from raw files share: frames, photos, tiles, and the loop of steps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from safetensors import safe_open
from safetensors.torch import save as as_safetensors
from torch import Tensor, nn

from fallow.problems import Problem, SettingProblem
from fallow.raw.levels import gains_of
from fallow.raw.mosaic import bayer, letters, shifted
from fallow.raw.sensor import Raw, must_show
from fallow.train.checkpoint import load_state, save_state

SAVE_SECONDS = 60.0
RECORDED = 100  # lines of a run's history


class CameraSettings(BaseModel):
    """What every system that learns from raw files can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int | None = Field(None, gt=0, description="steps to train for")
    minutes: float | None = Field(None, gt=0, description="wall-clock budget instead of steps")

    @model_validator(mode="after")
    def _one_budget(self) -> CameraSettings:
        if self.steps is not None and self.minutes is not None:
            raise ValueError("give steps or minutes, not both")
        return self


# --- frames ---


def in_phase(raw: Raw, pattern: Any) -> Raw:
    """The frame from the first place on where its Bayer pattern is the wanted one, sides even.

    At most one row and one column go at either end.

    >>> from fallow.raw.sensor import sensor
    >>> frame = Raw(np.zeros((6, 8), np.uint16), sensor("GRBG", 0, 1023))
    >>> moved = in_phase(frame, "RGGB")
    >>> letters(moved.sensor.pattern), moved.size
    ('RGGB', (6, 6))
    """
    own, wanted = bayer(raw.sensor.pattern), letters(bayer(pattern))
    down, right = next(
        (down, right)
        for down, right in np.ndindex(2, 2)
        if letters(shifted(own, down, right)) == wanted
    )
    height, width = raw.size
    tall, wide = height - down, width - right
    return raw.cropped(down, right, tall - tall % 2, wide - wide % 2)


def usable(raws: Sequence[Raw], pattern: Any, side: int) -> list[Raw]:
    """The frames of a training set in one pattern; a Problem where nothing can be learnt."""
    if not raws:
        raise Problem("there are no raw files to learn from.")
    found = []
    for raw in raws:
        must_show(raw)
        moved = in_phase(raw, pattern)
        if min(moved.size) < side:
            raise Problem(
                f"{raw.name} has {raw.size[0]} x {raw.size[1]} pixels, fewer than the {side} that "
                "crops have: set a smaller side."
            )
        found.append(moved)
    return found


def common_gains(raws: Sequence[Raw], otherwise: Sequence[float]) -> tuple[float, ...]:
    """The middle of the frames' own white balances, the same for all of them: a look is fixed.

    >>> from fallow.raw.sensor import sensor
    >>> frame = Raw(np.zeros((2, 2), np.uint16), sensor("RGGB", 0, 9, [0.5, 1, 0.8]))
    >>> common_gains([frame], (1, 1, 1))
    (2.0, 1.0, 1.25)
    """
    known = [gains_of(raw.sensor.neutral) for raw in raws if raw.sensor.neutral is not None]
    return tuple(map(float, np.median(known, 0))) if known else tuple(otherwise)


def corners(size: Sequence[int], side: int, draw: torch.Generator, step: int = 2) -> list[int]:
    """Row and column of a crop somewhere in a frame, both multiples of `step`."""
    return [
        step * int(torch.randint((length - side) // step + 1, (), generator=draw))
        for length in size[-2:]
    ]


# --- photos ---


def photo_crops(
    photos: Sequence[np.ndarray], chosen: Sequence[int], side: int, draw: torch.Generator
) -> Tensor:
    """A crop of each chosen photo (H W 3, uint8) in 0...1.  B 3 side side

    >>> draw = torch.Generator().manual_seed(0)
    >>> photo_crops([np.zeros((40, 50, 3), np.uint8)], [0, 0], 16, draw).shape
    torch.Size([2, 3, 16, 16])
    """
    found = []
    for row in chosen:
        photo = photos[row]
        top, left = corners(photo.shape[:2], side, draw, step=1)
        found.append(torch.from_numpy(photo[top : top + side, left : left + side].copy()))
    return torch.stack(found).permute(0, 3, 1, 2).float() / 255


# --- files larger than memory for all of their features ---


@dataclass(frozen=True)
class Tile:
    """A part of a picture: what is read, and what of it is kept."""

    rows: slice
    columns: slice
    inner: tuple[slice, slice]  # of what was read
    kept: tuple[slice, slice]  # where it goes


def tiles(height: int, width: int, side: int, margin: int, multiple: int = 1) -> Iterator[Tile]:
    """Parts that cover a picture once, each read with a margin of what lies beside it.

    Sides that are read are multiples of `multiple` wherever the picture's are.

    >>> [t.rows for t in tiles(10, 4, 4, 1)]
    [slice(0, 5, None), slice(3, 9, None), slice(7, 10, None)]
    """
    side = max(side // multiple, 1) * multiple
    margin = -(-margin // multiple) * multiple
    for top in range(0, height, side):
        for left in range(0, width, side):
            first, last = max(top - margin, 0), min(top + side + margin, height)
            near, far = max(left - margin, 0), min(left + side + margin, width)
            bottom, right = min(top + side, height), min(left + side, width)
            inner = (slice(top - first, bottom - first), slice(left - near, right - near))
            kept = (slice(top, bottom), slice(left, right))
            yield Tile(slice(first, last), slice(near, far), inner, kept)


def padded(x: Tensor, multiple: int) -> Tensor:
    """Mirrored below and at the right up to multiples.  B C H W

    >>> padded(torch.zeros(1, 1, 5, 8), 4).shape
    torch.Size([1, 1, 8, 8])
    """
    for axis in (-2, -1):
        length = x.shape[axis]
        more = -length % multiple
        places = torch.arange(length + more, device=x.device)
        # back and forth, however small the picture is
        places = places % max(2 * length - 2, 1)
        places = torch.minimum(places, (2 * length - 2 - places).clamp(min=0))
        x = x.index_select(axis, torch.where(places < length, places, 0)) if more else x
    return x


def blended(
    work: Callable[[Tensor], Tensor], x: Tensor, side: int, margin: int, multiple: int
) -> Tensor:
    """What `work` (B C H W to the same shape) makes of parts, passing into each other.  C H W

    A part's weight falls towards edges that lie within the picture, over twice the margin.

    >>> x = torch.rand(4, 20, 30)
    >>> torch.testing.assert_close(blended(lambda part: part, x, 8, 4, 4), x)
    """
    height, width = x.shape[-2:]
    total, weights = torch.zeros_like(x), x.new_zeros(height, width)
    for tile in tiles(height, width, side, margin, multiple):
        part = x[:, tile.rows, tile.columns]
        tall, wide = part.shape[-2:]
        made = work(padded(part[None], multiple))[0, :, :tall, :wide]
        weight = torch.outer(
            _fading(tile.rows, height, 2 * margin), _fading(tile.columns, width, 2 * margin)
        )
        total[:, tile.rows, tile.columns] += made * weight
        weights[tile.rows, tile.columns] += weight
    return total.div_(weights)


def _fading(along: slice, length: int, over: int) -> Tensor:
    place = torch.arange(along.start, along.stop, dtype=torch.float32)
    before = (place - along.start + 1) / (over + 1) if along.start else torch.ones(len(place))
    after = (along.stop - place) / (over + 1) if along.stop < length else torch.ones(len(place))
    return torch.minimum(before, after).clamp(max=1)


# --- weights with what they are for ---


def weights_of(network: nn.Module, about: dict[str, str]) -> bytes:
    """The bytes of a file of weights, with texts in its head."""
    state = {name: one.contiguous().cpu() for name, one in network.state_dict().items()}
    return as_safetensors(state, about)


def read_weights(path: str | Path, key: str, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights, and what a key of the file's head says; a Problem if it is another kind of file."""
    try:
        with safe_open(str(path), "pt") as file:
            about = json.loads(file.metadata()[key])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except Exception:
        raise Problem(f"{path} is no {kind} that fallow has learnt.") from None


# --- the loop ---


class Trainee(Protocol):
    """What learns step by step, and can be put away and taken up again."""

    done: int

    def step(self) -> dict[str, float]: ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


@dataclass
class Trained:
    """How a run went."""

    history: list[dict[str, float]]
    steps: int
    seconds: float


def train(
    trainee: Trainee,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    folder: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
    identity: str = "",
) -> Trained:
    """Run steps up to a number or for some minutes; in a folder, a cut-off run goes on exactly.

    `identity` names data and settings: another run's checkpoint is refused.
    """
    if (steps is None) == (minutes is None):
        raise SettingProblem("give steps or minutes to train for, one of them")
    spent, history, path = 0.0, [], None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "checkpoint.pt"
        if path.exists():
            found = load_state(path)
            if found["identity"] != identity:
                raise Problem(f"{folder} holds a run on other files or settings: choose another.")
            trainee.restore(found["trainee"])
            spent, history = found["seconds"], found["history"]
            tell(f"going on at step {trainee.done:,}")
    start, saved = time.monotonic() - spent, time.monotonic()
    every = max(1, (steps or 2000) // RECORDED)

    def over() -> bool:
        if steps is not None:
            return trainee.done >= steps
        return time.monotonic() - start >= 60 * float(minutes or 0)

    def save() -> None:
        if path is not None:
            seconds = time.monotonic() - start
            state = {"trainee": trainee.state(), "history": history, "seconds": seconds}
            save_state(path, {**state, "identity": identity})

    while not over():
        values = trainee.step()
        bad = [name for name, value in values.items() if not np.isfinite(value)]
        if bad:
            raise Problem(
                f"training ran away at step {trainee.done:,} ({', '.join(bad)} is no number): use "
                "a smaller rate"
            )
        if trainee.done % every == 0 or over():
            history.append({"step": trainee.done, **values})
        if trainee.done == 3 or trainee.done % (10 * every) == 0:
            share = trainee.done / steps if steps else (time.monotonic() - start) / (60 * minutes)  # type: ignore[operator]
            left = (time.monotonic() - start) * (1 / max(share, 1e-6) - 1)
            tell(f"step {trainee.done:,}, {max(left, 0):.0f} s left")
        if time.monotonic() - saved > SAVE_SECONDS:
            save()
            saved = time.monotonic()
    save()
    return Trained(history, trainee.done, time.monotonic() - start)
