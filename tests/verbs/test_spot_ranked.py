"""`spot --for quality` and `--for tampering`: ranked, shown, measured beside what is known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

import fallow
from fallow.problems import Problem, SettingProblem


def photo(seed, side=288):
    """Grain over soft shapes, as a photograph has both."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(40, 220, (6, 6, 3), np.uint8)
    wide = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    small = draw.integers(0, 255, (side // 2, side // 2), np.uint8)
    fine = np.asarray(Image.fromarray(small).resize((side, side)), float)
    soft = np.asarray(wide, float)
    return np.clip(soft + 0.2 * (fine[..., None] - 127) + draw.normal(0, 5, soft.shape), 0, 255)


@pytest.fixture
def photos(tmp_path):
    place = tmp_path / "photos"
    place.mkdir()
    lines = ["path,rating"]
    for number in range(14):
        picture = Image.fromarray(photo(number).astype(np.uint8))
        blur = number % 3
        picture = picture.filter(ImageFilter.GaussianBlur(1.5 * blur)) if blur else picture
        picture.save(place / f"{number:02d}.png")
        lines.append(f"{number:02d}.png,{1.0 - 0.4 * blur}")
    (tmp_path / "ratings.csv").write_text("\n".join(lines) + "\n")
    return place


def test_blurred_photos_are_the_poorest(photos, tmp_path):
    result = fallow.spot(photos, for_="quality", out=tmp_path / "ranked")
    first = [int(path[:2]) % 3 for path in result.table.column("path").to_pylist()]
    assert np.mean(first[:5]) > np.mean(first[-5:])
    page = (tmp_path / "ranked" / "report.html").read_text()
    assert "the poorest first" in page
    assert len((tmp_path / "ranked" / "scores.csv").read_text().splitlines()) == 15


def test_ratings_of_some_are_learnt_from_and_measured(photos, tmp_path):
    result = fallow.spot(photos, for_="quality", labels=tmp_path / "ratings.csv")
    assert {"niqe", "brisque"} <= set(result.table.column_names)
    assert any("rank correlation" in line for line in result.headlines)


def test_tampering_is_learnt_from_trusted_photos_and_shown(photos, tmp_path):
    result = fallow.spot(
        photos, for_="tampering", out=tmp_path / "found",
        settings={"minutes": None, "epochs": 1, "size": 64, "side": 128, "hidden": 8, "grid": 8,
                  "batch": 8},
    )  # fmt: skip
    assert result.table.num_rows == 14
    scores = result.table.column("score").to_numpy()
    assert (np.diff(scores) <= 0).all()
    assert any("not a proof" in note for note in result.notes)
    assert (tmp_path / "found" / "run" / "run.json").is_file()


def test_what_cannot_be_looked_for_is_one_sentence(photos):
    with pytest.raises(SettingProblem, match="odd, quality or tampering"):
        fallow.spot(photos, for_="beauty")
    with pytest.raises(Problem, match="there is no setting 'blok'"):
        fallow.spot(photos, for_="quality", settings={"blok": 3})
