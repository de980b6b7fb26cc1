"""A network that says where key points are: an encoder, and steps that enlarge its deepest maps."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders.base import Encoder
from fallow.encoders.maps import asked, stages_of
from fallow.problems import SettingProblem, SourceProblem

STRIDE = 4  # pixels of a picture to one of its heat maps


class Pointer(nn.Module):
    """A heat map for every key point, at a quarter of the picture's side.

    Transposed convolutions of `width` channels double the encoder's deepest maps up to there
    (Xiao et al. 2018). With `skips` each of them takes in the encoder's own maps of its size: with
    few labels a network that has seen the fine ones need not find them out again.

    >>> from fallow.encoders import encoder
    >>> Pointer(encoder("resnet8/8", size=64), 5)(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 5, 16, 16])
    """

    def __init__(
        self, encoder: Encoder, points: int, *, width: int = 64, skips: bool = True
    ) -> None:
        super().__init__()
        self.encoder, self.points, self.width = encoder, points, width
        with asked(encoder):
            side = encoder.size
            maps = stages_of(encoder, torch.zeros(1, 3, side, side, device=encoder.device))
        deep = maps[-1].shape[-1]
        steps = max(0, round(math.log2(side / STRIDE / deep)))
        if deep * 2**steps < side // STRIDE // 2:
            raise SettingProblem(
                f"{encoder.name} sees a picture of {side} pixels as {deep} x {deep} places, too "
                "few to point at any: give it larger ones (size)"
            )
        sizes = [deep * 2**step for step in range(1, steps + 1)]
        wide = [maps[-1].shape[1], *[width] * steps]
        self.larger = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(inputs, width, 4, 2, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            )
            for inputs in wide[:-1]
        )
        # which stage has the size of each step's maps, if any
        self.level = [
            next((k for k, one in enumerate(maps[:-1]) if skips and one.shape[-1] == size), -1)
            for size in sizes
        ]
        self.skips = nn.ModuleList(
            nn.Conv2d(maps[k].shape[1], width, 1) if k >= 0 else nn.Identity() for k in self.level
        )
        self.last = nn.Conv2d(wide[-1], points, 1)
        for part in [*self.larger.modules(), self.last]:
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(part.weight, std=0.001)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        maps = stages_of(self.encoder, x)
        found = maps[-1]
        for larger, skip, level in zip(self.larger, self.skips, self.level, strict=True):
            found = larger[:2](found)  # type: ignore[index]
            if level >= 0:
                fine = skip(maps[level])
                found = found[..., : fine.shape[2], : fine.shape[3]] + fine
            found = larger[2](found)  # type: ignore[index]
        heat = self.last(found)
        size = (x.shape[2] // STRIDE, x.shape[3] // STRIDE)
        if heat.shape[2:] != size:
            heat = F.interpolate(heat, size, mode="bilinear", align_corners=False)
        return heat  # B J H/4 W/4


class Together(nn.Module):
    """Several networks that answer as one, by their mean."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([network(x) for network in self.networks]).mean(0)


def save_pointer(pointer: Pointer, folder: str | os.PathLike[str], about: Any = None) -> Path:
    """Write the encoder as encoders are saved, and what enlarges its maps beside it."""
    from safetensors.torch import save as to_bytes

    from fallow.encoders.saving import save
    from fallow.files import atomic_write, write_json

    place = save(pointer.encoder, Path(folder))
    state = {k: v for k, v in pointer.state_dict().items() if not k.startswith("encoder.")}
    with atomic_write(place / "pointer.safetensors") as target:
        target.write(to_bytes({name: value.cpu().contiguous() for name, value in state.items()}))
    skips = any(level >= 0 for level in pointer.level)
    facts = {"points": pointer.points, "width": pointer.width, "skips": skips}
    write_json(place / "pointer.json", {**facts, "about": about})
    return place


def load_pointer(folder: str | os.PathLike[str]) -> tuple[Pointer, Any]:
    """What `save_pointer` wrote: the network, in eval mode, and what was said about it."""
    from safetensors.torch import load as from_bytes

    from fallow.encoders.saving import load

    place = Path(folder)
    try:
        said = json.loads((place / "pointer.json").read_text())
        held = from_bytes((place / "pointer.safetensors").read_bytes())
    except FileNotFoundError:
        raise SourceProblem(
            f"{place} holds no saved pointer: it needs pointer.json and pointer.safetensors"
        ) from None
    made = Pointer(load(place), said["points"], width=said["width"], skips=said["skips"])
    made.load_state_dict({**made.state_dict(), **held})
    return made.eval(), said["about"]
