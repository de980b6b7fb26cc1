"""`protect` end to end: copies, what stays private, later images, the test, and bad input."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

import fallow
from fallow.images.samples import shapes, write
from fallow.measure.verification import Verification, sentences
from fallow.problems import Problem, SettingProblem, SourceProblem
from fallow.verbs.protect import protect

QUICK = {"clusters": 3, "width": 4, "blocks": 0, "batch": 16, "precision": "32"}
TEST = Verification(epochs=2, images=40)


@pytest.fixture
def folder(tmp_path):
    return write(shapes(32, seed=0, side=24), tmp_path / "photos", quality=92)


def run(source, out, **more):
    return protect(source, out=out, epochs=1, settings=QUICK, **more)


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def state(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_copies_are_png_within_the_budget_and_originals_untouched(folder, tmp_path):
    before = state(folder)
    result = run(folder, tmp_path / "copies")
    assert state(folder) == before
    copies = sorted((tmp_path / "copies").rglob("*.*"))
    assert len(copies) == 32
    assert all(path.suffix == ".png" for path in copies)
    for row in result.table.to_pylist():
        change = pixels(tmp_path / "copies" / row["copy"]) - pixels(folder / row["path"])
        assert 0 < np.abs(change).max() <= 16
    assert 24 < result.findings["psnr"] < 45
    assert {"protector", "report.html", "table.parquet"} <= {
        path.name for path in (tmp_path / "copies-private").iterdir()
    }
    assert "not tested" in " ".join(result.headlines)
    assert "not a guarantee" in " ".join(result.notes)


def test_nothing_private_is_among_the_copies(folder, tmp_path):
    run(folder, tmp_path / "copies")
    assert {path.suffix for path in (tmp_path / "copies").rglob("*") if path.is_file()} == {".png"}


def test_later_and_renamed_images(folder, tmp_path):
    first = run(folder, tmp_path / "copies")
    by_path = {row["path"]: row["cluster"] for row in first.table.to_pylist()}
    later = tmp_path / "later"
    (later / "images").mkdir(parents=True)
    names = sorted(by_path)
    for number, name in enumerate(reversed(names)):  # another order
        (later / "images" / f"{number:03}.jpg").write_bytes((folder / name).read_bytes())
    Image.fromarray(shapes(40, seed=9, side=40)[39]).save(later / "images" / "new.png")
    second = protect(later, out=tmp_path / "more", protector=tmp_path / "copies-private")
    found = {row["path"]: row["cluster"] for row in second.table.to_pylist()}
    assert len(found) == 33
    for number, name in enumerate(reversed(names)):
        assert found[f"images/{number:03}.jpg"] == by_path[name]
    same = pixels(tmp_path / "more/images/000.png")
    assert (same == pixels(tmp_path / "copies" / names[-1].replace(".jpg", ".png"))).all()


def test_names_that_clash_and_files_that_break(tmp_path):
    source = tmp_path / "photos"
    source.mkdir()
    for number in range(6):
        Image.fromarray(shapes(8, side=24)[number]).save(source / f"{number}.png")
    Image.fromarray(shapes(8, side=24)[7]).save(source / "0.jpg")
    (source / "broken.png").write_bytes(b"not a picture")
    result = run(source, tmp_path / "copies")
    made = {path.name for path in (tmp_path / "copies").iterdir()}
    assert {"0.png.png", "0.jpg.png", "1.png"} <= made
    assert len(made) == 7
    assert "1 file could not be read" in " ".join(result.notes)


def test_verified(folder, tmp_path):
    told = []
    result = run(folder, tmp_path / "copies", verify=TEST, tell=told.append)
    measured = result.findings["measured"]
    assert [one["name"] for one in measured["maps"]] == [
        "classes", "pairs of classes", "thirds", "halves",
    ]  # fmt: skip
    for one in measured["maps"]:
        for row in ("clean", "random signs", "protected"):
            for condition in ("as published", "JPEG 90", "crop + flip"):
                assert 0 <= one["scores"][row][condition][0] <= 1
    report = (tmp_path / "copies-private/report.html").read_text()
    assert "Measured protection" in report
    assert "JPEG 90" in report
    saved = json.loads((tmp_path / "copies-private/protect.json").read_text())
    assert saved["measured"]["maps"] == measured["maps"]
    assert any("36 trainings" in line for line in told)
    assert any("Measured with one small network" in line for line in result.headlines)


def test_what_is_said_follows_the_numbers():
    def measured(clean, chance, ours, jpeg):
        scores = {
            row: {"as published": [value], "JPEG 90": [late], "crop + flip": [value]}
            for row, value, late in (
                ("clean", clean, clean), ("random signs", chance, clean), ("protected", ours, jpeg),
            )
        }  # fmt: skip
        one = {"name": "classes", "groups": 4, "chance": 0.25, "scores": scores}
        return {"maps": [one], "asked": 400, "seeds": 1, "side": 32, "learnt from": 800}

    weak = " ".join(sentences(measured(0.60, 0.58, 0.59, 0.6)))
    assert weak.startswith("No protection was measured")
    strong = " ".join(sentences(measured(0.60, 0.58, 0.30, 0.6)))
    assert strong.startswith("Protection was measured on 1 of 1")
    assert "remains on 0 of 1 after JPEG 90, and on 1 against" in strong
    assert "strength on 1 of 1." in strong
    blind = " ".join(sentences(measured(0.27, 0.26, 0.25, 0.25)))
    assert blind.startswith("1 of 1 ways to label the pictures say nothing")
    assert "o protection was measured" not in blind
    assert sentences({}) == []


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"settings": {"eps": 0.06}}, "16/255 is eps=16"),
        ({"settings": {"cluster": 4}}, "did you mean clusters"),
        ({"settings": {"clusters": 4, "offset": 8}}, "own centres"),
        ({"preset": "papre"}, "did you mean paper"),
        ({"protector": "nowhere"}, "holds no protector"),
        ({"protector": "nowhere", "settings": {"eps": 3}}, "eps cannot be chosen with a saved"),
        ({"epochs": 1, "settings": {"size": 30}}, "multiple of 4"),
    ],
)
def test_bad_settings(folder, tmp_path, more, text):
    with pytest.raises(Problem, match=text) as error:
        protect(folder, out=tmp_path / "copies", **more)
    assert "\n" not in str(error.value)


def test_bad_places(folder, tmp_path):
    with pytest.raises(SourceProblem, match="among the originals"):
        run(folder, folder / "copies")
    with pytest.raises(SourceProblem, match="among the originals"):
        run(fallow.open(folder), tmp_path / "copies", private=folder / "private")
    with pytest.raises(SourceProblem, match="will be published"):
        run(folder, tmp_path / "copies", private=tmp_path / "copies" / "private")
    run(folder, tmp_path / "copies")
    with pytest.raises(SourceProblem, match="already holds images/"):
        run(folder, tmp_path / "copies")


def test_too_few_too_small_and_unlabelled(tmp_path):
    one = write(shapes(1, side=24), tmp_path / "one")
    with pytest.raises(Problem, match="at least 2 images"):
        run(one, tmp_path / "a")
    tiny = fallow.open([np.full((4, 9, 3), n, np.uint8) for n in range(4)])
    with pytest.raises(SourceProblem, match="4 px on their short side"):
        run(tiny, tmp_path / "b")
    plain = fallow.open([image for _, image in shapes(8, side=24).map(np.copy)])
    with pytest.raises(SourceProblem, match="no labels: to verify"):
        run(plain, tmp_path / "c", verify=True)
    alike = fallow.open([image for _, image in shapes(8, side=24).map(np.copy)], labels=["x"] * 8)
    with pytest.raises(SourceProblem, match="one label, x"):
        run(alike, tmp_path / "d", verify=True)
    with pytest.raises(SettingProblem, match="epochs must be 1"):
        Verification(epochs=0)


def test_command_line(folder, tmp_path, monkeypatch, capsys):
    from fallow import cli

    def called(*words):
        monkeypatch.setattr("sys.argv", ["fallow", "protect", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, capsys.readouterr()

    sized = {name: value for name, value in QUICK.items() if name != "precision"}
    options = [word for name, value in sized.items() for word in ("--set", f"{name}={value}")]
    code, said = called(folder, "--out", tmp_path / "copies", "--epochs", 1, *options)
    assert code == 0
    assert "32 protected copies" in said.out
    assert "copies-private/report.html" in said.out
    code, said = called(folder, "--out", folder / "copies")
    assert code == 2
    assert "among the originals" in said.err
    code, said = called(folder, "--out", tmp_path / "more", "--protector", tmp_path / "copies")
    assert code == 2
    assert "holds no protector" in said.err
