"""The torch path makes the same views as the compiled kernel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.data import astronaut

from fallow.problems import SettingProblem
from fallow.views import (
    Recipe,
    View,
    byol,
    draw,
    pack_arrays,
    plain,
    render,
    render_torch,
    simclr,
    swav,
)

PICTURES = [astronaut()[:h, :w] for h, w in [(200, 300), (31, 47), (1, 1), (1, 90), (512, 512)]]
TURNED = Recipe((View(48, 2, rotate=60.0, shear=20.0, jitter=(0.4, 0.4, 0.4, 0.1), blur=0.5),))


@pytest.mark.parametrize("recipe", [simclr(96), simclr(32), byol(64), swav(64), plain(50), TURNED])
def test_agrees_with_the_kernel(recipe):
    pack = pack_arrays(PICTURES)
    positions = np.arange(len(PICTURES))
    for epoch in range(3):
        expected = render(pack, positions, recipe, seed=0, epoch=epoch)
        got = render_torch([torch.from_numpy(p) for p in PICTURES], expected.drawn, recipe)
        assert torch.equal(got.geometry, expected.geometry)
        assert got.roles == expected.roles
        for one, other in zip(got.groups, expected.groups, strict=True):
            assert one.stride() == other.stride()
            assert (one - other).abs().max() < 1e-3


def test_padded_tensor_with_sizes_equals_list():
    padded = torch.randint(0, 255, (2, 40, 50, 3), dtype=torch.uint8)
    sizes = torch.tensor([[40, 30], [20, 50]])
    drawn = draw(simclr(32), sizes[:, 0].numpy(), sizes[:, 1].numpy(), [0, 1], seed=0)
    pictures = [p[:h, :w] for p, (h, w) in zip(padded, sizes.tolist(), strict=True)]
    one = render_torch(padded, drawn, simclr(32), sizes)
    other = render_torch(pictures, drawn, simclr(32))
    assert torch.equal(one.groups[0], other.groups[0])


def test_batch_must_match_the_parameters():
    drawn = draw(simclr(32), [9], [9], [0], seed=0)
    with pytest.raises(SettingProblem, match="1 images, the batch has 2"):
        render_torch(torch.zeros(2, 9, 9, 3, dtype=torch.uint8), drawn, simclr(32))
