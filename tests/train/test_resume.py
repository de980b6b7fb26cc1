"""Kill a run anywhere; resumed, it ends with the weights of the run that was not killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from fallow.train.checkpoint import load_state

SCRIPT = Path(__file__).with_name("train_once.py")


def start(slug: str, out: Path, **extra) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), slug, str(out), json.dumps(extra)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(slug: str, out: Path, **extra) -> None:
    process = start(slug, out, **extra)
    said, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert "done 16" in said


def steps_done(out: Path) -> int:
    path = out / "checkpoint.pt"
    return load_state(path)["step"] if path.exists() else 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, dict]:
    """The runs nobody killed, by method."""
    found = {}
    for slug, extra in CASES.items():
        out = tmp_path_factory.mktemp(slug)
        finish(slug, out, **extra)
        found[slug] = load_state(out / "checkpoint.pt")
    return found


CASES = {"simclr": {}, "swav": {"queue": 32, "queue_from_epoch": 1, "optimiser": "larc"}}


@pytest.mark.parametrize(
    "slug", [pytest.param(s, marks=pytest.mark.slow if s == "swav" else ()) for s in CASES]
)
def test_sigkill_anywhere_changes_nothing(slug, whole, tmp_path):
    out = tmp_path / "run"
    chance = random.Random(slug)
    killed = []
    for _ in range(2):
        process = start(slug, out, **CASES[slug])
        goal = steps_done(out) + chance.randint(1, 6)
        while steps_done(out) < goal and process.poll() is None:
            time.sleep(chance.uniform(0.0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed.append(steps_done(out))
    assert 0 < killed[0] < 16, "the run ended before it could be killed"
    finish(slug, out, **CASES[slug])
    resumed, expected = load_state(out / "checkpoint.pt"), whole[slug]
    assert resumed["step"] == expected["step"] == 16
    assert resumed["method"].keys() == expected["method"].keys()
    for name, value in expected["method"].items():
        assert torch.equal(resumed["method"][name], value), name
    steps = [json.loads(x)["step"] for x in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)), "the journal repeats itself after a resume"


def test_ctrl_c_saves_and_exits_130(tmp_path):
    pictures = tmp_path / "pictures"
    from fallow.images.samples import demo

    demo(pictures, seed=0)
    out = tmp_path / "run"
    command = [sys.executable, "-m", "fallow", "learn", str(pictures), "--out", str(out)]
    command += ["--epochs", "500", "--encoder", "resnet8/8", "--set", "batch=16"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    while process.poll() is None and not (out / "metrics.jsonl").exists():
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    said, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "stopped at step" in said
    assert "Traceback" not in error
    assert steps_done(out) > 0
