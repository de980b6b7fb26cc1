"""Finds recorded cases by their keys, `<case>_in_<name>` and `<case>_out_<name>`.

What the original drew at random on the way is `<case>_mid_<name>`, and counts as input.

Nothing about a case is known in advance: other files with the same keys, in the folder named by
FALLOW_GOLDEN, are tested in the same way.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("FALLOW_GOLDEN", HERE))

# What arithmetic can promise whatever the order of its sums, relative to the value. No test asks
# more of float64, and of float32 only where few values are added up; counts, choices and copies,
# where nothing is rounded, are compared with rtol=0, atol=0.
DOUBLE = 1e-7  # float64
SINGLE = 1e-4  # float32
TINY = 1e-3  # smaller values may be all that is left of larger ones

# a case's own name may hold "_in_", as norm_in_norm_case1_in_x does
_numbered = re.compile(r"(.+?_case\d+)_(in|mid|out)(?:_(.+))?")
_named = re.compile(r"(.+?)_(in|mid|out)(?:_(.+))?")


# a case's own name may hold "_in_", as norm_in_norm_case1_in_x does
_numbered = re.compile(r"(.+?_case\d+)_(in|mid|out)(?:_(.+))?")
_named = re.compile(r"(.+?)_(in|mid|out)(?:_(.+))?")


@dataclass
class Case:
    """One recorded run: named arrays that went in, and that came out."""

    name: str
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: dict[str, np.ndarray] = field(default_factory=dict)

    def tensor(self, name: str, gradient: bool = False) -> torch.Tensor:
        return torch.from_numpy(self.inputs[name].copy()).requires_grad_(gradient)

    def number(self, name: str) -> float:
        return float(self.inputs[name].item())


def cases(slug: str, prefix: str, without: tuple[str, ...] = ()) -> list[Case]:
    """All cases of a file whose name starts with `prefix` and with nothing in `without`."""
    path = FOLDER / f"{slug}.npz"
    if not path.exists():
        return []
    found: dict[str, Case] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays.files:
            match = _numbered.fullmatch(key) or _named.fullmatch(key)
            if match is None or not _belongs(match[1], prefix, without):
                continue
            case = found.setdefault(match[1], Case(match[1]))
            side = case.outputs if match[2] == "out" else case.inputs
            side[match[3] or ""] = arrays[key]
    return [case for case in found.values() if case.inputs and case.outputs]


def golden(slug: str, prefix: str, without: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Parametrise a test by `case`; fallow's own folder must have some for every test."""
    if not FOLDER.is_dir():
        raise FileNotFoundError(f"FALLOW_GOLDEN names no folder: {FOLDER}")
    found: list[Any] = [
        pytest.param(case, id=f"{slug}-{case.name}") for case in cases(slug, prefix, without)
    ]
    if not found:
        reason = f"{FOLDER / slug}.npz has no case {prefix}_*"
        if FOLDER.resolve() == HERE.resolve():
            raise LookupError(reason)
        found = [pytest.param(None, id=f"{slug}-{prefix}", marks=pytest.mark.skip(reason))]
    return pytest.mark.parametrize("case", found)


def close(actual: Any, expected: Any, rtol: float = SINGLE, atol: float | None = None) -> None:
    """Equal within `rtol`; values near zero within a hundredth of that, of the largest value."""
    actual = actual.detach().numpy() if isinstance(actual, torch.Tensor) else np.asarray(actual)
    expected = np.asarray(expected)
    assert actual.shape == expected.shape
    if atol is None:
        atol = rtol * 0.01 * float(np.abs(expected[np.isfinite(expected)]).max(initial=TINY))
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def _belongs(name: str, prefix: str, without: tuple[str, ...]) -> bool:
    def starts(head: str) -> bool:
        # a case may be numbered or lettered: msm0, metB_ties
        return re.fullmatch(rf"{re.escape(head)}(\d+|[A-Z])?(_.*)?", name) is not None

    return starts(prefix) and not any(starts(head) for head in without)
