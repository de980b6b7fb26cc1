"""LightISP: a camera pipeline for a phone, learnt from raw files and unrelated photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fallow.encoders.critics import MapCritic, TokenCritic
from fallow.encoders.isp import network
from fallow.losses.adversarial import more_real, steepness
from fallow.losses.pictures import blurred, features_apart, lightness, roughness, soft_window
from fallow.methods.shared.camera import (
    CameraSettings,
    common_gains,
    corners,
    photo_crops,
    usable,
)
from fallow.methods.shared.pipeline import ISP, PATTERN, taken
from fallow.problems import Problem
from fallow.raw.curves import power
from fallow.raw.demosaic import menon
from fallow.raw.sensor import Raw
from fallow.train.balance import equal_pull, plain_pull

GAINS = (1.6, 1.2, 1.4)  # red, green, blue of a frame without a white balance of its own
GREY = (0.299, 0.587, 0.114)
PENALTY = 500.0  # of a critic's slopes, as their squares are weighted
PULLS = {"equal": equal_pull, "plain": plain_pull}


class Options(CameraSettings):
    """What LightISP can be told."""

    network: Literal["efficient", "robust", "tiny", "medium", "large"] = Field(
        "efficient", description="from 1,616 (robust) to 263,403 (large) learnt numbers"
    )
    features: str = Field(
        "lite", description="frozen encoder behind critics and content: lite, resnet18/32, a path"
    )
    batch: int = Field(8, ge=1, description="crops a step")
    side: int = Field(128, ge=32, multiple_of=4, description="of a crop in pixels of the mosaic")
    colour_side: int = Field(96, ge=32, description="of what the critic of colours sees")
    begin: int = Field(
        400, ge=0, description="steps before all of learning the plain rendering; 0: none"
    )
    begin_rate: float = Field(2e-3, gt=0, description="learning rate of those")
    rate: float = Field(5e-4, gt=0, description="learning rate of the network")
    critic_rate: float = Field(1e-4, gt=0, description="learning rate of the critics")
    every: int = Field(2, ge=1, description="steps of the network for one of the critics")
    hidden: int = Field(256, ge=1, description="width of the critics' last layer")
    texture: float = Field(1.0, ge=0, description="weight of two critics of grey texture; 0: none")
    colour: float = Field(1.0, ge=0, description="weight of the critic of blurred colour; 0: none")
    content: float = Field(1.0, ge=0, description="weight of keeping what is there; 0: none")
    smooth: float = Field(1.0, ge=0, description="weight of small steps between pixels; 0: none")
    pull: Literal["equal", "plain"] = Field(
        "plain",
        description="plain: losses are summed; equal: each gradient has length 1, as published",
    )
    gains: tuple[float, float, float] | None = Field(
        None, description="white balance of the content's rendering; else the middle of the files'"
    )
    stretch: float = Field(
        0.999, gt=0.5, le=1, description="share of values below the content's white; 1: the largest"
    )


# --- what goes in, and what should stay ---


def anchor(
    mosaic: np.ndarray,
    pattern: Any,
    gains: Sequence[float] = GAINS,
    stretch: float = 1.0,
    white: float = 1.0,
) -> np.ndarray:
    """A plain rendering that says what is where: Menon, gains, stretched to 0...1, 1/2.2.  H W 3

    Nothing counts beyond `white`. `stretch` is the share of all values below the brightest one
    shown, and above the darkest: at 1 a single hot pixel darkens everything.

    >>> float(anchor(np.arange(48.0).reshape(6, 8), "RGGB", white=99).max())
    1.0
    """
    rgb = (menon(mosaic, pattern) * (np.asarray(gains, mosaic.dtype) / white)).clip(0, 1)
    low, high = np.quantile(rgb, [1 - stretch, stretch])
    if not high > low:
        raise Problem("a frame of one value everywhere says nothing about what is where.")
    return power(((rgb - low) / (high - low)).clip(0, 1))


def resized(pictures: Tensor, side: int) -> Tensor:
    """B C side side, bilinear."""
    return F.interpolate(pictures, (side, side), mode="bilinear", align_corners=False)


def grey(pictures: Tensor) -> Tensor:
    """Brightness as displayed.  B 3 H W -> B 1 H W

    >>> grey(torch.ones(1, 3, 1, 1)).flatten().round(decimals=4)
    tensor([1.])
    """
    return torch.einsum("bchw,c->bhw", pictures, pictures.new_tensor(GREY))[:, None]


# --- losses ---


class Once:
    """A frozen look at pictures, kept until it is forgotten: several losses ask about the same."""

    def __init__(self, look: Callable[[Tensor], Any]) -> None:
        self.look = look
        self.kept: list[tuple[Tensor, Any]] = []

    def __call__(self, pictures: Tensor) -> Any:
        for seen, found in self.kept:
            if seen is pictures:
                return found
        self.kept.append((pictures, self.look(pictures)))
        return self.kept[-1][1]

    def forget(self) -> None:
        """Let go of the pictures, and of everything derivatives go through."""
        self.kept.clear()


@dataclass
class View:
    """What one critic looks at: a frozen function of pictures, and the critic."""

    look: Callable[[Tensor], Tensor]
    critic: nn.Module


def network_losses(
    fake: Tensor,
    real: Tensor,
    anchors: Tensor,
    views: Mapping[str, View],
    content: Callable[[Tensor], Tensor],
) -> dict[str, Tensor]:
    """What the network is judged by, in the order it is differentiated in.

    Each made picture should look more real to every critic than an unrelated photo, and hold what
    its rendering holds; how light it is counts there, colour does not.
    """
    found = {}
    for name, view in views.items():
        with torch.no_grad():
            photo = view.critic(view.look(real))
        found[name] = more_real(view.critic(view.look(fake)), photo)
    with torch.no_grad():
        wanted = content(lightness(anchors))
    found["content"] = features_apart(content(lightness(fake)), wanted)
    found["smooth"] = roughness(fake)
    return found


def critic_loss(critic: nn.Module, real: Tensor, fake: Tensor, penalty: float = PENALTY) -> Tensor:
    """A critic should find the real more real, without steep slopes at either.

    `real` and `fake` are what it looks at (features, tokens); slopes are those of its logits.
    """
    real, fake = (one.detach().requires_grad_() for one in (real, fake))
    seen, made = critic(real), critic(fake)
    steep = steepness(seen, real) + steepness(made, fake)
    return more_real(seen, made) + penalty * steep.mean()


# --- training ---


class Features(nn.Module):
    """Maps of a frozen encoder at strides 4, 8 and 16.

    Derivatives go through to the pictures. They are always asked for, as an encoder may look with
    less precision where they are not, and a critic would see that.
    """

    def __init__(self, name: str, seed: int = 0) -> None:
        super().__init__()
        from fallow.encoders import encoder

        found = encoder(name, seed=seed)
        if not hasattr(found.network, "stages"):
            raise Problem(f"{name} gives no maps of features: use lite, or a resnet.")
        self.network: Any = found.network.requires_grad_(False).eval()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(found.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(found.std)[:, None, None])

    def train(self, mode: bool = True) -> Features:
        return super().train(False)  # its batch norms never learn

    def forward(self, pictures: Tensor) -> list[Tensor]:
        with torch.enable_grad():
            return self.network.stages((pictures - self.mean) / self.std)[:3]  # type: ignore[no-any-return]


class LightISP:
    """A small network and its critics, trained on crops of frames and of unrelated photos."""

    Settings: ClassVar[type[Options]] = Options
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "batch": 32, "side": 256, "colour_side": 224, "critic_rate": 1e-5, "every": 10,
            "hidden": 1024, "gains": GAINS, "stretch": 1.0, "begin": 20_000, "steps": 500_000,
            "pull": "equal",
        },
    }  # fmt: skip

    def __init__(
        self,
        raws: Sequence[Raw],
        photos: Sequence[np.ndarray],
        settings: Options,
        *,
        seed: int = 0,
        device: torch.device | None = None,
    ) -> None:
        self.settings, self.device = settings, device or torch.device("cpu")
        s = settings
        frames = usable(raws, PATTERN, s.side)
        self.photos = [photo for photo in photos if min(photo.shape[:2]) >= s.side]
        if not self.photos:
            raise Problem(f"there is no photo of {s.side} x {s.side} pixels or more to look like.")
        self.gains = s.gains or common_gains(frames, GAINS)
        self.sensor = frames[0].sensor
        self.light = [torch.from_numpy(frame.light()) for frame in frames]  # H W
        self.anchors = [
            torch.from_numpy(anchor(one.numpy(), PATTERN, self.gains, s.stretch).astype(np.float16))
            for one in self.light
        ]  # H W 3
        self.draw = torch.Generator().manual_seed(seed)
        self.partner = torch.randperm(len(self.photos), generator=self.draw)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network: Any = network(s.network).to(self.device)
            self.features = Features(s.features, seed).to(self.device)
            self.views = self._views()
        self.beginner = torch.optim.Adam(self.network.parameters(), s.begin_rate)
        self.optimiser = torch.optim.Adam(self.network.parameters(), s.rate, (0.5, 0.9))
        self.critic_optimisers = {
            name: torch.optim.Adam(view.critic.parameters(), s.critic_rate, (0.5, 0.9))
            for name, view in self.views.items()
        }
        self.done = 0

    def _views(self) -> dict[str, View]:
        s, window = self.settings, soft_window()
        textures = Once(lambda x: self.features(grey(x).expand(-1, 3, -1, -1)))

        def colours(x: Tensor) -> Tensor:
            seen = self.features(resized(blurred(x, window), s.colour_side))[2]
            return seen.flatten(2).transpose(1, 2)  # B N C

        coloured = Once(colours)
        self.looks = (textures, coloured)
        with torch.no_grad():
            maps = self.features(torch.zeros(1, 3, s.side, s.side, device=self.device))
        found: dict[str, View] = {}
        if s.texture:
            for level, name in enumerate(("texture fine", "texture coarse")):
                critic = MapCritic(maps[level].shape[1:], s.hidden).to(self.device)
                found[name] = View(lambda x, level=level: textures(x)[level], critic)  # type: ignore[misc]
        if s.colour:
            found["colour"] = View(coloured, TokenCritic(maps[2].shape[1]).to(self.device))
        return found

    def content(self, pictures: Tensor) -> Tensor:
        """What is where, as the frozen encoder sees it at stride 16."""
        return self.features(pictures)[2]

    def crops(self) -> tuple[Tensor, Tensor, Tensor]:
        """A batch: crops of mosaics as the network takes them, their anchors, photos."""
        s, count = self.settings, len(self.light)
        chosen = torch.randint(count, (s.batch,), generator=self.draw).tolist()
        light, anchors = [], []
        for row in chosen:
            top, left = corners(self.light[row].shape, s.side, self.draw)
            here = np.s_[top : top + s.side, left : left + s.side]
            light.append(self.light[row][here])
            anchors.append(self.anchors[row][here])
        partners = self.partner[torch.tensor(chosen) % len(self.photos)].tolist()
        if count < len(self.photos):  # no photo should be left out for want of a frame
            partners = torch.randint(len(self.photos), (s.batch,), generator=self.draw).tolist()
        real = photo_crops(self.photos, partners, s.side, self.draw)
        wanted = torch.stack(anchors).permute(0, 3, 1, 2).float()
        return (
            self.inputs(torch.stack(light).to(self.device)),
            wanted.to(self.device),
            real.to(self.device),
        )

    def inputs(self, light: Tensor) -> Tensor:
        """B H W as this network takes it."""
        return taken(self.network, light)

    def weights(self) -> dict[str, float]:
        """What each loss counts, by its name."""
        s = self.settings
        kinds = {"texture": s.texture, "colour": s.colour}
        own = {name: kinds[name.split()[0]] for name in self.views}
        return own | {"content": s.content, "smooth": s.smooth}

    def step(self) -> dict[str, float]:
        """One step of the network; every few of them one of every critic, on the same pictures."""
        x, anchors, real = self.crops()
        fake = self.network(x)
        if self.done < self.settings.begin:
            return self.begun(fake, anchors)
        losses = network_losses(fake, real, anchors, self.views, self.content)
        weights = self.weights()
        balanced_step(self.network, self.optimiser, losses, PULLS[self.settings.pull], weights)
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        self.done += 1
        if self.done % self.settings.every == 0:
            for name, view in self.views.items():
                seen, made = view.look(real).detach(), view.look(fake).detach()
                values[f"critic {name}"] = critic_step(
                    view.critic, self.critic_optimisers[name], seen, made
                )
        self.forget()
        return values

    def begun(self, made: Tensor, anchors: Tensor) -> dict[str, float]:
        """A step towards the plain rendering: from random weights no look would be found."""
        loss = (made - anchors).abs().mean()
        self.beginner.zero_grad()
        loss.backward()
        self.beginner.step()
        self.done += 1
        return {"plain": float(loss.detach())}

    def forget(self) -> None:
        """Let go of what was seen of a step's pictures."""
        for look in self.looks:
            look.forget()

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "beginner": self.beginner.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "critics": {name: view.critic.state_dict() for name, view in self.views.items()},
            "critic optimisers": {n: o.state_dict() for n, o in self.critic_optimisers.items()},
            "draw": self.draw.get_state(),
            "done": self.done,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.beginner.load_state_dict(state["beginner"])
        self.optimiser.load_state_dict(state["optimiser"])
        for name, view in self.views.items():
            view.critic.load_state_dict(state["critics"][name])
            self.critic_optimisers[name].load_state_dict(state["critic optimisers"][name])
        self.draw.set_state(state["draw"])
        self.done = int(state["done"])

    def isp(self) -> ISP:
        """What has been learnt so far."""
        about = {
            "network": self.settings.network,
            "pattern": PATTERN,
            "black": np.ravel(self.sensor.black).tolist(),
            "white": self.sensor.white,
            "camera": self.sensor.camera,
        }
        return ISP(self.network, about)


def balanced_step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    losses: Mapping[str, Tensor],
    pull: Callable[..., dict[str, float]] = equal_pull,
    weights: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """One step along all losses; what each was scaled by before its weight.  (By name.)"""
    counted = {name: loss for name, loss in losses.items() if (weights or {}).get(name, 1.0)}
    scales = pull(counted, network.parameters(), weights)
    optimiser.step()
    return scales


def critic_step(
    critic: nn.Module, optimiser: torch.optim.Optimizer, real: Tensor, fake: Tensor
) -> float:
    """One step of a critic; its loss before."""
    optimiser.zero_grad()
    loss = critic_loss(critic, real, fake)
    loss.backward()
    nn.utils.clip_grad_norm_(critic.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())
