"""A run survives the death of its process or of a rank, a damaged checkpoint, a full disk."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

import fallow
from fallow.images.samples import shapes
from fallow.methods import find
from fallow.problems import Problem
from fallow.train import fit, make_settings
from fallow.train.checkpoint import before, load_state, save_state

SCRIPT = Path(__file__).parents[1] / "train" / "train_once.py"
EPOCHS = {"epochs": 6}


def command(out: Path, ranks: int = 1) -> list[str]:
    words = [str(SCRIPT), "simclr", str(out), json.dumps(EPOCHS)]
    if ranks == 1:
        return [sys.executable, *words]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, "--nproc-per-node", str(ranks), *words]


def finish(out: Path, ranks: int = 1) -> dict:
    done = subprocess.run(command(out, ranks), capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-2000:]
    return load_state(out / "checkpoint.pt")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict:
    """The run that nothing happened to: 24 steps."""
    return finish(tmp_path_factory.mktemp("whole") / "run")


def steps(out: Path) -> int:
    path = out / "checkpoint.pt"
    return load_state(path)["step"] if path.exists() else 0


def killed_at(out: Path, step: int, ranks: int = 1, rank: int | None = None) -> None:
    """Begin the run, and SIGKILL it (or one of its ranks) once it has saved this step."""
    process = subprocess.Popen(
        command(out, ranks), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while steps(out) < step and process.poll() is None:
        time.sleep(0.005)
    victims = [process.pid] if rank is None else ranks_of(process.pid)
    os.kill(victims[rank or 0], signal.SIGKILL)
    process.wait(timeout=90)


def ranks_of(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(one) for one in children if str(SCRIPT) in _words(one)]


def _words(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def same(found: dict, expected: dict, tolerance: float = 0.0) -> None:
    assert found["step"] == expected["step"] == 24
    for name, value in expected["method"].items():
        if tolerance:
            torch.testing.assert_close(
                found["method"][name], value, rtol=tolerance, atol=tolerance, msg=name
            )
        else:
            assert torch.equal(found["method"][name], value), name


@pytest.mark.parametrize(
    "kills", [3, pytest.param(20, marks=pytest.mark.slow)], ids=["three", "twenty"]
)
def test_a_trainer_killed_again_and_again_ends_as_if_it_never_was(kills, whole, tmp_path):
    out, chance = tmp_path / "run", random.Random(kills)
    for moment in sorted(chance.sample(range(1, 24), kills)):
        killed_at(out, moment)
    same(finish(out), whole)


@pytest.mark.skipif(sys.platform != "linux", reason="finds ranks in /proc")
@pytest.mark.parametrize(
    ("seed", "ranks", "then"),
    [
        (0, 2, 1),
        *(pytest.param(k, 2 - k % 2, 1 + k % 2, marks=pytest.mark.slow) for k in range(1, 20)),
    ],
)
def test_a_rank_is_killed_and_another_number_of_ranks_goes_on(seed, ranks, then, whole, tmp_path):
    out, chance = tmp_path / "run", random.Random(seed)
    killed_at(out, chance.randint(1, 12), ranks, chance.randrange(ranks) if ranks > 1 else None)
    assert 0 < steps(out) < 24
    same(finish(out, then), whole, 5e-2)  # sums over ranks round differently, step after step
    assert json.loads((out / "run.json").read_text())["finished"]


def small(out: Path, epochs: float, said: list[str] | None = None) -> dict:
    kind = find("learn", "simclr")
    values = {"epochs": 2, "batch": 16, "size": 16, "precision": "32", "save_minutes": 0.0}
    settings = make_settings(kind.Settings, values)
    stop = [round(epochs * 4)]

    def after(method, now):
        if now.step + 1 >= stop[0]:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        fit(
            kind,
            shapes(64, seed=0, side=24),
            encoder=fallow.encoder("resnet8/8"),
            settings=settings,
            out=out,
            each_epoch=after if epochs < 2 else None,
            tell=(said if said is not None else []).append,
        )
    return load_state(out / "checkpoint.pt")


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(seed, tmp_path):
    expected = small(tmp_path / "whole", 2)
    out, chance, said = tmp_path / "run", random.Random(seed), []
    small(out, 1)
    path = out / "checkpoint.pt"
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data) - 1)])
    assert load_state(before(path))["step"] == 3
    found = small(out, 2, said)
    assert any("is not a checkpoint" in line and "the one before" in line for line in said)
    assert "resuming at step 3" in said
    for name, value in expected["method"].items():
        assert torch.equal(found["method"][name], value), name


def test_without_a_whole_checkpoint_the_run_is_refused(tmp_path):
    out = tmp_path / "run"
    small(out, 1)
    for name in ("checkpoint.pt", "checkpoint-before.pt"):
        (out / name).write_bytes(b"PK")
    with pytest.raises(Problem, match="there is none before it: choose another out folder"):
        small(out, 2)


def test_a_full_disk_keeps_the_checkpoint_before(small_disk):
    path = small_disk / "checkpoint.pt"
    save_state(path, {"step": 1, "values": torch.zeros(1000)})
    (small_disk / "ballast").write_bytes(bytes(3_000_000))
    with pytest.raises((OSError, RuntimeError), match=r"No space|unexpected pos|write"):
        save_state(path, {"step": 2, "values": torch.zeros(1_000_000)})
    assert load_state(path)["step"] == 1
    assert not list(small_disk.glob(".*.tmp"))


def test_two_runs_in_one_folder_are_refused(tmp_path):
    out = tmp_path / "run"
    first = subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while steps(out) < 1:
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)  # at work, and slow
        second = subprocess.run(command(out), capture_output=True, text=True)
        assert "another process is writing to" in second.stderr
    finally:
        first.kill()
        first.wait()
