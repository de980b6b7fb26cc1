"""Two ranks on one machine follow the run of a single process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fallow.train.checkpoint import load_state

SCRIPT = Path(__file__).with_name("train_once.py")


CASES = {
    "simclr": {"epochs": 0.75},
    "swav": {"epochs": 0.75, "queue": 32, "queue_from_epoch": 0, "freeze_epochs": 0},
    "groco": {"epochs": 0.75, "hidden": 32, "projection": 32},
    "gsimclr": {"epochs": 0.75, "detail": 16, "filters": 4},
}


LONG = ("swav", "groco", "gsimclr")  # beside simclr these take long for what they add


@pytest.mark.parametrize(
    "slug", [pytest.param(s, marks=pytest.mark.slow if s in LONG else ()) for s in CASES]
)
def test_two_ranks_equal_one(slug, tmp_path):
    """A few steps only: later, rounding grows in any two runs that add in another order."""
    one, two = tmp_path / "one", tmp_path / "two"
    alone = [sys.executable, str(SCRIPT), slug, str(one), json.dumps(CASES[slug])]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launcher += ["--standalone", str(SCRIPT), slug, str(two), json.dumps(CASES[slug])]
    for command in (alone, launcher):
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stderr[-2000:]
    first = load_state(one / "checkpoint.pt")
    second = load_state(two / "checkpoint.pt")
    assert first["step"] == second["step"] == 3
    assert first["method"].keys() == second["method"].keys()
    for name, value in first["method"].items():
        if name == "pseudo_classes":  # the first rank made them for both
            assert torch.equal(second["method"][name], value)
        if value.is_floating_point():
            other = second["method"][name]
            torch.testing.assert_close(other, value, rtol=1e-4, atol=5e-6, msg=name)
