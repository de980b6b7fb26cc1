"""Put unlabelled images to work: the verbs, and nothing else."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from fallow.problems import Problem as Problem

__version__ = "0.1.0"

# besides the verbs, which are found in fallow.verbs: what opens images and encoders
_OPENERS = {"open": "fallow.images", "encoder": "fallow.encoders"}


def __getattr__(name: str) -> Any:
    # on first use, so that `import fallow` stays light
    if name in _OPENERS:
        return getattr(import_module(_OPENERS[name]), name)
    if not name.startswith("_"):
        verbs = import_module("fallow.verbs")
        if name in verbs.names():
            return verbs.function(name)
    raise AttributeError(f"module 'fallow' has no attribute {name!r}")


def __dir__() -> list[str]:
    verbs = import_module("fallow.verbs")
    return sorted(["Problem", "__version__", *_OPENERS, *verbs.names()])
