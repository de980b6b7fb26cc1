"""Every system's presets are valid settings; what a setting does is said where it is made."""

from __future__ import annotations

import pytest

from fallow.methods import find, slugs
from fallow.train import make_settings


@pytest.mark.parametrize("slug", slugs("learn"))
def test_presets_are_settings(slug):
    kind = find("learn", slug)
    assert kind.__doc__
    for values in kind.presets.values():
        made = make_settings(kind.Settings, values)
        assert {name: getattr(made, name) for name in values} == values


@pytest.mark.parametrize("slug", ["amcl", "byol", "moco", "supcon"])
def test_own_settings_are_described(slug):
    kind = find("learn", slug).Settings
    for name in kind.__annotations__:
        assert kind.model_fields[name].description, name
