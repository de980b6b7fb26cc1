"""From raw to pictures and back on one core: rawpy, colour-demosaicing, NumPy, limits.

Everything here runs in one thread, so the clock counts the seconds its core worked.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peer import Peer, told_by
from benchmarks.photos import sheet
from benchmarks.record import Line, alternate, line, most_held, pin
from fallow.methods.develop.day2night import night_of_photo
from fallow.methods.develop.lightisp import LightISP, critic_step, network_losses
from fallow.methods.shared.pipeline import ISP
from fallow.raw import Look, Raw, developed, plain_sensor, unprocessed, write_dng
from fallow.raw.curves import from_srgb
from fallow.raw.demosaic import demosaicked
from fallow.raw.develop import gains_for, matrix_for

NOISE = ((0.002, 1e-5),)
LIMIT = "limit"  # the peer of what is to be reached without one
MEMORY_MB = 2000.0
# four planes to 12, 12 and 12, three by three, for one pixel of the mosaic: the paper's network
PUBLISHED = (4 * 12 + 12 * 12 + 12 * 12) * 9 / 4


@dataclass(frozen=True)
class Amount:
    size: tuple[int, int] = (3000, 4000)
    small: tuple[int, int] = (480, 640)
    large: tuple[int, int] = (6000, 8192)  # 49 megapixels
    pairs: int = 7
    steps: int = 4  # of the GAN, one after the other
    night_pairs: int = 7


QUICK = Amount((300, 400), (60, 80), (600, 800), pairs=1, steps=1, night_pairs=1)


def run(data: Path, python: str, quick: bool) -> list[Line]:
    amount = QUICK if quick else Amount()
    core = pin()
    photo = sheet(data, *amount.size)
    raw = unprocessed(photo, plain_sensor())
    with tempfile.TemporaryDirectory() as folder, Peer(python, "develop.py", core=core) as peer:
        lines = forwards(raw, peer, Path(folder), amount)
    lines += backwards(photo, amount)
    lines += nights(photo, amount)
    lines += learned(raw, amount)
    lines += gan(photo, amount)
    return [*lines, *memory(amount)]


def forwards(raw: Raw, peer: Peer, folder: Path, amount: Amount) -> list[Line]:
    """A frame in memory to 8 bits, by Malvar; rawpy does the same bilinearly."""
    light = raw.light(high=1)
    write_dng(folder / "frame.dng", raw)
    np.save(folder / "mosaic.npy", light.astype(np.float64))
    versions = peer.ask(
        do="prepare", dng=str(folder / "frame.dng"), mosaic=str(folder / "mosaic.npy")
    )
    compare(raw, light, peer, folder)
    what = f"{light.size / 1e6:.0f} MP"

    def row(name: str, work: Callable[[], Any], kind: str, package: str, target: float) -> Line:
        work()
        pairs = alternate(
            lambda: pixels_a_second(work, light.size),
            lambda: peer.ask(do="rate", name=kind)["rate"],
            amount.pairs,
        )
        return line(f"{name}, {what}: MP/s", package, versions[package], pairs, target)

    whole, alone = partial(developed, raw), partial(demosaicked, light, "RGGB", "malvar")
    bilinear = partial(developed, raw, Look(demosaic="bilinear"))
    return [
        row("developed by Malvar (peer bilinear)", whole, "rawpy", "rawpy", 2.0),
        row("developed bilinearly", bilinear, "rawpy", "rawpy", 2.0),
        row("developed (peer Malvar alone)", whole, "malvar", "colour-demosaicing", 5.0),
        row("Malvar alone", alone, "malvar", "colour-demosaicing", 5.0),
    ]


def compare(raw: Raw, light: np.ndarray, peer: Peer, folder: Path) -> None:
    """Both sides must do the same work; borders differ, and rawpy rounds in between."""
    target = str(folder / "answer.npy")
    peer.ask(do="once", name="rawpy", target=target)
    theirs = np.load(target).astype(np.float64)
    ours = developed(raw, Look(demosaic="bilinear")).astype(np.float64)
    away = float(np.abs(ours - theirs)[4:-4, 4:-4].mean())
    assert away < 2.0, f"rawpy's picture is {away:.1f} levels away: not the same steps"
    peer.ask(do="once", name="malvar", target=target)
    inner = np.s_[4:-4, 4:-4]
    np.testing.assert_allclose(
        demosaicked(light, "RGGB", "malvar")[inner], np.load(target)[inner], atol=1e-5
    )


def backwards(photo: np.ndarray, amount: Amount) -> list[Line]:
    """A photo to a mosaic, beside the formulas one after the other in NumPy."""
    lines = []
    for noise, what in (((), "clean"), (NOISE, "with noise")):
        ours = partial(unprocessed, photo, plain_sensor(), noise=noise)
        made, expected = ours().mosaic, formula(photo, noise)
        apart = made.astype(np.float64) - expected
        assert abs(apart.mean()) < 0.5, "NumPy's mosaic is another one"
        assert len(noise) or np.abs(apart).max() <= 1
        pairs = alternate(
            partial(pixels_a_second, ours, made.size),
            partial(pixels_a_second, partial(formula, photo, noise), made.size),
            min(amount.pairs, 5),
        )
        work = f"un-processed {what}, {made.size / 1e6:.0f} MP: MP/s"
        lines.append(line(work, "NumPy, step by step", np.__version__, pairs, 5.0))
    return lines


def formula(photo: np.ndarray, noise: tuple[tuple[float, float], ...]) -> np.ndarray:
    """The same as array expressions: curve, matrix, balance, mosaic, noise, levels."""
    camera = plain_sensor()
    blank = Raw(np.empty((2, 2), np.uint16), camera)
    light = from_srgb(photo.astype(np.float32) / 255)
    light = light @ np.linalg.inv(matrix_for(blank, Look())).T.astype(np.float32)
    light = light / gains_for(blank, Look()).astype(np.float32)
    mosaic = np.empty(light.shape[:2], np.float32)
    for row, column in np.ndindex(2, 2):
        here = np.s_[row::2, column::2]
        mosaic[here] = light[..., camera.pattern[row, column]][here]
    mosaic = mosaic.clip(0, 1)
    for slope, offset in noise:
        field = np.random.default_rng(0).standard_normal(mosaic.shape, np.float32)
        mosaic = mosaic + field * np.sqrt(slope * mosaic + offset)
    tall, wide = (length // 2 + length % 2 for length in mosaic.shape)
    black = np.tile(camera.black, (tall, wide))[: mosaic.shape[0], : mosaic.shape[1]]
    values = np.clip(mosaic * (camera.white - black) + black, 0, camera.white)
    return np.floor(values + 0.5).astype(np.uint16)


def nights(photo: np.ndarray, amount: Amount) -> list[Line]:
    """Photos of 0.3 megapixels to nights, noisy and clean, with a photo's own scene each."""
    tall, wide = amount.small
    photos = [photo[:tall, left : left + wide].copy() for left in range(0, 4 * wide, wide)]
    night_of_photo(photos[0])

    def rate() -> float:
        begin = time.process_time()
        for place, one in enumerate(photos):
            night_of_photo(one, seed=place)
        return len(photos) / (time.process_time() - begin)

    pairs = [(rate(), 10.0) for _ in range(amount.night_pairs)]
    return [line(f"day2night, {tall} x {wide}: pictures/s", LIMIT, "", pairs, 1.0)]


def learned(raw: Raw, amount: Amount) -> list[Line]:
    """The learned pipeline on a whole frame, and what a pixel of it costs."""
    isp = pipeline()
    isp.developed(raw)
    pairs = [
        (pixels_a_second(lambda: isp.developed(raw), raw.mosaic.size), 1.0)
        for _ in range(min(amount.pairs, 3))
    ]
    operations = isp.facts()["operations per pixel"]
    return [
        line("learned pipeline (efficient): MP/s", LIMIT, "", pairs, 1.0),
        line("multiplications a pixel saved by fallow's", "paper's network", "",
             [(1 / operations, 1 / PUBLISHED)], 1.0),
    ]  # fmt: skip


def pipeline() -> ISP:
    from fallow.encoders.isp import network
    from fallow.methods.shared.pipeline import PATTERN

    torch.manual_seed(0)
    return ISP(network("efficient").eval(), {"pattern": PATTERN})


# --- training ---


def gan(photo: np.ndarray, amount: Amount) -> list[Line]:
    """Steps of the network with a critics' step among them, beside those as published."""
    frames = [unprocessed(photo[:512, :512], plain_sensor())]
    settings = LightISP.Settings(
        batch=2, side=128, every=2, begin=0, pull="equal", steps=10, colour_side=96, hidden=256
    )
    trainees = [LightISP(frames, [photo[:512, :512]], settings) for _ in range(2)]

    def rate(trainee: LightISP, step: Callable[[], Any]) -> float:
        begin = time.process_time()
        for _ in range(2 * amount.steps):
            step()
        return 2 * amount.steps / (time.process_time() - begin)

    works = (trainees[0].step, partial(as_published, trainees[1]))
    first = [work() for work in works]  # both start alike: so do their losses
    for name, value in first[0].items():
        assert abs(value - first[1][name]) < 1e-3 * max(abs(value), 1), f"{name} differs"
    pairs = alternate(
        lambda: rate(trainees[0], works[0]),
        lambda: rate(trainees[1], works[1]),
        min(amount.pairs, 5),
    )
    peer = "published: each loss also for its record"
    return [line("LightISP, batch 2 at 128: steps/s", peer, torch.__version__, pairs, 1.3)]


def as_published(trainee: LightISP) -> Mapping[str, float]:
    """Every loss differentiated for its length, again for the record, and all once together."""
    x, anchors, real = trainee.crops()
    fake = trainee.network(x)
    losses = network_losses(fake, real, anchors, trainee.views, trainee.content)
    learnt = list(trainee.network.parameters())
    weights = {}
    for name, loss in losses.items():
        found = torch.autograd.grad(loss, learnt, retain_graph=True)
        weights[name] = 1 / (torch.stack([one.norm() for one in found]).norm() + 1e-8)
    total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
    for name, loss in losses.items():
        found = torch.autograd.grad(weights[name] * loss, learnt, retain_graph=True)
        float(torch.stack([one.norm() for one in found]).norm())
    trainee.optimiser.zero_grad()
    total.backward()
    trainee.optimiser.step()
    trainee.done += 1
    if trainee.done % trainee.settings.every == 0:
        for name, view in trainee.views.items():
            seen, made = view.look(real).detach(), view.look(fake).detach()
            critic_step(view.critic, trainee.critic_optimisers[name], seen, made)
    trainee.forget()
    return {name: float(loss.detach()) for name, loss in losses.items()}


# --- memory ---


def memory(amount: Amount) -> list[Line]:
    """Peak megabytes of fresh processes at rising sizes."""
    tall, wide = amount.large
    megapixels = tall * wide / 1e6
    beyond = [peak("pipeline", *size) for size in (amount.size, amount.large)]
    night, night_base = peak("night", tall, wide), peak("night", *amount.small)
    there = [(part, peak("rawformer", tall // part, wide)) for part in (2, 1)]
    return [
        line(f"learned pipeline, memory beyond frame and picture: 12 over {megapixels:.0f} MP",
             "fallow, 12 MP", "", [(max(beyond[0], 1.0), max(beyond[1], 1.0))], 0.8, beyond[1]),
        line(f"day2night, {megapixels:.0f} MP: 2 GB over what the process needs", LIMIT, "",
             [(MEMORY_MB, night)], 1.0, night),
        *(line(f"rawformer, {megapixels / part:.0f} MP: 2 GB over what the process needs", LIMIT,
               "", [(MEMORY_MB, held)], 1.0, held) for part, held in there),
        line("day2night, a small picture: 2 GB over what the process needs", LIMIT, "",
             [(MEMORY_MB, night_base)], None, night_base),
    ]  # fmt: skip


def peak(what: str, tall: int, wide: int) -> float:
    """Megabytes a fresh process needs at most: all of them, or beyond frame and picture."""
    return told_by("develop", what, tall, wide)


def _peak_here() -> None:
    what, tall, wide = sys.argv[1], *map(int, sys.argv[2:4])
    torch.set_num_threads(1)
    if what == "night":
        photo = _plain_photo(tall, wide)
        night_of_photo(photo)
        print(json.dumps(most_held()))
        return
    raw = Raw(np.full((tall, wide), 400, np.uint16), plain_sensor())
    if what == "rawformer":
        from fallow.encoders.translator import Shape, Translator
        from fallow.methods.develop.rawformer import Options, Translation

        shape, sensor = Options().shape(), plain_sensor()
        about = {
            "pattern": "RGGB", "black": np.ravel(sensor.black).tolist(), "white": sensor.white,
            "camera": "plain", "matrices": {}, "shape": {},
        }  # fmt: skip
        assert isinstance(shape, Shape)
        Translation(Translator(shape).eval(), about).translated(raw)
        print(json.dumps(most_held()))
        return
    isp, small = pipeline(), Raw(raw.mosaic[:600, :800].copy(), raw.sensor)
    isp.developed(small)
    before = most_held()
    isp.developed(raw)
    picture = 3 * raw.mosaic.size / 2**20
    print(json.dumps(most_held() - before - picture))


def _plain_photo(tall: int, wide: int) -> np.ndarray:
    row = np.linspace(0, 255, wide).astype(np.uint8)
    return np.broadcast_to(row[None, :, None], (tall, wide, 3)).copy()


def pixels_a_second(work: Callable[[], Any], pixels: int) -> float:
    """Megapixels per second of this core."""
    begin = time.process_time()
    work()
    return pixels / 1e6 / (time.process_time() - begin)


if __name__ == "__main__":
    _peak_here()
