"""`develop`: every way from files to files, what is written, and what cannot be done."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fallow.methods.shared.pipeline import load
from fallow.problems import Problem, SettingProblem, SourceProblem
from fallow.raw import Raw, plain_sensor, read, unprocessed, write_dng
from fallow.raw.sixteen import read_picture, srgb_profile
from fallow.verbs.develop import develop

pytest.importorskip("rawpy")
ISP = {
    "side": 64, "batch": 2, "colour_side": 32, "hidden": 16, "features": "resnet8/8", "begin": 1,
    "steps": 3,
}  # fmt: skip
TRANSLATOR = {
    "levels": (4, 8), "blocks": 1, "heads": 2, "hidden": 8, "side": 32, "critic_width": 4,
    "pretrain": 1, "pretrain_batch": 1, "steps": 2,
}  # fmt: skip


def pictures(count, seed):
    draw = np.random.default_rng(seed)
    coarse = draw.uniform(30, 225, (count, 6, 8, 3))
    return np.kron(coarse, np.ones((1, 16, 16, 1))).astype(np.uint8)


def folder_of_raws(place, seed, count=2):
    place.mkdir(parents=True)
    for number, pixels in enumerate(pictures(count, seed)):
        write_dng(place / f"{number}.dng", unprocessed(pixels, plain_sensor()))
    return place


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("develop")
    raws = folder_of_raws(root / "raws", 0)
    (root / "photos").mkdir()
    for number, pixels in enumerate(pictures(2, 1)):
        Image.fromarray(pixels).save(root / "photos" / f"{number}.png")
    return root, raws, root / "photos"


def unchanged(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.iterdir()}


def test_plain(places, tmp_path):
    _, raws, _ = places
    before = unchanged(raws)
    result = develop(raws, out=tmp_path / "out")
    found = np.asarray(Image.open(tmp_path / "out" / "developed" / "0.png")).astype(int)
    # a smooth picture comes back as it was, but for edges
    assert np.median(np.abs(found - pictures(2, 0)[0])) <= 2
    assert result.table.num_rows == 2
    assert unchanged(raws) == before
    assert "Before and after" in (tmp_path / "out" / "report.html").read_text()
    with pytest.raises(SourceProblem, match="already holds"):
        develop(raws, out=tmp_path / "out")


@pytest.mark.parametrize("method", ["plain", "lightisp"])
def test_sixteen_bits_are_those_of_eight_and_more(places, tmp_path, method):
    _, raws, photos = places
    more = {"settings": ISP, "like": photos} if method == "lightisp" else {}
    for bits in (8, 16):
        develop(raws, method=method, bits=bits, out=tmp_path / str(bits), **more)
    low, high = (read_picture(tmp_path / str(bits) / "developed" / "0.png") for bits in (8, 16))
    assert (low.pixels.dtype, high.pixels.dtype) == (np.uint8, np.uint16)
    assert np.abs(high.pixels / 257 - low.pixels).max() <= 1
    assert len(np.unique(high.pixels)) > len(np.unique(low.pixels))
    assert high.icc == low.icc == srgb_profile()
    with pytest.raises(SettingProblem, match="8, or 16 where raw files become pictures"):
        develop(photos, to="night", bits=16)


def test_what_a_file_says_of_itself_stays_with_its_picture(tmp_path):
    (tmp_path / "raws").mkdir()
    frame = unprocessed(pictures(1, 0)[0], plain_sensor())
    camera = replace(frame.sensor, camera="Field 7")
    write_dng(tmp_path / "raws" / "a.dng", replace(frame, sensor=camera))
    develop(tmp_path / "raws", out=tmp_path / "plain")
    assert "Field 7" in Image.open(tmp_path / "plain" / "developed" / "a.png").getexif().values()
    (tmp_path / "photos").mkdir()
    exif = Image.Exif()
    exif[274], exif[315] = 6, "Ann"  # lying on its side, by Ann
    photo = Image.fromarray(pictures(1, 2)[0])
    photo.save(tmp_path / "photos" / "b.jpg", exif=exif, icc_profile=srgb_profile())
    develop(tmp_path / "photos", to="night", out=tmp_path / "night")
    made = Image.open(next((tmp_path / "night" / "developed").iterdir()))
    assert made.size == photo.size[::-1]
    assert (made.getexif()[274], made.getexif()[315]) == (1, "Ann")
    assert made.info["icc_profile"] == srgb_profile()


def test_a_camera_without_a_matrix_keeps_its_colours(tmp_path):
    frame = unprocessed(pictures(1, 0)[0], plain_sensor())
    np.save(tmp_path / "a.npy", frame.mosaic)
    black, white = float(frame.sensor.black.mean()), frame.sensor.white
    about = f"black: {black}\nwhite: {white}\ngains: [2, 1, 1.5]\n"
    (tmp_path / "a.npy.yaml").write_text(about)
    result = develop(tmp_path)
    assert result.table.num_rows == 1
    assert "camera's colours" in result.notes[0]


def test_other_sensors_are_not_learnt_from(places, tmp_path):
    _, _, photos = places
    raws = folder_of_raws(tmp_path / "raws", 0)
    frame = read(raws / "0.dng")
    own = replace(frame.sensor, white=frame.sensor.white * 4)
    write_dng(raws / "2.dng", Raw(frame.mosaic * 4, own))
    result = develop(raws, like=photos, settings=ISP | {"steps": 1})
    assert any("other sensors" in note for note in result.notes)
    assert [one["path"] for one in result.findings["problems"]] == ["2.dng"]


def test_nothing_is_written_without_out(places):
    root, raws, photos = places
    before = sorted(root.rglob("*"))
    here = sorted(os.listdir())
    result = develop(raws, like=photos, settings=ISP)
    assert sorted(root.rglob("*")) == before
    assert sorted(os.listdir()) == here
    assert result.way.trained.steps == 3


def test_like_photos(places, tmp_path):
    _, raws, photos = places
    result = develop(raws, like=photos, settings=ISP, out=tmp_path / "out")
    kept = load(tmp_path / "out" / "isp.safetensors")
    shown = np.asarray(Image.open(tmp_path / "out" / "developed" / "1.png"))
    np.testing.assert_array_equal(kept.developed(read(raws / "1.dng")), shown)
    facts = result.findings["facts"]
    assert facts["parameters"] == 3060
    assert facts["operations per pixel"] == 756
    written = (tmp_path / "out" / "isp.onnx").exists()
    assert written or any("isp.onnx" in note for note in result.notes)
    said = json.loads((tmp_path / "out" / "run.json").read_text())
    assert said["settings"]["steps"] == 3


def test_another_camera(places, tmp_path):
    _, raws, _ = places
    others = folder_of_raws(tmp_path / "others", 5)
    out = tmp_path / "out"
    result = develop(raws, like=others, method="rawformer", settings=TRANSLATOR, out=out)
    made = read(out / "developed" / "0.dng")
    assert made.size == read(raws / "0.dng").size
    assert made.sensor.white == read(others / "0.dng").sensor.white
    assert {"there.safetensors", "back.safetensors"} <= {path.name for path in out.iterdir()}
    assert result.table.column("made").to_pylist() == ["developed/0.dng", "developed/1.dng"]


def test_night(places, tmp_path):
    _, _, photos = places
    result = develop(photos, to="night", out=tmp_path / "out")
    dark, day = (np.array(result.table.column(name)) for name in ("after", "before"))
    assert (dark < day).all()
    assert (tmp_path / "out" / "developed" / "1.png").is_file()
    matched = develop(photos, to="night", like=photos)
    assert matched.findings["facts"]["distance of histograms"] >= 0


def test_one_bad_file_stops_nothing(tmp_path):
    raws = folder_of_raws(tmp_path / "raws", 0)
    (raws / "2.dng").write_bytes((raws / "0.dng").read_bytes()[:600])
    (raws / "3.dng").write_bytes(b"\xff\xd8\xff jpeg")
    result = develop(raws)
    assert result.table.num_rows == 2
    reasons = {one["path"]: one["reason"] for one in result.findings["problems"]}
    assert "JPEG" in reasons["3.dng"]
    assert set(reasons) == {"2.dng", "3.dng"}
    for path in (raws / "0.dng", raws / "1.dng"):
        path.unlink()
    with pytest.raises(SourceProblem, match="no file could be developed"):
        develop(raws)


def test_a_run_that_was_cut_off_goes_on(places, tmp_path):
    _, raws, photos = places
    out = tmp_path / "out"
    develop(raws, like=photos, settings=ISP, out=out)
    for path in (out / "developed").iterdir():
        path.unlink()
    said = []
    longer = ISP | {"steps": 4}
    result = develop(raws, like=photos, settings=longer, out=out, tell=said.append)
    assert any("going on at step 3" in line for line in said)
    assert result.way.trained.steps == 4
    for path in (out / "developed").iterdir():
        path.unlink()
    with pytest.raises(Problem, match="other files or settings"):
        develop(raws, like=photos, settings=longer | {"batch": 3}, out=out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"to": "day"}, "night"),
        ({"method": "rawfomer"}, "did you mean rawformer"),
        ({"method": "lightisp"}, "look to learn"),
        ({"method": "rawformer"}, "other camera"),
        ({"method": "lightisp", "to": "night"}, "nothing else"),
        ({"method": "plain", "like": "x"}, "leave out like"),
        ({"where": "a = 1"}, "folder"),
        ({"like": "photos", "settings": {"bach": 2}}, "batch"),
    ],
)
def test_words_that_do_not_fit(places, words, said):
    with pytest.raises(SettingProblem, match=said):
        develop(places[1], **words)


def test_where_results_must_not_go(places):
    with pytest.raises(SourceProblem, match="among the files"):
        develop(places[1], out=places[1] / "out")
