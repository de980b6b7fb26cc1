"""Two ranks on one machine follow the run of a single process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fallow.train.checkpoint import load_state

SCRIPT = Path(__file__).with_name("train_once.py")


@pytest.mark.parametrize(
    ("slug", "extra"),
    [
        ("simclr", "{}"),
        ("swav", '{"queue": 32, "queue_from_epoch": 1}'),
        ("groco", '{"hidden": 32, "projection": 32}'),
        ("gsimclr", '{"detail": 16, "filters": 4}'),
    ],
)
def test_two_ranks_equal_one(slug, extra, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    alone = [sys.executable, str(SCRIPT), slug, str(one), extra]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launcher += ["--master-port", "0", "--standalone", str(SCRIPT), slug, str(two), extra]
    for command in (alone, launcher):
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stderr[-2000:]
    first = load_state(one / "checkpoint.pt")
    second = load_state(two / "checkpoint.pt")
    assert first["step"] == second["step"] == 16
    for name, value in first["method"].items():
        if name == "pseudo_classes":  # the first rank made them for both
            assert torch.equal(second["method"][name], value)
        if value.is_floating_point():
            torch.testing.assert_close(second["method"][name], value, rtol=2e-3, atol=2e-4, msg=name)
