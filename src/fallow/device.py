"""Where networks run when nobody says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def best_device() -> torch.device:
    """The GPU if there is one, else the processor.

    >>> best_device().type in ("cuda", "cpu")
    True
    """
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
