"""Systems that put what a labelled collection teaches into a few synthetic images.

A host (DM, DC, DSA, MTT) says what one step changes in the pixels; FYI is a switch over all hosts.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar

import torch
from pydantic import ConfigDict, Field, model_validator
from torch import Tensor

from fallow.encoders.convnet import ConvNet
from fallow.methods.distil.fyi import FYI, twice, with_copies
from fallow.methods.shared.tiny import Real
from fallow.problems import Problem, SettingProblem, did_you_mean
from fallow.views.siamese import Draw, Flip, Numbers, draw


class Settings(FYI.Settings):
    """What every host can be told; a host adds its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int | None = Field(None, ge=1, description="how often all synthetic images are changed")
    minutes: float | None = Field(None, gt=0, description="wall-clock budget instead of steps")
    size: int | None = Field(None, ge=4, description="side in pixels; chosen if left out")
    width: int = Field(64, ge=1, description="channels of the network; 128 in the papers")
    depth: int = Field(3, ge=1, description="its blocks, each halving the side")
    real: int = Field(64, ge=1, description="real images of a class a step; 256 in the papers")
    rate: float = Field(1.0, gt=0, description="step size of the pixels")
    momentum: float = Field(0.5, ge=0, lt=1, description="of the pixels' steps")
    augment: bool = Field(True, description="one drawn transform for real and synthetic alike")
    flip: Flip = Field(
        "always", description="mirroring in it: always (FYI), drawn as one of six (DSA), never"
    )
    corners: bool = Field(
        True, description="turn and scale about the corners' centres (FYI) or outer edges (DSA)"
    )
    whiten: bool = Field(False, description="distil in ZCA-whitened space")

    @model_validator(mode="after")
    def _one_budget(self) -> Settings:
        if self.steps is not None and self.minutes is not None:
            raise ValueError("give steps or minutes, not both")
        return self


HostSettings = Settings  # Host.Settings below hides the name


class Host:
    """A way to distil. A subclass says what one step is; `pixels` are what it trains."""

    Settings: ClassVar[type[Settings]] = Settings
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    steps: ClassVar[int] = 500  # when no budget is given

    def __init__(
        self, real: Real, per_class: int, settings: HostSettings, *, seed: int = 0
    ) -> None:
        self.real, self.per_class = real, per_class
        self.settings: Any = settings
        self.device = real.pixels.device
        self.classes = len(real.names)
        self.generator = torch.Generator().manual_seed(seed)
        if (smallest := min(map(len, real.rows))) < per_class:
            poor = real.names[[len(rows) for rows in real.rows].index(smallest)]
            raise Problem(
                f"the class {poor} has {smallest} images to distil from, fewer than "
                f"per_class={per_class}: ask for {max(1, smallest)} or fewer"
            )
        if real.size < 2**settings.depth:
            raise Problem(
                f"images of {real.size} px are too small for {settings.depth} halvings: "
                f"set depth={max(1, real.size.bit_length() - 1)} or less"
            )
        drawn = [real.some(code, per_class, self.generator) for code in range(self.classes)]
        self.chosen = torch.cat(drawn)  # the real images it starts from
        self.pixels = real.take(self.chosen).requires_grad_()  # classes * per_class, 3 S S
        self.labels = torch.arange(self.classes).repeat_interleave(per_class).to(self.device)
        self.optimiser = torch.optim.SGD([self.pixels], lr=self.rate(), momentum=settings.momentum)
        self.build()

    def rate(self) -> float:
        """Step size of the pixels."""
        return float(self.settings.rate)

    def build(self) -> None:
        """Add networks."""

    def prepare(self, tell: Callable[[str], None]) -> None:
        """What must be there before the first step."""

    def step(self) -> float:
        """Change the pixels once; returns the loss."""
        raise NotImplementedError

    # what steps are made of

    def network(self) -> ConvNet:
        s = self.settings
        made = ConvNet(self.classes, width=s.width, depth=s.depth, size=self.real.size)
        return made.to(self.device)

    def copies(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The images and what goes with them, see fyi.py."""
        return with_copies(x, self.settings.copies, generator or self.generator)

    def twice(self, labels: Tensor) -> Tensor:
        return twice(labels, self.settings.copies)

    def draw(self, count: int = 1) -> Draw:
        """One transform for all images of several batches, or with `count` one for each."""
        s = self.settings
        if not s.augment:
            return Draw(())
        numbers = Numbers(self.generator, count)
        return draw(numbers, (self.real.size,) * 2, flip=s.flip, corners=s.corners)

    def recipe(self) -> dict[str, float]:
        """What a training on the pixels should know beyond them."""
        return {}


def hosts() -> dict[str, type[Host]]:
    """Every host by the name of its module.

    >>> sorted(hosts())
    ['dc', 'dm', 'dsa', 'mtt']
    """
    found = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        module = import_module(f"{__name__}.{name}")
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, Host)
                and value.__module__ == module.__name__
            ):
                found[name] = value
    return found


def find_host(name: str) -> type[Host]:
    """The host of that name."""
    known = hosts()
    if name not in known:
        raise SettingProblem(f"there is no host {name!r} to distil: {did_you_mean(name, known)}")
    return known[name]
