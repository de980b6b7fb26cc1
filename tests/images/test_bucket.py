"""Object stores: an S3 server of the test's own, also where it throttles and cuts reads short."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from bucket import Faulty, store

import fallow
from fallow.images.places import place
from fallow.images.samples import demo
from fallow.problems import SourceProblem
from fallow.scale.parts import Parts


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Every twelfth picture of the demonstration, and those that cannot be read."""
    folder = demo(tmp_path_factory.mktemp("photos"))
    unreadable = {one.path for one in fallow.open(folder).problems}
    for number, path in enumerate(sorted(folder.rglob("*.*"))):
        spared = path.name == "labels.csv" or path.relative_to(folder).as_posix() in unreadable
        if path.is_file() and number % 12 and not spared:
            path.unlink()
    return folder


@pytest.fixture(scope="module")
def remote(photos):
    """The same pictures below s3://pool/photos, as they are, zipped, and as a tar."""
    with store("pool") as faulty:
        files = [path for path in photos.rglob("*") if path.is_file()]
        zipped, tarred = io.BytesIO(), io.BytesIO()
        with zipfile.ZipFile(zipped, "w") as archive, tarfile.open(None, "w", tarred) as tape:
            for path in files:
                name = path.relative_to(photos).as_posix()
                place(f"s3://pool/photos/{name}").write(path.read_bytes())
                archive.write(path, name)
                tape.add(path, name)
        place("s3://pool/photos.zip").write(zipped.getvalue())
        place("s3://pool/photos.tar").write(tarred.getvalue())
        yield faulty


@pytest.fixture
def faults(remote: Faulty):
    """Some reads are refused, which Arrow waits after, and many are cut short."""
    remote.throttle, remote.cut = 0.06, 0.3
    remote.throttled = remote.were_cut = 0
    yield remote
    remote.throttle = remote.cut = 0.0


def equal(found: fallow.images.Images, photos: Path) -> None:
    here = fallow.open(photos)
    order = here.table.sort_by("id")
    assert (
        found.table.sort_by("id")
        .select(["id", "hash", "label"])
        .equals(order.select(["id", "hash", "label"]))
    )
    assert len(found.problems) == len(here.problems) == 2


@pytest.mark.parametrize(
    "address", ["s3://pool/photos", "s3://pool/photos/", "s3://pool/photos.zip"]
)
def test_a_bucket_opens_like_a_folder(address, remote, photos):
    found = fallow.open(address)
    equal(found, photos)
    assert (found[5] == fallow.open(photos)[found_row(found, photos, 5)]).all()


def found_row(found, photos: Path, row: int) -> int:
    return fallow.open(photos).table.column("id").to_pylist().index(found.table["id"][row].as_py())


def test_a_store_that_throttles_and_cuts_reads_is_asked_again(faults, photos):
    equal(fallow.open("s3://pool/photos"), photos)
    equal(fallow.open("s3://pool/photos.tar"), photos)
    assert faults.throttled > 0
    assert faults.were_cut > 5


@pytest.mark.parametrize("address", ["s3://pool/nothing", "s3://nowhere/photos", "s3://pool/photo"])
def test_what_is_not_there_is_said(address, remote):
    with pytest.raises(SourceProblem, match=r"there is nothing at s3://|cannot reach s3://"):
        fallow.open(address)


def test_an_object_that_vanishes_after_listing_is_a_problem_not_an_end(remote, photos):
    spare = place("s3://pool/other/a.jpg")
    whole = next(photos.rglob("*.jpg")).read_bytes()
    spare.write(whole)
    place("s3://pool/other/b.jpg").write(whole)
    found = fallow.open("s3://pool/other")
    spare.system.delete_file(spare.path)
    assert [type(one).__name__ for _, one in found.map(lambda pixels: pixels)] == [
        "FileProblem",
        "ndarray",
    ]
    assert found.problems[0].reason == "the file is missing"


def test_parts_live_in_a_bucket(faults):
    parts = Parts("s3://pool/out")
    parts.begin({"what": "test"})
    for number in range(5):
        parts.write(number, pa.table({"value": [number]}))
    held = place("s3://pool/out/part-0000002.parquet")
    held.write(held.read()[:-8])
    assert Parts("s3://pool/out").finished() == [0, 1, 3, 4]
    assert [table["value"][0].as_py() for table in parts.each()] == [0, 1, 3, 4]
