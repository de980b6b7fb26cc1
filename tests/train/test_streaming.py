"""Pictures that fit no disk: order by shards, and the same weights after a resume inside one."""

from __future__ import annotations

import io
import shutil
import tarfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fallow
from fallow.images.samples import shapes
from fallow.methods import find
from fallow.problems import Problem
from fallow.train import fit, make_settings, streaming
from fallow.train.checkpoint import load_state
from fallow.train.streaming import Unpacked, by_shard

SHARDS = np.repeat(np.arange(6), [30, 10, 25, 40, 20, 35])


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_every_rank_reads_shards_of_its_own(ranks):
    rows = by_shard(SHARDS, 12, ranks, seed=1, epoch=0, buffer=8)
    assert rows.shape == (13, 12)
    parts = np.split(rows, ranks, axis=1)
    seen = [set(SHARDS[part.ravel()].tolist()) for part in parts]
    assert sum(map(len, seen)) == len(set().union(*seen))
    for part in parts:
        taken = part.ravel()
        _, first = np.unique(SHARDS[taken], return_index=True)
        order = SHARDS[taken[np.sort(first)]]  # shards in the order in which they are begun
        place = {
            row: k for k, row in enumerate(r for s in order for r in np.flatnonzero(s == SHARDS))
        }
        once = taken[: len(place)]
        away = [abs(k - place[row]) for k, row in enumerate(once)]
        assert max(away) < 16


def test_one_rank_sees_every_picture_once_and_epochs_differ():
    first = by_shard(SHARDS, 8, 1, seed=1, epoch=0)
    assert len(np.unique(first)) == first.size == 160
    assert (first == by_shard(SHARDS, 8, 1, seed=1, epoch=0)).all()
    assert (first != by_shard(SHARDS, 8, 1, seed=1, epoch=1)).any()


def test_fewer_shards_than_ranks_are_cut():
    rows = by_shard(np.zeros(12, int), 6, 3, seed=0, epoch=0)
    assert np.unique(rows).tolist() == list(range(12))
    assert {len(np.unique(part // 4)) for part in np.split(rows, 3, axis=1)} == {1}


@pytest.fixture(scope="module")
def tars(tmp_path_factory) -> Path:
    """64 pictures in four shards."""
    folder, pictures = tmp_path_factory.mktemp("tars"), shapes(64, seed=0, side=24)
    for shard in range(4):
        with tarfile.open(folder / f"shard-{shard}.tar", "w") as tape:
            for row in range(16 * shard, 16 * shard + 16):
                held = io.BytesIO()
                Image.fromarray(pictures[row]).save(held, "JPEG", quality=90)
                entry = tarfile.TarInfo(f"{row:03d}.jpg")
                entry.size = held.tell()
                held.seek(0)
                tape.addfile(entry, held)
    return folder


def trained(tars: Path, out: Path, stop: int | None = None) -> list[str]:
    said: list[str] = []

    class SimCLR(find("learn", "simclr")):
        def after_step(self, now):
            if now.step == stop:
                raise KeyboardInterrupt
            super().after_step(now)

    values = {"epochs": 2, "batch": 16, "size": 16, "precision": "32", "save_minutes": 0.0}
    with suppress(KeyboardInterrupt):
        fit(
            SimCLR,
            fallow.open(tars),
            encoder=fallow.encoder("resnet8/8"),
            settings=make_settings(SimCLR.Settings, values),
            out=out,
            tell=said.append,
        )
    return said


def test_a_run_without_room_for_a_pack_goes_on_exactly(tars, tmp_path, monkeypatch):
    none = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(streaming.shutil, "disk_usage", lambda folder: none)
    said = trained(tars, tmp_path / "whole")
    assert any("does not fit the disk" in line for line in said)
    expected = load_state(tmp_path / "whole" / "checkpoint.pt")
    trained(tars, tmp_path / "cut", stop=5)
    assert load_state(tmp_path / "cut" / "checkpoint.pt")["step"] == 5
    monkeypatch.undo()  # there is room now: the run stays what it was
    said = trained(tars, tmp_path / "cut")
    assert "resuming at step 5" in said
    found = load_state(tmp_path / "cut" / "checkpoint.pt")
    assert found["step"] == expected["step"] == 8
    for name, value in expected["method"].items():
        assert torch.equal(found["method"][name], value), name


def test_a_picture_that_cannot_be_read_is_stood_in_for(tmp_path):
    for row in range(4):
        Image.fromarray(np.full((20, 20, 3), 60 * row, np.uint8)).save(tmp_path / f"{row}.png")
    images = fallow.open(tmp_path)
    (tmp_path / "2.png").write_bytes(b"gone bad")
    held = Unpacked(images, 10).held(np.array([1, 2, 3]))
    assert held.rows.tolist() == [1, 3, 3]
    assert [int(held[k].max()) for k in range(3)] == [60, 180, 180]
    assert images.problems[-1].path == "2.png"
    for row in range(4):
        (tmp_path / f"{row}.png").write_bytes(b"gone bad")
    with pytest.raises(Problem, match="none of 2 pictures"):
        Unpacked(images, 10).held(np.array([0, 1]))
    with pytest.raises(Problem, match="do not fit the disk"):
        _ = Unpacked(images, 10).pixels
