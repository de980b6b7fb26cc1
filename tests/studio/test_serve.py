"""Ports and addresses, and what the command says where it cannot start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fallow.problems import SettingProblem
from fallow.studio.serve import address, listening


def test_a_free_port_and_a_taken_one() -> None:
    with listening("127.0.0.1", 0) as door:
        port = door.getsockname()[1]
        assert port > 0
        with pytest.raises(SettingProblem, match="choose another port"):
            listening("127.0.0.1", port)
    with pytest.raises(SettingProblem, match="use 1 to 65535"):
        listening("127.0.0.1", 70_000)
    with pytest.raises(SettingProblem, match="cannot listen on nowhere"):
        listening("nowhere.invalid", 0)


def test_addresses_can_be_opened() -> None:
    assert address("::1", 80, "t") == "http://[::1]:80/?token=t"
    assert address("::", 80, "t") == "http://[::1]:80/?token=t"


def test_a_folder_that_is_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "fallow", "studio", str(tmp_path / "none"), "--no-browser"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("fallow: there is nothing at ")
    assert len(done.stderr.splitlines()) == 1
