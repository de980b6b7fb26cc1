"""What `learn` chooses for a folder, a budget and a machine, each choice with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fallow.encoders.lite import WEIGHTS, Lite
from fallow.encoders.parts import train_last
from fallow.encoders.whitening import LEAST

if TYPE_CHECKING:
    from fallow.encoders import Encoder
    from fallow.images import Images

MINUTES = 10.0  # the budget when none is given
# forward and backward of both 32-px views through a ResNet-18 of width 64, images/s on two cores
CPU_SPEED = 45.0
GPU_SPEED = 8000.0


@dataclass(frozen=True)
class Plan:
    """What `learn` chose for a folder, each with a reason."""

    size: int
    encoder: str
    batch: int
    reasons: tuple[str, ...]
    method: str = "simclr"
    settings: Mapping[str, Any] = field(default_factory=dict)
    whitened: bool = False  # the encoder's vectors, by the images it learnt from


@dataclass(frozen=True)
class Known:
    """How to go on from an encoder that knows pictures already."""

    size: int  # of the views
    speed: float  # images/s, both views, on two cores
    rate: float  # at which what it knows is not lost
    last: int | None = None  # blocks that learn; none: all


KNOWN = {
    "tiny": Known(64, 250.0, 0.03),
    **dict.fromkeys(WEIGHTS, Known(112, 80.0, 0.1, last=2)),
}


def going_on(
    images: Images, minutes: float | None, name: str = "tiny", method: str = "moco"
) -> Plan:
    """Go on from an encoder that knows pictures: what pays without a GPU.

    >>> from fallow.images.samples import shapes
    >>> plan = going_on(shapes(300, seed=0, side=32), minutes=2)
    >>> plan.method, plan.encoder, plan.size, plan.batch
    ('moco', 'tiny', 64, 128)
    """
    count, known = len(images), KNOWN[name]
    batch = _batch(count) if known.last is None else min(64, _batch(count))
    passes = known.speed * 60 * (minutes or MINUTES) / count
    reasons: tuple[str, ...] = (
        f"views of {known.size} px: what the encoder sees well",
        f"encoder {name}: about {passes:.0f} passes fit the budget, and without a GPU no such "
        "budget brings random weights as far",
        f"batches of {batch}: there are {count} images",
        f"method {method}: it adapts the encoder to these images",
    )
    if known.last is not None:
        reasons += (
            f"its last {known.last} stages learn, and norms keep their statistics: a few pictures "
            "say little beside a million",
        )
    enough = count >= LEAST
    if enough:
        reasons += ("vectors whitened half-way: what varies most among these images (light, say) "
                    "shall not decide alone what is alike",)  # fmt: skip
    gentle = {"learning_rate": known.rate} if method == "moco" else {}  # others have their own
    return Plan(known.size, name, batch, reasons, method, gentle, enough)


def gently(encoder: Encoder) -> None:
    """Let only the end of lite learn, and no small batch change what its norms know."""
    if isinstance(encoder.network, Lite):
        encoder.network.hold()
        train_last(encoder, KNOWN[encoder.name].last or 1)


def _batch(count: int) -> int:
    return 256 if count >= 2048 else 128 if count >= 256 else max(2, count // 2)


def choose(images: Images, minutes: float | None, gpu: bool = False) -> Plan:
    """View size, random encoder and batch for a collection and a budget.

    >>> from fallow.images.samples import shapes
    >>> plan = choose(shapes(300, seed=0, side=32), minutes=2)
    >>> plan.size, plan.batch
    (32, 128)
    """
    side = int(np.median(np.minimum(images.column("width"), images.column("height"))))
    sizes = (32, 64, 128, 224) if gpu else (32, 64)
    size = max([s for s in sizes if s <= side] or [32])
    count = len(images)
    batch = _batch(count)
    seconds = 60 * (minutes or MINUTES)
    width, passes = 64, 0.0
    for width in (64, 32, 16):
        speed = (GPU_SPEED if gpu else CPU_SPEED) * (64 / width) ** 1.6 * (32 / size) ** 2
        passes = speed * seconds / count
        if passes >= 40:  # contrastive learning needs dozens of passes before it pays
            break
    stem = "small" if size <= 64 else "imagenet"
    reasons = (
        f"views of {size} px: the images are {side} px on their short side"
        + ("" if gpu or side <= 64 else ", and larger views are too slow without a GPU"),
        f"ResNet-18 of width {width}, {stem} stem: about {passes:.0f} passes fit the budget",
        f"batches of {batch}: there are {count} images",
    )
    return Plan(size, f"resnet18/{width}", batch, reasons)


def transformer_for(size: int, gpu: bool = False) -> tuple[str, str]:
    """A transformer for views of a size, and why.

    >>> transformer_for(32)[0], transformer_for(64)[0], transformer_for(224, gpu=True)[0]
    ('vit-pico/4', 'vit-pico/8', 'vit-small/16')
    """
    if size > 64:
        layout, most = "small", 16
    else:  # a CPU brings the smallest through twice as many images in the same minutes
        layout, most = "nano" if gpu else "pico", max(1, size // 8)
    patch = max(side for side in range(1, most + 1) if size % side == 0)
    return f"vit-{layout}/{patch}", (
        f"ViT-{layout} on patches of {patch} px: the method works on patches, and a view has "
        f"{size // patch} x {size // patch}"
    )
