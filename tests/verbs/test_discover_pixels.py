"""`discover` with masks on small streets: maps, stages kept, and sentences for bad input."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import fallow
from fallow.images.masks import resized
from fallow.images.samples import STREET_CLASSES, streets
from fallow.outcomes.accepted import accept_masks
from fallow.problems import Problem, SettingProblem, SourceProblem
from fallow.regions import Superpixels
from fallow.verbs.discover import discover

SKY, ROAD = STREET_CLASSES.index("sky"), STREET_CLASSES.index("road")
HIDDEN = SKY  # held back from the masks
QUICK = {"neighbours": 5, "novel": 3, "side": 64, "threshold": 0.5}


def written(place: Path, known: int = 6, count: int = 10) -> Path:
    """Pictures; masks of the first few without the sky; masks of all with it."""
    images = streets(2 * count, seed=5, size=(64, 96)).where("time = 'day'")
    for part in ("pictures", "masks", "truth"):
        (place / part).mkdir(parents=True)
    for row in range(count):
        Image.fromarray(images[row]).save(place / "pictures" / f"{row:02}.png")
        mask = images.mask(row).astype(np.uint8)
        Image.fromarray(mask).save(place / "truth" / f"{row:02}.png")
        if row < known:
            hidden = np.where(mask == HIDDEN, 255, mask).astype(np.uint8)
            Image.fromarray(hidden).save(place / "masks" / f"{row:02}.png")
    return place


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return written(tmp_path_factory.mktemp("streets"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    cache = tmp_path_factory.getbasetemp() / "region-cache"
    monkeypatch.setenv("FALLOW_CACHE", str(cache))


@pytest.fixture(scope="module")
def run(place, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FALLOW_CACHE", str(tmp_path_factory.getbasetemp() / "region-cache"))
        return discover(
            place / "pictures", masks=place / "masks", truth=place / "truth", settings=QUICK,
            out=place / "run",
        )  # fmt: skip


def test_the_sky_is_found_without_ever_being_named(run):
    assert [one["known"] for one in run.classes] == [True] * 6 + [False] * 3
    measured = run.findings["measured"]
    assert measured["new classes"] == [f"class {HIDDEN}"]
    ious = measured["maps"]["regions"]["dataset"]
    best = measured["maps"]["best the regions allow"]["dataset"]
    assert 0.3 < ious["new"] <= best["new"]
    assert 0.2 < ious["all"] <= best["all"]
    matched = [c for c in measured["matched"].values() if c >= 0]
    assert matched == [6]  # one group stands for the sky, the others for nothing
    held = np.array(measured["confusion"])
    assert held.sum() == 4 * 64 * 96
    numbers = run.table["number"].to_numpy()
    areas = run.table["area"].to_numpy()
    np.testing.assert_array_equal(held.sum(1), np.bincount(numbers, areas, len(held)))


def test_maps_are_those_of_the_regions_at_the_size_of_the_picture(run, place):
    rows = run.table.to_pylist()
    for row in (0, 3):
        path = run.images.table["path"][row].as_py()
        mine = [one for one in rows if one["path"] == path]
        numbers = run.map(row)
        assert numbers.shape == (64, 96)
        assert set(np.unique(numbers)) == {one["number"] for one in mine}
        assert sum(one["area"] for one in mine) == 64 * 96
        values = {one["number"]: one["value"] for one in run.classes}
        with Image.open(place / "run" / "labels" / path) as kept:
            np.testing.assert_array_equal(np.array(kept), np.vectorize(values.__getitem__)(numbers))
    assert [one["value"] for one in run.classes[:6]] == [1, 2, 3, 4, 5, 6]
    assert len({one["value"] for one in run.classes} | {255}) == 10  # new values are nobody's
    assert all(0 <= one["agreement"] <= 1 for one in rows)


def test_what_is_written(run, place):
    out = place / "run"
    with open(out / "regions.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == run.table.num_rows
    classes = json.loads((out / "classes.json").read_text())
    assert [one["name"] for one in classes[6:]] == ["new 1", "new 2", "new 3"]
    assert sum(one["pixels"] for one in classes) == 4 * 64 * 96
    about = json.loads((out / "run.json").read_text())
    assert about["settings"]["neighbours"] == 5
    page = (out / "report.html").read_text()
    for text in ("new 1", "Could go either way", "IoU", "superpixels"):
        assert text in page
    assert page.count('class="group"') == 3


class Counted(Superpixels):
    calls = 0

    def __call__(self, pixels):
        type(self).calls += 1
        if type(self).calls == 4:
            raise KeyboardInterrupt  # stopped in the middle
        return super().__call__(pixels)


def test_a_run_that_was_stopped_goes_on(place, tmp_path, monkeypatch):
    monkeypatch.setenv("FALLOW_CACHE", str(tmp_path))
    looked = []
    encoder = fallow.encoder("untrained")
    inner = encoder.network.forward
    monkeypatch.setattr(encoder.network, "forward", lambda x: looked.append(len(x)) or inner(x))

    def run():
        return discover(
            place / "pictures", masks=place / "masks", regions=Counted(), encoder=encoder,
            settings=QUICK,
        )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        run()
    done = len(looked)
    assert done >= 3
    first = run()
    assert Counted.calls == 4 + 7  # the three before were not cut again
    calls, seen = Counted.calls, len(looked)
    again = run()
    assert (Counted.calls, len(looked)) == (calls, seen)  # nothing is made twice
    assert first.table.equals(again.table)
    # another threshold needs neither regions nor features
    other = discover(
        place / "pictures", masks=place / "masks", regions=Counted(), encoder=encoder,
        settings={**QUICK, "threshold": 0.6},
    )  # fmt: skip
    assert (Counted.calls, len(looked)) == (calls, seen)
    assert not other.table.equals(first.table)


def test_the_baseline_sorts_too(place):
    found = discover(place / "pictures", masks=place / "masks", method="kmeans", settings=QUICK)
    assert found.findings["counts"]["new groups"] == 3
    assert found.table.num_rows > 20


def test_a_segmenter_learns_what_was_found(place, tmp_path):
    found = discover(
        place / "pictures", masks=place / "masks", truth=place / "truth", minutes=0.05,
        segmenter="unet/8", settings=QUICK, out=tmp_path / "out",
    )  # fmt: skip
    assert found.findings["segmenter"]["steps"] > 0
    assert set(found.findings["measured"]["maps"]) == {
        "segmenter", "regions", "best the regions allow",
    }  # fmt: skip
    numbers = found.map(0)
    assert numbers.shape == (64, 96)
    assert numbers.max() < len(found.classes)
    assert sorted(path.name for path in (tmp_path / "out" / "pseudo").iterdir()) == sorted(
        path.name for path in (tmp_path / "out" / "labels").iterdir()
    )
    assert (tmp_path / "out" / "segmenter" / "model.safetensors").is_file()
    # a run that is done is not done again
    again = discover(
        place / "pictures", masks=place / "masks", minutes=0.05, segmenter="unet/8", settings=QUICK
    )
    assert again.findings["segmenter"] == found.findings["segmenter"]
    np.testing.assert_array_equal(again.map(1), found.map(1))
    for one, other in zip(
        again.network.state_dict().values(), found.network.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_accepted_groups_are_masks_for_the_next_run(run, place, tmp_path):
    done = accept_masks(place / "run", {"new 1": "sky", "new 2": "sky"}, tmp_path / "masks")
    names = yaml.safe_load((tmp_path / "masks" / "classes.yaml").read_text())
    values = {one["name"]: one["value"] for one in run.classes}
    assert names["sky"] == values["new 1"]
    assert "new 3" not in names
    assert done.table.num_rows == 4
    row = 0
    path = run.images.table["path"][row].as_py()
    mask = np.array(Image.open(tmp_path / "masks" / path))
    numbers = run.map(row)
    for number, one in enumerate(run.classes):
        expected = {"new 1": names["sky"], "new 2": names["sky"], "new 3": 255}.get(
            one["name"], one["value"]
        )
        assert (mask[numbers == number] == expected).all()
    with pytest.raises(SettingProblem, match="did you mean new 1"):
        accept_masks(place / "run", {"new1": "sky"}, tmp_path / "m")
    with pytest.raises(SourceProblem, match="not a saved run"):
        accept_masks(tmp_path, {"new 1": "sky"})


def test_the_verb_hands_masks_over(place):
    found = fallow.discover(place / "pictures", masks=place / "masks", settings=QUICK)
    assert type(found).__name__ == "PixelDiscovery"
    with pytest.raises(SettingProblem, match="classes sorts whole images"):
        fallow.discover(place / "pictures", masks=place / "masks", classes=4)
    with pytest.raises(SettingProblem, match="belong to masks"):
        fallow.discover(place / "pictures", regions="superpixels")


@pytest.mark.parametrize(
    ("masks", "options", "text"),
    [
        (None, {}, "has a mask"),
        ("truth", {}, "have masks: there is nothing left"),
        ("masks", {"method": "gcds"}, "did you mean gcdss"),
        ("masks", {"preset": "papers"}, "did you mean paper"),
        ("masks", {"settings": {"neighbours": 5000}}, "too few for 5000 neighbours"),
        ("masks", {"settings": {"thresold": 0.2}}, "did you mean threshold"),
        ("masks", {"regions": "superpixel"}, "did you mean superpixels"),
        ("masks", {"names": {"road": 2, "tree": 5}}, "no class"),
    ],
)
def test_bad_input_is_a_sentence(place, masks, options, text):
    given = None if masks is None else place / masks
    with pytest.raises(Problem, match=text):
        discover(place / "pictures", **({"method": "gcdss", "masks": given} | options))


def test_one_class_only_is_a_sentence(place, tmp_path):
    (tmp_path / "masks").mkdir()
    for row in range(3):
        mask = np.full((64, 96), 255, np.uint8)
        mask[40:] = ROAD
        Image.fromarray(mask).save(tmp_path / "masks" / f"{row:02}.png")
    with pytest.raises(Problem, match="one class only"):
        discover(place / "pictures", masks=tmp_path / "masks", settings=QUICK)


def test_masks_of_one_image_copies_and_an_empty_novel_set_are_told(place, tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "pictures").mkdir()
    for row in range(4):
        source = place / "pictures" / f"{min(row, 2):02}.png"  # the last repeats
        (tmp_path / "pictures" / f"{row:02}.png").write_bytes(source.read_bytes())
    (tmp_path / "masks" / "00.png").write_bytes((place / "truth" / "00.png").read_bytes())
    found = discover(
        tmp_path / "pictures", masks=tmp_path / "masks",
        settings={**QUICK, "threshold": 0.0, "reverse": False, "neighbours": 45},
    )  # fmt: skip
    said = " ".join(found.notes)
    assert "All masks are of one image" in said
    assert "1 image repeats another" in said or "images repeat another" in said
    assert found.findings["counts"]["new groups"] == 0
    assert "No region is new" in said


def test_an_unreadable_picture_is_left_out(place, tmp_path):
    (tmp_path / "pictures").mkdir()
    for row in range(8):
        data = (place / "pictures" / f"{row:02}.png").read_bytes()
        (tmp_path / "pictures" / f"{row:02}.png").write_bytes(data)
    whole = (place / "pictures" / "09.png").read_bytes()
    (tmp_path / "pictures" / "09.png").write_bytes(whole[: len(whole) // 2])
    found = discover(tmp_path / "pictures", masks=place / "masks", settings=QUICK)
    assert found.findings["counts"]["images sorted"] == 2
    assert any("could not be read" in line for line in found.headlines)


def test_vectors_that_are_no_numbers_are_a_sentence(place, monkeypatch):
    encoder = fallow.encoder("resnet8/8")
    with torch.no_grad():
        next(encoder.parameters()).fill_(float("nan"))
    with pytest.raises(Problem, match="NaN"):
        discover(place / "pictures", masks=place / "masks", encoder=encoder, settings=QUICK)


def test_maps_at_another_size():
    numbers = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(resized(numbers, (4, 6))[::2, ::2], numbers)
    np.testing.assert_array_equal(resized(resized(numbers, (8, 9)), (2, 3)), numbers)


def test_the_command_line_sorts_pixels_and_accepts_groups(place, tmp_path):
    from typer.testing import CliRunner

    from fallow.cli import app

    words = ["discover", str(place / "pictures"), "--masks", str(place / "masks")]
    for name, value in QUICK.items():
        words += ["--set", f"{name}={value}"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "known classes and 3 new groups" in done.output
    assert "report.html" in done.output
    done = CliRunner().invoke(
        app, ["discover", str(tmp_path / "out"), "--accept", "new 1=sky", "--accept", "new 3=sky"]
    )
    assert done.exit_code == 0, done.output
    assert "new 3 as sky: 4 masks of 7 classes" in done.output
    assert (tmp_path / "out" / "masks" / "classes.yaml").is_file()
