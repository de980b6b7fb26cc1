"""Parts through Ray give what one machine gives; a worker that dies and a job cut short lose
nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from killing import one_killed

import fallow
from fallow.images.samples import demo
from fallow.images.stores import FileProblem
from fallow.inventory.store import rows_of
from fallow.problems import Problem, SettingProblem
from fallow.scale import pictures
from fallow.scale.parts import Parts
from fallow.verbs.embed import embed
from fallow.verbs.explore import explore


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """300 pictures, two of them unreadable."""
    return demo(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def here(photos) -> pa.Table:
    """What one machine makes of them."""
    return fallow.embed(photos, encoder="tiny").table


def joined(parts: Parts) -> pa.Table:
    return pa.concat_tables(parts.each(), promote_options="default")


def same(found: pa.Table, expected: pa.Table) -> None:
    beside = [name for name in expected.column_names if name != "embedding"]
    assert found.select(beside).equals(expected.select(beside))
    # batches are cut elsewhere, and products of other sizes add in another order
    ours, theirs = rows_of(found["embedding"]), rows_of(expected["embedding"])
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_parts_hold_what_one_machine_makes(two_workers, photos, here, tmp_path):
    out = tmp_path / "vectors"
    result = embed(photos, encoder="tiny", out=out, engine="ray")
    same(joined(Parts(out)), here)
    assert sum(result.table["images"].to_pylist()) == here.num_rows == 301
    assert result.headlines[0].startswith("301 images, ")
    assert len(result.findings["problems"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_worker_killed_at_any_moment_costs_nothing(seed, two_workers, photos, here, tmp_path):
    with one_killed(seed) as killed:
        made = pictures.embed(photos, tmp_path, encoder="tiny", size=32)
    assert killed, "the job ended before a worker could be killed"
    same(joined(made.job.parts), here)


def test_a_job_goes_on_after_the_last_finished_part(two_workers, photos, here, tmp_path):
    first = pictures.embed(photos, tmp_path, encoder="tiny", size=64)
    kept = tmp_path / "part-0000001.parquet"
    before = kept.stat().st_mtime_ns
    (tmp_path / "part-0000000.parquet").unlink()
    cut = tmp_path / "part-0000003.parquet"
    cut.write_bytes(cut.read_bytes()[:-100])  # a store that lost the end
    again = pictures.embed(photos, tmp_path, encoder="tiny", size=64)
    assert (first.before, again.before, again.job.count) == (0, 3, 5)
    assert kept.stat().st_mtime_ns == before
    same(joined(again.job.parts), here)


def test_a_folder_of_another_job_is_refused(photos, tmp_path):
    Parts(tmp_path).begin({"what": "vectors", "size": 7})
    with pytest.raises(Problem, match="parts of another job"):
        pictures.embed(photos, tmp_path, encoder="tiny")


@pytest.mark.slow
def test_explore_finds_the_same_through_ray(two_workers, photos, tmp_path):
    alone = explore(photos, encoder="tiny", out=tmp_path / "alone")
    spread = explore(photos, encoder="tiny", out=tmp_path / "spread", engine="ray")
    assert spread.table.drop_columns(["x", "y"]).equals(alone.table.drop_columns(["x", "y"]))
    for name in ("exact_duplicates", "changed_copies", "suspects", "quality", "problems"):
        assert spread.findings[name] == alone.findings[name], name
    assert not (tmp_path / "spread" / "parts").exists()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"engine": "spark"}, "there is no engine spark"),
        ({"workers": 2}, "workers=2 needs engine ray"),
        ({"engine": "ray"}, "name a folder or address with out="),
        ({"engine": "ray", "out": "x.parquet"}, "name a folder or address with out="),
        ({"engine": "ray", "out": "x", "workers": 0}, "workers=0 is not possible"),
    ],
)
def test_what_is_refused(given, sentence, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingProblem, match=sentence):
        embed(photos, **given)


def test_arrays_have_no_name_that_workers_could_open(tmp_path):
    with pytest.raises(SettingProblem, match="give its name"):
        embed([np.zeros((8, 8, 3), np.uint8)], engine="ray", out=tmp_path / "x")


def test_a_part_says_what_it_could_not_read(tmp_path):
    parts = Parts(tmp_path)
    parts.write(0, pa.table({"a": [1]}), [FileProblem("a/b.jpg", "damaged: é")])
    assert parts.problems(0) == [FileProblem("a/b.jpg", "damaged: é")]
    assert Parts(tmp_path / "nowhere").finished() == []
