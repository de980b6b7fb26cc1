"""Sketches are turned as the view of their photo is, and twice is as they were."""

from __future__ import annotations

import torch

from fallow.parts.sketches import flipped, mirrored


def test_a_mirrored_sketch_goes_the_other_way():
    flip = torch.eye(2, 3)[None].clone()
    flip[:, 0, 0] = -1
    five = torch.tensor([[[3.0, 0, 1, 0, 0], [0, 4.0, 0, 0, 1]]])
    assert torch.equal(mirrored(mirrored(five, flip), flip), five)
    assert (mirrored(five, flip)[..., 0] == -five[..., 0]).all()


def test_only_what_was_seen_turned_is_flipped():
    geometry = torch.eye(2, 3).repeat(2, 1, 1)
    geometry[1, 0, 0] = -1
    pictures = torch.arange(2 * 3 * 4).view(2, 3, 4)
    found = flipped(pictures, geometry)
    assert torch.equal(found[0], pictures[0])
    assert torch.equal(found[1], pictures[1].flip(-1))
