"""The claim of MultiAugs: what it reads of the archive, and how rows become entries."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from claims.multiaugs import LONG, ROWS, Plan, entries_of, marked
from PIL import Image


@pytest.fixture
def data(tmp_path):
    known, files = {}, {}
    for number, (video, part) in enumerate(
        [("a", "train"), ("a", "train"), ("b", "test"), ("b", "unlabelled")]
    ):
        name = f"bee/{video}_f{number:04d}.png"
        points = None if part == "unlabelled" else [[1.0, 2.0], None]
        known[name] = {"set": "bee", "split": part, "points": points}
        file = io.BytesIO()
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(file, "PNG")
        files[name] = file.getvalue()
    known["mouse/x.png"] = {"set": "mouse", "split": "train", "points": [[3.0, 4.0]]}
    files["mouse/x.png"] = files["bee/a_f0000.png"]
    with zipfile.ZipFile(tmp_path / "pose_small.zip", "w") as made:
        made.writestr("keypoints.json", json.dumps(known))
        for name, content in files.items():
            made.writestr(name, content)
    return tmp_path


def test_one_set_is_read_with_its_videos(data):
    bees = marked(data, "bee")
    assert len(bees) == 4
    assert bees.column("part").tolist() == ["train", "train", "test", "unlabelled"]
    assert bees.column("video").tolist() == ["bee/a", "bee/a", "bee/b", "bee/b"]
    assert bees.table.column("points").to_pylist() == [[1, 2, 2, 0, 0, 0]] * 3 + [None]
    assert len(marked(data, "mouse")) == 1


def test_both_measures_are_better_upwards(data):
    plan = Plan(counts=(25,), rows=("supervised", "multiaugs"))
    seeds = [
        {
            "supervised, 25 marked": {"pck": 0.5, "error": 9.0 + seed},
            "multiaugs, 25 marked": {"pck": 0.6 + seed / 100, "error": 8.0},
        }
        for seed in range(3)
    ]
    by_share, by_error = entries_of("bee", marked(data, "bee"), plan, seeds, {})
    assert by_share.seeds[0] == (0.6, 0.5)
    assert by_share.verdict == "shown"
    assert by_error.seeds[2] == (-8.0, -11.0)
    assert by_error.mean_difference == pytest.approx(2.0)
    assert by_error.observed["supervised, 25 marked"]["error"] == pytest.approx(10.0)


def test_the_long_plan_runs_every_row():
    assert set(LONG.rows) == set(ROWS)
    assert LONG.counts == (10, 25, 50)
