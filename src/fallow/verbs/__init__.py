"""The verbs: one thin file each; open, look, work, judge, result. Found by their module."""

from __future__ import annotations

import ast
import pkgutil
from functools import cache
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

from fallow.declare import Declaration, declared

# what people come for, in the order in which the tutorials and the studio list it
PURPOSES = {
    "See what is there": ("explore", "studio", "embed", "search", "cache", "demo"),
    "Learn": ("learn", "probe", "compare"),
    "Find": ("spot", "discover", "match"),
    "Label less": ("segment", "pose", "adapt"),
    "Words and sound": ("align", "caption", "separate"),
    "Owners": ("protect", "forget", "distil", "stress", "curate"),
    "Cameras": ("develop", "grade"),
    "Read": ("papers",),
}


@cache
def names() -> tuple[str, ...]:
    """All verbs, without importing any of them.

    >>> {"explore", "learn", "spot"} <= set(names())
    True
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def by_purpose() -> dict[str, tuple[str, ...]]:
    """All verbs by what people come for; those of no purpose listed above are the last.

    >>> next(iter(by_purpose()))
    'See what is there'
    """
    rest = tuple(name for name in names() if name not in chain(*PURPOSES.values()))
    return {**PURPOSES, "More": rest} if rest else dict(PURPOSES)


def summary(name: str) -> str:
    """What a verb does in one sentence, read from its file: help must not wait for torch.

    >>> summary("explore").startswith("What is in a folder")
    True
    """
    text = (Path(__path__[0]) / f"{name}.py").read_text(encoding="utf-8")
    first = (ast.get_docstring(ast.parse(text)) or "").splitlines()[0]
    return first.partition(": ")[2].capitalize() or first


def function(name: str) -> Any:
    """The verb itself."""
    return getattr(import_module(f"{__name__}.{name}"), name)


def declaration(name: str) -> Declaration:
    """How a verb is called.

    >>> declaration("embed").name
    'embed'
    """
    return declared(function(name))
