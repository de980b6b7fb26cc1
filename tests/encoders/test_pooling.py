"""From maps to vectors."""

import numpy as np
import torch
from torch.nn import functional as F

from fallow.encoders.pooling import by_place, joined, means, means_and_spreads, powered_means

MAPS = torch.rand(2, 3, 7, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_places_are_those_of_adaptive_pooling():
    for places in (1, 2, 3, 4, 9):  # more places than rows, too
        expected = F.adaptive_avg_pool2d(MAPS, places).flatten(2)
        torch.testing.assert_close(by_place(MAPS, places), expected)


def test_means_spreads_and_powers():
    table = MAPS.flatten(2).numpy()
    np.testing.assert_allclose(means(MAPS), table.mean(2))
    both = means_and_spreads(MAPS).numpy()
    np.testing.assert_allclose(both[:, :3], table.mean(2))
    np.testing.assert_allclose(both[:, 3:], table.std(2), rtol=1e-4)
    np.testing.assert_allclose(powered_means(MAPS, 1), table.mean(2))
    np.testing.assert_allclose(powered_means(MAPS), (table**3).mean(2) ** (1 / 3))
    assert bool((powered_means(MAPS, 50) > 0.9 * MAPS.amax((2, 3))).all())


def test_every_part_has_its_say():
    parts = [means(MAPS), 1e6 * by_place(MAPS, 2)]
    vectors = joined(parts)
    assert vectors.shape == (2, 3 + 12)
    for part in vectors.split([3, 12], 1):
        torch.testing.assert_close(part.norm(dim=1), torch.ones(2, dtype=torch.float64))
    flat = torch.zeros(1, 3, 2, 2, requires_grad=True)
    joined([means_and_spreads(flat)]).sum().backward()
    assert torch.isfinite(flat.grad).all()
