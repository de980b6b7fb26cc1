"""Published systems, one file each, found by their module: methods/<verb>/<slug>.py."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from fallow.problems import SettingProblem, did_you_mean
from fallow.train.method import Method


def slugs(verb: str) -> list[str]:
    """Names of the systems behind a verb.

    >>> "simclr" in slugs("learn")
    True
    """
    package = import_module(f"fallow.methods.{verb}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def find(verb: str, slug: str) -> type[Method]:
    """The trained system of that name.

    >>> find("learn", "swav").__name__
    'SwAV'
    """
    known = slugs(verb)
    if slug not in known:
        raise SettingProblem(f"there is no method {slug!r} to {verb}: {did_you_mean(slug, known)}")
    module = import_module(f"fallow.methods.{verb}.{slug}")
    for value in vars(module).values():
        if (
            isinstance(value, type)
            and issubclass(value, Method)
            and value.__module__ == module.__name__
        ):
            return value
    raise SettingProblem(f"{module.__name__} defines no method")
