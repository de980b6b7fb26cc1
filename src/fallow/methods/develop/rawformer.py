"""Rawformer: raw files of one camera as another camera would have recorded them, without pairs."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from fallow.encoders.critics import BatchHead, Cache, PatchBody
from fallow.encoders.translator import Shape, Translator, start_small
from fallow.files import atomic_write
from fallow.losses.adversarial import steepness, told_from
from fallow.losses.pictures import pixels_apart
from fallow.methods.shared.camera import (
    CameraSettings,
    blended,
    corners,
    in_phase,
    read_weights,
    usable,
    weights_of,
)
from fallow.problems import Problem
from fallow.raw.levels import numbers, whole
from fallow.raw.mosaic import bayer, flipped, mosaic_of, planes
from fallow.raw.sensor import Raw, Sensor
from fallow.train.schedules import cosine_restarts

PATTERN, ORDER = "RGGB", "R Gr Gb B"


class Options(CameraSettings):
    """What Rawformer can be told; `steps` are those after the pretraining."""

    levels: tuple[int, ...] = Field((8, 16, 32), min_length=1, description="width of each level")
    blocks: int = Field(2, ge=1, description="layers of the transformer in the middle")
    heads: int = Field(4, ge=1, description="parts of its attention")
    hidden: int = Field(64, ge=1, description="width of its inner layers")
    side: int = Field(64, ge=32, description="of a crop in pixels of a plane")
    batch: int = Field(1, ge=1, description="crops of each camera a step")
    rate: float = Field(5e-4, gt=0, description="learning rate of both translators")
    critic_rate: float = Field(1e-3, gt=0, description="learning rate of the critics")
    critic_width: int = Field(16, ge=1, description="features of the critics' first layer")
    memory: int = Field(3, ge=0, description="earlier samples a critic is normalised with")
    cycle: float = Field(10.0, ge=0, description="weight of coming back to where one began")
    identity: float = Field(
        0.5, ge=0, description="of that weight: leaving the other camera's frames as they are"
    )
    penalty: float = Field(0.01, ge=0, description="weight of the critics' slopes")
    start: float | None = Field(
        None, gt=0, description="spread of the first weights; torch's own, by width, if left out"
    )
    keep: float = Field(0.995, ge=0, lt=1, description="of the averaged translators, a step")
    pretrain: int = Field(300, ge=0, description="steps of filling in what was hidden, before all")
    pretrain_batch: int = Field(4, ge=1, description="crops a step of those")
    pretrain_rate: float = Field(5e-3, gt=0, description="learning rate of those")
    restart: int | None = Field(None, ge=1, description="of those, steps to a restart of the rate")
    patch: int = Field(8, ge=1, description="side of what is hidden")
    hide: float = Field(0.4, gt=0, lt=1, description="share of it")

    @model_validator(mode="after")
    def _fits(self) -> Options:
        multiple = Shape(levels=self.levels).multiple
        if self.side % multiple or self.side % self.patch:
            raise ValueError(
                f"side must be a multiple of {multiple} for {len(self.levels)} levels, and of the "
                f"patch {self.patch}, not {self.side}"
            )
        if self.levels[-1] % self.heads:
            raise ValueError(f"{self.heads} heads do not divide the last width {self.levels[-1]}")
        return self

    def shape(self) -> Shape:
        """Of the translators."""
        return Shape(4, self.levels, self.blocks, self.heads, self.hidden)


# --- parts of a step ---


def hidden_patches(x: Tensor, chosen: Tensor) -> Tensor:
    """Planes with the chosen patches (B rows columns) at 0.  B C H W

    >>> hidden_patches(torch.ones(1, 1, 2, 4), torch.tensor([[[True, False]]]))[0, 0, 0].tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    tall, wide = (a // b for a, b in zip(x.shape[2:], chosen.shape[1:], strict=True))
    over = chosen.repeat_interleave(tall, 1).repeat_interleave(wide, 2)
    return x.masked_fill(over[:, None], 0.0)


def flatness(logits: Tensor, inputs: Tensor) -> Tensor:
    """Mean squared slope of each one's mean logit, of patches; 0 is flat.

    >>> x = torch.ones(2, 1, 2, 2, requires_grad=True)
    >>> float(flatness(x * x, x).detach())
    1.0
    """
    return steepness(logits.flatten(1).mean(1), inputs).mean()


@torch.no_grad()
def averaged(average: nn.Module, online: nn.Module, keep: float) -> None:
    """Move an average of networks a little towards the newest, buffers included."""
    news = online.state_dict()
    for name, old in average.state_dict().items():
        if old.is_floating_point():
            old.lerp_(news[name], 1 - keep)
        else:
            old.copy_(news[name])


def with_memory(head: BatchHead, cache: Cache, features: Tensor) -> Tensor:
    """Logits of features beside the kept ones, which then have these among them."""
    logits: Tensor = head(features, cache.kept)
    cache.put(features)
    return logits


class Critic(nn.Module):
    """Tells a camera's own planes from translated ones; remembers a few of either."""

    def __init__(self, channels: int, width: int, memory: int) -> None:
        super().__init__()
        self.body = PatchBody(channels, width)
        self.head = BatchHead(self.body.width)
        self.real, self.fake = Cache(memory), Cache(memory)

    def of_fake(self, x: Tensor) -> Tensor:
        """Logits of translated planes, kept out of the memory: for the translator."""
        return self.head(self.body(x), self.fake.kept)  # type: ignore[no-any-return]

    def flat(self, real: Tensor, fake: Tensor, share: float) -> Tensor:
        """How steep it is somewhere between the two; what it remembers is mixed alike."""
        mixed = torch.lerp(fake, real, share).detach().requires_grad_()
        earlier = self.fake.kept.lerp(self.real.kept, share)
        return flatness(self.head(self.body(mixed), earlier), mixed)

    def loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Of telling them apart; both are remembered."""
        own = told_from(with_memory(self.head, self.real, self.body(real)), 1.0)
        made = told_from(with_memory(self.head, self.fake, self.body(fake.detach())), 0.0)
        return (own + made) / 2


# --- training ---


class Rawformer:
    """Two translators and two critics: first hidden patches are filled in, then cameras differ."""

    Settings: ClassVar[type[Options]] = Options
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "levels": (24, 48, 96, 192), "blocks": 12, "heads": 6, "hidden": 768, "side": 256,
            "rate": 5e-5, "critic_rate": 1e-4, "critic_width": 64, "keep": 0.9999, "patch": 32,
            "start": 0.02, "pretrain": 2_560_000, "pretrain_batch": 32,
            "pretrain_rate": 5e-3 * 32 / 512, "restart": 512_000, "steps": 1_000_000,
        },
    }  # fmt: skip

    def __init__(
        self,
        ours: Sequence[Raw],
        theirs: Sequence[Raw],
        settings: Options,
        *,
        seed: int = 0,
        device: torch.device | None = None,
    ) -> None:
        self.settings, self.device = settings, device or torch.device("cpu")
        s, need = settings, 2 * settings.side + 2  # two more for a mirror image
        piles = [usable(pile, PATTERN, need) for pile in (ours, theirs)]
        self.sensors = [pile[0].sensor for pile in piles]
        self.light = [[torch.from_numpy(one.light(0, 1)) for one in pile] for pile in piles]
        self.draw = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            first = Translator(s.shape()).to(self.device)
            self.critics = nn.ModuleList(
                Critic(4, s.critic_width, s.memory).to(self.device) for _ in range(2)
            )
            if s.start is not None:
                start_small(nn.ModuleList([first, self.critics]), s.start)
        self.translators = nn.ModuleList([first, copy.deepcopy(first)])  # to theirs, to ours
        self.averages = copy.deepcopy(self.translators).requires_grad_(False)
        self.filling = torch.optim.AdamW(
            first.parameters(), s.pretrain_rate, (0.9, 0.99), weight_decay=0.05
        )
        self.optimiser = torch.optim.Adam(self.translators.parameters(), s.rate, (0.5, 0.99))
        self.critic_optimiser = torch.optim.Adam(
            self.critics.parameters(), s.critic_rate, (0.5, 0.99)
        )
        self.done = 0

    def crops(self, camera: int, count: int) -> Tensor:
        """Planes of random crops of a camera's frames, some mirrored.  B 4 side side"""
        size, found = 2 * self.settings.side, []
        for row in torch.randint(len(self.light[camera]), (count,), generator=self.draw).tolist():
            frame = self.light[camera][row]
            top, left = corners(frame.shape, size + 2, self.draw)
            part = frame[top : top + size + 2, left : left + size + 2]
            for axis in (-2, -1):
                if torch.rand((), generator=self.draw) < 0.5:
                    part = flipped(part, axis)
            found.append(planes(part[:size, :size], PATTERN, ORDER))
        return torch.stack(found).to(self.device)

    def step(self) -> dict[str, float]:
        """One step of whatever stage it is in."""
        values = self.fill() if self.done < self.settings.pretrain else self.translate()
        self.done += 1
        if self.done == self.settings.pretrain:
            # both start from what has been learnt of both cameras
            learnt = self.translators[0].state_dict()
            for network in (self.translators[1], *self.averages):
                network.load_state_dict(learnt)
        return values

    def fill(self) -> dict[str, float]:
        """A step of the first stage: patches of either camera's frames are hidden and made up."""
        s = self.settings
        camera = int(torch.randint(2, (), generator=self.draw))
        x = self.crops(camera, s.pretrain_batch)
        rows = s.side // s.patch
        chosen = torch.rand(len(x), rows, rows, generator=self.draw) < s.hide
        loss = pixels_apart(self.translators[0](hidden_patches(x, chosen.to(x.device))), x)
        self.filling.zero_grad()
        loss.backward()
        length = s.restart or max(s.pretrain, 1)
        rate = cosine_restarts(self.done, s.pretrain_rate, length, growth=1.0, end_ratio=1e-5)
        for group in self.filling.param_groups:
            group["lr"] = rate
        self.filling.step()
        return {"filling": float(loss.detach())}

    def translate(self) -> dict[str, float]:
        """A step of the second stage: translators, then critics, then averages."""
        s = self.settings
        values: dict[str, float] = {}
        cameras = [self.crops(camera, s.batch) for camera in (0, 1)]
        self.critics.requires_grad_(False)
        self.optimiser.zero_grad()
        made = []
        for camera, x in enumerate(cameras):
            there, back = self.translators[camera], self.translators[1 - camera]
            fake = there(x)
            made.append(fake.detach())
            fooled = told_from(self.critics[1 - camera].of_fake(fake), 1.0)  # type: ignore[operator]
            again = pixels_apart(back(fake), x)
            (fooled + s.cycle * again).backward()
            # what is already of that camera is to stay as it is
            same = (back(x) - x).abs().mean()
            (s.cycle * s.identity * same).backward()
            name = ("there", "back")[camera]
            parts = {"critic": fooled, "cycle": again, "identity": same}
            values |= {f"{key} {name}": float(one.detach()) for key, one in parts.items()}
        self.optimiser.step()
        self.critics.requires_grad_(True)
        values |= self.judge(cameras, made[::-1])
        for average, online in zip(self.averages, self.translators, strict=True):
            averaged(average, online, s.keep)
        return values

    def judge(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> dict[str, float]:
        """A step of both critics, slopes first, with what they remember of earlier steps."""
        values: dict[str, float] = {}
        self.critic_optimiser.zero_grad()
        for camera, name in enumerate(("ours", "theirs")):
            critic: Any = self.critics[camera]
            share = float(torch.rand((), generator=self.draw))
            steep = critic.flat(real[camera], fake[camera], share)
            loss = critic.loss(real[camera], fake[camera])
            (loss + self.settings.penalty * steep).backward()
            values[f"telling {name}"] = float(loss.detach())
        self.critic_optimiser.step()
        return values

    def _parts(self) -> dict[str, Any]:
        return {
            "translators": self.translators, "averages": self.averages, "critics": self.critics,
            "filling": self.filling, "optimiser": self.optimiser,
            "critic optimiser": self.critic_optimiser,
        }  # fmt: skip

    def state(self) -> dict[str, Any]:
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return parts | {"draw": self.draw.get_state(), "done": self.done}

    def restore(self, state: dict[str, Any]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.draw.set_state(state["draw"])
        self.done = int(state["done"])

    def translation(self, camera: int = 0) -> Translation:
        """What has been learnt: ours to theirs, or (1) theirs to ours."""
        target = self.sensors[1 - camera]
        about = {
            "shape": asdict(self.settings.shape()),
            "pattern": PATTERN,
            "black": np.ravel(target.black).tolist(),
            "white": target.white,
            "camera": target.camera,
            "matrices": {str(k): np.ravel(m).tolist() for k, m in target.matrices.items()},
            "side": self.settings.side,
        }
        return Translation(self.averages[camera], about)  # type: ignore[arg-type]


def exposure_gap(ours: Sequence[Raw], theirs: Sequence[Raw]) -> float:
    """How many times brighter one pile is on average than the other: 1 or more.

    What differs in light between the piles is learnt as if the cameras differed.

    >>> from fallow.raw.sensor import sensor
    >>> frames = [Raw(np.full((2, 2), v, np.uint16), sensor("RGGB", 0, 100)) for v in (20, 60)]
    >>> round(exposure_gap(frames[:1], frames[1:]), 2)
    3.0
    """
    means = [float(np.mean([raw.light(0, 1).mean() for raw in pile])) for pile in (ours, theirs)]
    low, high = sorted(max(one, 1e-6) for one in means)
    return high / low


# --- what is kept ---


@dataclass
class Translation:
    """A translator into a camera's raw, with that camera's levels."""

    network: Translator
    about: dict[str, Any]

    @torch.inference_mode()
    def light(self, x: Tensor, side: int = 256, margin: int = 32) -> Tensor:
        """Planes of light (4 h w) as the other camera would have seen them.

        What is larger than `side` is translated part by part; parts pass into each other, as each
        attends to nothing outside itself.
        """
        device = next(self.network.parameters()).device
        multiple = self.network.shape.multiple
        return blended(lambda part: self.network(part.to(device)).cpu(), x, side, margin, multiple)

    def translated(self, raw: Raw, side: int = 256, margin: int = 32) -> Raw:
        """The frame as the other camera would have recorded it, in that camera's numbers."""
        frame = in_phase(raw, self.about["pattern"])
        x = torch.from_numpy(planes(frame.light(0, 1), PATTERN, ORDER))
        made = self.light(x, side, margin)
        black = np.reshape(self.about["black"], (2, 2))
        counted = np.empty(frame.size, np.uint16)
        for rows in bands(made.shape[1]):
            light = mosaic_of(made[:, rows].numpy(), PATTERN, ORDER)
            there = slice(2 * rows.start, 2 * rows.stop)
            counted[there] = whole(numbers(light, black, self.about["white"]))
        matrices = {float(k): np.reshape(m, (3, 3)) for k, m in self.about["matrices"].items()}
        own = frame.sensor
        sensor = Sensor(
            bayer(self.about["pattern"]), black.astype(np.float64), self.about["white"],
            neutral_after(own.neutral, x, made), matrices, iso=own.iso,
            orientation=own.orientation, camera=self.about["camera"],
        )  # fmt: skip
        return Raw(counted, sensor, raw.name)

    def save(self, path: str | Path) -> None:
        """One file of weights and what they are for."""
        with atomic_write(path) as file:
            file.write(weights_of(self.network, {"translation": json.dumps(self.about)}))


def load(path: str | Path) -> Translation:
    """A translation that `Translation.save` has written."""
    state, said = read_weights(path, "translation", "translation between cameras")
    shape = said["shape"]
    network = Translator(Shape(**(shape | {"levels": tuple(shape["levels"])})))
    network.load_state_dict(state)
    return Translation(network.eval(), said)


def bands(height: int, tall: int = 256) -> Iterator[slice]:
    """All rows, some at a time, so that what is said of a large frame does not hold it again.

    >>> [(rows.start, rows.stop) for rows in bands(600)]
    [(0, 256), (256, 512), (512, 600)]
    """
    return (slice(top, min(top + tall, height)) for top in range(0, height, tall))


def neutral_after(neutral: Any, before: Tensor, after: Tensor) -> np.ndarray | None:
    """What the other camera answers to white: the first one's answer, taken along with the colours.

    >>> planes = torch.rand(4, 8, 8)
    >>> neutral_after([0.5, 1, 0.8], planes, planes).round(3).tolist()
    [0.5, 1.0, 0.8]
    """
    if neutral is None:
        return None
    own, across = np.zeros((3, 3)), np.zeros((3, 3))
    for rows in bands(before.shape[1]):
        one, other = (
            torch.stack([x[0], (x[1] + x[2]) / 2, x[3]]).flatten(1).double().numpy()
            for x in (before[:, rows], after[:, rows])
        )  # 3 N
        own += one @ one.T
        across += one @ other.T
    # through the frame's own colours; a little is held towards no change where it has hardly any
    hold = 1e-4 * np.trace(own) * np.eye(3)
    matrix = np.linalg.solve(own + hold, across + hold).T
    answer = matrix @ np.asarray(neutral, np.float64)
    if answer.min() <= 0:
        raise Problem("the translation turns white into no colour a camera can have.")
    return answer / answer[1]
