"""`curate` and `spot` through Ray give what one machine gives, and go on where they stopped."""

from __future__ import annotations

import csv
import json
import re
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from killing import one_killed

from fallow.images.samples import demo
from fallow.methods.curate import people_free
from fallow.problems import SettingProblem, SourceProblem
from fallow.scale.asked import ByWorkers
from fallow.scale.pictures import collection
from fallow.verbs.curate import curate
from fallow.verbs.spot import spot

POLICY = {"need": [], "licences": [], "quality": ["blank", "dark"]}
QUICK = {"size": 64, "degrees": [1], "references": 16, "keep": 8}
ASKED = 151  # pictures, copies with other words beside them among them
MOMENTS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))]


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """150 pictures, some of them unreadable; some with a creator beside them."""
    folder = demo(tmp_path_factory.mktemp("photos"))
    for path in sorted(folder.rglob("*.*"))[::2]:
        path.unlink()
    for path in sorted(folder.rglob("*.jpg"))[::7]:
        said = {"creator": "Ada", "licence": "CC0-1.0"}
        path.with_suffix(".json").write_text(json.dumps(said))
    return folder


def written(folder: Path) -> dict[str, list[list[str]]]:
    names = ("decisions", "manifest", "rejected", "review")
    return {name: list(csv.reader((folder / f"{name}.csv").open())) for name in names}


@pytest.fixture(scope="module")
def curated(photos, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("curated")
    assert asked(curate(photos, out=out, settings=POLICY)) == ASKED
    return out


def asked(result) -> int:
    """How many pictures a run asked about."""
    return int(re.search(r"asked about (\d+) that were new", result.headlines[-1])[1])


@pytest.fixture(scope="module")
def spotted(photos, tmp_path_factory):
    return spot(photos, encoder="tiny", settings=QUICK, out=tmp_path_factory.mktemp("spotted"))


def judged_alike(found, expected):
    # one thread adds in another order than two, so that pictures may change places
    place = {path: row for row, path in enumerate(found.table.column("path").to_pylist())}
    ours, theirs = (one.table.column("score").to_numpy() for one in (found, expected))
    paths = expected.table.column("path").to_pylist()
    assert sorted(paths) == sorted(place)
    np.testing.assert_allclose(ours[[place[path] for path in paths]], theirs, atol=1e-4)
    for row in (0, 7, 70):
        np.testing.assert_allclose(found.map(row), expected.map(row), atol=1e-4)


def test_a_collection_read_by_workers_is_the_one_that_is_opened(two_workers, photos, tmp_path):
    import fallow

    found, expected = collection(photos, tmp_path, size=64), fallow.open(photos)
    assert found.table.equals(expected.table)
    assert set(found.problems) == set(expected.problems)
    assert (found.name, found.source) == (expected.name, expected.source)
    chosen = collection(photos, tmp_path / "chosen", where="width > 150", size=64)
    assert chosen.table.equals(expected.where("width > 150").table)


def test_curate_decides_the_same_through_ray(two_workers, photos, curated, tmp_path):
    result = curate(photos, out=tmp_path, settings=POLICY, engine="ray")
    assert written(tmp_path) == written(curated)
    assert asked(result) == ASKED
    assert not (tmp_path / "parts").exists()
    again = curate(photos, out=tmp_path, settings=POLICY, engine="ray")
    assert asked(again) == 0


@pytest.mark.parametrize("seed", MOMENTS)
def test_a_worker_killed_while_curate_asks(seed, two_workers, photos, curated, tmp_path):
    with one_killed(seed) as killed:
        curate(photos, out=tmp_path, settings=POLICY, engine="ray")
    assert killed, "the job ended before a worker could be killed"
    assert written(tmp_path) == written(curated)


def test_curate_goes_on_after_the_last_answers(two_workers, photos, curated, tmp_path):
    images = collection(photos, tmp_path / "parts")
    policy = people_free.Settings(**POLICY)

    def interrupted(asking, chunks):
        yield from islice(ByWorkers()(asking, chunks), 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        people_free.curate(images, tmp_path, policy, spread=interrupted)
    result = curate(photos, out=tmp_path, settings=POLICY, engine="ray")
    assert asked(result) == ASKED - people_free.CHUNK
    assert written(tmp_path) == written(curated)


def test_spot_judges_the_same_through_ray(two_workers, photos, spotted, tmp_path):
    found = spot(photos, encoder="tiny", settings=QUICK, out=tmp_path, engine="ray")
    judged_alike(found, spotted)
    assert not (tmp_path / "parts").exists()
    kept = spot(photos, against=tmp_path, out=tmp_path / "new", engine="ray")
    assert len(kept.table) == len(found.table)


@pytest.mark.parametrize("seed", MOMENTS)
def test_a_worker_killed_while_spot_judges(seed, two_workers, photos, spotted, tmp_path):
    with one_killed(seed) as killed:
        found = spot(photos, encoder="tiny", settings=QUICK, out=tmp_path, engine="ray")
    assert killed, "the job ended before a worker could be killed"
    judged_alike(found, spotted)


def test_spot_goes_on_after_the_last_finished_part(
    two_workers, photos, spotted, tmp_path, monkeypatch
):
    from fallow.scale import judged

    spread = judged.spread

    def one_part(work, job, items, **options):
        yield from spread(work, job, items[:1], **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(judged, "spread", one_part)
    with pytest.raises(KeyboardInterrupt):
        spot(photos, encoder="tiny", settings=QUICK, out=tmp_path, engine="ray")
    left = []

    def counting(work, job, items, **options):
        left.append(list(items))
        return spread(work, job, items, **options)

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").rglob("part-*")}
    monkeypatch.setattr(judged, "spread", counting)
    judged_alike(spot(photos, encoder="tiny", settings=QUICK, out=tmp_path, engine="ray"), spotted)
    assert left[0] == [1, 2]
    assert len(before) == 2  # the list of pictures is one part


@pytest.mark.parametrize(
    ("verb", "given", "sentence"),
    [
        (spot, {"engine": "ray"}, "keeps its parts in the folder out="),
        (spot, {"workers": 2}, "workers=2 needs engine ray"),
        (spot, {"engine": "ray", "out": "x", "for_": "quality"}, "judges odd images without"),
        (spot, {"engine": "ray", "out": "x", "reference": "y"}, "judges odd images without"),
        (curate, {"engine": "spark", "out": "x"}, "there is no engine spark"),
        (curate, {"engine": "ray", "out": "x", "pairs": "a.osm"}, "leave it out with pairs"),
    ],
)
def test_what_is_refused(verb, given, sentence, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingProblem, match=sentence):
        verb(photos, **given)


def test_nothing_that_can_be_read_is_a_sentence(two_workers, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(SourceProblem, match="none of the images in"):
        collection(tmp_path, tmp_path / "parts")
