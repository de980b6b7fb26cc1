"""Keep what hangs together: the largest connected component of every class."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fallow.problems import SettingProblem

# how many axes a step between neighbours may cross -> how many neighbours that makes
_STEPS = {(2, 4): 1, (2, 8): 2, (3, 6): 1, (3, 18): 2, (3, 26): 3}


def largest_components(labels: Any, *, connectivity: int | None = None) -> Any:
    """Labels B *S with, per image and class above 0, only the largest component; the rest is 0.

    Of equally large ones the first in reading order stays. `connectivity` counts a pixel's
    neighbours: 4 or 8 in pictures, 6, 18 or 26 in volumes; the full number if not given.

    >>> largest_components(np.array([[[1, 0, 2], [0, 0, 2], [1, 1, 0]]]))[0].tolist()
    [[0, 0, 2], [0, 0, 2], [1, 1, 0]]
    """
    from scipy.ndimage import generate_binary_structure, label

    tensor = isinstance(labels, Tensor)
    values = labels.detach().cpu().numpy() if tensor else np.asarray(labels)
    axes = values.ndim - 1
    if connectivity is None:
        reach: int | None = axes
    else:
        reach = _STEPS.get((axes, connectivity))
        if reach is None:
            known = [count for dimension, count in _STEPS if dimension == axes]
            raise SettingProblem(
                f"connectivity is one of {', '.join(map(str, known))} in {axes} dimensions, "
                f"not {connectivity}"
            )
    structure = generate_binary_structure(axes, reach)
    kept = np.zeros_like(values)
    for image, clean in zip(values, kept, strict=True):
        for name in np.unique(image):
            if name <= 0:
                continue
            parts, count = label(image == name, structure)
            if count:
                sizes = np.bincount(parts.ravel())
                clean[parts == 1 + int(sizes[1:].argmax())] = name
    return torch.from_numpy(kept).to(labels.device) if tensor else kept
