"""Masks and what their values mean: matching, classes, and every mistake in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import fallow
from fallow.images.classes import found_classes, named_classes
from fallow.images.masks import packed_masks, read_masks, with_masks, without_masks
from fallow.problems import SettingProblem, SourceProblem


@pytest.fixture
def folder(tmp_path):
    """Six pictures of 20 x 30 in two sub-folders."""
    for k in range(6):
        path = tmp_path / "pictures" / "ab"[k % 2] / f"p{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30, 3), 40 * k, np.uint8)).save(path)
    return tmp_path


def mask_of(folder, name, values, mode=None):
    path = folder / "masks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values), mode).save(path)
    return folder / "masks"


def half(value=255, size=(20, 30), dtype=np.uint8):
    mask = np.zeros(size, dtype)
    mask[:, : size[1] // 2] = value
    return mask


def opened(folder):
    return fallow.open(folder / "pictures")


def test_masks_are_found_by_name_with_and_without_a_tail(folder):
    mask_of(folder, "a/p0.png", half())
    where = mask_of(folder, "p3_mask.png", half())
    found = read_masks(opened(folder), where)
    assert found.labelled.column("id").tolist() == ["a/p0.png", "b/p3.png"]
    assert len(found.bare) == 4
    assert "mask" not in found.bare.columns
    assert found.classes.values == (0, 255)
    assert found.labelled.mask(1).max() == 1
    assert found.classes.written(found.labelled.mask(1)).max() == 255


def test_a_folder_of_masks_inside_the_source_holds_no_pictures(folder):
    mask_of(folder, "p0.png", half())
    found = read_masks(fallow.open(folder), folder / "masks")
    assert len(found.labelled) + len(found.bare) == 6


def test_a_column_of_masks_serves_too():
    from fallow.images.samples import parts

    images = parts(6, side=32)
    some = with_masks(without_masks(images), {2: images.mask(2), 5: images.mask(5)})
    found = read_masks(some)
    assert len(found.labelled) == 2
    assert np.array_equal(found.labelled.mask(0), images.mask(2))


def test_numbered_cells_are_one_class():
    from fallow.images.samples import cells

    images = cells(4, side=64)
    found = read_masks(images.select([0, 1]))
    assert found.classes.instances
    assert len(found.classes) == 2
    assert np.array_equal(found.labelled.mask(0), (images.mask(0) > 0).astype(np.uint8))
    assert any("number their objects" in note for note in found.notes)


def test_colours_are_classes_and_come_back(folder):
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:5] = (255, 0, 0)
    picture[5:9] = (0, 200, 10)
    where = mask_of(folder, "p1.png", picture)
    found = read_masks(opened(folder), where)
    assert found.classes.values == (0, 0x00C80A, 0xFF0000)
    assert found.classes.colours[2] == (255, 0, 0)
    assert np.unique(found.labelled.mask(0)).tolist() == [0, 1, 2]
    assert found.classes.palette()[6:9] == [255, 0, 0]


def test_255_beside_counted_classes_is_not_judged():
    classes = found_classes({"a": np.array([[0, 1, 2, 255]])})
    assert classes.values == (0, 1, 2)
    assert classes.codes(np.array([[255, 1]])).tolist() == [[255, 1]]
    assert found_classes({"a": np.array([[0, 255]])}).values == (0, 255)


def test_named_classes_from_yaml(tmp_path):
    (tmp_path / "classes.yaml").write_text("road: 0\ncar: '#ff0000'\nignore: [11]\n")
    classes = named_classes(tmp_path / "classes.yaml")
    assert classes.names == ("road", "car")
    assert classes.ignore == (11,)


def test_sixteen_bit_masks_keep_their_values(folder):
    where = mask_of(folder, "p0.png", half(1000, dtype=np.uint16))
    found = read_masks(opened(folder), where)
    assert found.classes.values == (0, 1000)


def refused(folder, where, match, **more):
    with pytest.raises(SourceProblem, match=match.replace(" .* ", r".*")) as caught:
        read_masks(opened(folder), where, **more)
    assert "\n" not in str(caught.value)


def test_a_mask_of_another_shape_is_refused_and_of_another_size_stretched(folder):
    where = mask_of(folder, "p0.png", half(size=(20, 20)))
    refused(folder, where, "20 x 20 pixels and its picture 30 x 20")
    mask_of(folder, "p0.png", half(size=(40, 60)))
    found = read_masks(opened(folder), where)
    assert found.labelled.mask(0).shape == (20, 30)
    assert np.array_equal(found.labelled.mask(0), half(1))
    assert any("stretched" in note for note in found.notes)


def test_unknown_values_are_named(folder):
    where = mask_of(folder, "p0.png", half(7))
    refused(folder, where, "p0.png holds 7 .* which is no class", classes={"a": 0, "b": 1})
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:5] = (255, 0, 128)
    mask_of(folder, "p0.png", picture)
    refused(folder, where, "#ff0080", classes={"a": 0, "b": "#00ff00"})


def test_smeared_masks_are_refused(folder):
    random = np.random.default_rng(0)
    where = mask_of(folder, "p0.png", random.integers(0, 255, (20, 30)).astype(np.uint8))
    refused(folder, where, "different values .* JPEG smears")
    blurred = half()
    blurred[:, 14] = np.arange(20) % 7
    blurred[:, 15] = 255 - np.arange(20) % 7
    mask_of(folder, "p0.png", blurred)
    refused(folder, where, "different values .* JPEG smears")


def test_empty_masks(folder):
    where = mask_of(folder, "p0.png", half(0))
    refused(folder, where, "one class only")
    refused(folder, where, "masks are empty", classes={"a": 0, "b": 1})
    mask_of(folder, "p1.png", half())
    found = read_masks(opened(folder), where)
    assert any("mark nothing" in note for note in found.notes)


def test_no_masks(folder):
    with pytest.raises(SourceProblem, match="none of the 6 pictures has a mask"):
        read_masks(opened(folder))
    where = mask_of(folder, "elsewhere.png", half())
    refused(folder, where, "called like a picture")
    with pytest.raises(SourceProblem, match="nothing at"):
        read_masks(opened(folder), folder / "nowhere")


def test_one_mask_for_two_pictures_is_refused(folder):
    Image.new("RGB", (30, 20)).save(folder / "pictures" / "b" / "p0.png")
    where = mask_of(folder, "p0.png", half())
    refused(folder, where, "fits more than one picture")


def test_classes_that_make_no_sense():
    with pytest.raises(SettingProblem, match="same mask value"):
        named_classes({"a": 0, "b": 0})
    with pytest.raises(SettingProblem, match="at least two"):
        named_classes({"a": 0})
    with pytest.raises(SettingProblem, match="no mask value"):
        named_classes({"a": 0, "b": "red"})


def test_packed_masks_have_the_size_of_packed_pictures(folder):
    where = mask_of(folder, "p0.png", half())
    labelled = read_masks(opened(folder), where).labelled
    pack = labelled.pack(side=10)
    assert packed_masks(labelled, pack)[0].shape == (10, 15)
