"""Correlation in tiles: the same as of whole windows, and no tensor that grows with the maps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from fallow.parts.correspondence import around, grid


def whole(one, other, radius, temperature):
    """The flow by all windows laid side by side."""
    side, size = 2 * radius + 1, one.shape[2:]
    ours, theirs = (F.normalize(maps, dim=1) for maps in (one, other))
    laid = F.unfold(theirs, side, padding=radius).view(len(one), -1, side**2, *size)
    inside = F.unfold(torch.ones(1, 1, *size), side, padding=radius).view(1, side**2, *size)
    scores = ((ours[:, :, None] * laid).sum(1) / temperature).masked_fill(inside == 0, -1e4)
    return torch.einsum("bkhw,kc->bchw", scores.softmax(1), grid(side, side) - radius)


@pytest.mark.parametrize("size", [(8, 8), (5, 19), (17, 140)])
def test_tiles_give_the_flow_of_whole_windows(size):
    torch.manual_seed(0)
    one, other = torch.randn(2, 6, *size), torch.randn(2, 6, *size)
    found = around(one, other, radius=3, temperature=0.2)
    torch.testing.assert_close(found.flow, whole(one, other, 3, 0.2), rtol=1e-4, atol=1e-4)


class Largest(TorchDispatchMode):
    """Remembers how much the largest new tensor held."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.numbers = max(self.numbers, made.untyped_storage().nbytes() // 4)
        return made


def test_nothing_grows_with_the_maps_but_the_result():
    held = []
    for side in (136, 264):
        maps = torch.zeros(1, 32, 1, 1).expand(1, 32, side, side)  # held once
        with Largest() as seen:
            around(maps, maps)
        held.append(seen.numbers)
    assert held[0] == held[1] < 32 * 136 * 136
