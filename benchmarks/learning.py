"""k-NN accuracy against minutes: every method of learn, its own choice, and lightly's, in turn.

One run of each on the same pictures for the whole budget, with all cores it is given and nothing
else on them; what had been learnt at each mark is a copy of the weights made in passing and judged
afterwards. Every method starts from the same random network, the one `learn` chooses for such a
folder; *own choice* is `learn` told nothing but the minutes. It takes hours: what has been measured
is kept until all of it is, and asked for again it goes on where it was stopped.
"""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer import Peer
from benchmarks.photos import archive
from benchmarks.record import RESULTS, Line, cores, line, write_json

PARTS = RESULTS / "parts"  # what a run that was stopped had measured
NEIGHBOURS, TEMPERATURE = 200, 0.1
TARGET = 55.0  # of `learn` with no other setting, at the last mark
METHODS = ("simclr", "moco", "byol", "swav", "groco", "gsimclr", "interclr", "amcl", "hydra",
           "supcon")  # fmt: skip
SHARED = {"size": 32, "batch": 256}
PEERS = ("simclr", "swav")
WIDTHS = (8, 16, 32)  # of SimCLR's ResNet-18, for the curve over sizes


@dataclass(frozen=True)
class Amount:
    minutes: float = 10.0
    marks: tuple[float, ...] = (2.5, 5.0, 10.0)
    images: int | None = None  # none: all

    @property
    def parts(self) -> Path:
        """Where runs of so many minutes are kept: a quick look does not touch a long run's."""
        return PARTS / f"{self.minutes:g}"


QUICK = Amount(minutes=0.1, marks=(0.05, 0.1), images=600)


@dataclass(frozen=True)
class Judge:
    """k-NN of test pictures among the training ones, weighted, 200 neighbours."""

    bank: Any
    test: Any

    def vectors(self, bank: np.ndarray, test: np.ndarray) -> float:
        from fallow.measure import knn_accuracy

        labels, names = self.bank.labels
        wanted = self.test.labels_in(names)
        neighbours = min(NEIGHBOURS, len(bank))
        return 100 * knn_accuracy(bank, labels, test, wanted, neighbours, TEMPERATURE).top1

    def encoder(self, encoder: Any) -> float:
        return self.vectors(encoder.embed(self.bank), encoder.embed(self.test))


def run(data: Path, python: str, quick: bool) -> list[Line]:
    import fallow
    from fallow.methods.shared.plan import choose
    from fallow.train.loop import Interrupted

    found: dict[str, dict[float, float]] = {}
    amount = QUICK if quick else Amount()
    everything = fallow.open(archive(data, "cifar10_subset"))
    bank, test = (everything.where(f"split = '{part}'") for part in ("train", "test"))
    if amount.images:
        bank, test = bank.sample(amount.images, seed=0), test.sample(amount.images, seed=0)
    judge = Judge(bank, test)
    name = choose(bank, amount.minutes).encoder
    runs: dict[str, Callable[[], dict[float, float]]] = {
        "own choice": lambda: chosen(judge, amount)
    }
    runs |= {slug: partial(learnt, slug, name, SHARED, judge, amount) for slug in METHODS}
    # the curve over sizes; the chosen one is among the methods
    sizes = [size for width in WIDTHS if (size := f"resnet18/{width}") != name]
    runs |= {f"simclr, {size}": partial(learnt, "simclr", size, SHARED, judge, amount)
             for size in sizes}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, Peer(python, "learning.py") as peer:
        version = peer.version
        lightly = {f"lightly, {method}": partial(learnt_by, peer, method, folder, judge, amount)
                   for method in PEERS}  # fmt: skip
        try:
            for work, measure in (lightly | runs).items():
                found[work] = kept(work, measure, amount)
            shutil.rmtree(amount.parts, ignore_errors=True)
        except (KeyboardInterrupt, Interrupted):
            print(f"stopped in {work}: what was measured is written; asked again, it goes on")
    return list(lines(found, floors(judge), version, amount))


def kept(
    work: str, measure: Callable[[], dict[float, float]], amount: Amount
) -> dict[float, float]:
    """What was measured before an interruption, or is now and is written down for the next."""
    place = amount.parts / f"{work.replace(', ', '-').replace('/', '-')}.json"
    if not place.exists():
        write_json(place, sorted(measure().items()))
    return dict(json.loads(place.read_text()))


def lines(
    found: Mapping[str, Mapping[float, float]],
    floors: Mapping[str, float],
    version: str,
    amount: Amount,
) -> Iterator[Line]:
    """Every accuracy beside lightly's SimCLR after the same minutes."""
    peer = "lightly, simclr"
    for name, marks in found.items():
        for mark, accuracy in marks.items():
            work = f"k-NN % after {mark:g} minutes: {name}"
            yield line(work, peer, version, [(accuracy, found[peer][mark])], None)
    last = amount.marks[-1]
    yield line(f"k-NN % after {last:g} minutes: own choice", "what is wanted", "",
               [(found["own choice"][last], TARGET)], 1.0)  # fmt: skip
    for name, accuracy in floors.items():
        yield line(f"k-NN % of {name}", peer, version, [(accuracy, found[peer][last])], None)


def floors(judge: Judge) -> dict[str, float]:
    """What no training reaches."""
    import fallow
    from fallow.encoders import whiten
    from fallow.measure.scores import raw_pixels

    pixels = [raw_pixels(images, 32) for images in (judge.bank, judge.test)]
    whitened = fallow.encoder("tiny")
    whiten(whitened, judge.bank)
    return {
        "raw pixels": judge.vectors(*pixels),
        "an untrained ResNet-18": judge.encoder(fallow.encoder("resnet18", seed=0, size=32)),
        "tiny, as it ships": judge.encoder(fallow.encoder("tiny")),
        "tiny, whitened by the images": judge.encoder(whitened),
    }


# --- fallow ---


def chosen(judge: Judge, amount: Amount) -> dict[float, float]:
    """`learn` with its own method, encoder, views, batch and last step."""
    from fallow.encoders import whiten
    from fallow.methods.shared.plan import going_on

    plan = going_on(judge.bank, amount.minutes)
    told = {"size": plan.size, "batch": plan.batch, **plan.settings}

    def finish(encoder: Any) -> None:
        if plan.whitened:
            whiten(encoder, judge.bank)

    return learnt(plan.method, plan.encoder, told, judge, amount, finish)


def learnt(
    slug: str,
    start: str,
    settings: Mapping[str, Any],
    judge: Judge,
    amount: Amount,
    finish: Callable[[Any], None] = lambda encoder: None,
) -> dict[float, float]:
    """Train for the whole budget; k-NN accuracy in percent at every mark."""
    import fallow
    from fallow.methods import find
    from fallow.train import fit, make_settings

    kind = find("learn", slug)
    copies: dict[float, Any] = {}
    begun = [0.0]

    class Watched(kind):  # type: ignore[misc, valid-type]
        """The method, copied in passing."""

        def before_training(self, pack: Any, seed: int) -> None:
            begun[0] = time.perf_counter()
            super().before_training(pack, seed)

        def after_step(self, now: Any) -> None:
            super().after_step(now)
            gone = (time.perf_counter() - begun[0]) / 60
            for mark in amount.marks[:-1]:
                if gone >= mark and mark not in copies:
                    copies[mark] = copy.deepcopy(self.encoder)

    told = {**settings, "minutes": amount.minutes}
    told["batch"] = min(told["batch"], len(judge.bank) // 2)
    encoder = fallow.encoder(start, seed=0, size=told["size"])
    run = fit(Watched, judge.bank, encoder=encoder, settings=make_settings(kind.Settings, told))
    copies[amount.marks[-1]] = run.encoder
    for one in copies.values():
        finish(one)
    found = {mark: judge.encoder(one) for mark, one in copies.items()}
    print(slug, {mark: round(value, 1) for mark, value in found.items()}, flush=True)
    return found


# --- lightly ---


def learnt_by(
    peer: Peer, method: str, folder: str, judge: Judge, amount: Amount
) -> dict[float, float]:
    """The same minutes of lightly's SimCLR or SwAV, judged in the same way."""
    place = Path(folder)
    for name, images in (("bank", judge.bank), ("test", judge.test)):
        if not (place / name).exists():
            export(images, place / name)
    answer = peer.ask(
        do="train", method=method, folder=folder, workers=cores(), threads=cores(),
        batch=min(256, len(judge.bank) // 2), minutes=amount.minutes, marks=amount.marks,
    )  # fmt: skip
    found = {
        mark: judge.vectors(*(np.load(place / f"{method}-{mark:g}-{part}.npy")
                              for part in ("bank", "test")))
        for mark in amount.marks
    }  # fmt: skip
    print(f"lightly, {method}", found, answer, flush=True)
    return found


def export(images: Any, folder: Path) -> None:
    """One PNG for each image, numbered in order, so that the peer's rows are ours."""
    from PIL import Image

    (folder / "all").mkdir(parents=True)
    for row in range(len(images)):
        Image.fromarray(images[row]).save(folder / "all" / f"{row:06d}.png")
