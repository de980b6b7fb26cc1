"""Nothing half-written is taken for whole, nothing of the user's is touched, two do not mix."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import fallow
from fallow.files import LOCK, atomic_write, owned
from fallow.problems import Problem
from fallow.verbs.embed import embed
from fallow.verbs.explore import explore

MOMENTS = [*range(3), *(pytest.param(k, marks=pytest.mark.slow) for k in range(3, 20))]

WRITER = """
import os, sys
from pathlib import Path
from fallow.files import atomic_write
replace, left = os.replace, [int(sys.argv[2])]
def dying(*names):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), 9)
    replace(*names)
os.replace = dying
for number in range(100):
    with atomic_write(Path(sys.argv[1])) as file:
        file.write(f"{number:06d}".encode() * 50_000)
"""


def tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Name, size, time of change and number of every file."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    facts = {str(path.relative_to(folder)): path.stat() for path in files}
    return {name: (one.st_size, one.st_mtime_ns, one.st_ino) for name, one in facts.items()}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_rename_that_never_happens_leaves_the_file_before(moment, tmp_path):
    target, last = tmp_path / "file", random.Random(moment).randint(1, 60)
    subprocess.run([sys.executable, "-c", WRITER, str(target), str(last)], check=False)
    assert target.read_bytes() == f"{last - 1:06d}".encode() * 50_000


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_writer_killed_anywhere_leaves_a_whole_file(moment, tmp_path):
    target = tmp_path / "file"
    command = [sys.executable, "-c", WRITER, str(target), "1000"]
    with subprocess.Popen(command) as writer:
        while not target.exists() and writer.poll() is None:
            pass
        threading.Event().wait(random.Random(moment).uniform(0, 0.2))
        writer.send_signal(signal.SIGKILL)
    whole = target.read_bytes()
    assert whole == whole[:6] * 50_000


def fill(disk: Path) -> None:
    (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - 20_000))


def test_a_full_disk_is_a_sentence_and_keeps_the_table_before(small_disk, photos):
    out = small_disk / "vectors.parquet"
    embed(photos, encoder="tiny", out=out)
    before = out.read_bytes()
    fill(small_disk)
    command = [sys.executable, "-m", "fallow", "embed", str(photos), "--encoder", "resnet8"]
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "is full: free some space" in done.stderr
    assert "Traceback" not in done.stderr
    assert out.read_bytes() == before
    assert {path.name for path in small_disk.iterdir()} == {"vectors.parquet", "ballast"}


def test_a_full_disk_while_packing_is_a_sentence_and_leaves_no_pack(
    small_disk, photos, monkeypatch
):
    monkeypatch.setenv("FALLOW_CACHE", str(small_disk))
    images = fallow.open(photos)
    fill(small_disk)
    with pytest.raises(Problem, match="free some space there"):
        images.pack(64)
    assert not list(small_disk.rglob("*.pack*"))
    (small_disk / "ballast").unlink()
    assert len(images.pack(16)) == len(images) - len(images.problems)


def test_a_full_disk_while_the_index_is_written_keeps_the_version_before(small_disk, photos):
    out = small_disk / "found"
    few = fallow.open(photos).sample(20)
    explore(few, encoder="tiny", out=out)
    fill(small_disk)
    with pytest.raises((Problem, OSError), match=r"cannot be written|No space left"):
        explore(fallow.open(photos), encoder="tiny", out=out)
    (small_disk / "ballast").unlink()
    import lancedb

    assert lancedb.connect(str(out)).open_table("images").count_rows() == 20
    assert not (out / LOCK).exists()


@pytest.mark.parametrize("moment", MOMENTS)
def test_files_that_vanish_or_change_after_listing(moment, photos, tmp_path):
    chance = random.Random(moment)
    folder = Path(shutil.copytree(photos, tmp_path / "photos"))
    images = fallow.open(folder)
    paths = images.table.column("path").to_pylist()
    gone, torn, new = chance.sample([path for path in paths if path.endswith(".jpg")], 3)
    (folder / gone).unlink()
    (folder / torn).write_bytes((folder / torn).read_bytes()[:200])
    (folder / new).write_bytes((folder / paths[0]).read_bytes())
    known = len(images.problems)
    seen = dict(images.map(lambda pixels: pixels.shape))
    assert len(seen) == len(paths)
    reasons = {one.path: one.reason for one in images.problems[known:]}
    assert reasons[gone] == "the file is missing"
    assert "truncated" in reasons[torn]
    assert new not in reasons


def test_a_source_is_not_touched(photos, tmp_path):
    """Where it can be, it is mounted so that nobody could."""
    before = tree(photos)
    source, out = photos, tmp_path / "found"
    bound = tmp_path / "read-only"
    bound.mkdir()
    mounted = os.name == "posix" and os.geteuid() == 0 and not subprocess.run(
        ["mount", "--bind", photos, bound], check=False).returncode  # fmt: skip
    if mounted:
        subprocess.run(["mount", "-o", "remount,ro,bind", bound], check=True)
        source = bound
    try:
        explore(source, encoder="tiny", out=out)
        embed(source, encoder="tiny", out=tmp_path / "vectors.parquet")
        with pytest.raises(Problem, match="cannot write to"):
            explore(source, encoder="tiny", out=(bound if mounted else Path("/proc")) / "x")
    finally:
        if mounted:
            subprocess.run(["umount", "-l", bound], check=True)
    assert tree(photos) == before
    assert pq.read_metadata(tmp_path / "vectors.parquet").num_rows > 90


HOLDER = """
import sys
from fallow.files import owned
with owned(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that writes to tmp_path / "found"."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "found")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_the_second_process_on_a_folder_is_refused_in_a_sentence(holder, photos, tmp_path):
    command = [sys.executable, "-m", "fallow", "explore", str(photos), "--encoder", "tiny"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "found")], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "another process is writing to" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_killed_process_leaves_its_folder_to_the_next(holder, tmp_path):
    with pytest.raises(Problem, match="another process is writing"), owned(tmp_path / "found"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with owned(tmp_path / "found"), owned(tmp_path / "found"):  # a verb may call another
        assert (tmp_path / "found" / LOCK).exists()
    assert not (tmp_path / "found" / LOCK).exists()


def test_an_owned_folder_that_stays_empty_goes(tmp_path):
    with pytest.raises(ZeroDivisionError), owned(tmp_path / "a" / "b"):
        _ = 1 / 0
    assert not (tmp_path / "a").exists()
    with owned(tmp_path / "a" / "b"), atomic_write(tmp_path / "a" / "b" / "file") as file:
        file.write(b"x")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]


@pytest.mark.parametrize("years", [-30, pytest.param(30, marks=pytest.mark.slow)])
def test_a_clock_that_jumps_changes_nothing(years, photos, tmp_path, monkeypatch):
    import time

    expected = fallow.embed(photos, encoder="tiny").table.column("embedding")
    first = explore(photos, encoder="tiny", out=tmp_path / "found")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + years * 31_557_600)
    found = fallow.embed(photos, encoder="tiny").table.column("embedding")
    assert found.equals(expected)
    again = explore(photos, encoder="tiny", out=tmp_path / "found")
    assert again.table.column("group").equals(first.table.column("group"))
    assert np.isfinite(again.vectors).all()
