"""The studio under load: 50 people scroll through 100,000 generated pictures at once."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import galleries
from benchmarks.record import ROOT, Line, cores, line
from fallow.images.samples import shapes

ALONE = True  # beside a limit, not beside a peer
LIMIT = 0.1  # seconds that 95 of 100 pages take at most
MEMORY = 2000.0  # megabytes the server holds at most
PAGE = 60  # thumbnails of a page, at the page's own size
SIDE = 160
SMALL, LARGE = 128, 256  # pixels of pictures that are as small as thumbnails, and of others


@dataclass(frozen=True)
class Amount:
    pictures: int = 100_000
    clients: int = 50
    pages: int = 8  # of each client, about a second apart
    rounds: int = 2


QUICK = Amount(pictures=2_000, clients=10, pages=3, rounds=1)
BESIDE = Amount(pictures=20_000, pages=4)  # beside FiftyOne, which takes minutes to add more


def run(data: Path, python: str | None, quick: bool) -> list[Line]:
    amount = QUICK if quick else Amount()
    beside = compared(python, QUICK if quick else BESIDE) if python else []
    return [*limits(amount, SMALL), *limits(amount, LARGE), *beside]


def compared(python: str, amount: Amount) -> list[Line]:
    """Start-up until the first page, and pages, in turn with FiftyOne's app on the same files."""
    folder, starts, pages, version = drawn(amount.pictures, LARGE), [], [], ""
    alone = Amount(amount.pictures, clients=1, pages=1)
    for seed in range(amount.rounds):
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as kept, served(folder, Path(kept)) as (port, token, _):
            asyncio.run(crowd(port, token, alone, 99))
            ours = time.perf_counter() - began
            own = asyncio.run(crowd(port, token, amount, seed))
        began = time.perf_counter()
        with galleries.fiftyone(python, folder) as (peer, port, dataset):
            asyncio.run(galleries.crowd(port, dataset, amount.pictures, alone, PAGE))
            starts.append((1 / ours, 1 / (time.perf_counter() - began)))
            other = galleries.crowd(port, dataset, amount.pictures, amount, PAGE)
            pages.append((1 / p95(own), 1 / p95(asyncio.run(other))))
            version = peer.version
    load = os.getloadavg()[0]
    about = f"{amount.pictures:,} pictures of {LARGE} pixels, load average {load:.1f}"
    first = f"start-up of a folder never opened, until its first page: 1/s ({about})"
    some = f"a page of {PAGE} pictures not seen before, {amount.clients} clients: 1 / p95 in 1/s"
    return [
        line(first, "FiftyOne", version, starts, 5.0),
        line(f"{some} ({about})", "FiftyOne", version, pages, 3.0),
    ]


def limits(amount: Amount, pixels: int) -> list[Line]:
    """Pages and memory beside what they may take at most, and pages beside what cores can make."""
    folder = drawn(amount.pictures, pixels)
    about = f"{amount.clients} clients, {amount.pictures:,} pictures of {pixels} pixels"
    lines = []
    with tempfile.TemporaryDirectory() as kept, served(folder, Path(kept)) as (port, token, pid):
        before, fresh, again = os.getloadavg()[0], [], []
        for seed in range(amount.rounds):
            fresh.append(asyncio.run(crowd(port, token, amount, seed)))
            again.append(asyncio.run(crowd(port, token, amount, seed)))  # the same way once more
        peak = held(pid)
    load = f"load average {before:.1f} before, {os.getloadavg()[0]:.1f} after"
    for what, seen in (("not seen before", fresh), ("seen before", again)):
        print(what, *(f"p50 {np.median(one):.3f} s, p95 {p95(one):.3f} s" for one in seen))
        pairs = [(1 / p95(one), 1 / LIMIT) for one in seen]
        work = f"a page of {PAGE} thumbnails {what}, {about}: 1 / p95 in 1/s ({load})"
        lines.append(line(work, "limit of 100 ms", "", pairs, 1.0, peak))
    if pixels > SIDE:  # others are sent as they are
        rate = cores() * made_alone(folder)
        asked = amount.clients * PAGE  # about a second lies between two pages
        bound = f"thumbnails a second that {cores()} cores make of {pixels} pixels, nothing else"
        lines.append(line(bound, "asked for a second", "", [(rate, float(asked))], 1.0))
    work = f"memory of the server, {about}: 1 / GB"
    lines.append(line(work, "limit of 2 GB", "", [(1e3 / peak, 1e3 / MEMORY)], 1.0, peak))
    return lines


def made_alone(folder: Path) -> float:
    """Thumbnails per second of computing, as the studio makes them, from files in memory."""
    from fallow.images.decode import decode
    from fallow.studio.thumbnails import jpeg

    files = [path.read_bytes() for path in sorted((folder / "000").glob("*.jpg"))]
    began = time.process_time()
    for data in files:
        jpeg(decode(data, SIDE), SIDE)
    return len(files) / (time.process_time() - began)


def drawn(count: int, side: int, looks: int = 256) -> Path:
    """So many different files, drawn once and left for the next time.

    They share `looks` pictures: every file has its number as a comment, so that none is known by
    its content, and costs what any picture of its size costs.
    """
    from PIL import Image

    folder = Path(tempfile.gettempdir()) / f"fallow-studio-{count}-{side}"
    if (folder / "whole").exists():
        return folder / "pictures"
    made, files = shapes(looks, seed=7, side=side), []
    for row in range(looks):
        file = io.BytesIO()
        Image.fromarray(made[row]).save(file, "JPEG", quality=85)
        files.append(file.getvalue())
    for row in range(count):
        target = folder / "pictures" / f"{row // 1000:03d}" / f"{row:06d}.jpg"
        if row % 1000 == 0:
            target.parent.mkdir(parents=True, exist_ok=True)
        comment = f"{row:06d}".encode()
        head, rest = files[row % looks][:2], files[row % looks][2:]
        marked = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        target.write_bytes(head + marked + rest)
    (folder / "whole").touch()
    return folder / "pictures"


@contextlib.contextmanager
def served(folder: Path, kept: Path) -> Iterator[tuple[int, str, int]]:
    """A studio in a process of its own, with nothing in its cache: port, token, process."""
    paths = {"FALLOW_CACHE": str(kept / "cache"), "FALLOW_DATA": str(kept / "data")}
    words = [sys.executable, "-m", "fallow", "studio", str(folder), "--no-browser"]
    began = time.perf_counter()
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | paths
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    print(f"opened after {time.perf_counter() - began:.1f} s")
    found = re.search(r":(\d+)/\?token=(\S+)", said)
    assert found, said
    try:
        yield int(found[1]), found[2], process.pid
    finally:
        process.terminate()
        process.wait(20)


async def crowd(port: int, token: str, amount: Amount, seed: int) -> list[float]:
    """Seconds that every page took, of all clients together."""
    everyone = [scroll(port, token, amount, 1000 * seed + k) for k in range(amount.clients)]
    return [one for seen in await asyncio.gather(*everyone) for one in seen]


async def scroll(port: int, token: str, amount: Amount, seed: int) -> list[float]:
    """One person: jumps somewhere, reads on for some pages, jumps again; looks about a second."""
    random, took = np.random.default_rng(seed), []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def get(path: str) -> bytes:
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        writer.write(f"{head}Cookie: fallow-{port}={token}\r\n\r\n".encode())
        top = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        assert top.startswith("HTTP/1.1 200"), top
        size = re.search(r"content-length: (\d+)", top, re.IGNORECASE)
        assert size
        return await reader.readexactly(int(size[1]))

    order = np.frombuffer(await get("/api/collection/order"), "<u4")
    at = int(random.integers(0, len(order) - PAGE))
    for _ in range(amount.pages):
        await asyncio.sleep(random.uniform(0.5, 1.5))
        if random.random() < 0.2:
            at = int(random.integers(0, len(order) - PAGE))
        rows, then = (",".join(map(str, order[k : k + PAGE])) for k in (at, at + PAGE))
        began = time.perf_counter()
        await get(f"/api/collection/sheet?rows={rows}&side={SIDE}&then={then}")
        took.append(time.perf_counter() - began)
        at = (at + PAGE) % (len(order) - PAGE)
    writer.close()
    return took


def p95(seconds: list[float]) -> float:
    """What 95 of 100 stay below.

    >>> round(p95([float(k) for k in range(101)]))
    95
    """
    return float(np.quantile(seconds, 0.95))


def held(pid: int) -> float:
    """The most megabytes a process has held."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
