"""A job from a bucket to a bucket, while the store throttles and cuts reads short."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import fallow
from fallow.images.places import place
from fallow.images.samples import demo
from fallow.inventory.store import rows_of
from fallow.scale import pictures

sys.path.append(str(Path(__file__).parents[1] / "images"))
from bucket import store


@pytest.mark.slow
def test_a_job_from_bucket_to_bucket_is_what_one_machine_makes(tmp_path, monkeypatch):
    photos = demo(tmp_path / "photos")
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))):
        if number % 5:
            path.unlink()
    monkeypatch.setenv("RAY_worker_niceness", "0")
    with store("pool") as faulty:
        for path in photos.rglob("*"):
            if path.is_file():
                name = path.relative_to(photos).as_posix()
                place(f"s3://pool/photos/{name}").write(path.read_bytes())
        faulty.throttle, faulty.cut = 0.05, 0.2
        made = pictures.embed("s3://pool/photos", "s3://pool/out", encoder="tiny", size=16)
        found = {
            key: vector
            for table in made.job.parts.each()
            for key, vector in zip(
                table["id"].to_pylist(), rows_of(table["embedding"]), strict=True
            )
        }
        assert faulty.were_cut > 0
    here = fallow.embed(photos, encoder="tiny").table
    assert set(found) == set(here["id"].to_pylist())
    for key, vector in zip(here["id"].to_pylist(), rows_of(here["embedding"]), strict=True):
        assert abs(found[key] - vector).max() < 1e-5
