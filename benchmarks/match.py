"""Torn pieces, sketches, patches and patterns: how fast, beside each procedure written out plainly.

All on one core. Networks are new: what they say changes no time, so where pieces touch their
points are given features that meet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import Line, alternate, line, most_held, pin

ALONE = True  # the other side is written below

PLAIN = "torch, NumPy"
QUERY_MS = 50.0
PROTECTED = 50.0  # pictures a second


@dataclass(frozen=True)
class Amount:
    pieces: int = 200
    points: int = 400
    tried: int = 1500  # pairs of them
    sampled: int = 24  # of the pairwise formulation
    sketches: int = 256
    gallery: int = 100_000
    steps: int = 2  # of a patch, a measurement
    pictures: int = 96
    pairs: int = 3


QUICK = Amount(pieces=8, points=100, tried=9, sampled=2, sketches=8, gallery=500, steps=1,
               pictures=8, pairs=1)  # fmt: skip


def run(data: Path, python: str | None, quick: bool) -> Iterator[tuple[str, list[Line]]]:
    """Everything is made here, so `data` and `python` are not needed."""
    import torch

    amount = QUICK if quick else Amount()
    pin()
    version = torch.__version__
    yield "match_pieces", pieces(amount, version)
    yield "match_sketches", [strokes(amount), query(amount)]
    yield "match_patterns", [protection(amount)]
    yield "match_patch", patch(amount, version)


# --- pieces ---------------------------------------------------------------------------------------


def pieces(amount: Amount, version: str) -> list[Line]:
    """All pairs of pieces; on both sides the time of a sample of pairs times their number."""
    whole = amount.pieces * (amount.pieces - 1) // 2
    matcher, outlines, points = puzzle(amount)

    def ours() -> float:
        begin = time.perf_counter()
        known = with_features(matcher.know(outlines), points)
        looked = time.perf_counter()
        for one, other in some(amount.tried):
            matcher.match(known, outlines, one, other)
        each = (time.perf_counter() - looked) / amount.tried
        return whole / (looked - begin + whole * each)

    def theirs() -> float:
        begin = time.perf_counter()
        for one, other in some(amount.sampled):
            pairwise(matcher, outlines, points, one, other)
        return amount.sampled / (time.perf_counter() - begin)

    def some(count: int) -> list[tuple[int, int]]:
        draw = np.random.default_rng(1)
        chosen = [draw.choice(amount.pieces, 2, replace=False).tolist() for _ in range(count)]
        return [(int(one), int(other)) for one, other in chosen]

    shape = f"{amount.pieces} pieces of {amount.points} points"
    before = most_held()
    pairs = alternate(ours, theirs, amount.pairs)
    lines = [line(f"all pairs of {shape}: pairs/s", PLAIN, version, pairs, 5.0, most_held())]
    held = [(256 / max(1.0, most_held() - before), 1.0)]
    lines.append(line(f"256 MB over what matching {shape} needs", "-", "", held, 1.0))
    return lines


def puzzle(amount: Amount) -> tuple[Any, list[Any], list[Any]]:
    """Pieces in a chain, each touching the next along a tenth of its outline."""
    import torch

    from fallow.encoders.contours import Summary
    from fallow.methods.match.pairingnet import Matcher, PairingNet, network_of
    from fallow.methods.shared.pieces import OFFSETS, Outline
    from fallow.regions.contours import courses, ways

    settings = PairingNet.Settings()
    torch.manual_seed(0)
    matcher = Matcher(network_of(settings), Summary(depth=settings.depth), settings, amount.points)
    draw = np.random.default_rng(0)
    count, stretch, width = amount.points, amount.points // 10, settings.patch
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    outlines, features = [], []
    for number in range(amount.pieces):
        radius = 60 + 4 * sum(
            draw.normal() * np.sin(k * angles + draw.uniform(0, 6)) for k in range(2, 9)
        )
        places = np.stack([radius * np.cos(angles), radius * np.sin(angles)], 1)
        vectors = draw.normal(size=(count, 64)).astype(np.float32) * 2
        if number:  # the last stretch of the piece before, turned, the other way round
            turn = draw.uniform(0, 2 * np.pi)
            cosine, sine = np.cos(turn), np.sin(turn)
            touched = outlines[-1].points[-stretch:][::-1]
            places[:stretch] = touched @ np.array([[cosine, -sine], [sine, cosine]]) + 5
            vectors[:stretch] = features[-1][-stretch:][::-1]
        outlines.append(
            Outline(
                places,
                draw.integers(0, 2, (count, width, width), dtype=np.uint8),
                draw.integers(0, 256, (count, 3, width, width), dtype=np.uint8),
                courses(places, ways(places), OFFSETS),
            )
        )
        features.append(vectors)
    return matcher, outlines, [torch.from_numpy(one) for one in features]


def with_features(known: Any, points: list[Any]) -> Any:
    from fallow.methods.match.pairingnet import Known

    return Known(points, points, known.codes, known.met_codes)


def pairwise(matcher: Any, outlines: list[Any], points: list[Any], one: int, other: int) -> Any:
    """Two pieces as published: both through the network, filtered, one sample after another."""
    import torch
    from scipy import ndimage
    from scipy.spatial import cKDTree

    from fallow.methods.match.pairingnet import features
    from fallow.methods.shared.pieces import padded_outlines

    s = matcher.settings
    with torch.inference_mode():
        held = padded_outlines([outlines[one], outlines[other]])
        matcher.network.fused(*features(matcher.network, held, s))
        scores = points[one] @ points[other].T / 8
        sure = (scores.softmax(0) * scores.softmax(1)).numpy()
    diagonal = np.fliplr(np.eye(3))
    hollow = diagonal.copy()
    hollow[1, 1] = 0
    kept = ndimage.grey_erosion(sure, footprint=hollow, mode="constant")
    kept = ndimage.grey_dilation(kept, footprint=diagonal, mode="constant")
    rows, columns = np.nonzero(kept > s.certain)
    if len(rows) < s.cells:
        return None
    source, target = outlines[one].points[rows], outlines[other].points[columns]
    tree, draw, good, best = cKDTree(target), np.random.default_rng(0), [], (-1.0, None)
    for _ in range(s.tries):
        chosen = draw.choice(len(source), 5, replace=False)
        map_ = rigid(source[chosen], target[chosen])
        away = np.linalg.norm(source @ map_[:, :2].T + map_[:, 2] - target, axis=1)
        near, _ = tree.query(source @ map_[:, :2].T + map_[:, 2])
        fitness = (near <= s.near).sum() / max(away[chosen].mean(), 1e-9)
        if (away[chosen] <= s.near).all() and (away < s.near).sum() > s.agreeing:
            good.append((fitness, map_))
            if len(good) == 20:
                break
        elif fitness > best[0]:
            best = (fitness, map_)
    return max(good, key=lambda found: found[0]) if good else best


def rigid(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    middle, there = source.mean(0), target.mean(0)
    u, _, v = np.linalg.svd((source - middle).T @ (target - there))
    turn = v.T @ np.diag([1, np.sign(np.linalg.det(v.T @ u.T))]) @ u.T
    return np.concatenate([turn, (there - turn @ middle)[:, None]], 1)


# --- sketches -------------------------------------------------------------------------------------


def drawings(count: int) -> list[list[np.ndarray]]:
    """Wandering lines: eight strokes of 24 points each, in pixels."""
    draw = np.random.default_rng(0)
    made = []
    for _ in range(count):
        steps = draw.normal(0, 9, (8, 24, 2)).cumsum(1) + draw.uniform(60, 190, (8, 1, 2))
        made.append(list(np.rint(steps.clip(0, 255)).astype(np.int64)))
    return made


def strokes(amount: Amount) -> Line:
    """Sketches drawn in a second: all at once, and by Pillow one line after another."""
    import PIL
    from PIL import Image, ImageDraw

    from fallow.images.sketches import rasters

    sketches = drawings(amount.sketches)

    def by_pillow(sketch: list[np.ndarray]) -> np.ndarray:
        picture = Image.new("L", (256, 256))
        pen = ImageDraw.Draw(picture)
        for stroke in sketch:
            for (x0, y0), (x1, y1) in zip(stroke[:-1].tolist(), stroke[1:].tolist(), strict=True):
                pen.line((x0, y0, x1, y1), fill=1, width=3)
        return np.asarray(picture)

    shares = rasters(sketches[:8]).mean(), np.mean([by_pillow(one) for one in sketches[:8]])
    assert 0.7 < shares[0] / shares[1] < 1.4, "both sides must draw about as much"
    pairs = alternate(
        lambda: rate(lambda: rasters(sketches), len(sketches)),
        lambda: rate(lambda: [by_pillow(one) for one in sketches], len(sketches)),
        amount.pairs,
    )
    return line("sketches drawn a second, 256 px", "Pillow", PIL.__version__, pairs, 20.0)


def query(amount: Amount) -> Line:
    """A sketch asked of many photos that were looked at before: drawn, seen, compared, sorted."""
    from fallow import encoders
    from fallow.encoders.layout import Layout
    from fallow.methods.match.fgsbir import FGSBIR
    from fallow.methods.shared.sketching import Finder, Search

    draw, usual = np.random.default_rng(0), FGSBIR.Settings(epochs=1)
    encoder = encoders.encoder("tiny", size=usual.size)
    finder = Finder(encoder, Layout(encoder, usual.cells, usual.length), usual.frame)
    search = object.__new__(Search)  # its photos' vectors are made up
    search.finder, search.readable = finder, np.arange(amount.gallery)
    width = finder.sketches([drawings(1)[0]]).shape[1]
    search.vectors = draw.normal(size=(amount.gallery, width)).astype(np.float32)
    search.vectors /= np.linalg.norm(search.vectors, axis=1, keepdims=True)
    sketches = drawings(20)
    search.find(sketches[0])
    spent = []
    for one in sketches:
        begin = time.perf_counter()
        search.find(one)
        spent.append(1000 * (time.perf_counter() - begin))
    work = f"a sketch asked of {amount.gallery:,} photos: {QUERY_MS:g} ms over used"
    return line(work, "-", "", [(QUERY_MS, each) for each in spent], 1.0, most_held())


# --- patches and patterns -------------------------------------------------------------------------


def patch(amount: Amount, version: str) -> list[Line]:
    """Steps of the generator that makes a patch, against `lite`, beside the published step.

    The published critic is four times as wide as fallow's; the second line gives both the same.
    """
    import torch

    from fallow import encoders
    from fallow.methods.stress.advclip import Bounds, Settings, generated

    settings = Settings(epochs=1)
    encoder = encoders.encoder("lite").eval().requires_grad_(False)
    pictures = torch.randn(settings.batch * amount.steps, 3, 224, 224).clamp(-2, 2)
    texts = torch.randn(len(pictures), encoder(pictures[:1]).shape[1])
    bounds = Bounds.of((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    def ours() -> float:
        return rate(
            lambda: generated(encoder, pictures, bounds, settings, texts), amount.steps, 0.0
        )

    def theirs(width: int) -> float:
        return rate(lambda: published(encoder, pictures, texts, settings, width), amount.steps, 0.0)

    lines = []
    widths = {"the published critic": (128, 1.3), "as narrow a critic": (settings.width // 4, None)}
    for name, (width, target) in widths.items():
        pairs = alternate(ours, partial(theirs, width), amount.pairs)
        work = f"steps/s of a patch against lite, batch {settings.batch}, 224 px, beside {name}"
        lines.append(line(work, PLAIN, version, pairs, target, most_held()))
    return lines


def published(
    look: Callable[[Any], Any], pictures: Any, texts: Any, settings: Any, width: int
) -> None:
    """The published step: clean pictures are looked at in every one, and nothing is left out."""
    import torch
    import torch.nn.functional as F

    from fallow.methods.stress.advclip import LATENT, Critic, Generator

    size = pictures.shape[-1]
    maker, critic = Generator(settings.batch, size, width=settings.width), Critic(size, width)
    making = torch.optim.Adam(maker.parameters(), 2e-4, betas=(0.5, 0.999))
    judging = torch.optim.Adam(critic.parameters(), 2e-4, betas=(0.5, 0.999))
    latent = torch.randn(settings.batch, LATENT, 1, 1)
    mask = torch.zeros(3, size, size)
    mask[:, 172:210, 172:210] = 1
    bce = F.binary_cross_entropy

    def nce(query: Any, key: Any) -> Any:
        logits = F.normalize(query) @ F.normalize(key).T / 0.1
        return F.cross_entropy(logits, torch.arange(len(query)))

    def shares(rows: Any) -> Any:
        unit = rows / (rows.square().sum(1, keepdim=True).sqrt() + 1e-7)
        far = 1 - unit @ unit.T
        alone = torch.eye(len(far), dtype=torch.bool)
        far = (far - far.masked_fill(alone, torch.inf).amin(1, keepdim=True)).masked_fill(alone, 0)
        alike = (2 - far) / 2
        return alike / alike.sum(1, keepdim=True)

    def topology(one: Any, other: Any) -> Any:
        p, q = shares(other), shares(one)
        first = p * ((p + 1e-7).log() - (q + 1e-7).log())
        return (first + (1 - p) * ((1 - p + 1e-7).log() - (1 - q + 1e-7).log())).sum()

    for some, words in zip(
        pictures.split(settings.batch), texts.split(settings.batch), strict=True
    ):
        square = maker(latent).clamp(-2.118, 2.64)[0]
        pasted = mask * square + (1 - mask) * some
        judged = critic(some), critic(pasted.detach())
        judging.zero_grad()
        (bce(judged[0], torch.ones_like(judged[0])) + bce(judged[1], torch.zeros_like(judged[1]))
         ).backward()  # fmt: skip
        judging.step()
        for weight in critic.parameters():
            weight.data.clamp_(-0.01, 0.01)
        square = maker(latent).clamp(-2.118, 2.64)[0]
        pasted = mask * square + (1 - mask) * some
        clean, seen = look(some), look(pasted)
        wanted = critic(pasted)
        away = -nce(clean, seen) - 5 * nce(seen, words)
        shape = -topology(clean, seen) - 5 * topology(seen, words)
        loss = bce(wanted, torch.ones_like(wanted)) + 10 * away + F.mse_loss(pasted, some) + shape
        making.zero_grad()
        loss.backward()
        making.step()


def protection(amount: Amount) -> Line:
    """Captions to patterns to changed 8-bit pictures of 224 pixels, without reading or writing."""
    from fallow.encoders import dual
    from fallow.encoders.conditioned import TextGenerator
    from fallow.methods.protect.t2ue import T2UE, PatternWriter, protected
    from fallow.views.perturb import Budget

    settings = T2UE.Settings()
    words = dual.new_words(None, dual.tokeniser.clip_tokeniser())
    generator = TextGenerator(words.dimension, settings.width, settings.blocks)
    budget = Budget(settings.eps)
    writer = PatternWriter(words, generator, budget, settings.bound)
    texts = [f"a photo of thing number {k} on a table" for k in range(amount.pictures)]
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (amount.pictures, 224, 224, 3), dtype=np.uint8)

    def work() -> None:
        for picture, pattern in zip(pictures, writer.patterns(texts), strict=True):
            protected(picture, pattern, budget)

    reached = [(rate(work, amount.pictures), PROTECTED) for _ in range(amount.pairs)]
    words_ = "pictures of 224 px protected a second, from captions"
    return line(words_, f"{PROTECTED:g} a second", "", reached, 1.0, most_held())


def rate(work: Callable[[], Any], count: int, seconds: float = 1.0) -> float:
    """How many of `count` things a second, over at least so many seconds."""
    done, begin = 0, time.perf_counter()
    while True:
        work()
        done += count
        if time.perf_counter() - begin >= seconds:
            return done / (time.perf_counter() - begin)
