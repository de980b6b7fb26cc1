"""Twenty kills of a trainer at random moments, each followed by the same command: three trainers.

Ours and lightly's train SimCLR on the same pictures, anomalib's its FastFlow; all save after every
step. A kill comes at a random moment after the first step of a session. Told are the share of
starts that went on, the share of steps computed that counted in the end, and how near the weights
are to those of a run nobody killed.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peer import SCRIPTS, thread_settings
from benchmarks.record import ROOT, Line, line
from fallow.problems import Problem

BATCH = 16
PEERS = {"lightly": "killed.py", "anomalib": "killed_parts.py"}

OURS = """
import sys, torch
import fallow
from fallow.methods.learn.simclr import SimCLR
from fallow.train import fit, make_settings

torch.set_num_threads(1)

class Told(SimCLR):
    def after_step(self, now):
        super().after_step(now)
        print("step", now.step + 1, flush=True)

pictures, out, epochs, batch = sys.argv[1:]
run = fit(
    Told, fallow.open(pictures), encoder=fallow.encoder("resnet18", size=32), out=out,
    settings=make_settings(SimCLR.Settings, {
        "epochs": int(epochs), "batch": int(batch), "size": 32, "precision": "32",
        "save_minutes": 0.0,
    }),
)
total = sum(float(one.detach().double().abs().sum()) for one in run.encoder.parameters())
print("end", total, flush=True)
"""


@dataclass
class Trial:
    """What came of a run that was killed again and again."""

    starts: int = 0
    went_on: int = 0  # starts that made a step or ended
    computed: int = 0  # steps over all sessions
    reached: int = 0
    end: float | None = None  # a sum over the weights, where the run ended


def run(data: Path, python: str, quick: bool) -> list[Line]:
    """Pictures are generated: only the peers' interpreter is needed."""
    kills, epochs = (2, 4) if quick else (20, 40)
    versions = {name: _version(python, script) for name, script in PEERS.items()}
    commands = {"fallow": [sys.executable, "-c", OURS]}
    commands |= {name: [python, str(SCRIPTS / script)] for name, script in PEERS.items()}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        pictures = _pictures(Path(folder) / "pictures")
        for name, words in commands.items():
            alone, killed = (Path(folder) / f"{name}-{kind}" for kind in ("alone", "killed"))
            more = [str(pictures), str(alone), str(epochs), str(BATCH)]
            calm = _trial([*words, *more], 0, name == "fallow")
            more[1] = str(killed)
            found[name] = (calm, _trial([*words, *more], kills, name == "fallow"))
            shutil.rmtree(alone, ignore_errors=True)
    return [
        one for name in PEERS for one in _lines(found["fallow"], found[name], kills, name, versions)
    ]


def _version(python: str, script: str) -> str:
    asked = subprocess.run(
        [python, str(SCRIPTS / script), "version"],
        capture_output=True, text=True, env=_environment(False),
    )  # fmt: skip
    if asked.returncode:
        raise Problem(f"the peers' interpreter cannot run {script}: {asked.stderr.strip()[-200:]}")
    return asked.stdout.split()[-1]


def _lines(
    ours: tuple[Trial, Trial],
    theirs: tuple[Trial, Trial],
    kills: int,
    peer: str,
    versions: dict[str, str],
) -> list[Line]:
    told = (
        ("share of starts that went on", lambda calm, killed: killed.went_on / killed.starts),
        ("share of computed steps that count", lambda calm, killed: calm.reached / killed.computed),
        ("nearness of the end to a calm run's", _nearness),
    )
    work = f"a trainer killed {kills} times"
    return [
        line(f"{work}: {what}", peer, versions[peer], [(told_by(*ours), told_by(*theirs))], 1.0)
        for what, told_by in told
    ]


def _nearness(calm: Trial, killed: Trial) -> float:
    """1 for the same sum of weights; a run that never ended has none, told as next to nothing."""
    if calm.end is None or killed.end is None:
        return 1e-9
    return 1 / (1 + 1000 * abs(killed.end - calm.end) / calm.end)


def _trial(words: list[str], kills: int, ours: bool) -> Trial:
    """Begin, kill, begin again, and in the end let it finish."""
    trial, chance = Trial(), random.Random(0)
    for number in range(kills + 1):
        trial.starts += 1
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=_environment(ours),
        )  # fmt: skip
        assert process.stdout is not None
        moved = False
        for said in process.stdout:
            what, _, value = said.partition(" ")
            if what == "step":
                trial.computed += 1
                trial.reached = max(trial.reached, int(value))
                if not moved and number < kills:
                    time.sleep(chance.uniform(0, 0.5))
                    process.kill()
                moved = True
            elif what == "end":
                trial.end, moved = float(value), True
        process.wait()
        trial.went_on += moved
        if trial.end is not None:
            break
    return trial


def _environment(ours: bool) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    path = {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"} if ours else {}
    return kept | thread_settings(1) | path | {"PYTHONWARNINGS": "ignore"}


def _pictures(folder: Path) -> Path:
    """64 generated pictures as files."""
    from fallow.images.samples import shapes
    from fallow.outcomes import save_picture

    made = shapes(64, seed=0, side=40)
    for row in range(len(made)):
        save_picture(folder / "a" / f"{row:03d}.png", made[row])
    return folder
