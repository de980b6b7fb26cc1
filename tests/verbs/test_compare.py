"""`compare` reads what runs left, scores them on the same images, and refuses other folders."""

from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

import fallow
from fallow.cli import app
from fallow.images.samples import shapes, write
from fallow.problems import SettingProblem, SourceProblem


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("compare")
    write(shapes(32, seed=0, side=24), place / "pictures")
    for name, rate in (("slow", 0.01), ("fast", 0.5)):
        fallow.learn(
            place / "pictures",
            encoder="resnet8/8",
            epochs=3,
            settings={"batch": 16, "size": 16, "precision": "32", "learning_rate": rate},
            out=place / name,
        )
    return place


def test_rows_hold_what_the_runs_say(place):
    found = fallow.compare([place / "slow", place / "fast"])
    rows = {row["run"]: row for row in found.table.to_pylist()}
    assert list(rows) == ["slow", "fast"]
    for name, row in rows.items():
        about = json.loads((place / name / "run.json").read_text())
        last = json.loads((place / name / "metrics.jsonl").read_text().splitlines()[-1])
        scores = json.loads((place / name / "scores.json").read_text())
        assert row["steps"] == about["steps"] == 6
        assert row["loss"] == last["loss"]
        assert row["knn"] == next(one for one in scores if one["name"] == "trained")["knn"]
    assert "slow: SimCLR, resnet8/8, 6 steps" in found.headlines[0]


def test_the_report_draws_both_and_names_what_differs(place, tmp_path):
    fallow.compare([place / "slow", place / "fast"], out=tmp_path / "both")
    page = (tmp_path / "both" / "report.html").read_text()
    assert "2 runs: slow, fast" in page
    assert page.count("<svg") >= 2
    differing = page[page.index('id="settings-that-differ"') :]
    assert "learning rate" in differing
    assert "momentum" not in differing
    assert (tmp_path / "both" / "table.parquet").is_file()


def test_scores_on_the_same_images(place):
    images = shapes(40, seed=4, side=24)
    found = fallow.compare([place / "slow", place / "fast"], on=images)
    one = fallow.probe(place / "slow", images).table.to_pylist()
    assert found.table["knn"][0].as_py() == one[0]["knn"]
    floors = [row for run in found.findings["runs"] for row in run["scores"]]
    assert [row["name"] for row in floors] == ["", "", "raw pixels"]


def test_an_unfinished_run_is_shown_as_such(place, tmp_path):
    shutil.copytree(place / "slow", tmp_path / "slow")
    path = tmp_path / "slow" / "run.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in about.items() if k not in ("steps", "seconds")}))
    with (tmp_path / "slow" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "lo')
    found = fallow.compare([place / "slow", tmp_path / "slow"])
    assert "unfinished" in found.headlines[1]
    assert found.table["run"].to_pylist() == [str(place / "slow"), str(tmp_path / "slow")]


def test_mistakes_get_one_sentence(place, tmp_path):
    with pytest.raises(SettingProblem, match="at least two different runs"):
        fallow.compare([place / "slow", place / "slow"])
    with pytest.raises(SourceProblem, match="is not the folder of a run of learn"):
        fallow.compare([place / "slow", tmp_path])
    (tmp_path / "run.json").write_text('{"kind": "spot"}')
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(SourceProblem, match="is not the folder of a run of learn"):
        fallow.compare([place / "slow", tmp_path])
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(SourceProblem, match="cannot be read"):
        fallow.compare([place / "slow", tmp_path])
    with pytest.raises(SettingProblem, match="give on="):
        fallow.compare([place / "slow", place / "fast"], labels="labels.csv")


def test_the_command(place, tmp_path):
    words = [str(place / "slow"), str(place / "fast"), "--out", str(tmp_path / "both")]
    done = CliRunner().invoke(app, ["compare", *words])
    assert done.exit_code == 0, done.output
    assert "fast: SimCLR" in done.output
    assert f"report: {tmp_path / 'both' / 'report.html'}" in done.output
