"""Mutual scores of patches, beside the published procedure written out in torch; whole runs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.peer import whole
from benchmarks.photos import archive
from benchmarks.record import ROOT, Line, alternate, line, most_held

ALONE = True  # no peer to install

PEER = "one image against all, torch.cdist"
ARCHIVE = "magnetic_tile"
SPEED, MEMORY_MB, EXACT, ROUNDED = 5.0, 1000.0, 1e-4, 0.002
SIDE, SECONDS, LESS = 300, 30.0, 0.005  # of a whole run of 150 pictures, on two cores


@dataclass(frozen=True)
class Amount:
    images: int = 100
    length: int = 1024
    width: int = 768
    growth: tuple[int, ...] = (50, 100, 200)
    peer_images: int = 4  # of `images`, timed for all
    pairs: int = 3
    folders: tuple[int, ...] = (150, 400, 800)


QUICK = Amount(
    images=10, length=64, width=32, growth=(6, 12, 24), peer_images=2, pairs=1, folders=(12, 24, 48)
)


def run(data: Path, python: str | None, quick: bool) -> list[Line]:
    """The peer is written below, so `python` is not needed."""
    amount = QUICK if quick else Amount()
    z = features(amount.images, amount.length, amount.width)
    count = amount.images * (amount.images - 1)
    shape = f"N={amount.images}, L={amount.length}, C={amount.width}"

    def ours(bf16: bool) -> float:
        begin = time.perf_counter()
        scored(z, bf16)
        return count / (time.perf_counter() - begin)

    def theirs() -> float:
        begin = time.perf_counter()
        for image in range(amount.peer_images):
            published(z, image)
        return amount.peer_images * (amount.images - 1) / (time.perf_counter() - begin)

    scored(z[:4], True)  # the first product of a kind prepares its kernels
    fast = native_bf16()
    kind = "bf16" if fast else "float32"
    version = torch.__version__
    lines = [
        line(f"ordered pairs of images/s, {shape}, {kind}", PEER, version,
             alternate(partial(ours, fast), theirs, amount.pairs), SPEED),
        line(f"ordered pairs of images/s, {shape}, float32", PEER, version,
             alternate(partial(ours, False), theirs, amount.pairs), None),
    ]  # fmt: skip
    lines += errors(z, data, amount)
    used = peak(amount, fast)
    lines.append(line(f"memory beyond the features, limit over used, {shape}", "-", "",
                      [(MEMORY_MB, max(used, 1.0))], 1.0, used))  # fmt: skip
    return [*lines, *growth(amount, fast), *runs(data, amount)]


def errors(z: Tensor, data: Path, amount: Amount) -> list[Line]:
    """Tolerance over error: float32 against the published scores, bf16 in AUROC on photos."""
    from fallow.measure import auroc

    exact = scored(z, False)
    reference = torch.stack([published(z, image) for image in range(amount.peer_images)])
    off = float((exact[: amount.peer_images] - reference).abs().max())
    tiles, odd = photos(data, amount.images)
    areas = [auroc(odd, scored(tiles, bf16).amax(1)) for bf16 in (False, True)]
    apart = abs(float(areas[0] or 0) - float(areas[1] or 0))
    return [
        line("float32: tolerance over largest error of a score", PEER, torch.__version__,
             [(EXACT, max(off, 1e-12))], 1.0),
        line(f"bf16: tolerance over difference in image AUROC, {ARCHIVE}", "float32", "",
             [(ROUNDED, max(apart, 1e-12))], 1.0),
    ]  # fmt: skip


def growth(amount: Amount, bf16: bool) -> list[Line]:
    """Rates at rising counts of images, each with the one before as its peer."""
    rates = {}
    for images in amount.growth:
        z = features(images, amount.length, amount.width)
        begin = time.perf_counter()
        scored(z, bf16)
        rates[images] = images * (images - 1) / (time.perf_counter() - begin)
    sizes = amount.growth
    return [
        line(f"growth: pairs/s at N={large} beside N={small}", f"fallow, N={small}", "",
             [(rates[large], rates[small])], None)
        for small, large in pairwise(sizes)
    ]  # fmt: skip


def runs(data: Path, amount: Amount) -> list[Line]:
    """Whole processes of `fallow spot` on folders of rising size: time, memory and ranking."""
    first, *larger = amount.folders
    with tempfile.TemporaryDirectory() as place:
        rates, peaks, ranked, truths = {}, {}, {}, {}
        for count in amount.folders:
            truth = pieces(data, count, Path(place) / str(count))
            seconds, peaks[count], ranked[count] = run_of(Path(place) / str(count), truth)
            rates[count] = count / seconds
            truths[count] = truth
        _, _, exact = run_of(Path(place) / str(first), truths[first], "--set", "references=none")
    lost = max(exact - ranked[first], 1e-12)
    work = f"whole run on {first} pictures of {SIDE} px"
    lines = [
        line(f"{work}, pictures/s", f"goal: {SECONDS:.0f} s for 150", "",
             [(rates[first], 150 / SECONDS)], 1.0, peaks[first]),
        line(f"{work}: tolerance over what is lost of image AUROC", "all pictures as references",
             "", [(LESS, lost)], 1.0),
    ]  # fmt: skip
    for before, count in pairwise(larger):
        work = f"whole run on {count} pictures"
        peer = f"fallow, {before} pictures"
        lines += [
            line(f"{work}, pictures/s", peer, "", [(rates[count], rates[before])], 0.8),
            line(f"{work}: peak of the smaller over its peak", peer, "",
                 [(peaks[before], peaks[count])], 0.8, peaks[count]),
        ]  # fmt: skip
    return lines


def pieces(data: Path, count: int, folder: Path) -> dict[str, int]:
    """Magnetic tiles of one size as files, turned and mirrored once there are no more; odd ones."""
    import fallow

    tiles = fallow.open(archive(data, ARCHIVE)).where("split = 'test'")
    odd = tiles.column("anomaly").astype(int)
    folder.mkdir()
    truth = {}
    for number in range(count):
        turn, row = divmod(number, len(tiles))
        pixels = np.rot90(tiles[row], turn % 4)
        pixels = pixels[:, ::-1] if turn > 3 else pixels
        name = f"{number:04d}.png"
        Image.fromarray(np.ascontiguousarray(pixels)).resize((SIDE, SIDE)).save(folder / name)
        truth[name] = int(odd[row])
    return truth


def run_of(folder: Path, truth: dict[str, int], *more: str) -> tuple[float, float, float]:
    """Seconds and peak of a process that spots the odd ones of a folder, and the image AUROC."""
    import pyarrow.parquet as pq

    from fallow.measure import auroc

    with tempfile.TemporaryDirectory(dir=folder.parent) as work:  # no run finds another's cache
        out = f"{work}/out"
        words = [sys.executable, "-m", "fallow", "spot", str(folder), "--out", out, *more]
        seconds, peak = whole(words, work)
        table = pq.read_table(f"{out}/table.parquet", columns=["id", "score"]).to_pydict()
    odd = np.array([truth[name] for name in table["id"]])
    return seconds, peak, float(auroc(odd, np.array(table["score"])) or 0)


def features(images: int, length: int, width: int) -> Tensor:
    """Unit vectors as an encoder gives them: a common mean, and parts that recur."""
    torch.manual_seed(0)
    kinds = torch.randn(16, width)
    picked = torch.randint(len(kinds), (images, length))
    z = 2 * torch.randn(width) + kinds[picked] + 0.5 * torch.randn(images, length, width)
    return F.normalize(z, dim=2)


def photos(data: Path, images: int) -> tuple[Tensor, np.ndarray]:
    """Features of real parts, a part of them with a defect, and which those are."""
    import fallow
    from fallow.encoders.maps import look, sight
    from fallow.methods.spot.musc import neighbourhoods, standardised

    drawn = fallow.open(archive(data, ARCHIVE)).where("split = 'test'").sample(images, seed=0)
    encoder = fallow.encoder("untrained")
    seen = look(encoder, drawn, sight(encoder, size=256, layers=[1]))
    maps = standardised(torch.cat([part.maps[0] for part in seen]))
    return neighbourhoods(maps, 3), drawn.column("anomaly").astype(int)


def scored(z: Tensor, bf16: bool) -> Tensor:
    from fallow.methods.spot.musc import mutual_scores

    return mutual_scores(z, bf16=bf16)


def published(z: Tensor, image: int, share: float = 0.3) -> Tensor:
    """The scores of one image's patches, as the authors compute them."""
    others = torch.cat([z[:image], z[image + 1 :]])
    distance = torch.cdist(z[image : image + 1], others.flatten(0, 1)[None])[0]  # L (N-1)*L
    nearest = distance.unflatten(1, others.shape[:2]).amin(2)  # L N-1
    count = max(1, int(share * len(others)))
    return nearest.topk(count, dim=1, largest=False).values.mean(1)


def native_bf16() -> bool:
    from fallow.device import fast_bf16

    return fast_bf16(torch.device("cpu"))


def peak(amount: Amount, bf16: bool) -> float:
    """Megabytes a fresh process needs to score, beyond the features it holds."""
    words = [amount.images, amount.length, amount.width, int(bf16), torch.get_num_threads()]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.spot", *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(json.loads(done.stdout))


def _peak_here() -> None:
    images, length, width, bf16, threads = map(int, sys.argv[1:])
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(images, length, width, generator=generator)
    for image in z:  # in place: the peak is to be the scores', not that of making features
        F.normalize(image, dim=1, out=image)
    scored(torch.randn(3, 8, 8), bool(bf16))
    before = most_held()
    scored(z, bool(bf16))
    print(json.dumps(most_held() - before))


if __name__ == "__main__":
    _peak_here()
