"""One loop for every trained method, and the parts methods are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fallow.train.method import (
    Batch,
    ContrastiveSettings,
    Facts,
    Loss,
    Method,
    Now,
    Settings,
    make_settings,
)

if TYPE_CHECKING:
    from fallow.train.loop import Interrupted, Run, fit
    from fallow.train.process import launch

__all__ = [
    "Batch",
    "ContrastiveSettings",
    "Facts",
    "Interrupted",
    "Loss",
    "Method",
    "Now",
    "Run",
    "Settings",
    "fit",
    "launch",
    "make_settings",
]


def __getattr__(name: str) -> Any:
    # the loop brings lightning; losses and measures need only the parts
    if name in __all__:
        from fallow.train import loop, process

        return getattr(process if name == "launch" else loop, name)
    raise AttributeError(f"module 'fallow.train' has no attribute {name!r}")
