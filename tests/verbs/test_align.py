"""`align` and `search`: words find pictures that nothing was learnt from."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from PIL import Image

import fallow
from fallow.problems import SettingProblem, SourceProblem

COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (50, 70, 220)}
SMALL = {"batch": 16, "size": 16, "precision": "32", "text_width": 32, "text_layers": 1,
         "text_heads": 2, "output": 16, "context": 8, "vocabulary": 520,
         "learning_rate": 0.03}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of plain colours, a caption for each, and a run on them."""
    place = tmp_path_factory.mktemp("align")
    (place / "photos").mkdir()
    draw, rows = np.random.default_rng(0), []
    for number in range(60):
        name = list(COLOURS)[number % 3]
        pixels = (np.array(COLOURS[name]) + draw.normal(0, 12, (20, 20, 3))).clip(0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(place / "photos" / f"{name}{number}.png")
        rows.append({"path": f"{name}{number}.png", "caption": f"something {name}"})
    pa.csv.write_csv(pa.Table.from_pylist(rows), place / "captions.csv")
    result = fallow.align(
        place / "photos", captions=place / "captions.csv", encoder="resnet8/8", epochs=30,
        settings=SMALL, out=place / "run", classes="red, green,blue",
    )  # fmt: skip
    return place, result


def test_held_out_pictures_find_their_words(made):
    _, result = made
    recall = result.table.to_pylist()[0]
    assert recall["among"] == 3
    assert recall["R@1"] > 0.8
    assert result.lines()[-1] == f"report: {result.folder / 'report.html'}"


def test_words_find_pictures(made):
    place, _ = made
    found = fallow.search(place / "run", place / "photos", "something green", count=5)
    assert found.table.num_rows == 5
    names = found.table.column("path").to_pylist()
    assert sum("green" in name for name in names) >= 4
    assert found.headlines[0].endswith(names[0])


def test_pictures_are_sorted_by_words_alone(made):
    place, result = made
    rows = result.classes.to_pylist()
    right = sum(row["path"].startswith(row["class"]) for row in rows)
    assert len(rows) == 60
    assert right >= 50
    assert (place / "run" / "classes.csv").exists()


def test_wrong_captions_are_the_most_doubtful(made, tmp_path):
    place, _ = made
    given = pyarrow.csv.read_csv(place / "captions.csv").to_pylist()
    wrong = set()
    for row in given[::15]:
        other = "something green" if "blue" in row["caption"] else "something blue"
        row["caption"] = other
        wrong.add(row["path"])
    pa.csv.write_csv(pa.Table.from_pylist(given), tmp_path / "captions.csv")
    result = fallow.align(
        place / "photos", captions=tmp_path / "captions.csv", encoder="resnet8/8", epochs=15,
        settings=SMALL, out=tmp_path / "run",
    )  # fmt: skip
    first = result.doubts.column("path").to_pylist()[: len(wrong)]
    assert set(first) == wrong
    words = result.findings["doubts"][0]["words"]
    assert [word for word, _ in words] == result.doubts.column("caption")[0].as_py().split()
    assert min(words, key=lambda pair: pair[1])[0] in ("blue", "green")  # what speaks against it
    assert "Captions to doubt" in (tmp_path / "run" / "report.html").read_text()


def test_mistakes(made):
    place, _ = made
    with pytest.raises(SettingProblem, match="'red' is named twice"):
        fallow.align(place / "photos", captions=place / "captions.csv", classes="red,red")
    with pytest.raises(SettingProblem, match="name another beside 'red'"):
        fallow.align(place / "photos", captions=place / "captions.csv", classes="red")
    with pytest.raises(SettingProblem, match="say in words"):
        fallow.search(place / "run", place / "photos", " ")
    with pytest.raises(SettingProblem, match="did you mean clip"):
        fallow.align(place / "photos", captions=place / "captions.csv", method="clap")
    with pytest.raises(SourceProblem, match="caption"):
        fallow.align(place / "photos")
