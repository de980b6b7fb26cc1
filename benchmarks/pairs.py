"""Pictures with words, maps and sounds: losses, steps, joins and measures, beside their peers."""

from __future__ import annotations

import csv
import io
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.peer import AT_ONCE, Peer, told_by
from benchmarks.photos import archive, squares
from benchmarks.record import Line, alternate, beyond, cores, line, most_held, pin

SHARE, SLOWER, STEP, SCORED, JUDGED = 8.0, 1.2, 1.3, 10.0, 3.0
JOIN_SECONDS, PART_SECONDS, LINEAR = 60.0, 6.0, 0.75


@dataclass(frozen=True)
class Amount:
    rows: int = 8192
    width: int = 512
    pictures: int = 32
    layers: int = 12
    captions: int = 10_000
    tags: int = 1_000_000
    tiles: int = 100_000
    sound: int = 60  # seconds
    judged: int = 5  # seconds
    pairs: int = 5


QUICK = Amount(512, 64, 4, 1, 300, 20_000, 2_000, 6, 1, 1)


def run(data: Path, python: str, quick: bool) -> Iterator[tuple[str, list[Line]]]:
    """Each question by itself; the step has all cores, everything else has one."""
    amount = QUICK if quick else Amount()
    yield "pairs_step", step(data, python, amount)
    core = pin()
    yield "pairs_contrast", contrast(amount)
    with Peer(python, "words.py", core=core) as peer, tempfile.TemporaryDirectory() as folder:
        yield "pairs_captions", captions(peer, Path(folder), amount)
        yield "pairs_sounds", sounds(peer, Path(folder), amount)
    yield "pairs_map", joins(amount)


# --- the contrastive loss ---


def plain(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """CLIP's loss as it is printed: the whole table of scores, and cross-entropy both ways."""
    scores = scale * image @ text.T
    own = torch.arange(len(scores))
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


def blockwise(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    from fallow.losses.alignment import pair_contrast

    return pair_contrast(image, text, scale)


FORMS = {"plain": plain, "blockwise": blockwise}


def contrast(amount: Amount) -> list[Line]:
    """Forward and backward, on the same rows."""
    sides = rows_of(amount.rows, amount.width)
    scale = torch.tensor(14.0, requires_grad=True)

    def once(form: str) -> tuple[float, Tensor]:
        for one in sides:
            one.grad = None
        begin = time.perf_counter()
        FORMS[form](*sides, scale).backward()
        assert sides[0].grad is not None
        return 1 / (time.perf_counter() - begin), sides[0].grad

    torch.testing.assert_close(once("blockwise")[1], once("plain")[1], rtol=1e-3, atol=1e-7)
    shape = f"contrastive loss, batch {amount.rows:,} x {amount.width}"
    version = torch.__version__
    pairs = alternate(lambda: once("blockwise")[0], lambda: once("plain")[0], amount.pairs)
    used = {form: peak(form, amount) for form in FORMS}
    # more is better on both sides: room that is left, and not bytes that are used
    room = [(1 / used["blockwise"], 1 / used["plain"])]
    return [
        line(f"{shape}: steps/s, forward and backward", "the whole table", version, pairs,
             1 / SLOWER),
        line(f"{shape}: peak memory of the whole table over ours", "the whole table", version,
             room, SHARE, used["blockwise"]),
    ]  # fmt: skip


def rows_of(count: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image, text = (
        F.normalize(torch.randn(count, width, generator=generator), dim=1).requires_grad_()
        for _ in range(2)
    )
    return image, text


def peak(form: str, amount: Amount) -> float:
    """Megabytes a fresh process needs beyond its rows."""
    return told_by("pairs", form, amount.rows, amount.width, settings=AT_ONCE)


def _peak_here() -> None:
    form, rows, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    scale = torch.tensor(14.0, requires_grad=True)
    FORMS[form](*rows_of(8, width), scale).backward()  # what libraries allocate once
    sides = rows_of(rows, width)
    print(json.dumps(beyond(lambda: FORMS[form](*sides, scale).backward())))


# --- a step of a dual encoder ---


def step(data: Path, python: str, amount: Amount) -> list[Line]:
    """Forward, loss, backward and AdamW of the same towers on all cores."""
    from fallow.encoders import tokeniser
    from fallow.encoders.tower_shapes import ImageShape, TextShape
    from fallow.encoders.towers import ImageTower, TextTower
    from fallow.losses.alignment import pair_contrast

    words = tokeniser.clip_tokeniser()
    texts = [some[0] for some in written(data).values()][: amount.pictures]
    numbers = tokeniser.encode(words, texts, 77)
    numbers = F.pad(numbers, (0, 77 - numbers.shape[1]))  # open_clip pads all to the full length
    pictures = torch.from_numpy(squares(data, 224, amount.pictures)).permute(0, 3, 1, 2)
    pictures = (pictures.float() / 127.5 - 1).contiguous()
    own = {"width": 384, "layers": amount.layers}
    said = {"width": 256, "layers": amount.layers, "heads": 4}
    torch.manual_seed(0)
    image = ImageTower(ImageShape(size=224, patch=32, heads=6, hidden=1536, output=256, **own))
    text = TextTower(TextShape(vocabulary=words.size, hidden=1024, output=256, **said))
    scale = torch.nn.Parameter(torch.tensor(14.0).log())
    weights = [*image.parameters(), *text.parameters(), scale]
    optimiser = torch.optim.AdamW(weights, lr=1e-4)

    def once(fast: bool) -> float:
        begin = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            seen, read = (F.normalize(one, dim=1) for one in (image(pictures), text(numbers)))
        optimiser.zero_grad()
        pair_contrast(seen, read, scale.exp()).backward()
        optimiser.step()
        return 1 / (time.perf_counter() - begin)

    lines = []
    with Peer(python, "words.py") as peer, tempfile.TemporaryDirectory() as folder:
        stored = str(Path(folder) / "batch.npz")
        np.savez(stored, pictures=pictures.numpy(), numbers=numbers.numpy())
        about = peer.ask(
            do="clip", stored=stored, threads=cores(),
            image=own | {"image_size": 224, "patch_size": 32, "head_width": 64, "output": 256},
            text=said | {"context_length": 77, "vocab_size": words.size},
        )  # fmt: skip
        mine = sum(one.numel() for one in weights)
        assert about["weights"] == mine, f"towers differ: {about['weights']} and {mine} weights"
        for fast, precision in ((False, "float32"), (True, "bf16")):
            once(fast)
            peer.ask(do="step", fast=fast)
            pairs = alternate(
                lambda fast=fast: once(fast),  # type: ignore[misc]
                lambda fast=fast: peer.ask(do="step", fast=fast)["rate"],  # type: ignore[misc]
                amount.pairs,
            )
            work = f"dual encoder steps/s, {len(texts)} pictures, {mine / 1e6:.0f} M weights"
            lines.append(
                line(f"{work}, {precision}", "open_clip", peer.version.split()[0], pairs, STEP)
            )
    return lines


def written(data: Path) -> dict[str, list[str]]:
    """The captions of every photo, by its path."""
    found: dict[str, list[str]] = {}
    with zipfile.ZipFile(archive(data, "flickr8k_sample")) as opened:
        text = opened.read("captions.csv").decode()
    for row in csv.DictReader(io.StringIO(text)):
        name, caption = next(iter(row.values())), row["caption"]
        found.setdefault(str(name), []).append(caption)
    return found


# --- captions ---


def captions(peer: Peer, folder: Path, amount: Amount) -> list[Line]:
    """All three measures of captions that share words with five texts each, cut already."""
    from fallow.measure.captions import overlaps

    own, texts = drawn_captions(amount.captions)
    stored = folder / "captions.json"
    stored.write_text(json.dumps([own, texts]))

    def once() -> tuple[float, list[float]]:
        begin = time.perf_counter()
        bleus, rouge, cider = overlaps(own, texts)
        rate = len(own) / (time.perf_counter() - begin)
        return rate, [*(one.total for one in bleus), rouge.total, cider.total]

    overlaps(own[:2], texts[:2])  # compiles
    theirs = peer.ask(do="captions", stored=str(stored))["scores"]
    np.testing.assert_allclose(once()[1], theirs, rtol=1e-9)
    pairs = alternate(
        lambda: once()[0], lambda: peer.ask(do="captions", stored=str(stored))["rate"],
        min(amount.pairs, 3),
    )  # fmt: skip
    work = f"captions/s, BLEU, ROUGE-L and CIDEr-D of {len(own):,}"
    return [line(work, "pycocoevalcap", peer.version.split()[1], pairs, SCORED)]


def drawn_captions(count: int, known: int = 6000) -> tuple[list[str], list[list[str]]]:
    """Words as rare as in language; a picture's texts share more than half of theirs."""
    draw = np.random.default_rng(0)
    share = 1 / np.arange(1, known + 1)
    share /= share.sum()

    def some(like: np.ndarray | None = None) -> np.ndarray:
        length = int(draw.integers(7, 15))
        words = draw.choice(known, length, p=share)
        if like is not None:
            both = min(length, len(like))
            words[:both] = np.where(draw.random(both) < 0.6, like[:both], words[:both])
        return words

    own, texts = [], []
    for _ in range(count):
        subject = some()
        spoken = [" ".join(f"w{word}" for word in some(subject)) for _ in range(6)]
        own.append(spoken[0])
        texts.append(spoken[1:])
    return own, texts


# --- sounds ---


def sounds(peer: Peer, folder: Path, amount: Amount) -> list[Line]:
    from fallow.measure.separation import separated_sources
    from fallow.methods.separate.clipsep import Separator, Settings, presets

    draw = np.random.default_rng(0)
    sources = draw.normal(size=(2, 16_000 * amount.judged))
    estimates = sources + 0.3 * sources[::-1] + 0.1 * draw.normal(size=sources.shape)
    stored = str(folder / "sounds.npz")
    np.savez(stored, sources=sources, estimates=estimates)

    def once() -> tuple[float, list[np.ndarray]]:
        begin = time.perf_counter()
        found = separated_sources(sources, estimates)
        return 1 / (time.perf_counter() - begin), [found.sdr, found.sir, found.sar]

    theirs = peer.ask(do="sounds", stored=stored)["scores"]
    np.testing.assert_allclose(once()[1], theirs, rtol=1e-6)
    pairs = alternate(
        lambda: once()[0], lambda: peer.ask(do="sounds", stored=stored)["rate"], amount.pairs
    )
    work = f"SDR, SIR, SAR a second, two sources of {amount.judged} s at 16 kHz"
    lines = [line(work, "mir_eval", peer.version.split()[2], pairs, JUDGED)]
    for name, settings, target in (
        ("its defaults", Settings(), 1.0), ("preset paper", Settings(**presets["paper"]), None),
    ):  # fmt: skip
        separator = Separator(512, settings)
        samples = draw.normal(size=amount.sound * settings.rate).astype(np.float32)
        asked = torch.randn(1, 512)
        separator.separate(samples[: settings.rate], asked)
        begin = time.perf_counter()
        separator.separate(samples, asked)
        seconds = (time.perf_counter() - begin) * 60 / amount.sound
        work = f"separation of 60 s at {settings.rate:,} Hz, {name}: seconds allowed over used"
        lines.append(line(work, "-", "", [(PART_SECONDS, seconds)], target, most_held()))
    return lines


# --- a map ---


def joins(amount: Amount) -> list[Line]:
    """Things of a map joined to tiles; of an eighth, a quarter, ... of both, equally dense."""
    from fallow.images.joins import joined

    joined(*country(8, 2))  # compiles
    seconds = {}
    for part in (8, 4, 2, 1):
        boxes, things = country(amount.tags // part, amount.tiles // part)
        begin = time.perf_counter()
        joined(boxes, things)
        seconds[len(things)] = time.perf_counter() - begin
    whole = list(seconds.values())[-1]
    work = f"join of {amount.tags:,} tags x {amount.tiles:,} tiles: seconds allowed over used"
    lines = [line(work, "-", "", [(JOIN_SECONDS, whole)], 1.0, most_held())]
    for few, many in pairwise(seconds):
        rates = [(many / seconds[many], few / seconds[few])]
        lines.append(
            line(f"growth: tags/s at {many:,} beside {few:,}", "fallow", "", rates, LINEAR)
        )
    return lines


def country(tags: int, tiles: int) -> tuple[np.ndarray, list[Any]]:
    """Points, lines and areas, and tiles of a few hundred metres, over a land of equal density."""
    from fallow.images.maps import Thing

    draw = np.random.default_rng(0)
    side = (tags / 50_000) ** 0.5  # degrees
    kinds, corners = draw.random(tags), draw.uniform(0, side, (tags, 1, 2))
    paths = corners + np.cumsum(draw.normal(0, 5e-4, (tags, 6, 2)), 1)
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    areas = corners + square * draw.uniform(2e-4, 1e-3, (tags, 1, 2))
    make: list[tuple[float, Callable[[int], Thing]]] = [
        (0.4, lambda k: Thing(f"n{k}", "point", corners[k], {"natural": "tree"})),
        (0.7, lambda k: Thing(f"w{k}", "line", paths[k], {"highway": "path"})),
        (1.0, lambda k: Thing(f"w{k}", "area", areas[k], {"building": "yes"})),
    ]
    things = [next(one for bar, one in make if kinds[k] < bar)(k) for k in range(tags)]
    south_west = draw.uniform(0, side, (tiles, 2))
    return np.concatenate([south_west, south_west + 0.004], 1), things


if __name__ == "__main__":
    _peak_here()
