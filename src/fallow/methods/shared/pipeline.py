"""A learnt camera pipeline: what it takes, how it develops a file of any size, how it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fallow.encoders.export import write_onnx
from fallow.encoders.isp import network, operations, parameters_of
from fallow.files import atomic_write
from fallow.methods.shared.camera import in_phase, padded, read_weights, tiles, weights_of
from fallow.problems import Problem
from fallow.raw.develop import upright
from fallow.raw.mosaic import bayer, letters, places, planes
from fallow.raw.sensor import Raw
from fallow.raw.sixteen import eight, sixteen

PATTERN, ORDER = "RGGB", "B G0 R G1"


def spread(light: Tensor, pattern: Any = PATTERN) -> Tensor:
    """Three full planes: light where a colour was seen, 1 in the holes.  ... H W -> ... 3 H W

    >>> spread(torch.tensor([[0.2, 0.3], [-0.1, 0.4]]))[..., 0].tolist()
    [[0.20000000298023224, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    cell = bayer(pattern)
    out = light.new_ones(*light.shape[:-2], 3, *light.shape[-2:])
    for row, column in np.ndindex(2, 2):
        here = (..., slice(row, None, 2), slice(column, None, 2))
        out[..., int(cell[row, column]), :, :][here] = light[here].clamp(min=0)
    return out


def taken(network: Any, light: Tensor) -> Tensor:
    """Light of a mosaic in RGGB as a network takes it.  B H W -> B c h w"""
    return planes(light, PATTERN, ORDER) if network.planes == 4 else spread(light)


@dataclass
class ISP:
    """A learnt camera pipeline, bound to a sensor's levels and pattern."""

    network: Any
    about: dict[str, Any]

    def developed(self, raw: Raw, side: int = 512) -> np.ndarray:
        """A frame as a picture of 8 bits, upright, tile by tile.  h w 3

        A network without attention gives the same whatever the tiles; one with it looks at the
        brightness of a whole tile.
        """
        return self._tiled(raw, side, eight)

    def developed_16(self, raw: Raw, side: int = 512) -> np.ndarray:
        """The same with 16 bits.  h w 3"""
        return self._tiled(raw, side, sixteen)

    @torch.inference_mode()
    def _tiled(
        self, raw: Raw, side: int, quantised: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        frame = in_phase(raw, self.about["pattern"])
        out = np.empty((*frame.size, 3), quantised(np.zeros(1)).dtype)
        light = frame.light_by_part()
        device = next(self.network.parameters()).device
        step = 2 if self.network.planes == 4 else 1  # pixels of the mosaic to one of a plane
        margin = step * min(self.network.reach, 64)
        cell = int(np.lcm(2, step * self.network.multiple))
        for tile in tiles(*frame.size, side, margin, cell):
            part = torch.from_numpy(light(tile.rows, tile.columns).copy()).to(device)[None]
            height, width = part.shape[-2:]
            shown = self.network(padded(taken(self.network, part), self.network.multiple))
            shown = shown[0, :, :height, :width].clamp(0, 1).permute(1, 2, 0).cpu().numpy()
            out[tile.kept] = quantised(shown)[tile.inner]
        return upright(out, frame.sensor.orientation)

    def facts(self) -> dict[str, float]:
        """Its size, and what it costs.

        >>> ISP(network("efficient"), {}).facts()
        {'parameters': 3060, 'operations per pixel': 756.0, 'bytes': 12240}
        """
        size = parameters_of(self.network)
        each = operations(self.network)
        return {"parameters": size, "operations per pixel": each, "bytes": 4 * size}

    def save(self, path: str | Path) -> None:
        """One file of weights and what they are for."""
        with atomic_write(path) as file:
            file.write(weights_of(self.network, {"isp": json.dumps(self.about)}))

    def export(self, path: str | Path) -> Path:
        """An ONNX model of any batch and any sides: planes of light in, a picture out."""
        part, cell = 32, self.network.multiple
        free: dict[int, Any] = {0: torch.export.Dim("batch")}
        for axis, name in ((2, "height"), (3, "width")):
            free[axis] = cell * torch.export.Dim(f"{name}_{cell}" if cell > 1 else name)
        example = torch.zeros(
            2, self.network.planes, part, part + 8, device=next(self.network.parameters()).device
        )
        about = {"name": f"lightisp {self.about['network']}", **self.about}
        sites = " ".join(f"{r}{c}" for r, c in places(PATTERN, ORDER))
        about["planes"] = sites if self.network.planes == 4 else "R G B, 1 in the holes"
        return write_onnx(self.network, example, path, ("planes", "picture"), free, about)


def load(path: str | Path) -> ISP:
    """A pipeline that `ISP.save` has written."""
    state, about = read_weights(path, "isp", "camera pipeline")
    made = network(about["network"])
    made.load_state_dict(state)
    return ISP(made.eval(), about)


def must_fit(isp: ISP, raw: Raw) -> None:
    """A Problem where a frame's levels are not those the pipeline has learnt with."""
    levels = float(np.mean(isp.about["black"])), float(isp.about["white"])
    own = float(raw.sensor.black.mean()), raw.sensor.white
    if abs(own[0] - levels[0]) > 0.02 * levels[1] or abs(own[1] - levels[1]) > 0.05 * levels[1]:
        raise Problem(
            f"{raw.name} ({letters(raw.sensor.pattern)}) has levels {own[0]:g} to {own[1]:g}, the "
            f"pipeline learnt {levels[0]:g} to {levels[1]:g}: it belongs to another sensor."
        )
