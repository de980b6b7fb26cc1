"""Packs: right pixels, one file, whole or absent, whatever happens while writing."""

import errno
import multiprocessing
import os
import pickle
import signal
import time

import numpy as np
import pytest
from pictures import encoded, picture

import fallow.files
from fallow.images import Pack, cached_packs, clear_packs, open
from fallow.images import pack as pack_module
from fallow.problems import Problem, SettingProblem, SourceProblem


def files_in_cache(tmp_path):
    found = sorted(os.listdir(tmp_path / "cache" / "packs"))
    return [name for name in found if not name.endswith(".lock")]


def test_a_pack_holds_what_decoding_gives(folder):
    images = open(folder)
    pack = images.pack(side=16)
    assert len(pack) == len(images) == 4
    for index in range(4):
        assert (pack[index] == images.read(index, 16)).all()
    assert pack.rows.tolist() == [0, 1, 2, 3]
    assert pack.heights.tolist() == [16] * 4
    assert pack.offsets.tolist() == np.cumsum([0, *(pack.heights * pack.widths * 3)])[:4].tolist()
    assert pack.pixels.ndim == 1
    assert not pack[0].flags.owndata
    assert pack.damaged() == []
    again = pickle.loads(pickle.dumps(pack))
    assert (again[3] == pack[3]).all()
    with pytest.raises(IndexError):
        pack[4]


def test_an_undecodable_picture_is_left_out_and_named(folder):
    data = bytearray(encoded(picture(200, 150), "PNG"))
    middle = len(data) // 2
    data[middle : middle + 40] = b"\0" * 40  # sound head, sound end, broken inside
    (folder / "cats" / "aa.png").write_bytes(data)
    images = open(folder)
    assert len(images) == 5
    pack = images.pack(16)
    assert pack.rows.tolist() == [0, 2, 3, 4]
    assert [problem.path for problem in pack.problems] == ["cats/aa.png"]
    assert [problem.path for problem in images.problems] == ["cats/aa.png"]
    second = open(folder)
    second.pack(16)  # found in the cache, and still told
    assert [problem.path for problem in second.problems] == ["cats/aa.png"]


def test_the_second_time_nothing_is_decoded(folder, monkeypatch):
    first = open(folder).pack(16)

    def refuse(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(pack_module, "_build", refuse)
    images = open(folder)
    assert images.pack(16).path == first.path
    with pytest.raises(AssertionError, match="decoded again"):
        images.pack(17)
    with pytest.raises(AssertionError, match="decoded again"):
        images.select([0, 1]).pack(16)


@pytest.mark.parametrize("harm", ["cut", "head", "table", "pixels", "tail", "empty"])
def test_a_damaged_pack_is_noticed_and_made_again(folder, harm):
    images = open(folder)
    path = images.pack(16).path
    sound = path.read_bytes()
    data = bytearray(sound)
    at = {"head": 3, "table": 80, "pixels": 400, "tail": len(data) - 3}.get(harm)
    if at is not None:
        data[at] ^= 0xFF
    path.write_bytes({"cut": data[:-100], "empty": b""}.get(harm, data))
    pack = images.pack(16)
    assert pack.damaged() == []
    assert (pack[0] == images.read(0, 16)).all()
    assert path.stat().st_size == len(sound)


def test_the_cache_is_listed_and_cleared(folder, tmp_path):
    assert cached_packs() == []
    assert clear_packs() == 0
    pack = open(folder).pack(16)
    open(folder).pack(8)
    found = cached_packs()
    assert {(one.name, one.side, one.images) for one in found} == {
        ("photos", 16, 4),
        ("photos", 8, 4),
    }
    assert sum(one.bytes for one in found) == clear_packs()
    assert cached_packs() == []
    assert not pack.path.exists()
    assert pack[0].shape == (16, 21, 3)  # whoever has it mapped keeps it


def test_a_full_disk_is_one_sentence_and_leaves_nothing(folder, tmp_path, monkeypatch):
    class Full:
        def __init__(self, file):
            self.file, self.left = file, 700

        def write(self, data):
            self.left -= len(bytes(data))
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

    whole = fallow.files.atomic_write

    class Writer:
        def __init__(self, path):
            self.inner = whole(path)

        def __enter__(self):
            return Full(self.inner.__enter__())

        def __exit__(self, *error):
            return self.inner.__exit__(*error)

    monkeypatch.setattr(pack_module, "atomic_write", Writer)
    with pytest.raises(Problem, match=r"No space left on device.*FALLOW_CACHE"):
        open(folder).pack(16)
    assert files_in_cache(tmp_path) == []


def test_too_little_space_is_said_before_any_work(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pack_module.shutil, "disk_usage", lambda _: type("U", (), {"free": 10}))
    with pytest.raises(Problem, match="GB are free"):
        open(folder).pack(16)
    assert files_in_cache(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_one_sentence(folder, tmp_path, monkeypatch):
    (tmp_path / "occupied").write_text("a file where a folder should be")
    monkeypatch.setenv("FALLOW_CACHE", str(tmp_path / "occupied"))
    with pytest.raises(Problem, match="point FALLOW_CACHE to another folder"):
        open(folder).pack(16)


def test_impossible_packs_are_refused(folder):
    images = open(folder)
    with pytest.raises(SettingProblem):
        images.pack(0)
    with pytest.raises(SourceProblem, match="no images to pack"):
        images.select([]).pack(16)


def _build_one(root, start, queue):
    start.wait()
    pack = open(root).pack(24)
    queue.put((len(pack), int(pack.pixels.astype(np.int64).sum()), len(pack.damaged())))


def test_two_processes_at_once_both_end_well(tmp_path):
    root = tmp_path / "many"
    root.mkdir()
    for index in range(30):
        (root / f"{index:02d}.jpg").write_bytes(encoded(picture(seed=index), "JPEG"))
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    start, queue = context.Event(), context.Queue()
    workers = [context.Process(target=_build_one, args=(root, start, queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    start.set()
    results = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert len(set(results)) == 1
    assert results[0][0] == 30
    assert results[0][2] == 0
    assert len(files_in_cache(tmp_path)) == 1


def _build_slowly(root, queue):
    images = open(root)
    whole = images.map

    def slow(*given, **named):
        for step, found in enumerate(whole(*given, **named)):
            if step == 2:
                queue.put("writing")
                time.sleep(60)
            yield found

    images.map = slow
    images.pack(16)


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_kill_while_packing_leaves_no_half_pack(folder, tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    worker = context.Process(target=_build_slowly, args=(folder, queue))
    worker.start()
    assert queue.get(timeout=60) == "writing"
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(60)
    left = files_in_cache(tmp_path)
    assert len(left) == 1
    assert left[0].endswith(".tmp")
    pack = open(folder).pack(16)  # the lock fell with its holder, the leftover is swept
    assert len(pack) == 4
    assert files_in_cache(tmp_path) == [pack.path.name]


def test_leftovers_of_other_packs_go_too(folder, tmp_path):
    open(folder).pack(16)
    stale = tmp_path / "cache" / "packs" / ".abc.pack.123456.tmp"
    stale.write_bytes(b"half")
    open(folder).pack(8)
    assert not stale.exists()


def test_opening_a_pack_by_hand(folder):
    pack = open(folder).pack(16)
    assert Pack(pack.path).side == 16
