"""One loop for every trained method, and the parts methods are made of."""

from fallow.train.loop import Interrupted, Run, fit, launch
from fallow.train.method import Batch, Facts, Loss, Method, Now, Settings, make_settings

__all__ = [
    "Batch",
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
