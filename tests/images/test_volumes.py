"""Volumes in the place of pictures: checks, streams, and NIfTI where nibabel is there."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.images.volumes import Volumes, open_volumes, write_volume
from fallow.problems import MissingPackage, SourceProblem
from fallow.train.loader import VolumeStream
from fallow.views.volumes import Crop


def scans(count=4, size=(6, 16, 16)):
    random = np.random.default_rng(0)
    return [random.integers(-1000, 1000, size).astype(np.int16) for _ in range(count)]


def test_streams_give_normalised_crops_and_masks():
    masks = [np.ones((6, 16, 16), np.uint8), None, None, None]
    stream = VolumeStream(Volumes(scans(), masks), Crop((4, 8, 8)), seed=0)
    batch = stream.batch(np.array([0, 1, 0]), 0)
    assert batch.views[0].shape == (3, 1, 4, 8, 8)
    assert batch.masks[0].shape == (3, 4, 8, 8)
    assert batch.masks[0][0].unique().tolist() == [1]
    assert batch.masks[0][1].unique().tolist() == [255]
    assert not np.array_equal(batch.views[0][0], batch.views[0][2])
    assert abs(float(batch.views[0].std()) - 1) < 0.2
    again = stream.batch(np.array([0, 1, 0]), 0)
    assert np.array_equal(again.views[0], batch.views[0])


def test_bad_volumes():
    with pytest.raises(SourceProblem, match="single slice: give such scans as pictures"):
        Volumes(scans(1, (1, 8, 8)))
    with pytest.raises(SourceProblem, match="must cover its volume exactly"):
        Volumes(scans(1), [np.zeros((5, 16, 16), np.uint8)])
    with pytest.raises(SourceProblem, match="not depth x height x width"):
        Volumes([np.zeros((4, 4))])
    broken = np.full((4, 8, 8), np.nan, np.float32)
    with pytest.raises(SourceProblem, match="not numbers"):
        Volumes([broken]).normalised(0)


def test_equal_scans_have_equal_fingerprints():
    assert Volumes(scans()).fingerprint == Volumes(scans()).fingerprint
    other = scans()
    other[0][0, 0, 0] += 1
    assert Volumes(scans()).fingerprint != Volumes(other).fingerprint


def test_nifti_comes_back_as_written(tmp_path):
    pytest.importorskip("nibabel")
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    mask = (np.arange(6 * 16 * 16).reshape(6, 16, 16) % 3).astype(np.uint8)
    for name in ("s1.nii.gz", "s2.nii"):
        (tmp_path / "scans").mkdir(exist_ok=True)
        write_volume(tmp_path / "scans" / name, mask, affine)
    (tmp_path / "masks").mkdir()
    write_volume(tmp_path / "masks" / "s2_mask.nii.gz", mask, affine)
    found = open_volumes(tmp_path / "scans", tmp_path / "masks")
    assert found.names == ["s1", "s2"]
    assert found.masked.tolist() == [False, True]
    assert np.array_equal(found.arrays[0], mask)
    assert np.array_equal(found.masks[1], mask)
    assert np.array_equal(found.headers[0], affine)
    nested = open_volumes(tmp_path, tmp_path / "masks")  # masks beside the scans are not scans
    assert nested.names == ["s1", "s2"]
    (tmp_path / "scans" / "again").mkdir()
    write_volume(tmp_path / "scans" / "again" / "s1.nii", mask, affine)
    with pytest.raises(SourceProblem, match=r"two scans .* are called s1"):
        open_volumes(tmp_path / "scans")


def test_without_nibabel_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    (tmp_path / "a.nii").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(MissingPackage, match=r"fallow\[scans\]"):
        open_volumes(tmp_path)
