"""Views with heat maps, training and following a video, beside albumentations and DeepLabCut 3."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.peer import Peer
from benchmarks.photos import squares
from benchmarks.record import Line, alternate, cores, line, most_held, pin, rate

POINTS, SIDE, SOURCE = 17, 192, 256
TARGETS = {"albumentations": 3.0, "original": 10.0}
TRAINED, FOLLOWED = 1.5, 1.5


@dataclass(frozen=True)
class Amount:
    pictures: int = 256
    batch: int = 16
    seconds: float = 2.0
    warm: int = 2  # steps before the clock starts
    steps: int = 6  # timed
    frames: int = 160
    pairs: int = 5


QUICK = Amount(32, 8, 0.2, 1, 2, 20, 1)


def run(data: Path, python: str, quick: bool) -> Iterator[tuple[str, list[Line]]]:
    """Training and videos have all cores, views have one."""
    amount = QUICK if quick else Amount()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FALLOW_CACHE"] = f"{folder}/cache"
        yield "pose_training", training(data, python, Path(folder), amount)
        yield "pose_views", views(data, python, Path(folder), amount)


def stored(data: Path, side: int, folder: Path, amount: Amount) -> tuple[str, np.ndarray, Any]:
    """Photos with points anywhere on them, as both sides get them."""
    pictures = squares(data, side, amount.pictures)
    points = np.random.default_rng(0).uniform(0, side - 1, (len(pictures), POINTS, 2))
    name = str(folder / f"{side}.npz")
    np.savez(name, pictures=pictures, points=points.astype(np.float32))
    return name, pictures, points


# --- views ---


def views(data: Path, python: str, folder: Path, amount: Amount) -> list[Line]:
    """The same pictures from memory: normalised floats, and a heat map for every point."""
    core = pin()
    name, pictures, points = stored(data, SOURCE, folder, amount)
    ours = viewed(pictures, points, amount)
    lines = []
    for kind, target in TARGETS.items():
        with Peer(python, "pose.py", core=core) as peer:
            peer.ask(do="views", peer=kind, stored=name, side=SIDE, batch=amount.batch)

            def theirs(peer: Peer = peer) -> float:
                return peer.ask(do="view_rate", seconds=amount.seconds)["rate"]

            pairs = alternate(ours, theirs, amount.pairs)
            version = peer.version.split()[0] if kind == "albumentations" else ""
        work = f"views/s per core with heat maps of {POINTS} points, {SIDE} px from {SOURCE} px"
        name_of = {"albumentations": kind, "original": "a warp a picture (OpenCV)"}[kind]
        lines.append(line(work, name_of, version, pairs, target, most_held()))
    return lines


def viewed(pictures: np.ndarray, points: np.ndarray, amount: Amount) -> Callable[[], float]:
    """fallow's rate: views and targets as training makes them."""
    import torch

    import fallow
    from fallow.methods.pose.supervised import Supervised
    from fallow.methods.shared.pose import MARKED
    from fallow.train import Batch
    from fallow.train.method import Facts
    from fallow.views import pack_arrays, render

    settings = Supervised.Settings(size=SIDE, points=POINTS, sigma=2.0, mirrored=range(POINTS))
    encoder = fallow.encoder("resnet8/8", size=SIDE)
    method = Supervised(encoder, settings, Facts(len(pictures), SIDE))
    pack, recipe = pack_arrays(pictures), method.easy()
    marked = torch.cat(
        [torch.from_numpy(points), torch.full((*points.shape[:2], 1), 2.0)], -1
    ).float()
    draw = np.random.default_rng(0)

    def batch(epoch: int) -> int:
        rows = draw.integers(0, len(pack), amount.batch)
        made = render(pack, rows, recipe, seed=0, epoch=epoch, threads=1)
        index = torch.from_numpy(rows)
        some = Batch(
            made.groups, made.views, index, torch.full_like(index, -1), made.geometry, made.roles,
            beside={MARKED: marked[index]},
        )  # fmt: skip
        return len(method.targets(some)[0])

    batch(0)  # compiles
    return lambda: rate(batch, amount.seconds)


# --- training, and a video ---


def training(data: Path, python: str, folder: Path, amount: Amount) -> list[Line]:
    """ResNet-18 at the same size and batch on all cores, each side as it trains by itself."""
    name, pictures, points = stored(data, SIDE, folder, amount)
    place = folder / "pictures"
    place.mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(place / f"{number:05d}.png")
    film = filmed(folder / "film.mp4", pictures, amount.frames)
    lines = []
    for stride, target in ((16, TRAINED), (32, None)):
        with Peer(python, "pose.py") as peer:
            peer.ask(do="training", stored=name, batch=amount.batch, stride=stride, threads=cores())
            version = peer.version.split()[1]
            methods: list[Any] = []

            def ours(methods: list[Any] = methods) -> float:
                reached, method = trained(place, points, amount)
                methods.append(method)
                return reached

            def theirs(peer: Peer = peer) -> float:
                return peer.ask(do="train", steps=amount.steps, warm=amount.warm)["rate"]

            pairs = alternate(ours, theirs, min(amount.pairs, 3))
            about = f"ResNet-18, {SIDE} px, {POINTS} points"
            peer_name = f"DeepLabCut, output stride {stride}"
            work = f"pose training pictures/s, {about}, batch {amount.batch}"
            lines.append(line(work, peer_name, version, pairs, target, most_held()))
            pairs = alternate(
                lambda methods=methods: followed(methods[-1], film),  # type: ignore[misc]
                lambda peer=peer: peer.ask(do="follow", video=str(film), batch=16)["rate"],  # type: ignore[misc]
                min(amount.pairs, 3),
            )
            work = f"frames of a video/s, {about}, batch 16"
            followed_target = FOLLOWED if target else None
            lines.append(line(work, peer_name, version, pairs, followed_target, most_held()))
    return lines


def trained(place: Path, points: np.ndarray, amount: Amount) -> tuple[float, Any]:
    """Pictures a second of the timed steps, and what was trained."""
    import fallow
    from fallow import train
    from fallow.annotations.points import KeyPoints
    from fallow.methods.pose.supervised import Supervised
    from fallow.methods.shared.pose import marked, streams

    ends: list[float] = []

    class Observed(Supervised):
        """Supervised that notes when each step ended."""

        def after_step(self, now: Any) -> None:
            super().after_step(now)
            ends.append(time.perf_counter())

    images = fallow.open(place)
    values = np.concatenate([points, np.full((*points.shape[:2], 1), 2.0)], -1)
    held = KeyPoints(tuple(images.column("id")), values, tuple(f"p{k}" for k in range(POINTS)))
    known = marked(images, held)
    steps = amount.warm + amount.steps
    settings = Supervised.Settings(
        size=SIDE, points=POINTS, batch=amount.batch,
        epochs=steps / (len(images) // amount.batch),
    )  # fmt: skip
    encoder = fallow.encoder("resnet18", seed=0, size=SIDE)
    run = train.fit(
        Observed, streams(Observed, known.labelled, known.bare), encoder=encoder, settings=settings
    )
    return amount.batch * amount.steps / (ends[-1] - ends[-1 - amount.steps]), run.method


def filmed(path: Path, pictures: np.ndarray, frames: int) -> Path:
    """A video of photos, each shown for some frames."""
    from fallow.images.film import FilmWriter

    with FilmWriter(path, (SIDE, SIDE), rate=25) as film:
        for frame in range(frames):
            film.add(pictures[frame // 8 % len(pictures)])
    return path


def followed(method: Any, path: Path) -> float:
    """Frames a second, decoded, looked at and pointed at."""
    from fallow.images.film import Film
    from fallow.outcomes.tracks import followed as points_of

    names = [f"p{number}" for number in range(POINTS)]
    begin = time.perf_counter()
    track = points_of(method, Film(path), names, [], None)
    return len(track.points) / (time.perf_counter() - begin)
