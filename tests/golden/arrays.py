"""The arrays of a file by key, for files whose cases share inputs across names."""

from __future__ import annotations

import re

import numpy as np
import pytest

from .cases import FOLDER, HERE


def arrays(slug: str) -> dict[str, np.ndarray]:
    """All arrays of a file; the test module is skipped where a folder of others lacks it."""
    path = FOLDER / f"{slug}.npz"
    if not path.exists():
        if FOLDER.resolve() == HERE.resolve():
            raise LookupError(f"{path} is missing")
        pytest.skip(f"no {path}", allow_module_level=True)
    with np.load(path, allow_pickle=False) as found:
        return {key: found[key] for key in found.files}


def matching(found: dict[str, np.ndarray], pattern: str) -> list[re.Match[str]]:
    """The matches of all keys that fit a pattern whole; there must be some."""
    matches = [match for key in found if (match := re.fullmatch(pattern, key))]
    assert matches, pattern
    return matches
