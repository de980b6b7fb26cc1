"""The contact sheet shows the pixels that were rendered."""

from __future__ import annotations

import numpy as np
from skimage.data import astronaut

from fallow.views import Recipe, View, contact_sheet, pack_arrays, render


def test_sheet_holds_the_views_where_they_belong():
    pictures = [astronaut()[y : y + 40, 200:240] for y in (0, 60, 120)]
    recipe = Recipe((View(40, centre=1.0, flip=0.0), View(20, centre=1.0, flip=0.0)))
    sheet = contact_sheet(
        render(pack_arrays(pictures), [0, 1, 2], recipe, seed=0), recipe, images=2
    )
    assert sheet.shape == (2 * 42 + 2, 42 + 22 + 2, 3)
    assert np.array_equal(sheet[44:84, 2:42], pictures[1])
    halved = pictures[0].reshape(20, 2, 20, 2, 3).mean((1, 3))
    assert np.abs(sheet[2:22, 44:64] - halved).mean() < 8
    assert (sheet[24:42, 44:64] == 255).all()
