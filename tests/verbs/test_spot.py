"""`spot` on small plates: modes, files, and a clear sentence for every bad input."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fallow
from fallow.encoders import Encoder
from fallow.images.samples import write
from fallow.methods.shared.oddness import robust_threshold
from fallow.problems import Problem, SettingProblem, SourceProblem
from fallow.verbs.spot import spot

QUICK = {"size": 64, "degrees": [1, 3]}


def plate(seed: int, defect: bool = False, side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Stripes with a little noise; a defect is a dark disc off the stripes' rhythm."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    pixels = 150 + 40 * np.sin(x / 3)[..., None] + random.normal(0, 3, (side, side, 3))
    mask = np.zeros((side, side), np.uint8)
    if defect:
        at = random.integers(16, side - 16, 2)
        mask = (((y - at[0]) ** 2 + (x - at[1]) ** 2) < 36).astype(np.uint8)
        pixels = np.where(mask[..., None], 40, pixels)
    return pixels.clip(0, 255).astype(np.uint8), mask


ODD = (2, 7, 11)


def folder(place: Path, count: int = 14, odd: tuple[int, ...] = ODD, start: int = 0) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels, _ = plate(start + number, number in odd)
        Image.fromarray(pixels).save(place / f"{number:02}.png")
    return place


def labelled(place: Path, masks: bool = True, labels: bool = True) -> Path:
    folder(place)
    (place / "masks").mkdir()
    rows = []
    for number in range(14):
        _, mask = plate(number, number in ODD)
        name = ""
        if number in ODD and masks:
            name = f"masks/{number:02}.png"
            Image.fromarray(mask * 255).save(place / name)
        rows.append([f"{number:02}.png", name, "hole" if number in ODD else "good"])
    with open(place / "labels.csv", "w", newline="") as file:
        header = ["path", "mask", "label"]
        used = [0, *([1] if masks else []), *([2] if labels else [])]
        writer = csv.writer(file)
        writer.writerow([header[k] for k in used])
        writer.writerows([row[k] for k in used] for row in rows)
    return place


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("spot")
    source = labelled(place / "plates")
    return spot(source, settings=QUICK, out=place / "run"), place


def test_the_odd_ones_come_first_and_their_maps_point_at_the_defect(run):
    result, _ = run
    assert {int(Path(p).stem) for p in result.table["path"].to_pylist()[:3]} == set(ODD)
    assert result.table["rank"].to_pylist() == list(range(1, 15))
    assert result.findings["measured"]["image"] == {"auroc": 1.0, "ap": 1.0, "f1_max": 1.0}
    pixel = result.findings["measured"]["pixel"]
    assert pixel["auroc"] > 0.95
    assert pixel["aupro"] > 0.8
    for row in range(3):
        number = int(Path(result.table["path"][row].as_py()).stem)
        heat = result.map(row)
        _, mask = plate(number, True)
        assert heat[mask == 1].mean() > 1.3 * heat[mask == 0].mean()
        assert heat[mask == 1].max() > result.threshold
    assert set(result.table["path"].to_pylist()[:3]) == set(
        result.table.filter(result.table["flagged"])["path"].to_pylist()
    )


def test_what_is_written(run):
    result, place = run
    out = place / "run"
    with open(out / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == result.table["path"].to_pylist()
    assert float(rows[0]["score"]) == pytest.approx(result.table["score"][0].as_py())
    for row in (0, 13):
        name = rows[row]["path"]
        deep = np.array(Image.open(out / "tiff" / f"{name}.tif"))
        assert deep.dtype == np.uint16
        np.testing.assert_allclose(deep / 65535 * 2, result.map(row), atol=2e-5)
        mask = np.array(Image.open(out / "masks" / f"{name}.png"))
        assert mask.dtype == bool
        assert mask.any() == (row == 0)
        with Image.open(out / "heat" / f"{name}.png") as heat:
            assert heat.size == (64, 64)
        assert (out / "overlays" / f"{name}.jpg").is_file()
    about = json.loads((out / "run.json").read_text())
    assert about["threshold"] == result.threshold
    assert about["settings"]["degrees"] == [1, 3]
    page = (out / "report.html").read_text()
    assert page.count('class="spotted') == 14
    assert "11.png" in page


def test_nothing_is_written_unless_a_folder_is_named(tmp_path, monkeypatch):
    source = folder(tmp_path / "plates", 4)
    monkeypatch.chdir(tmp_path)
    found = spot(source, settings=QUICK)
    assert found.folder is None
    assert [path.name for path in tmp_path.iterdir()] == ["plates"]
    found.save(tmp_path / "later")  # all of it is still there to be written
    assert (tmp_path / "later" / "bank.safetensors").is_file()
    assert len(list((tmp_path / "later" / "heat").iterdir())) == 4


def test_one_scale_for_all_heat_maps(run):
    result, place = run
    ordinary = np.array(Image.open(place / "run" / "heat" / f"{result.table['id'][13]}.png"))
    odd = np.array(Image.open(place / "run" / "heat" / f"{result.table['id'][0]}.png"))
    assert odd.astype(int).max() - ordinary.astype(int).max() > 40  # not stretched by itself


def test_against_a_saved_run(run, tmp_path):
    result, place = run
    new = folder(tmp_path / "new", 3, odd=(1,), start=100)
    found = spot(new, against=place / "run", out=tmp_path / "out")
    assert Path(found.table["path"][0].as_py()).stem == "01"
    assert found.table["flagged"].to_pylist() == [True, False, False]
    assert found.findings["heat"] == tuple(result.findings["heat"])
    assert not (tmp_path / "out" / "bank.safetensors").exists()
    one = folder(tmp_path / "one", 1, odd=(), start=200)
    assert spot(one, against=place / "run", out=tmp_path / "o").table["flagged"][0].as_py() is False


def test_a_run_is_scored_in_its_own_way(run, tmp_path):
    _, place = run
    new = folder(tmp_path / "new", 3)
    for more in ({"window": 1}, {"encoder": "resnet8"}, {"settings": QUICK}, {"preset": "paper"}):
        with pytest.raises(SettingProblem, match="saved run"):
            spot(new, against=place / "run", out=tmp_path / "out", **more)
    with pytest.raises(SourceProblem, match="not a saved run of spot"):
        spot(new, against=tmp_path, out=tmp_path / "out")
    with pytest.raises(SettingProblem, match="not both"):
        spot(new, against=place / "run", good=new, out=tmp_path / "out")


def test_known_good_images_see_a_defect_that_all_share(tmp_path):
    good = folder(tmp_path / "good", 6, odd=(), start=50)
    mostly = folder(tmp_path / "mostly", 6, odd=(0, 1, 2, 3, 4), start=80)
    found = spot(mostly, good=good, settings=QUICK, out=tmp_path / "out")
    assert Path(found.table["path"][5].as_py()).stem == "05"
    assert found.table["flagged"].to_pylist() == [True] * 5 + [False]
    again = spot(
        folder(tmp_path / "single", 1, odd=(0,), start=90), against=tmp_path / "out",
        out=tmp_path / "again",
    )  # fmt: skip
    assert again.table["flagged"].to_pylist() == [True]


def test_a_window_and_tiles(tmp_path):
    source = folder(tmp_path / "plates")
    for options in ({"window": 1}, {"tiles": "2x1"}, {"tiles": 2, "window": 2}):
        found = spot(source, encoder="untrained", settings=QUICK, out=tmp_path / "out", **options)
        first = {int(Path(p).stem) for p in found.table["path"].to_pylist()[:3]}
        assert first == set(ODD), options
    assert found.patches.shape == (14, 32, 32)  # two inputs of 16 x 16 patches, either way


def test_subsets_cover_every_image_once(tmp_path):
    source = folder(tmp_path / "plates", 22, odd=(3, 15))
    lines: list[str] = []
    found = spot(
        source,
        settings=QUICK | {"subset": 8, "scoring": "published"},
        out=tmp_path / "out",
        tell=lines.append,
        seed=1,
    )
    assert sorted(found.table["row"].to_pylist()) == list(range(22))
    assert len(lines) == 3
    assert {Path(p).stem for p in found.table["path"].to_pylist()[:2]} == {"03", "15"}


def test_look_alikes_are_an_option_that_shows_its_effect(tmp_path):
    source = labelled(tmp_path / "plates")
    found = spot(source, settings=QUICK, preset="paper", out=tmp_path / "out")
    assert set(found.findings["measured"]) == {"image", "image, without look-alikes", "pixel"}
    assert 0 <= min(found.table["score"].to_pylist()) <= max(found.table["score"].to_pylist()) <= 1
    assert found.table["score_alone"][0].as_py() > found.findings["mask_threshold"]


def test_same_seed_same_result(run, tmp_path):
    result, place = run
    again = spot(place / "plates", settings=QUICK, out=tmp_path / "out")
    assert again.table.equals(result.table)


def test_a_transformer_is_looked_at_in_four_blocks(tmp_path):
    source = folder(tmp_path / "plates", 6, odd=(4,))
    encoder = fallow.encoder("vit-nano/8", size=32)
    found = spot(source, encoder=encoder, settings={"size": 64, "degrees": [1]}, out=tmp_path / "o")
    assert found.findings["sight"]["layers"] == (0, 2, 3, 5)
    assert found.patches.shape == (6, 8, 8)
    assert isinstance(encoder, Encoder)
    assert encoder.size == 32  # the caller's encoder is left as it was


def notes(result) -> str:
    return " ".join([*result.headlines, *result.notes])


def test_one_image(tmp_path):
    with pytest.raises(SourceProblem, match="one image, which nothing can be compared with"):
        spot(folder(tmp_path / "one", 1), settings=QUICK, out=tmp_path / "out")


def test_two_images(tmp_path):
    found = spot(folder(tmp_path / "two", 2), settings=QUICK, out=tmp_path / "out")
    assert "Two images only show where they differ" in notes(found)


def test_few_images(tmp_path):
    found = spot(folder(tmp_path / "few", 4), settings=QUICK, out=tmp_path / "out")
    assert "4 images are few" in notes(found)
    assert np.isfinite(found.patches).all()


def test_all_identical(tmp_path):
    pixels, _ = plate(0)
    (tmp_path / "same").mkdir()
    for number in range(12):
        Image.fromarray(pixels).save(tmp_path / "same" / f"{number}.png")
    found = spot(tmp_path / "same", settings=QUICK, out=tmp_path / "out")
    assert "all alike to the encoder: nothing stands out" in notes(found)
    assert "11 images repeat another byte for byte" in notes(found)
    assert not any(found.table["flagged"].to_pylist())


def test_mixed_sizes(tmp_path):
    source = folder(tmp_path / "plates", 12, odd=(5,))
    for number in range(4):
        wide, _ = plate(300 + number)
        Image.fromarray(np.tile(wide, (1, 2, 1))).save(source / f"wide{number}.png")
    found = spot(source, settings=QUICK, out=tmp_path / "out")
    assert "differ in shape" in notes(found)
    row = found.table["path"].to_pylist().index("wide0.png")
    assert found.map(row).shape == (64, 128)


def test_masks_of_another_size(tmp_path):
    source = labelled(tmp_path / "plates")
    for name, size in (("02", (128, 128)), ("07", (32, 32)), ("11", (64, 20))):
        path = source / "masks" / f"{name}.png"
        Image.open(path).resize(size, Image.Resampling.NEAREST).save(path)
    found = spot(source, settings=QUICK, out=tmp_path / "out")
    assert "2 masks of another size than the picture: stretched to fit" in notes(found)
    assert "1 mask of another shape than the picture: left out" in notes(found)
    assert found.findings["measured"]["pixel"]["auroc"] > 0.9


def test_masks_without_labels(tmp_path):
    source = labelled(tmp_path / "plates", labels=False)
    found = spot(source, settings=QUICK, out=tmp_path / "out")
    assert "a picture counts as odd where its mask marks something" in notes(found)
    assert found.findings["measured"]["image"]["auroc"] == 1


def test_labels_without_masks(tmp_path):
    source = labelled(tmp_path / "plates", masks=False)
    found = spot(source, settings=QUICK, out=tmp_path / "out")
    assert list(found.findings["measured"]) == ["image"]


def test_labels_that_name_no_good_images(tmp_path):
    source = folder(tmp_path / "plates", 10)
    rows = "\n".join(f"{n:02}.png,{'a' if n % 2 else 'b'}" for n in range(10))
    (source / "labels.csv").write_text(f"path,label\n{rows}\n")
    found = spot(source, settings=QUICK, out=tmp_path / "out")
    assert found.findings["measured"] == {}
    assert "name no good images" in notes(found)


def test_only_good_ones_are_undefined_not_zero(tmp_path):
    source = folder(tmp_path / "plates", 10, odd=())
    rows = "\n".join(f"{n:02}.png,good" for n in range(10))
    (source / "labels.csv").write_text(f"path,label\n{rows}\n")
    found = spot(source, settings=QUICK, out=tmp_path / "out")
    assert "AUROC undefined, AP undefined, F1-max undefined" in notes(found)


def test_unreadable_files_are_counted(tmp_path):
    source = folder(tmp_path / "plates", 10)
    (source / "broken.png").write_bytes(b"not a picture")
    found = spot(source, settings=QUICK, out=tmp_path / "out")
    assert "1 file could not be read" in notes(found)
    assert found.table.num_rows == 10


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"layers": [7]}, "there is no layer 7"),
        ({"size": 3}, "does not fit"),
        ({"degree": [1]}, "did you mean degrees"),
    ],
)
def test_bad_settings(tmp_path, settings, text):
    with pytest.raises(Problem, match=text):
        spot(folder(tmp_path / "plates", 3), settings=settings, out=tmp_path / "out")


def test_threshold_ignores_labels_but_not_a_large_share_of_defects():
    random = np.random.default_rng(0)
    for share in (0.0, 0.2, 0.45):
        odd = int(200 * share)
        scores = np.r_[random.normal(1, 0.05, 200 - odd), random.normal(2, 0.3, odd)]
        flagged = scores > robust_threshold(scores, 3)
        assert flagged[200 - odd :].mean() > 0.9 if odd else True
        assert flagged[: 200 - odd].mean() < 0.06


def test_command_line(tmp_path, monkeypatch, capsys):
    from fallow import cli

    source = folder(tmp_path / "plates")
    monkeypatch.chdir(tmp_path)
    words = ["fallow", "spot", str(source), "--set", "size=64", "--set", "degrees=[1]"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    assert "stand out" in capsys.readouterr().out
    assert (tmp_path / "plates-spot" / "scores.csv").is_file()
    monkeypatch.setattr("sys.argv", ["fallow", "spot", str(source), "--against", "nowhere"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "not a saved run" in capsys.readouterr().err


def test_samples_written_to_disk_bring_their_masks(tmp_path):
    source = write(fallow.images.samples.parts(12, side=48), tmp_path / "parts")
    found = spot(source, settings=QUICK, out=tmp_path / "out")
    assert set(found.findings["measured"]) == {"image", "pixel"}


def test_references_are_told_and_an_unfit_question_is_refused(tmp_path):
    pictures, references = fallow.images.samples.boards(8, seed=2, side=64)
    found = spot(pictures, reference=references, settings={"size": 128})
    assert found.findings["mode"] == "reference"
    assert "its own reference" in found.findings["compared with"]
    with pytest.raises(SettingProblem, match="good or reference"):
        spot(pictures, reference=references, good=references)


def test_two_kinds_of_pictures_are_each_judged_among_themselves():
    from fallow.images.samples import cells, parts

    kinds = [
        *(cells(14, side=48)[k] for k in range(14)),
        *(parts(14, side=48)[k] for k in range(14)),
    ]
    found = spot(kinds, settings=QUICK)
    assert "2 clear groups of pictures" in notes(found)
    assert sorted(found.table["row"].to_pylist()) == list(range(28))
