"""`segment` from a folder and a few masks to masks for all; and what people get wrong."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

import fallow
from fallow.cli import main
from fallow.images.masks import without_masks
from fallow.images.samples import cells
from fallow.images.scans import stretched
from fallow.images.volumes import Volumes
from fallow.problems import SettingProblem, SourceProblem

QUICK = {"size": 32, "batch": 4, "precision": "32"}


@pytest.fixture
def folder(tmp_path):
    """Eight pictures, three masks of 0 and 255."""
    images = cells(8, seed=0, side=40)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "masks").mkdir()
    for row, key in enumerate(images.column("id")):
        Image.fromarray(images[row]).save(tmp_path / "pictures" / f"{key}.png")
        if row < 3:
            mask = (images.mask(row) > 0).astype(np.uint8) * 255
            Image.fromarray(mask).save(tmp_path / "masks" / f"{key}.png")
    return tmp_path


def quick(folder, **more):
    more = {"epochs": 2, "encoder": "unet/4", "out": folder / "out", "settings": QUICK} | more
    return fallow.segment(folder / "pictures", folder / "masks", **more)


def test_its_own_choice_copes_with_two_small_pictures(tmp_path):
    images = cells(2, side=32)
    first = images.column("id")[0]
    mask = (images.mask(0) > 0).astype(np.uint8)
    found = fallow.segment(without_masks(images), {first: mask}, epochs=2, out=tmp_path / "out")
    assert (found.run.encoder.name, found.run.settings.size) == ("tiny", 64)
    assert found.mask(0).shape == (32, 32)


def test_every_picture_gets_a_mask_in_the_users_own_values(folder):
    found = quick(folder)
    assert found.table.num_rows == 8
    for row, (key, given) in enumerate(
        zip(
            found.table.column("id").to_pylist(),
            found.table.column("given").to_pylist(),
            strict=True,
        )
    ):
        mask = found.mask(row)
        assert mask.shape == (40, 40)
        assert set(np.unique(mask)) <= {0, 255}
        stem = key.removesuffix(".png")
        with Image.open(folder / "out" / "masks" / f"{stem}.png") as picture:
            assert picture.mode == "P"
        if given:
            with Image.open(folder / "masks" / key) as own:
                assert np.array_equal(mask, np.array(own))
        for kind in ("overlays", "uncertainty"):
            with Image.open(folder / "out" / kind / f"{stem}.jpg") as picture:
                assert picture.size == (40, 40)
    assert (folder / "out" / "run.json").exists()
    assert (folder / "out" / "segmenter" / "decoder.safetensors").exists()


def test_nothing_is_written_unless_a_folder_is_named(folder, monkeypatch):
    before = sorted(folder.rglob("*"))
    monkeypatch.chdir(folder)
    found = quick(folder, out=None)
    assert found.folder is None
    assert sorted(folder.rglob("*")) == before
    masks = [found.mask(row) for row in range(8)]
    found.save(folder / "later")
    for row, name in enumerate(found.table.column("mask").to_pylist()):
        with Image.open(folder / "later" / name) as picture:
            assert np.array_equal(np.array(picture), masks[row])


def test_places_not_to_be_judged_keep_their_value(folder):
    path = folder / "masks" / "cells_0000.png"
    with Image.open(path) as picture:
        own = np.array(picture)
    own[:4] = 9
    Image.fromarray(own).save(path)
    found = quick(folder, classes={"ground": 0, "cell": 255}, ignore=[9])
    row = found.table.column("id").to_pylist().index("cells_0000.png")
    assert np.array_equal(found.mask(row), own)


def test_the_next_to_label_come_first_and_are_those_of_most_disagreement(folder):
    found = quick(folder)
    given = found.table.column("given").to_pylist()
    apart = found.table.column("disagreement").to_pylist()
    assert given == [False] * 5 + [True] * 3
    assert apart[:5] == sorted(apart[:5], reverse=True)
    assert apart[0] > 0
    with open(folder / "out" / "masks.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == found.table.column("id").to_pylist()
    page = (folder / "out" / "report.html").read_text()
    assert "Label next" in page
    assert rows[0]["id"] in page


def test_a_second_call_does_not_train_again(folder):
    one = quick(folder)
    two = quick(folder)
    assert two.run.timing["total"] == 0.0
    assert one.table.equals(two.table)


def test_the_saved_segmenter_gives_the_same_probabilities(folder):
    import torch

    from fallow.encoders.segmenter import load_segmenter

    found = quick(folder)
    network, about = load_segmenter(folder / "out" / "segmenter")
    assert about["values"] == [0, 255]
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    student = found.method.student.eval().to(memory_format=torch.contiguous_format)
    assert torch.allclose(network(x), student(x), atol=1e-6)


def test_cells_turn_the_component_filter_off(folder):
    assert quick(folder).run.settings.components == "all"


def test_pictures_that_are_not_square_keep_their_shape(tmp_path):
    random = np.random.default_rng(0)
    images = [random.integers(0, 255, (30, 64, 3)).astype(np.uint8) for _ in range(5)]
    mask = np.zeros((30, 64), np.uint8)
    mask[5:20, 8:40] = 1
    found = fallow.segment(
        fallow.open(images), {"000000": mask}, epochs=1, encoder="unet/4",
        settings=QUICK, out=tmp_path / "out",
    )  # fmt: skip
    assert {found.mask(row).shape for row in range(5)} == {(30, 64)}


def test_volumes(tmp_path):
    pytest.importorskip("nibabel")
    random = np.random.default_rng(0)
    scans = [random.normal(size=(8, 20, 20)).astype(np.float32) for _ in range(4)]
    mask = np.zeros((8, 20, 20), np.uint8)
    mask[2:6, 4:12, 4:12] = 1
    found = fallow.segment(
        Volumes(scans, [mask, None, None, None]), epochs=1, encoder="vnet/4",
        settings={"size": 32, "depth": 16}, out=tmp_path / "out",
    )  # fmt: skip
    assert found.table.num_rows == 4
    assert found.mask(0).shape == (8, 20, 20)
    import nibabel

    for name in found.table.column("mask").to_pylist():
        assert nibabel.load(tmp_path / "out" / name).shape == (20, 20, 8)


def refused(match, kind=SourceProblem):
    return pytest.raises(kind, match=match)


def test_masks_for_all(folder):
    for path in (folder / "pictures").iterdir():
        Image.new("L", (40, 40), 0).save(folder / "masks" / path.name)
    Image.fromarray(np.eye(40, dtype=np.uint8)).save(folder / "masks" / "cells_0000.png")
    with refused("all 8 pictures have a mask already"):
        quick(folder)


def test_one_bare_picture_is_enough(folder):
    for path in sorted((folder / "pictures").iterdir())[4:]:
        path.unlink()
    assert quick(folder).table.num_rows == 4


def test_settings_and_methods_that_do_not_exist(folder):
    with refused("did you mean bcp", SettingProblem):
        quick(folder, method="bcpp")
    with refused("leave classes out", SettingProblem):
        quick(folder, settings={"classes": 3})
    with refused("no preset", SettingProblem):
        quick(folder, preset="papr")
    with refused("uses no other pictures", SettingProblem):
        quick(folder, method="bcp", more=folder / "pictures")


def test_dark_scans_of_sixteen_bits_are_stretched():
    random = np.random.default_rng(0)
    scans = [random.integers(0, 1200, (16, 16)).astype(np.uint16) for _ in range(4)]
    seen, note = stretched(fallow.open(scans))
    assert seen[0].max() == 255
    assert seen[0].std() > 50
    assert "of their 16 bits" in note
    assert seen.fingerprint != fallow.open(scans).fingerprint
    bright = [scan * 50 for scan in scans]
    assert stretched(fallow.open(bright))[1] == ""


def test_dark_scans_in_files(tmp_path):
    scan = np.arange(256, dtype=np.uint16).reshape(16, 16) * 4
    for k in range(3):
        Image.fromarray(scan).save(tmp_path / f"s{k}.png")
    seen, note = stretched(fallow.open(tmp_path))
    assert note
    assert seen[1].max() == 255


def test_the_command_line(folder, monkeypatch, capsys):
    words = ["fallow", "segment", str(folder / "pictures"), "--masks", str(folder / "masks"),
             "--epochs", "1", "--encoder", "unet/4", "--out", str(folder / "out"),
             "--set", "size=32", "--set", "batch=4"]  # fmt: skip
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 0
    said = capsys.readouterr().out
    assert "label next" in said
    assert "report.html" in said
    monkeypatch.setattr("sys.argv", [*words[:3], "--masks", str(folder / "nowhere")])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 2
