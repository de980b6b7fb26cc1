"""Put unlabelled images to work: the verbs, and nothing else."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from fallow.problems import Problem

__version__ = "0.1.0"

# name -> module that defines it; imported on first use so that `import fallow` stays light
_VERBS = {
    "open": "fallow.images",
    "encoder": "fallow.encoders",
    "explore": "fallow.verbs.explore",
    "embed": "fallow.verbs.embed",
    "learn": "fallow.verbs.learn",
    "papers": "fallow.verbs.papers",
    "probe": "fallow.verbs.probe",
    "segment": "fallow.verbs.segment",
    "spot": "fallow.verbs.spot",
    "compare": "fallow.verbs.compare",
    "forget": "fallow.verbs.forget",
    "protect": "fallow.verbs.protect",
    "distil": "fallow.verbs.distil",
    "discover": "fallow.verbs.discover",
}

__all__ = ["Problem", "__version__", *_VERBS]


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        return getattr(import_module(_VERBS[name]), name)
    raise AttributeError(f"module 'fallow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
