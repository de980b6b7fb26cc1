"""A run that memory does not suffice for ends in a sentence; runs outlive a killed studio."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fallow.train.checkpoint import load_state

LIMITED = """
import resource, sys
from pathlib import Path
import pandas, PIL.Image, torch  # what is else brought late: half an import is not the test
import fallow.methods.learn.simclr, fallow.verbs.{verb}
from fallow import cli
torch.set_num_threads(1)
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + {more} * 2**20,) * 2)
cli.main()
"""
ROOM = [20, 60, 150, *(pytest.param(20 * k + 10, marks=pytest.mark.slow) for k in range(1, 21))]


def limited(verb: str, more: int, *words: object) -> subprocess.CompletedProcess:
    """A command line whose process may take so many megabytes more than it begins with."""
    code = LIMITED.format(verb=verb, more=more)
    command = [sys.executable, "-c", code, verb, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def in_a_sentence(done: subprocess.CompletedProcess) -> None:
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stderr.splitlines()[-1].startswith("fallow: memory does not suffice"), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory and reads /proc")
@pytest.mark.parametrize("more", ROOM)
def test_vectors_that_memory_does_not_suffice_for(more, photos, tmp_path):
    out = tmp_path / "vectors.parquet"
    in_a_sentence(limited("embed", more, photos, "--encoder", "resnet50/256", "--out", out))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory and reads /proc")
@pytest.mark.parametrize("more", ROOM[:1] + ROOM[3:])
def test_training_that_memory_does_not_suffice_for(more, photos, tmp_path):
    out = tmp_path / "run"
    words = ("--method", "simclr", "--epochs", 1, "--set", "batch=64", "--out", out)
    in_a_sentence(limited("learn", more, photos, "--encoder", "resnet50/256", *words))
    assert not (out / "encoder").exists()
    assert not list(out.rglob("*.tmp"))


class Studio:
    """A studio in a process of its own, and a browser's way to it."""

    def __init__(self, source: Path) -> None:
        words = ["studio", str(source), "--no-browser", "--encoder", "tiny"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fallow", *words], stdout=subprocess.PIPE, text=True,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = ""
        while "token=" not in line:
            line = self.process.stdout.readline()
            assert line, "the studio ended"
        own, token = re.search(r"(http://\S+)/\?token=(\S+)", line).groups()
        httpx = pytest.importorskip("httpx")
        self.client = httpx.Client(base_url=own, headers={"origin": own}, timeout=60)
        self.client.get("/", params={"token": token})

    def runs(self) -> list[dict]:
        return self.client.get("/api/runs/list").json()["runs"]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


MOMENTS = [0, 1, 2, *(pytest.param(step, marks=pytest.mark.slow) for step in range(3, 20))]


@pytest.mark.skipif(sys.platform == "win32", reason="runs are not queued on Windows")
@pytest.mark.parametrize("step", MOMENTS)
def test_runs_outlive_a_studio_that_is_killed(step, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("FALLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FALLOW_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "run"
    settings = {"batch": "16", "size": "16", "precision": "32", "save_minutes": "0"}
    given = {"source": str(photos), "method": "simclr", "encoder": "resnet8/8", "epochs": "4",
             "out": str(out), "settings": settings}  # fmt: skip
    studio = Studio(photos)
    began = studio.client.post("/api/runs/start", json={"verb": "learn", "given": given}).json()
    assert "id" in began, began
    later = {"source": str(photos), "encoder": "tiny", "out": str(tmp_path / "v.parquet")}
    studio.client.post("/api/runs/start", json={"verb": "embed", "given": later})
    while step and not ((out / "checkpoint.pt").exists() and _step(out) >= step):
        time.sleep(0.02)
    studio.kill()
    again = Studio(photos)
    try:
        assert [run["verb"] for run in again.runs()] == ["learn", "embed"]
        while not all(run["state"] == "done" for run in again.runs()):
            states = [run["state"] for run in again.runs()]
            assert set(states) <= {"queued", "running", "done"}, again.runs()
            time.sleep(0.1)
    finally:
        again.kill()
    assert _step(out) == 24
    assert (tmp_path / "v.parquet").exists()


def _step(out: Path) -> int:
    return load_state(out / "checkpoint.pt")["step"]
