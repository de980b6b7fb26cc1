"""Weights divided among two ranks learn what whole ones learn, and their checkpoints fit any."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import fallow
from fallow.methods import find
from fallow.problems import Problem
from fallow.train import make_settings
from fallow.train.method import Facts
from fallow.train.sharded import checkpoints, refuse_undividable, step_of

SCRIPT = Path(__file__).with_name("train_once.py")
ADAM = {"optimiser": "adamw", "learning_rate": 0.001}
CASES = {
    "simclr": {"epochs": 0.75},
    "byol": {"epochs": 0.75, **ADAM},  # a teacher follows
    "simclr by lars": {"epochs": 0.75, "optimiser": "lars", "clip": 1.0},
    "moco": {"epochs": 0.75, "queue": 32},
}


def command(slug: str, out: Path, extra: dict, ranks: int = 1) -> list[str]:
    words = [str(SCRIPT), slug.split()[0], str(out)]
    if ranks == 1:
        return [sys.executable, *words, json.dumps(extra)]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc-per-node", str(ranks)]
    return [*launcher, *words, json.dumps({**extra, "sharded": True})]


def finish(slug: str, out: Path, extra: dict, ranks: int = 1) -> dict[str, torch.Tensor]:
    """The encoder's weights, once the run has ended."""
    done = subprocess.run(
        command(slug, out, extra, ranks), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return load_file(out / "encoder" / "model.safetensors")


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], tolerance: float):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=tolerance, atol=tolerance, msg=name, check_dtype=True
        )


@pytest.mark.parametrize(
    "slug", [pytest.param(s, marks=pytest.mark.slow if k > 1 else ()) for k, s in enumerate(CASES)]
)
def test_two_divided_ranks_equal_one_that_is_whole(slug, tmp_path):
    one, two = (finish(slug, tmp_path / str(ranks), CASES[slug], ranks) for ranks in (1, 2))
    same(two, one, 1e-4)
    last, before = checkpoints(tmp_path / "2")
    assert (step_of(last), step_of(before)) == (3, 2)
    halves = [path.stat().st_size for path in last.glob("shard-*")]
    assert len(halves) == 2
    assert min(halves) > 0.3 * sum(halves)  # a share each


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, 20))]
)
def test_a_killed_divided_run_goes_on_with_another_number_of_ranks(seed, tmp_path):
    extra, out, chance = {"epochs": 2}, tmp_path / "run", random.Random(seed)
    expected = finish("simclr", tmp_path / "whole", extra)
    process = subprocess.Popen(
        command("simclr", out, extra, 2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    moment = chance.randint(1, 5)
    while process.poll() is None and (not (c := checkpoints(out)) or step_of(c[0]) < moment):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while _alive(out):
        time.sleep(0.05)
    if seed % 2:  # the last one is damaged, too
        shard = chance.choice(sorted(checkpoints(out)[0].glob("shard-*")))
        shard.write_bytes(shard.read_bytes()[: chance.randrange(200)])
    same(finish("simclr", out, extra, 1), expected, 1e-3)


def _alive(out: Path) -> bool:
    """Whether a rank of a killed launcher still works there."""
    found = subprocess.run(["pgrep", "-f", str(out)], capture_output=True, text=True)
    return bool(found.stdout.strip())


def test_damage_is_said_and_without_a_whole_checkpoint_the_run_is_refused(tmp_path):
    extra, out = {"epochs": 0.5}, tmp_path / "run"
    finish("simclr", out, extra, 2)
    for path in checkpoints(out):
        (path / "rest.pt").write_bytes(b"PK")
    (out / "run.json").write_text((out / "run.json").read_text().replace('"finished"', '"was"'))
    done = subprocess.run(command("simclr", out, extra), capture_output=True, text=True)
    assert "is whole: choose another out folder" in done.stderr


def method(**more):
    kind = type("Looking", (find("learn", "simclr"),), more)
    encoder = fallow.encoder("resnet8/8")
    settings = make_settings(kind.Settings, {"batch": 8, "size": 16})
    return kind(encoder, settings, Facts(8, 24, 0, (), 2, ("images",)))


def test_what_cannot_be_divided_is_a_sentence():
    with pytest.raises(Problem, match="looks at all images between its steps"):
        refuse_undividable(method(before_epoch=lambda self, now, images: None))
    plain = method()
    refuse_undividable(plain)
    plain.scale = torch.nn.Parameter(torch.ones(()))
    with pytest.raises(Problem, match="scale is a single number"):
        refuse_undividable(plain)
