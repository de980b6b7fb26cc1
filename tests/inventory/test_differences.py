"""What is in only one of two aligned pictures."""

import numpy as np
from skimage import data
from skimage.transform import resize

from fallow.inventory.differences import differences


def test_only_what_is_written_over_has_changed():
    plane = (resize(data.camera(), (144, 144)) * 235 + 10).astype(np.float32)
    seen = np.ones(plane.shape, bool)
    assert differences(plane, plane + 3, seen)[1] == 0
    written = plane.copy()
    written[60:75, 20:120] = 240
    noise, changed, _, whole, _ = differences(plane, written, seen)
    assert noise < 0.01
    assert changed > 0.05
    assert whole > 0.85
    middle = np.zeros_like(plane) + 100
    assert differences(middle, middle, seen) == (0.0, 0.0, 1.0, 1.0, 1.0)  # nothing to compare
