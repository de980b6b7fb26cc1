"""discover: a folder and a two-column CSV in, groups and a count out, and names back in."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import fallow
from fallow.images.samples import shapes
from fallow.methods.shared.known import label_table
from fallow.outcomes.discovered import group_names
from fallow.problems import Problem, SettingProblem, SourceProblem
from fallow.verbs.discover import discover

COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (40, 50, 210),
           "grey": (120, 120, 120), "yellow": (220, 210, 40), "white": (235, 235, 235),
           "pink": (240, 130, 200)}  # fmt: skip
EACH = 24


def folder(path, kinds=tuple(COLOURS), each=EACH):
    """Plain coloured pictures with some noise; the name does not say the kind."""
    draw = np.random.default_rng(0)
    path.mkdir(parents=True)
    names = []
    for place, kind in enumerate(np.repeat(kinds, each)):
        pixels = np.array(COLOURS[kind]) + draw.normal(0, 12, (32, 32, 3)) + draw.normal(0, 8, 3)
        name = f"{(place * 37) % 997:03d}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path / name)
        names.append((name, str(kind)))
    return names


def write(path, rows, header=("path", "label")):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows] if header else rows)
    return path


def half(names, kinds=("red", "green", "blue", "grey")):
    """Every second picture of some kinds."""
    return [row for kind in kinds for row in [r for r in names if r[1] == kind][::2]]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("discover")
    names = folder(place / "pictures")
    labels = write(place / "some.csv", half(names))
    truth = write(place / "all.csv", names)
    return discover(place / "pictures", labels=labels, truth=truth, out=place / "run"), place, names


def test_a_folder_and_a_two_column_csv(run):
    result, place, names = run
    assert result.table.num_rows == len(names)
    assert result.count == len(COLOURS)
    low, high = result.interval
    assert low <= len(COLOURS) <= high
    assert result.findings["accuracy"]["all"] > 0.95
    kinds = dict(names)
    for row in result.table.to_pylist():
        if row["labelled"]:
            assert row["group"] == kinds[row["path"]]
        assert row["new"] == row["group"].startswith("new ")
        assert 0 <= row["second_confidence"] <= row["confidence"] + 1e-9 <= 1 + 1e-6
    assert {path.name for path in (place / "run").iterdir()} >= {
        "assignments.csv", "report.html", "run.json", "table.parquet",
    }  # fmt: skip
    rows = list(csv.DictReader((place / "run" / "assignments.csv").open()))
    assert rows[0]["group"] == result.table["group"][0].as_py()
    about = json.loads((place / "run" / "run.json").read_text())
    assert (about["verb"], about["classes"]) == ("discover", len(COLOURS))
    page = (place / "run" / "report.html").read_text()
    assert page.count('class="group"') == len(COLOURS)
    assert "Against the truth" in page
    assert 'class="cell"' in page


def test_the_range_is_said_and_the_paper_stays(run):
    result, place, _ = run
    low, high = result.interval
    assert (
        f"{result.count} classes (likely between {low} and {high}): 4 known"
        in (result.headlines[0])
    )
    page = (place / "run" / "report.html").read_text()
    assert "held it eight times of ten" in page
    paper = discover(place / "pictures", labels=place / "some.csv", preset="paper")
    assert len(paper.findings["starts"]) > 1
    assert not paper.findings["counted"]


def test_two_images_a_class(tmp_path):
    names = folder(tmp_path / "p", each=2)
    found = discover(tmp_path / "p", labels=write(tmp_path / "some.csv", names[:4]))
    low, high = found.interval
    assert 2 <= low <= found.count <= high <= len(names)


def test_the_truth_never_reaches_the_method(run, tmp_path):
    result, place, _ = run
    blind = discover(place / "pictures", labels=place / "some.csv")
    assert blind.table["group"].equals(result.table["group"])
    assert "accuracy" not in blind.findings
    assert "truth" not in blind.table.column_names


def test_a_found_group_becomes_labels(run, tmp_path):
    result, place, names = run
    groups = [g["name"] for g in result.findings["groups"] if g["new"]]
    made = discover(place / "run", accept={groups[0]: "sky"}, out=tmp_path / "labels.csv")
    rows = dict(csv.reader((tmp_path / "labels.csv").open()))
    assert rows.pop("path") == "label"
    size = next(g["images"] for g in result.findings["groups"] if g["name"] == groups[0])
    assert sum(label == "sky" for label in rows.values()) == size
    assert set(half(names)) <= set(rows.items())
    assert made.findings["added"] == size
    # the next group joins the same file, and the file serves as labels
    discover(place / "run", accept={groups[1]: "sea"}, out=tmp_path / "labels.csv")
    again = discover(place / "pictures", labels=tmp_path / "labels.csv")
    known = {g["name"] for g in again.findings["groups"] if not g["new"]}
    assert known == {"red", "green", "blue", "grey", "sky", "sea"}
    assert again.count == len(COLOURS)


def test_only_the_sure_ones_are_accepted(run, tmp_path):
    result, _, _ = run
    name = next(g["name"] for g in result.findings["groups"] if g["new"])
    chance = [r["confidence"] for r in result.table.to_pylist() if r["group"] == name]
    least = float(np.median(chance))
    made = result.accept({name: "oak"}, sure=least, out=tmp_path / "labels.csv")
    assert made.findings["added"] == sum(c >= least for c in chance)
    with pytest.raises(SettingProblem, match="lower sure"):
        result.accept({name: "oak"}, sure=1.1, out=tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()


def test_what_cannot_be_accepted(run, tmp_path):
    _, place, _ = run
    with pytest.raises(SettingProblem, match=r"no group 'new1': did you mean new 1\?"):
        discover(place / "run", accept={"new1": "oak"})
    with pytest.raises(SettingProblem, match="give new 1 a name"):
        discover(place / "run", accept={"new 1": " "})
    with pytest.raises(SourceProblem, match="not a saved run"):
        discover(place / "pictures", accept={"new 1": "oak"})


def test_columns_of_any_name_and_no_header(run):
    _, place, names = run
    rows = half(names)
    result = run[0]
    for name, header in (("a.csv", ("file", "species")), ("b.csv", None), ("c.csv", ("x", "y"))):
        found = discover(place / "pictures", labels=write(place / name, rows, header))
        assert found.table["group"].equals(result.table["group"])


def test_hidden_labels_only_judge(run):
    result, place, names = run
    known = {path for path, _ in half(names)}
    table = {"path": [p for p, _ in names], "label": [k for _, k in names],
             "seen": ["yes" if p in known else "no" for p, _ in names]}  # fmt: skip
    found = discover(place / "pictures", labels=table, hide="seen = 'no'")
    assert found.findings["accuracy"] == result.findings["accuracy"]
    assert found.table["group"].equals(result.table["group"])


def test_the_folders_own_names_judge_when_they_agree(tmp_path):
    rows = []
    for kind in ("red", "green", "blue"):
        folder(tmp_path / "p" / kind, (kind,))
        rows += [
            (f"{kind}/{path.name}", kind) for path in sorted((tmp_path / "p" / kind).iterdir())
        ]
    some = write(tmp_path / "some.csv", half(rows))
    assert discover(tmp_path / "p", labels=some).findings["accuracy"]["all"] > 0.9
    other = write(tmp_path / "other.csv", [(path, kind + "ish") for path, kind in half(rows)])
    assert "accuracy" not in discover(tmp_path / "p", labels=other).findings


def test_other_methods_in_the_same_interface(run):
    _, place, _ = run
    found = discover(place / "pictures", labels=place / "some.csv", method="gcd",
                     settings={"starts": 5, "searches": 2})  # fmt: skip
    assert len(found.findings["starts"]) == 2
    given = discover(place / "pictures", labels=place / "some.csv", method="gcd", classes=6)
    assert given.count == 6


def test_training(tmp_path):
    images = shapes(48, seed=0, side=24)
    kinds = images.column("label")
    old = sorted(set(kinds))[:2]
    known = [k if k in old and n % 5 < 3 else None for n, k in enumerate(kinds)]
    labels = {"path": images.column("path"), "label": known}
    more = {"batch": 16, "precision": "32", "hidden": 16, "size": 16}
    for method, extra in (("gpc", {}), ("simgcd", {"classes": 6})):
        found = discover(images, labels=labels, method=method, epochs=2, encoder="resnet8/8",
                         settings=more | extra, out=tmp_path / method)  # fmt: skip
        assert found.findings["mode"] == "trained"
        assert (tmp_path / method / "training" / "encoder").is_dir()
        assert found.table.num_rows == 48


def labelled(images, labels):
    return images.join({"path": images.column("path"), "label": pa.array(labels, pa.string())})


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ([None] * 12, "no image of .* is labelled"),
        (["a", "b"] * 6, "all 12 images of .* are labelled"),
        (["a"] * 4 + [None] * 8, "only a is labelled: label a second class"),
        (["a", "b"] + [None] * 10, "every class has one labelled image"),
    ],
)
def test_labels_that_cannot_work(labels, text):
    images = shapes(12, seed=0, side=24)
    table = {"path": images.column("path"), "label": pa.array(labels, pa.string())}
    with pytest.raises(SourceProblem, match=text):
        discover(images, labels=table)


def test_more_classes_than_images_and_fewer_than_labels():
    images = shapes(12, seed=0, side=24)
    table = {"path": images.column("path"), "label": pa.array(["a", "b"] * 3 + [None] * 6)}
    with pytest.raises(SettingProblem, match="30 classes cannot be found in 12 images"):
        discover(images, labels=table, classes=30)
    table["label"] = pa.array(["a", "b", "c"] * 2 + [None] * 6)
    with pytest.raises(SettingProblem, match="3 classes are labelled, more than the 2"):
        discover(images, labels=table, classes=2)


def test_label_names_that_fit_nothing(run, tmp_path):
    _, place, names = run
    with pytest.raises(SourceProblem, match="matches an image"):
        discover(place / "pictures", labels=write(tmp_path / "x.csv", [("no.png", "red")]))
    write(tmp_path / "y.csv", [(p, k, 1) for p, k in half(names)], ("path", "labels", "n"))
    with pytest.raises(SourceProblem, match="has no column label: did you mean labels"):
        discover(place / "pictures", labels=tmp_path / "y.csv")
    with pytest.raises(SourceProblem, match="there is no label file"):
        discover(place / "pictures", labels=tmp_path / "z.csv")
    some = [*half(names), ("gone.png", "red")]
    found = discover(place / "pictures", labels=write(tmp_path / "w.csv", some))
    assert any("match no image" in line for line in found.notes)


def test_a_class_of_one_image_and_copies_are_said(tmp_path):
    names = folder(tmp_path / "p")
    pink = next(path for path, kind in names if kind == "pink")
    red, other = [path for path, kind in names if kind == "red"][:2]
    for number in range(3):
        (tmp_path / "p" / f"copy{number}.png").write_bytes((tmp_path / "p" / red).read_bytes())
    rows = [*half(names), (pink, "pink"), ("copy0.png", "green")]
    found = discover(tmp_path / "p", labels=write(tmp_path / "some.csv", rows))
    said = " ".join(found.notes)
    assert "1 class with a single labelled image (pink)" in said
    assert "3 images repeat another byte for byte" in said
    assert f"{red} and copy0.png are the same picture but labelled red and green" in said or (
        "are the same picture but labelled green and red" in said
    )
    assert other


def test_features_that_are_no_numbers():
    class Broken:
        name = "broken"
        size = 32

        def embed(self, images):
            vectors = np.ones((len(images), 4), np.float32)
            vectors[2] = np.nan
            return vectors

    images = shapes(12, seed=0, side=24)
    table = {"path": images.column("path"), "label": pa.array(["a", "b"] * 3 + [None] * 6)}
    with pytest.raises(SourceProblem, match=r"features of 1 image are not finite.*encoder broken"):
        discover(images, labels=table, encoder=Broken())


def test_unreadable_files_are_left_out_and_counted(run, tmp_path):
    names = folder(tmp_path / "p")
    victim = next(path for path, kind in names if kind == "white")
    whole = (tmp_path / "p" / victim).read_bytes()
    (tmp_path / "p" / victim).write_bytes(whole[: len(whole) // 2])
    found = discover(tmp_path / "p", labels=write(tmp_path / "some.csv", half(names)))
    assert found.table.num_rows == len(names) - 1
    assert any("1 file could not be read" in line for line in found.headlines)


def test_identical_images_are_one_cloud_without_borders(tmp_path):
    (tmp_path / "p").mkdir()
    for number in range(20):
        Image.fromarray(np.full((24, 24, 3), 90, np.uint8)).save(tmp_path / "p" / f"{number}.png")
    rows = [(f"{n}.png", "a" if n % 2 else "b") for n in range(8)]
    found = discover(tmp_path / "p", labels=write(tmp_path / "some.csv", rows))
    assert np.isfinite(found.table["confidence"].to_numpy()).all()
    assert "19 images repeat another" in " ".join(found.notes)


def test_bad_settings(run):
    _, place, _ = run
    ask = {"labels": place / "some.csv"}
    with pytest.raises(SettingProblem, match="did you mean gpc"):
        discover(place / "pictures", method="gcp", **ask)
    with pytest.raises(SettingProblem, match="did you mean starts"):
        discover(place / "pictures", settings={"start": 3}, **ask)
    with pytest.raises(SettingProblem, match="gcd does not train"):
        discover(place / "pictures", method="gcd", epochs=1, **ask)
    with pytest.raises(Problem, match="no preset"):
        discover(place / "pictures", preset="papers", **ask)


def test_names_of_new_groups_never_hide_a_class():
    assert group_names(["new 1", "new 2"], 2) == ["new 1", "new 2", "new 3", "new 4"]
    assert label_table({"image": ["a"], "label": ["b"]}).column_names == ["path", "label"]


def test_command_line(run, tmp_path, monkeypatch, capsys):
    from fallow import cli

    _, place, _ = run
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr("sys.argv", ["fallow", "discover", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, capsys.readouterr()

    code, said = call(place / "pictures", "--labels", place / "some.csv")
    assert code == 0
    assert f"{len(COLOURS)} classes" in said.out
    code, said = call("pictures-discover", "--accept", "new 1=sky")
    assert code == 0
    assert (tmp_path / "pictures-discover" / "labels.csv").is_file()
    code, said = call("pictures-discover", "--accept", "new 1")
    assert code == 2
    assert "--accept wants name=value" in said.err
    code, said = call(place / "pictures")
    assert code == 2
    assert "is labelled" in said.err


def test_the_verb_is_exported():
    assert fallow.discover is discover
