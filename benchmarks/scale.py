"""Beyond one machine: two workers beside one, memory beside five times the pictures, the index,
and what `fallow.scale.cost` said beforehand beside what it took."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.photos import PHOTOS, extract
from benchmarks.record import Line, alternate, line

ALONE = True  # no peer to install

WIDTH = 128
PART = 2000


def run(data: Path, python: str | None, quick: bool) -> Iterator[tuple[str, list[Line]]]:
    """Only the rates need pictures; there are no peers."""
    yield "scale_rates", rates(data, 20 if quick else 300)
    yield "scale_joins", joins(quick)
    yield "scale_index", index(2_000 if quick else 200_000)
    yield "scale_index_million", index(4_000 if quick else 1_000_000)
    yield "scale_memory", memory(*((200, 400) if quick else (10_000, 50_000, 200_000)))
    yield "scale_workers", workers(*((40, 10, 1) if quick else (1_536, 128, 3)))
    yield "scale_ranks", ranks(1 if quick else 3)


def rates(data: Path, count: int) -> list[Line]:
    """Photographs a core-second from files to a part of vectors, by encoder beside tiny."""
    from fallow.encoders import chosen_encoder
    from fallow.images.named import named
    from fallow.scale.parts import Parts
    from fallow.scale.pictures import Job, _embed

    with tempfile.TemporaryDirectory() as folder:
        extract(data, PHOTOS, Path(folder) / "photos", count)
        source, turn = named(Path(folder) / "photos"), iter(range(10_000))

        def rate(name: str) -> float:
            job = Job(source, None, encoders[name], Parts(f"{folder}/{next(turn)}"), count)
            begun = time.process_time()
            _embed(job, 0)
            return len(source) / (time.process_time() - begun)

        encoders = {name: chosen_encoder(name)[0] for name in ("tiny", "lite", "resnet18")}
        for name in encoders:
            rate(name)
        return [
            line(
                f"{count} photographs of 150 x 200 pixels, images a core-second: {name}",
                "tiny",
                "",
                alternate(lambda name=name: rate(name), lambda: rate("tiny"), 3),  # type: ignore[misc]
                None,
            )
            for name in ("lite", "resnet18")
        ]


def joins(quick: bool) -> list[Line]:
    """Core-seconds of the exact join at three sizes, said beforehand and taken."""
    from fallow.scale import cost, join
    from fallow.scale.parts import Parts

    sizes = (2_000, 4_000, 6_000) if quick else (8_000, 16_000, 32_000)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        speed = calibrated(Path(folder) / "small")
        for rows in sizes:
            parts = vectors(Path(folder) / str(rows), rows)
            numbers = parts.finished()
            starts = [PART * number for number in numbers]
            job = join.Join(parts, numbers, starts, Parts(parts.folder.path, "near"), 10)
            begun = time.process_time()
            for place in range(len(numbers)):
                join._one_row(job, place)
            took = time.process_time() - begun
            said = cost.join_seconds(rows, WIDTH, PART, 1, speed)
            work = f"join of {rows:,} vectors of {WIDTH}: core-seconds said beforehand, taken"
            lines.append(line(work, "taken", "", [(said, took)], None))
    return lines


def calibrated(folder: Path):  # type: ignore[no-untyped-def]
    """What one core does, from a join of two parts and from reading them."""
    from fallow.scale import cost, join
    from fallow.scale.parts import Parts

    parts = vectors(folder, 2 * PART)
    job = join.Join(parts, [0, 1], [0, PART], Parts(folder, "near"), 10)
    join._one_row(job, 0)  # compiled once
    begun = time.process_time()
    for _ in range(20):
        parts.read(0, ["embedding"])
    reading = (time.process_time() - begun) / 20
    begun = time.process_time()
    for _ in range(3):
        join._one_row(job, 0)
    both = (time.process_time() - begun) / 3 - 3 * reading
    return cost.Measured(1, PART * 2 * PART * WIDTH / both, 4 * WIDTH * PART / reading)


def vectors(folder: Path, rows: int):  # type: ignore[no-untyped-def]
    """Parts of vectors around two hundred centres, with ids."""
    from fallow.inventory.store import vectors_column
    from fallow.scale.parts import Parts

    draw = np.random.default_rng(0)
    centres = draw.normal(size=(200, WIDTH)).astype(np.float32)
    parts = Parts(folder)
    for number in range(rows // PART):
        made = draw.normal(size=(PART, WIDTH)).astype(np.float32) * 0.7
        made += centres[draw.integers(0, len(centres), PART)]
        ids = [f"{PART * number + k:09d}" for k in range(PART)]
        parts.write(number, pa.table({"id": ids, "embedding": vectors_column(made)}))
    return parts


def index(rows: int) -> list[Line]:
    """Searches a second and recall at 10 of LanceDB's index, beside one exact pass for each."""
    from fallow.inventory.nearest import most_similar_among
    from fallow.inventory.store import rows_of
    from fallow.scale.index import indexed

    with tempfile.TemporaryDirectory() as folder:
        parts = vectors(Path(folder) / "parts", rows)
        found = indexed(parts.folder.path, Path(folder) / "lance")
        bank = np.concatenate([rows_of(one.column("embedding")) for one in parts.each()])
        begun = time.perf_counter()
        for row in range(10):
            most_similar_among(bank[row : row + 1], row, [(0, bank)], 10)
        exact = 10 / (time.perf_counter() - begun)
    middle, slow = np.percentile(found.seconds, [50, 95])
    name = f"LanceDB, {rows:,} vectors of {WIDTH}"
    return [
        line(f"{name}: searches/s at the median", "exact pass", "", [(1 / middle, exact)], None),
        line(
            f"{name}: searches/s at the 95th percentile",
            "exact pass",
            "",
            [(1 / slow, exact)],
            None,
        ),
        line(f"{name}: recall at 10", "exact", "", [(found.recall, 1.0)], 0.95),
    ]


def memory(few: int, *more: int) -> list[Line]:
    """Peak megabytes of a program that does all parts of a job itself; room left is compared."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures.zip"
        held = {}
        for count in (few, *more):
            zipped(pictures, count)
            held[count] = float(
                subprocess.run(
                    [sys.executable, "-c", HELD, str(pictures), f"{folder}/{count}"],
                    capture_output=True, text=True, check=True,
                ).stdout
            )  # fmt: skip
    work = f"peak MB of a worker, {few:,} beside {{many:,}} generated pictures"
    return [
        line(work.format(many=many), f"{many:,} pictures", "", [(held[few], held[many])], 0.8)
        for many in more
    ]


HELD = """
import sys
from pathlib import Path
from benchmarks.record import most_held
from fallow.encoders import chosen_encoder
from fallow.images.named import named
from fallow.scale.parts import Parts
from fallow.scale.pictures import Job, _embed
job = Job(named(sys.argv[1]), None, chosen_encoder("tiny")[0], Parts(sys.argv[2]), 1024)
for number in range(job.count):
    _embed(job, number)
print(most_held())
"""


def zipped(path: Path, count: int, side: int = 64) -> None:
    """So many different small JPEGs in one archive."""
    from PIL import Image

    draw = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            coarse = Image.fromarray(draw.integers(0, 255, (6, 6, 3), np.uint8))
            held = io.BytesIO()
            coarse.resize((side, side), Image.Resampling.BICUBIC).save(held, "JPEG", quality=85)
            archive.writestr(f"{number:07d}.jpg", held.getvalue())


def workers(count: int, part: int, repeats: int) -> list[Line]:
    """Pictures a second through Ray with a core for each worker, its start not counted.

    Ray Data looks ten times a second for what is done, and gives out the next part then: a part
    takes seconds here, as the parts of a real job do. Plain programs that share nothing say what
    the machine itself makes of its second core.
    """
    from fallow.verbs.embed import embed

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "pictures.zip"
        zipped(source, count, side=200)

        def here() -> float:
            begun = time.perf_counter()
            embed(source, encoder="lite")
            return count / (time.perf_counter() - begun)

        def ray(number: int) -> float:
            return spread(source, number, part)

        def plain(number: int) -> float:
            return programs(source, number, part)

        beside_one = alternate(lambda: ray(2), lambda: ray(1), repeats)
        of_programs = alternate(lambda: plain(2), lambda: plain(1), repeats)
        beside_programs = alternate(lambda: ray(2), lambda: plain(2), repeats)
        beside_here = alternate(lambda: ray(2), here, repeats)
    work = f"embed of {count:,} generated pictures with lite, images/s"
    return [
        line(f"{work}: two workers on two cores", "one worker on one core", "", beside_one, 1.5),
        line(f"{work}: two plain programs on two cores", "one program", "", of_programs, None),
        line(f"{work}: two workers", "two plain programs", "", beside_programs, None),
        line(f"{work}: two workers", "engine here", "", beside_here, None),
    ]


def spread(source: Path, number: int, part: int) -> float:
    """Pictures a second of so many workers on as many cores, once they have loaded everything."""
    import ray

    from fallow.scale import pictures as scale

    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:number])  # Ray's processes begin with it
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (else whatever else runs goes first)
    memory = 200 * 2**20  # of the object store
    ray.init(
        num_cpus=number, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        object_store_memory=memory,
    )  # fmt: skip
    try:
        with tempfile.TemporaryDirectory() as folder:
            few = Path(folder) / "few.zip"
            zipped(few, 2 * number * part)
            for what in (few, source):
                begun = time.perf_counter()
                made = scale.embed(
                    what, f"{folder}/{what.stem}", encoder="lite", workers=number, size=part
                )
        return len(made.job.named) / (time.perf_counter() - begun)
    finally:
        ray.shutdown()
        os.sched_setaffinity(0, before)


def programs(source: Path, number: int, part: int) -> float:
    """Pictures a second of so many plain programs, each with a core and its share of the parts."""
    with tempfile.TemporaryDirectory() as folder:
        cores = sorted(os.sched_getaffinity(0))[:number]
        begun = [
            subprocess.Popen(
                [sys.executable, "-c", SHARED, *map(str, (source, folder, part, turn, number))],
                stdout=subprocess.PIPE, text=True,
                preexec_fn=lambda core=core: os.sched_setaffinity(0, {core}),  # type: ignore[misc]
            )
            for turn, core in enumerate(cores)
        ]  # fmt: skip
        return sum(float(one.communicate()[0]) for one in begun)


SHARED = """
import sys, time
import torch
from fallow.encoders import chosen_encoder
from fallow.images.named import named
from fallow.scale.parts import Parts
from fallow.scale.pictures import Job, _embed
torch.set_num_threads(1)
source, folder = sys.argv[1:3]
part, turn, number = map(int, sys.argv[3:])
job = Job(named(source), None, chosen_encoder("lite")[0].eval(), Parts(folder), part)
_embed(job, turn)
begun = time.perf_counter()
for one in range(turn + number, job.count, number):
    _embed(job, one)
mine = len(range(turn + number, job.count, number)) * part
print(mine / (time.perf_counter() - begun))
"""


def ranks(repeats: int) -> list[Line]:
    """Pictures a second of SimCLR on two ranks with a core each beside one with one core."""
    work = "SimCLR, resnet18 at 32 px, batch 128, images/s"
    pairs = alternate(lambda: trained(2), lambda: trained(1), repeats)
    return [line(f"{work}: two ranks on two cores", "one rank on one core", "", pairs, 1.5)]


def trained(number: int) -> float:
    """Pictures a second of so many ranks, as the run itself counted them."""
    words = [sys.executable, "-c", TRAINED]
    with tempfile.TemporaryDirectory() as folder:
        if number > 1:
            script = Path(folder) / "trained.py"
            script.write_text(TRAINED)
            launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
            words = [sys.executable, *launcher, str(number), str(script)]
        cores = sorted(os.sched_getaffinity(0))[:number]
        done = subprocess.run(
            [*words, f"{folder}/run"], capture_output=True, text=True, check=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )  # fmt: skip
    return float(done.stdout.split("rate ")[1].split()[0])


TRAINED = """
import sys
import torch
import fallow
from fallow.images.samples import shapes
from fallow.methods.learn.simclr import SimCLR
from fallow.train import fit, make_settings
torch.set_num_threads(1)
told = {"epochs": 4, "batch": 128, "size": 32, "precision": "32", "compile": "off"}
run = fit(
    SimCLR, shapes(384, side=40), encoder=fallow.encoder("resnet18", size=32), out=sys.argv[1],
    settings=make_settings(SimCLR.Settings, told),
)
if run.history:
    print("rate", run.history[-1]["images_per_second"], flush=True)
"""
