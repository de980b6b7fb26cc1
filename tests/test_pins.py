"""What is installed is what is pinned, nothing else, and none of it is known to be bad."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distributions, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
TOOLS = {"fallow", "pip", "setuptools", "wheel", "hatchling", "editables"}
BAD = {
    canonicalize_name(name): (Version(one["fixed"]), one["advisory"])
    for name, one in yaml.safe_load((ROOT / "tests" / "advisories.yaml").read_text()).items()
}


def pinned() -> dict[str, Requirement]:
    """The pins that hold for this Python."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    return {
        canonicalize_name(one.name): one
        for one in found
        if one.marker is None or one.marker.evaluate()
    }


def installed() -> dict[str, Version]:
    return {
        canonicalize_name(one.metadata["Name"]): Version(one.version) for one in distributions()
    }


@pytest.fixture
def from_pins():
    """Only in the environment that `make env` makes from the pins."""
    if Path(sys.prefix) != ROOT / ".venv" or not (ROOT / ".venv" / "installed").is_file():
        pytest.skip("this environment was not made by make env")


def needed(name: str = "fallow", extras: frozenset[str] = frozenset({"dev"})) -> set[str]:
    """What a package asks for, and what that asks for in turn."""
    found: set[str] = set()
    waiting = [(name, extras)]
    seen = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for line in requires(name) or []:
            one = Requirement(line)
            wanted = [{"extra": extra} for extra in extras or {""}]
            if one.marker is None or any(one.marker.evaluate(each) for each in wanted):
                inner = canonicalize_name(one.name)
                found.add(inner)
                waiting.append((inner, frozenset(one.extras)))
    return found


def test_what_is_installed_is_what_is_pinned(from_pins):
    pins = pinned()
    others = [
        f"{name} {version}, pinned {pins[name].specifier}"
        for name, version in installed().items()
        if name in pins and Version(version.public) not in pins[name].specifier
    ]
    assert not others


def test_whatever_fallow_brings_along_is_pinned(from_pins):
    assert needed() - pinned().keys() - TOOLS == set()


def test_what_is_installed_goes_together(from_pins):
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("where", ["pinned", "installed"])
def test_no_version_is_known_to_be_bad(where):
    versions = installed()
    if where == "pinned":
        versions = {
            name: Version(next(iter(one.specifier)).version) for name, one in pinned().items()
        }
    found = [
        f"{name} {version}: {BAD[name][1]}"
        for name, version in versions.items()
        if name in BAD and version < BAD[name][0]
    ]
    assert not found


def test_fallow_asks_for_no_version_that_is_known_to_be_bad():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11 has it
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    asked = [*project["dependencies"], *(one for extra in extras for one in extra)]
    found = []
    for one in map(Requirement, asked):
        lowest = [Version(each.version) for each in one.specifier if each.operator == ">="]
        fixed, advisory = BAD.get(canonicalize_name(one.name), (None, ""))
        if fixed and lowest and lowest[0] < fixed:
            found.append(f"{one}: {advisory} is fixed in {fixed}")
    assert not found
