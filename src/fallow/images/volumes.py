"""Volumes: scans of many slices, from arrays, NIfTI or DICOM, in the place of pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fallow.images.dicom import dicom_series, is_dicom, read_series
from fallow.problems import MissingPackage, SourceProblem

if TYPE_CHECKING:
    from fallow.images.masks import Masked

NIFTI = (".nii", ".nii.gz")


class Volumes:
    """Scans (each D H W) and, for some of them, masks of class codes; `fit` takes them as it is.

    >>> scans = Volumes([np.zeros((4, 8, 8), np.int16)] * 2, masks=[None, np.ones((4, 8, 8))])
    >>> len(scans), scans.masked.tolist()
    (2, [False, True])
    """

    dimensions = 3

    def __init__(
        self,
        arrays: Sequence[np.ndarray],
        masks: Sequence[np.ndarray | None] | None = None,
        names: Sequence[str] | None = None,
        *,
        name: str = "volumes",
        headers: Sequence[Any] | None = None,
    ) -> None:
        self.arrays = [np.asarray(one) for one in arrays]
        self.names = list(names) if names is not None else [f"{k:04d}" for k in range(len(arrays))]
        self.masks = list(masks) if masks is not None else [None] * len(self.arrays)
        self.headers = list(headers) if headers is not None else [None] * len(self.arrays)
        self.name = name
        self.problems: list[Any] = []
        for scan, mask, one in zip(self.arrays, self.masks, self.names, strict=True):
            if scan.ndim != 3:
                raise SourceProblem(f"{one} has shape {scan.shape}, not depth x height x width")
            if scan.shape[0] < 2:
                raise SourceProblem(f"{one} has a single slice: give such scans as pictures")
            if mask is not None and mask.shape != scan.shape:
                raise SourceProblem(
                    f"the mask of {one} has shape {mask.shape} and its volume {scan.shape}: "
                    "a mask must cover its volume exactly"
                )

    def __len__(self) -> int:
        return len(self.arrays)

    @property
    def columns(self) -> list[str]:
        return ["id", "width", "height", *(["mask"] if self.masked.any() else [])]

    def column(self, name: str) -> np.ndarray:
        """What a collection of pictures would say."""
        found = {
            "id": self.names,
            "width": [one.shape[2] for one in self.arrays],
            "height": [one.shape[1] for one in self.arrays],
        }
        return np.array(found[name])

    @property
    def masked(self) -> np.ndarray:
        """Which volumes have a mask."""
        return np.array([mask is not None for mask in self.masks], bool)

    @property
    def fingerprint(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for name, one in zip(self.names, self.arrays, strict=True):
            digest.update(f"{name} {one.dtype} {one.shape}".encode())
            digest.update(np.ascontiguousarray(one).tobytes())
        return digest.hexdigest()

    def select(self, rows: Any) -> Volumes:
        """The volumes in these rows; a boolean array selects where it is true."""
        chosen = np.asarray(rows)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return Volumes(
            [self.arrays[k] for k in chosen],
            [self.masks[k] for k in chosen],
            [self.names[k] for k in chosen],
            name=self.name,
            headers=[self.headers[k] for k in chosen],
        )

    def normalised(self, row: int) -> np.ndarray:
        """A volume with mean 0 and spread 1, float32."""
        values = self.arrays[row].astype(np.float32)
        if not np.isfinite(values).all():
            raise SourceProblem(f"{self.names[row]} holds values that are not numbers")
        return (values - values.mean()) / max(float(values.std()), 1e-6)


def holds_volumes(source: Any) -> bool:
    """Whether a source is a folder of scans."""
    if not isinstance(source, str | PathLike) or not Path(source).is_dir():
        return False
    return any(path.name.endswith(NIFTI) or is_dicom(path) for path in Path(source).rglob("*"))


def open_volumes(
    folder: str | Path, masks: str | Path | Mapping[str, np.ndarray] | None = None
) -> Volumes:
    """All NIfTI files and DICOM series of a folder, slices first; masks have the same names.

    A series is named after its folder. Mask values stay as they are: `fallow.segment` turns them
    into codes.
    """
    drawn: dict[str, list[Path]] = {}
    where = None if masks is None or isinstance(masks, Mapping) else Path(masks).resolve()
    if where is not None:
        drawn = _scans(where)
    scans = _scans(Path(folder), besides=where)
    if not scans:
        raise SourceProblem(f"there are no volumes (.nii, .nii.gz, .dcm) in {folder}")
    arrays, affines = zip(*(_read(files) for files in scans.values()), strict=True)
    found = [
        np.rint(_read(drawn[name])[0]).astype(np.int32) if name in drawn else None for name in scans
    ]
    return Volumes(arrays, found, list(scans), name=Path(folder).name, headers=affines)


def _scans(folder: Path, besides: Path | None = None) -> dict[str, list[Path]]:
    """The files of every scan, by name; masks may lie among them."""
    paths = sorted(path for path in folder.rglob("*") if besides not in path.resolve().parents)
    slices = [path for path in paths if is_dicom(path)]
    scans = dicom_series(slices, folder) if slices else {}
    for path in paths:
        if not path.name.endswith(NIFTI):
            continue
        if (name := plain_name(path)) in scans:
            raise SourceProblem(f"two scans in {folder} are called {name}: rename one")
        scans[name] = [path]
    return scans


def write_volume(path: Path, codes: np.ndarray, affine: Any) -> None:
    """A mask (D H W) as NIfTI, in the place of the scan it belongs to."""
    nibabel = _nibabel()
    image = nibabel.Nifti1Image(np.ascontiguousarray(codes.transpose(2, 1, 0)), affine)
    from fallow.files import atomic_write

    with atomic_write(path) as target:
        target.write(
            _compressed(image.to_bytes()) if path.name.endswith(".gz") else image.to_bytes()
        )


def plain_name(path: Path) -> str:
    """A file's name without its ending, and without _mask and the like behind.

    >>> plain_name(Path("a/scan_07_mask.nii.gz")), plain_name(Path("scan_07.nii"))
    ('scan_07', 'scan_07')
    """
    from fallow.images.masks import _TAIL

    name = path.name
    for ending in (".nii.gz", ".nii"):
        name = name.removesuffix(ending)
    return _TAIL.sub("", name)


def _read(files: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """A scan and where its voxels lie."""
    path = files[0]
    if not path.name.endswith(NIFTI):
        return read_series(files)
    nibabel = _nibabel()
    try:
        image = nibabel.load(path)
        values = np.asarray(image.dataobj)
    except Exception as error:  # a parser of hostile bytes: anything may come out
        raise SourceProblem(f"{path.name} cannot be read: {error}") from error
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise SourceProblem(f"{path.name} has {values.ndim} axes: a volume has three")
    return np.ascontiguousarray(values.transpose(2, 1, 0)), image.affine


def _compressed(data: bytes) -> bytes:
    import gzip

    return gzip.compress(data, mtime=0)


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise MissingPackage("nibabel", "scans") from error
    return nibabel


def read_volume_masks(volumes: Volumes, classes: Any = None, ignore: Sequence[Any] = ()) -> Masked:
    """The same as `read_masks` for volumes, whose masks come with them."""
    from fallow.images.classes import found_classes, named_classes
    from fallow.images.masks import Masked

    given = {
        name: mask
        for name, mask in zip(volumes.names, volumes.masks, strict=True)
        if mask is not None
    }
    if not given:
        raise SourceProblem(
            f"none of the {len(volumes)} volumes has a mask: draw a few and name their folder with "
            "masks"
        )
    known = named_classes(classes, ignore) if classes is not None else found_classes(given, ignore)
    codes = [
        None if mask is None else known.codes(mask, name)
        for name, mask in zip(volumes.names, volumes.masks, strict=True)
    ]
    whole = Volumes(
        volumes.arrays, codes, volumes.names, name=volumes.name, headers=volumes.headers
    )
    labelled, bare = whole.select(whole.masked), whole.select(~whole.masked)
    return Masked(labelled, bare, known, list(known.notes))
