"""DICOM series as volumes: order, units, place, masks, and what cannot be one."""

import numpy as np
import pytest

from fallow.images.dicom import is_dicom
from fallow.images.volumes import holds_volumes, open_volumes, write_volume
from fallow.problems import MissingPackage, SourceProblem

pydicom = pytest.importorskip("pydicom")

SCAN = np.random.default_rng(0).integers(0, 4000, (5, 7, 9)).astype(np.uint16)
HEAD_FIRST = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def write_slice(path, pixels, number, **more):
    """A minimal file of one slice, or of several frames."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = generate_uid()
    one.SeriesInstanceUID = more.pop("series", "1.2.3")
    one.InstanceNumber = number
    one.Rows, one.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        one.NumberOfFrames = len(pixels)
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit, one.PixelRepresentation = 15, 0
    one.PixelData = pixels.tobytes()
    for name, value in more.items():
        setattr(one, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    one.save_as(path, enforce_file_format=True)


def write_series(folder, scan=SCAN, *, ending=".dcm", placed=True, **more):
    """Slices under names that do not follow their order."""
    for k, pixels in enumerate(scan):
        where = {}
        if placed:
            where = {
                "ImageOrientationPatient": HEAD_FIRST,
                "ImagePositionPatient": [10.0, 20.0, 30.0 + 2.5 * k],
                "PixelSpacing": [0.5, 0.75],
            }
        name = f"f{(k * 3) % len(scan)}{ending}"
        write_slice(folder / name, pixels, k + 1, **where, **more)


def test_slices_lie_in_the_order_of_their_places(tmp_path):
    write_series(tmp_path / "patient")
    found = open_volumes(tmp_path)
    assert found.names == ["patient"]
    assert np.array_equal(found.arrays[0], SCAN)
    # voxel (column, row, slice) to millimetres, right and back pointing the other way in NIfTI
    affine = found.headers[0]
    assert np.allclose(affine @ [0, 0, 0, 1], [-10, -20, 30, 1])
    assert np.allclose(affine @ [2, 4, 3, 1], [-10 - 2 * 0.75, -20 - 4 * 0.5, 30 + 3 * 2.5, 1])


def test_without_places_the_numbers_count_and_files_need_no_ending(tmp_path):
    write_series(tmp_path / "a", ending="", placed=False)
    assert is_dicom(tmp_path / "a" / "f0")
    assert holds_volumes(tmp_path)
    found = open_volumes(tmp_path)
    assert np.array_equal(found.arrays[0], SCAN)
    assert np.array_equal(found.headers[0], np.eye(4))


def test_values_are_the_scanner_s(tmp_path):
    write_series(tmp_path / "a", RescaleSlope=2, RescaleIntercept=-1024)
    assert np.array_equal(open_volumes(tmp_path).arrays[0], 2.0 * SCAN - 1024)


def test_frames_of_one_file_are_a_volume(tmp_path):
    write_slice(tmp_path / "a" / "one.dcm", SCAN, 1)
    assert np.array_equal(open_volumes(tmp_path).arrays[0], SCAN)


def test_two_series_of_a_folder_are_two_volumes(tmp_path):
    write_series(tmp_path / "a")
    for k, pixels in enumerate(SCAN[:3]):
        write_slice(tmp_path / "a" / f"other{k}.dcm", pixels, k, series="1.2.4")
    found = open_volumes(tmp_path)
    assert found.names == ["a-0", "a-1"]
    assert [len(one) for one in found.arrays] == [5, 3]


def test_masks_may_be_nifti_or_dicom_of_the_same_name(tmp_path):
    pytest.importorskip("nibabel")
    for name in ("a", "b", "c"):
        write_series(tmp_path / "scans" / name)
    mask = (SCAN > 2000).astype(np.uint16)
    (tmp_path / "masks").mkdir()
    write_volume(tmp_path / "masks" / "a_mask.nii.gz", mask, np.eye(4))
    write_series(tmp_path / "masks" / "b", mask)
    found = open_volumes(tmp_path / "scans", tmp_path / "masks")
    assert found.names == ["a", "b", "c"]
    assert found.masked.tolist() == [True, True, False]
    assert np.array_equal(found.masks[0], mask)
    assert np.array_equal(found.masks[1], mask)


def test_what_is_no_volume_is_said_in_a_sentence(tmp_path):
    write_series(tmp_path / "twice")
    write_series(tmp_path / "twice" / "..", ending="", placed=True)
    for file in tmp_path.glob("f*"):
        file.rename(tmp_path / "twice" / f"again-{file.name}.dcm")
    with pytest.raises(SourceProblem, match="two slices in one place"):
        open_volumes(tmp_path)


def test_sizes_bytes_and_colours_that_do_not_fit(tmp_path):
    write_slice(tmp_path / "sizes" / "a.dcm", SCAN[0], 1)
    write_slice(tmp_path / "sizes" / "b.dcm", SCAN[0, :4], 2)
    with pytest.raises(SourceProblem, match="several sizes"):
        open_volumes(tmp_path / "sizes")
    write_slice(tmp_path / "single" / "a.dcm", SCAN[0], 1)
    with pytest.raises(SourceProblem, match="single slice"):
        open_volumes(tmp_path / "single")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.dcm").write_bytes(b"not a scan")
    with pytest.raises(SourceProblem, match=r"a\.dcm cannot be read"):
        open_volumes(tmp_path / "broken")
    write_slice(tmp_path / "short" / "a.dcm", SCAN[0], 1, Rows=700)
    with pytest.raises(SourceProblem, match=r"pixels of a\.dcm cannot be read"):
        open_volumes(tmp_path / "short")
    write_slice(tmp_path / "colour" / "a.dcm", SCAN[:3], 1, SamplesPerPixel=3)
    with pytest.raises(SourceProblem, match="in colour"):
        open_volumes(tmp_path / "colour")


def test_without_pydicom_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    write_series(tmp_path / "a")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingPackage, match=r"fallow\[scans\]"):
        open_volumes(tmp_path)
