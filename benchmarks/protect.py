"""UC: clusters trained together, beside the published one after the other, on the same images."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.photos import squares
from benchmarks.record import Line, alternate, line

ALONE = True  # no peer to install

PEER = "one cluster after the other"


@dataclass(frozen=True)
class Amount:
    images: int = 512
    clusters: int = 10
    batch: int = 32
    steps: int = 4
    pairs: int = 5
    width: int = 16
    encoder: str = "resnet8/16"


QUICK = Amount(images=32, clusters=3, batch=8, steps=1, pairs=1, width=4, encoder="resnet8/8")


def run(data: Path, python: str | None, quick: bool) -> list[Line]:
    """The peer is the same method told to hold one cluster at a time, so `python` is not needed."""
    from fallow.views import Recipe, View, pack_arrays, render

    amount = QUICK if quick else Amount()
    pack = pack_arrays(list(squares(data, 32, amount.images)))
    recipe = Recipe((View(32, square=7 / 8),), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    method = built(amount)
    order = torch.randperm(amount.images, generator=torch.Generator().manual_seed(0)).numpy()

    def batch(step: int) -> Any:
        rows = order[step * amount.batch % amount.images :][: amount.batch]
        return render(pack, rows, recipe, seed=0, epoch=step).views[0]

    def together() -> float:
        begin = time.perf_counter()
        for step in range(amount.steps):
            move(method, batch(step), range(amount.clusters))
        return amount.steps * amount.clusters / (time.perf_counter() - begin)

    def one_by_one() -> float:
        begin = time.perf_counter()
        for cluster in range(amount.clusters):
            for step in range(amount.steps):  # every cluster goes through the images again
                move(method, batch(step), [cluster])
        return amount.steps * amount.clusters / (time.perf_counter() - begin)

    together()
    one_by_one()
    work = f"steps of a cluster/s, {amount.clusters} clusters, batch {amount.batch}, 32 px"
    pairs = alternate(together, one_by_one, amount.pairs)
    return [line(work, PEER, torch.__version__, pairs, None)]


def built(amount: Amount) -> Any:
    import fallow
    from fallow.methods import find
    from fallow.train import make_settings
    from fallow.train.method import Facts

    kind: Any = find("protect", "uc")
    settings = make_settings(
        kind.Settings, {"epochs": 1, "size": 32, "clusters": amount.clusters, "width": amount.width}
    )
    torch.manual_seed(0)
    method = kind(fallow.encoder(amount.encoder), settings, Facts(amount.images, 32))
    method.centres.copy_(torch.randn_like(method.centres))
    return method.train()


def move(method: Any, pictures: Any, clusters: Any) -> None:
    """Forward and backward of some clusters on one batch of pictures in 0…1."""
    method.zero_grad(set_to_none=True)
    method._carried(list(clusters), [pictures] * len(clusters)).backward()
