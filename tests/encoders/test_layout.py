"""Layouts: what is usual of a kind tells nothing, places stay apart, few pictures suffice."""

from __future__ import annotations

import pytest
import torch

import fallow
from fallow.encoders.layout import Layout


@pytest.fixture
def encoder():
    return fallow.encoder("resnet8/8", size=32, seed=0).eval()


def pictures(count, seed=0):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def layout_of(encoder, kinds, length=6):
    torch.manual_seed(0)
    layout = Layout(encoder, cells=8, length=length)
    layout.begin(encoder, kinds)
    return layout


def test_directions_are_those_along_which_pictures_differ_most(encoder):
    photos, sketches = pictures(20), pictures(9, seed=1)
    layout = layout_of(encoder, (photos, sketches))
    laid = [layout.laid(encoder, part) for part in (photos, sketches)]
    rows = torch.cat([one - one.mean(0) for one in laid])
    kept = (rows @ layout.directions.T).square().sum(0)
    best = torch.linalg.svdvals(rows.double())[:6].square().float()
    assert torch.allclose(kept, best, rtol=1e-3)
    product = layout.directions @ layout.directions.T
    assert torch.allclose(product, torch.eye(6), atol=1e-5)


def test_each_kind_is_seen_from_its_own_usual_picture(encoder):
    kinds = pictures(12), 3 + pictures(7, seed=1)
    layout = layout_of(encoder, kinds)
    with torch.no_grad():
        for kind, some in enumerate(kinds):
            middle = layout.laid(encoder, some).mean(0) @ layout.directions.T
            assert torch.allclose(layout.usual[kind], middle, atol=1e-5)
            assert torch.allclose(layout(encoder, some, kind).norm(dim=1), torch.ones(len(some)))
    assert (layout.usual[0] - layout.usual[1]).norm() > 0.1


def test_the_same_things_elsewhere_are_another_place(encoder):
    corners = [(top, left) for top in (0, 11, 22) for left in (0, 11, 22)]
    photos = torch.zeros(9, 3, 32, 32)
    for photo, (top, left) in zip(photos, corners, strict=True):
        photo[:, top : top + 10, left : left + 10] = 2.0
    layout = layout_of(encoder, (photos, pictures(4)))
    with torch.no_grad():
        one, other = layout(encoder, photos[[0, 8]], kind=0)
        alike = torch.cosine_similarity(*encoder(photos[[0, 8]]), dim=0)  # which knows no places
    assert float(one @ other) < float(alike) - 0.3


def test_fewer_pictures_than_directions_leave_the_rest_as_drawn(encoder):
    layout = layout_of(encoder, (pictures(2), pictures(1)), length=40)
    assert torch.isfinite(layout.directions).all()
    assert torch.linalg.matrix_rank(layout.directions) == 40


@pytest.mark.parametrize(
    ("size", "cells", "layer"), [(32, 8, 2), (32, 16, 1), (16, 8, 1), (8, 8, 0)]
)
def test_the_deepest_map_that_tells_the_cells_apart(size, cells, layer):
    encoder = fallow.encoder("resnet8/8", size=size, seed=0)
    assert Layout(encoder, cells, length=4).layer == layer
