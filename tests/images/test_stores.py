"""Every archive gives the same pictures, and what is hostile or damaged in one is left out."""

import os
import pickle
import stat
import tarfile
import zipfile

import fsspec
import numpy as np
import pytest
from containers import JPEG, PNG, files, tarred, zipped
from pictures import encoded, picture

from fallow.images import open
from fallow.images.stores import FileProblem
from fallow.problems import SourceProblem


def test_every_archive_gives_the_same_collection(folder, tmp_path):
    wanted = open(folder)
    sources = [zipped(files(folder), tmp_path / "a.zip")]
    for ending, mode in (("tar", "w"), ("tar.gz", "w:gz"), ("tar.xz", "w:xz")):
        sources.append(tarred(files(folder), tmp_path / f"a.{ending}", mode))
    memory = fsspec.filesystem("memory")
    for name, data in files(folder):
        memory.pipe(f"/photos-{os.getpid()}/{name}", data)
    memory.pipe(f"/photos-{os.getpid()}.zip", sources[0].read_bytes())
    memory.pipe(f"/photos-{os.getpid()}.tar", sources[1].read_bytes())
    sources += [f"memory://photos-{os.getpid()}{ending}" for ending in ("", ".zip", ".tar")]
    sources += [f"file://{folder}", f"file://{sources[0]}"]
    for source in sources:
        images = open(source)
        assert images.fingerprint == wanted.fingerprint, source
        assert images.column("label").tolist() == wanted.column("label").tolist()
        found = dict(images.map(np.copy, threads=2))
        assert all((found[index] == wanted[index]).all() for index in range(4))
        assert (pickle.loads(pickle.dumps(images))[2] == wanted[2]).all()


def test_zip_is_read_by_many_threads(tmp_path):
    entries = [(f"{at:03d}.png", encoded(picture(seed=at), "PNG")) for at in range(60)]
    images = open(zipped(entries, tmp_path / "many.zip"))
    for index, pixels in images.map(np.copy, threads=8):
        assert (pixels == np.asarray(picture(seed=index))).all()


def test_names_that_leave_an_archive_and_links_are_refused(tmp_path):
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    bad = [("../up.jpg", JPEG), ("/root.jpg", JPEG), ("C:\\win.jpg", JPEG), ("a/../../b.jpg", JPEG)]
    images = open(zipped([("ok.jpg", JPEG), *bad, (link, b"/etc/passwd")], tmp_path / "bad.zip"))
    assert images.column("id").tolist() == ["ok.jpg"]
    assert len(images.problems) == 5
    assert {problem.reason.split()[0] for problem in images.problems} == {"its", "a"}

    entries = [("ok.jpg", JPEG), ("../up.jpg", JPEG), ("/root.jpg", JPEG)]
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
        info = tarfile.TarInfo(f"link{kind.decode()}.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        entries.append((info, b""))
    images = open(tarred(entries, tmp_path / "bad.tar"))
    assert images.column("id").tolist() == ["ok.jpg"]
    assert len(images.problems) == 5
    assert sorted(os.listdir(tmp_path)) == ["bad.tar", "bad.zip"]  # nothing was extracted


def test_a_damaged_archive_gives_what_is_left_or_a_sentence(folder, tmp_path):
    tar = tarred([(f"{at}.png", PNG) for at in range(5)], tmp_path / "a.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(tar[: len(tar) // 2 - 3000])
    images = open(tmp_path / "cut.tar")
    assert 0 < len(images) < 5
    for name in ("no.zip", "no.tar", "no.tar.gz"):
        (tmp_path / name).write_bytes(b"this is no archive")
        with pytest.raises(SourceProblem, match="is not a readable"):
            open(tmp_path / name)
    data = bytearray(zipped([("a.png", PNG), ("b.png", PNG)], tmp_path / "a.zip").read_bytes())
    data[60] ^= 0xFF
    (tmp_path / "b.zip").write_bytes(data)
    images = open(tmp_path / "b.zip")
    assert images.column("id").tolist() == ["b.png"]
    assert "damaged inside the archive" in images.problems[0].reason


def test_a_file_that_vanishes_is_a_problem_not_a_crash(folder):
    images = open(folder)
    (folder / "cats" / "b.png").unlink()
    found = dict(images.map(np.shape))
    assert found[1] == FileProblem("cats/b.png", "the file is missing")
    assert found[2] == (30, 40, 3)
    assert images.problems == [found[1]]
    with pytest.raises(SourceProblem, match=r"cats/b\.png cannot be used: the file is missing"):
        images[1]
