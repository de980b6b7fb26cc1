"""A collection made fit to publish, on one core: curating, checks, metadata, precision, memory.

Everything here runs in one thread, so the clock counts the seconds its core worked.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import fallow.images
from benchmarks.peer import Peer, told_by
from benchmarks.photos import files
from benchmarks.record import Line, alternate, line, most_held, pin
from fallow.images.metadata import metadata
from fallow.measure.annotated import Boxes, detection_precision

LIMIT = "limit"  # the peer of what is to be reached without one
PICTURES = 200.0  # curated a second
FILES = 100_000 / 60  # whose metadata is read a second
CLASSES, APART = 50, 60.0  # marked boxes of one picture lie in places of their own
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:cc="http://creativecommons.org/ns#">'
    b"<dc:creator><rdf:Seq><rdf:li>Ann</rdf:li></rdf:Seq></dc:creator>"
    b'<cc:license rdf:resource="https://creativecommons.org/licenses/by/4.0/"/>'
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)


@dataclass(frozen=True)
class Amount:
    pictures: int = 400
    files: tuple[int, ...] = (1000, 2000, 4000)
    boxes: int = 1_000_000
    part: int = 50_000  # of the boxes, for peers that take long
    rows: tuple[int, ...] = (2048, 4096, 8192)  # of a batch of UNPG
    pairs: int = 5


QUICK = Amount(40, (50, 100), 20_000, 2_000, (128, 256), pairs=1)


def run(data: Path, python: str, quick: bool) -> list[Line]:
    amount = QUICK if quick else Amount()
    core = pin()
    with tempfile.TemporaryDirectory() as place, Peer(python, "collection.py", core=core) as peer:
        folder = Path(place) / "pictures"
        written(data, folder, max(amount.pictures, 1))
        lines = curated(folder, Path(place), peer, amount)
        lines += described(folder, amount)
        lines += precise(Path(place), peer, amount)
    return [*lines, *memory(amount)]


# --- pictures ---


def written(data: Path, folder: Path, count: int) -> None:
    """Photos as they are, with a creator and a licence in EXIF and XMP."""
    folder.mkdir()
    tags = Image.Exif()
    tags[0x013B], tags[0x8298], tags[0x0110] = "Ann", "CC BY 4.0", "X1"
    tags.get_ifd(0x8825)[1], tags.get_ifd(0x8825)[2] = "N", (48.0, 30.0, 0.0)
    sources = islice(files(data, ("flickr8k_sample", "natural_photos")), count)
    for place, (_, content) in enumerate(sources):
        with Image.open(io.BytesIO(content)) as opened:
            photo = opened.convert("RGB")
        photo.save(folder / f"{place:05d}.jpg", quality=90, exif=tags, xmp=XMP)


def curated(folder: Path, place: Path, peer: Peer, amount: Amount) -> list[Line]:
    """Opening a folder and every stage without a detector; cleanvision's checks are among them."""
    from fallow.methods.curate.people_free import curate

    runs = iter(range(1000))

    def rate() -> float:
        begin = time.process_time()
        images = fallow.images.open(str(folder))
        curate(images, place / f"run {next(runs)}", threads=1)
        return len(images) / (time.process_time() - begin)

    rate()
    pairs = alternate(
        rate, lambda: peer.ask(do="checks", folder=str(folder))["rate"], min(amount.pairs, 3)
    )
    ours = [(one, PICTURES) for one, _ in pairs]
    return [
        line(f"curate, {amount.pictures} photos: pictures/s", LIMIT, "", ours, 1.0, most_held()),
        line("all checks and more: pictures/s", "cleanvision", peer.version.split()[-1], pairs,
             2.0),
    ]  # fmt: skip


def described(folder: Path, amount: Amount) -> list[Line]:
    """Reading files and all that they say; the rate is to stay at rising counts."""
    paths = sorted(folder.iterdir())

    def rate(count: int) -> float:
        begin = time.process_time()
        for row in range(count):
            assert metadata(paths[row % len(paths)].read_bytes()).get("licence")
        return count / (time.process_time() - begin)

    rates = {count: rate(count) for count in amount.files}
    pairs = [(rate(amount.files[0]), FILES) for _ in range(amount.pairs)]
    return [
        line("metadata: files/s (100,000 in a minute)", LIMIT, "", pairs, 1.0),
        *(
            line(f"growth: metadata, files/s at {large:,} beside {small:,}", f"fallow, {small:,}",
                 "", [(rates[large], rates[small])], 0.8)
            for small, large in pairwise(amount.files)
        ),
    ]  # fmt: skip


# --- boxes ---


def scenes(found: int, seed: int = 0) -> tuple[Boxes, Boxes, np.ndarray]:
    """Marked boxes, ten a picture, found ones, thirty, and which classes were answered for."""
    draw = np.random.default_rng(seed)
    images = found // 30
    place = np.tile(np.arange(10), images) * APART
    corner = np.stack([place, np.zeros(len(place))], 1) + draw.uniform(0, 5, (len(place), 2))
    box = np.concatenate([corner, corner + draw.uniform(20, 40, (len(place), 2))], 1)
    image = np.repeat(np.arange(images), 10)
    label = draw.integers(0, CLASSES, len(image))
    truth = Boxes(image, label, box, np.zeros(len(image), bool))
    chosen = np.repeat(np.arange(len(image)), 3)
    moved = box[chosen] + draw.normal(0, 4, (len(chosen), 1))
    right = draw.random(len(chosen)) < 0.8
    named = np.where(right, label[chosen], draw.integers(0, CLASSES, len(chosen)))
    # no two scores are equal, so that no order is left open
    score = draw.permutation(len(chosen)) / len(chosen)
    answered = np.unique(
        np.stack([image[chosen], named], 1)[draw.random(len(chosen)) < 0.5], axis=0
    )
    return truth, Boxes(image[chosen], named, moved, score=score), answered


def precise(place: Path, peer: Peer, amount: Amount) -> list[Line]:
    """Label-filtered precision beside plain loops; without a filter beside pycocotools."""
    truth, found, answered = scenes(amount.boxes)
    part = scenes(amount.part)
    expected = in_loops(*part)
    each = detection_precision(*part[:2], CLASSES, verified=part[2]).each
    np.testing.assert_allclose(each, expected, rtol=1e-9)

    def ours(verified: np.ndarray | None) -> float:
        begin = time.process_time()
        detection_precision(truth, found, CLASSES, verified=verified)
        return len(found.image) / (time.process_time() - begin)

    def loops() -> float:
        begin = time.process_time()
        in_loops(*part)
        return len(part[1].image) / (time.process_time() - begin)

    stored = place / "boxes.npz"
    sides = {"truth": part[0], "found": part[1]}
    table = {
        f"{side}_{name}": getattr(boxes, name)
        for side, boxes in sides.items()
        for name in ("image", "label", "box", "score")
        if getattr(boxes, name) is not None
    }
    np.savez(stored, images=amount.part // 30, classes=CLASSES, **table)
    mean = peer.ask(do="precision", stored=str(stored))["mean"]
    apart = abs(detection_precision(*part[:2], CLASSES).mean - mean)
    assert apart < 0.02, f"pycocotools finds a mean precision {apart:.3f} away"
    filtered = alternate(lambda: ours(answered), loops, min(amount.pairs, 3))
    plain = alternate(
        lambda: ours(None),
        lambda: peer.ask(do="precision", stored=str(stored))["rate"],
        min(amount.pairs, 3),
    )
    what = f"{amount.boxes:,} boxes/s"
    return [
        line(f"label-filtered precision: {what}", "plain Python", "", filtered, 10.0),
        line(f"precision without a filter: {what}", "pycocotools", peer.version.split()[1],
             plain, 1.0, most_held()),
    ]  # fmt: skip


def in_loops(truth: Boxes, found: Boxes, answered: np.ndarray) -> list[float]:
    """The same without arrays: picture by picture, class by class, box by box."""
    marked: dict[tuple[int, int], list[list[float]]] = defaultdict(list)
    rows = zip(truth.image.tolist(), truth.label.tolist(), truth.box.tolist(), strict=True)
    for image, label, box in rows:
        marked[image, label].append(box)
    known = {(image, label) for image, label in answered.tolist()} | set(marked)
    assert found.score is not None
    groups: dict[tuple[int, int], list[tuple[float, list[float]]]] = defaultdict(list)
    columns = (found.image, found.label, found.score, found.box)
    for image, label, score, box in zip(*(one.tolist() for one in columns), strict=True):
        if (image, label) in known:
            groups[image, label].append((score, box))
    entries: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for (image, label), group in groups.items():
        targets = marked.get((image, label), [])
        taken = [False] * len(targets)
        for score, box in sorted(group, reverse=True):
            near = [overlap(box, other) for other in targets]
            best = max(range(len(near)), key=near.__getitem__, default=-1)
            hit = best >= 0 and near[best] >= 0.5 and not taken[best]
            if hit:
                taken[best] = True
            entries[label].append((score, hit))
    totals = np.bincount(truth.label, minlength=CLASSES).tolist()
    return [area(sorted(entries[label], reverse=True), totals[label]) for label in range(CLASSES)]


def overlap(one: list[float], other: list[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    sizes = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return both / (sum(sizes) - both)


def area(entries: list[tuple[float, bool]], total: int) -> float:
    if not total:
        return float("nan")
    right, points = 0, []
    for seen, (_, hit) in enumerate(entries, 1):
        right += hit
        points.append((right / seen, right / total))
    best, found = 0.0, 0.0
    for place in range(len(points) - 1, -1, -1):
        best = max(best, points[place][0])
        before = points[place - 1][1] if place else 0.0
        found += best * (points[place][1] - before)
    return found


# --- memory ---


def memory(amount: Amount) -> list[Line]:
    """Peak of UNPG's loss and its gradient in fresh processes, whose batches double."""
    used = {rows: peak(rows) for rows in amount.rows}
    return [
        line(f"UNPG: memory at {small:,} rows over {large:,} (all pairs at once: 0.25)",
             f"fallow, {small:,}", "", [(max(used[small], 1), max(used[large], 1))], 0.4,
             used[large])
        for small, large in pairwise(amount.rows)
    ]  # fmt: skip


def peak(rows: int) -> float:
    """Megabytes a fresh process needs for the loss of so many rows and its gradient."""
    return told_by("curate", rows)


def _peak_here() -> None:
    from fallow.losses.negative_pairs import negative_mass

    torch.set_num_threads(1)

    def loss(rows: int) -> None:
        features = torch.randn(rows, 128, requires_grad=True)
        labels = torch.arange(rows) // 4
        mass, _ = negative_mass(features, labels, 32.0, reach=1.5)
        mass.backward()

    loss(64)
    before = most_held()
    loss(int(sys.argv[1]))
    print(json.dumps(most_held() - before))


if __name__ == "__main__":
    _peak_here()
