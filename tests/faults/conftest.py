"""A small disk that fills up, and a picture folder for every fault."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fallow.images.samples import demo


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """Every third picture of the demonstration."""
    folder = demo(tmp_path_factory.mktemp("photos"))
    for number, path in enumerate(sorted(folder.rglob("*.jpg"))):
        if number % 3:
            path.unlink()
    return folder


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of four megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", place], check=False)
    if made.returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)
