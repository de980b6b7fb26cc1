"""DICOM series as volumes: slices put in their order, in the scanner's units and place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fallow.problems import MissingPackage, SourceProblem

ENDINGS = (".dcm", ".dicom", ".ima")


def is_dicom(path: Path) -> bool:
    """By its ending, or, as scanners often give none, by the letters behind the preamble."""
    if path.name.lower().endswith(ENDINGS):
        return True
    if path.suffix or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def dicom_series(paths: Iterable[Path], root: Path) -> dict[str, list[Path]]:
    """Files of each series by their folder below `root`; numbered where several share one."""
    pydicom = _pydicom()
    folders: dict[Path, dict[str, list[Path]]] = {}
    for path in paths:
        header = _read(pydicom, path, stop_before_pixels=True)
        series = folders.setdefault(path.parent, {})
        series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append(path)
    named = {}
    for folder, series in folders.items():
        name = "-".join(folder.relative_to(root).parts) or root.name
        for number, files in enumerate(series.values()):
            named[name if len(series) == 1 else f"{name}-{number}"] = files
    return named


def read_series(files: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """The volume of a series (D H W), and where its voxels lie (4 x 4, as in NIfTI files)."""
    pydicom = _pydicom()
    slices = [_read(pydicom, path) for path in files]
    if len(slices) > 1:
        slices = sorted(slices, key=_height)
        heights = [_height(one) for one in slices]
        if len(set(heights)) < len(heights):
            raise SourceProblem(
                f"the series of {files[0].name} has two slices in one place: keep one of its "
                "phases or echoes to a folder"
            )
    values = [_values(one) for one in slices]
    if len({one.shape[-2:] for one in values}) > 1:
        raise SourceProblem(f"the series of {files[0].name} has slices of several sizes")
    volume = np.concatenate([one.reshape(-1, *one.shape[-2:]) for one in values])
    return np.ascontiguousarray(volume), _affine(slices)


def _read(pydicom: Any, path: Path, **options: Any) -> Any:
    try:
        return pydicom.dcmread(path, **options)
    except Exception as error:  # a parser of hostile bytes: anything may come out
        raise SourceProblem(f"{path.name} cannot be read: {error}") from error


def _height(one: Any) -> float:
    """Where a slice lies along the axis of its series; else its number."""
    if "ImagePositionPatient" in one and "ImageOrientationPatient" in one:
        across, down = np.reshape(np.array(one.ImageOrientationPatient, float), (2, 3))
        return round(float(np.cross(across, down) @ np.array(one.ImagePositionPatient, float)), 3)
    return float(one.get("InstanceNumber") or 0)


def _values(one: Any) -> np.ndarray:
    """Pixels in the scanner's units: one picture, or the frames of a file."""
    path = Path(one.filename)
    if int(one.get("SamplesPerPixel", 1)) != 1:
        raise SourceProblem(f"{path.name} is in colour: give such pictures as PNG or TIFF")
    try:
        stored = one.pixel_array
    except Exception as error:  # missing pixels, or a compression no installed package knows
        raise SourceProblem(f"the pixels of {path.name} cannot be read: {error}") from error
    slope, offset = float(one.get("RescaleSlope", 1)), float(one.get("RescaleIntercept", 0))
    if slope == 1 and offset == 0:
        return np.asarray(stored)
    return (stored * np.float32(slope) + np.float32(offset)).astype(np.float32)


def _affine(slices: Sequence[Any]) -> np.ndarray:
    """From column, row and slice to millimetres; NIfTI's first two axes run the other way."""
    first, last = slices[0], slices[-1]
    affine = np.eye(4)
    if "ImagePositionPatient" not in first or "ImageOrientationPatient" not in first:
        return affine
    across, down = np.reshape(np.array(first.ImageOrientationPatient, float), (2, 3))
    rows_apart, columns_apart = (float(value) for value in first.get("PixelSpacing", (1, 1)))
    corner = np.array(first.ImagePositionPatient, float)
    step = np.cross(across, down) * float(
        first.get("SpacingBetweenSlices") or first.get("SliceThickness") or 1
    )
    if len(slices) > 1:
        step = (np.array(last.ImagePositionPatient, float) - corner) / (len(slices) - 1)
    affine[:3] = np.stack([across * columns_apart, down * rows_apart, step, corner], 1)
    affine[:2] *= -1
    return affine


def _pydicom() -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise MissingPackage("pydicom", "scans") from error
    return pydicom
