"""Published systems, one file each, found by their module: methods/<verb>/<slug>.py."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType, NoneType
from typing import TYPE_CHECKING, Any, get_args

from fallow.problems import SettingProblem, did_you_mean

if TYPE_CHECKING:  # brings torch, without which names and cards of systems are listed
    from fallow.train.method import Method


def rooms() -> list[str]:
    """The verbs that have systems.

    >>> "learn" in rooms(), "shared" in rooms()
    (True, False)
    """
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.ispkg and m.name != "shared")


def slugs(verb: str) -> list[str]:
    """Names of the systems behind a verb.

    >>> "simclr" in slugs("learn")
    True
    """
    package = import_module(f"fallow.methods.{verb}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def module_of(verb: str, slug: str) -> ModuleType:
    """The file of a system."""
    known = slugs(verb)
    if slug not in known:
        raise SettingProblem(f"there is no method {slug!r} to {verb}: {did_you_mean(slug, known)}")
    return import_module(f"fallow.methods.{verb}.{slug}")


def find(verb: str, slug: str) -> type[Method]:
    """The trained system of that name.

    >>> find("learn", "swav").__name__
    'SwAV'
    """
    from fallow.train.method import Method

    module = module_of(verb, slug)
    for value in vars(module).values():
        if _own(value, module) and issubclass(value, Method):
            return value  # type: ignore[no-any-return]
    raise SettingProblem(f"{module.__name__} defines no method")


def _own(value: Any, module: ModuleType) -> bool:
    return isinstance(value, type) and value.__module__ == module.__name__


def settings_of(verb: str, slug: str) -> tuple[type[Any], dict[str, dict[str, Any]]]:
    """What a system can be told, and its presets: of its class, or of its file if it has none.

    >>> kind, presets = settings_of("spot", "musc")
    >>> "window" in kind.model_fields, "paper" in presets
    (True, True)
    """
    module = module_of(verb, slug)
    for value in vars(module).values():
        if _own(value, module) and hasattr(value, "Settings") and hasattr(value, "presets"):
            return value.Settings, value.presets
    if not hasattr(module, "Settings"):
        raise SettingProblem(f"{slug} goes with the others to {verb} and is none by itself")
    return module.Settings, getattr(module, "PRESETS", {})


def settle(
    verb: str,
    slug: str,
    settings: Mapping[str, Any] | None = None,
    preset: str | None = None,
    **named: Any,
) -> dict[str, Any]:
    """What was asked of a system: its preset, over it the settings, over them what has a word.

    Words nobody said are None. A mistake shows here, before any work.

    >>> settle("learn", "simclr", {"temperature": 0.2}, batch=64, minutes=None)
    {'temperature': 0.2, 'batch': 64}
    >>> settle("spot", "musc", {"references": "none"})
    {'references': None}
    """
    from fallow.train.method import make_settings

    kind, presets = settings_of(verb, slug)
    if preset is not None and preset not in presets:
        raise SettingProblem(f"{slug} has no preset {preset!r}: {did_you_mean(preset, presets)}")
    said = {name: _said(kind, name, value) for name, value in (settings or {}).items()}
    given = {**(presets[preset] if preset else {}), **said}
    given |= {name: value for name, value in named.items() if value is not None}
    make_settings(kind, given)
    return given


def _said(kind: Any, name: str, value: Any) -> Any:
    """A value as the setting means it: the word none, where there can be none."""
    field = kind.model_fields.get(name)
    can_be_none = field is not None and NoneType in get_args(field.annotation)
    return None if value == "none" and can_be_none else value


def budget(
    given: Mapping[str, Any], minutes: float | None, epochs: float | None, otherwise: float
) -> dict[str, Any]:
    """Settings with a budget: the one asked for in place of theirs, else so many minutes.

    >>> budget({"epochs": 5}, 2, None, otherwise=10), budget({}, None, None, otherwise=10)
    ({'minutes': 2}, {'minutes': 10})
    """
    asked = {"minutes": minutes, "epochs": epochs}
    said = {name: value for name, value in asked.items() if value is not None}
    rest = {k: v for k, v in given.items() if k not in asked or not said}
    if not said and not asked.keys() & rest.keys():
        said = {"minutes": otherwise}
    return rest | said
