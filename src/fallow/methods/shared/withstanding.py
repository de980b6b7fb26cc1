"""How far tasks built on an encoder fall under a patch on every picture, and what helps."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from fallow.encoders.dual import DualEncoder
from fallow.measure.response import changed_share
from fallow.measure.retrieval import mean_average_precision, recall_at_k
from fallow.parts.patch import Square, pasted

Look = Callable[[Tensor], Tensor]
CELLS = 8  # a side, of the parts that are covered one after the other to find a patch
COVERED = 64  # pictures that a patch is looked for in


def look_of(model: nn.Module) -> Look:
    """What tasks are built on: an encoder's vectors, those in the space of words if it reads.

    >>> from fallow.encoders.dual import tiny
    >>> look_of(tiny())(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 32])
    """
    return model.image_vectors if isinstance(model, DualEncoder) else model


@dataclass(frozen=True)
class Bench:
    """Pictures that tasks are built on, and others that are asked; all normalised."""

    teach: Tensor  # N 3 S S
    ask: Tensor  # M 3 S S
    teach_codes: np.ndarray  # N
    ask_codes: np.ndarray  # M
    names: list[str]
    batch: int = 64

    def seen(self, look: Look, pictures: Tensor) -> Tensor:
        """Vectors of pictures, in eval mode and without gradient.  N D"""
        with torch.inference_mode():
            return torch.cat([look(part).float() for part in pictures.split(self.batch)])


@dataclass(frozen=True)
class Outcome:
    """What was right of a task's answers, and which answers were given."""

    accuracy: float  # of a head on frozen vectors
    retrieval: float  # mean average precision among the pictures that teach
    nearest: float  # share whose nearest picture shows the same class
    answers: np.ndarray  # M codes, of the head


class Head:
    """A closed-form linear classifier on vectors: the simplest task somebody builds."""

    def __init__(self, vectors: Tensor, codes: np.ndarray, classes: int) -> None:
        rows = F.normalize(vectors.double(), dim=1)
        self.mean = rows.mean(0)
        x = rows - self.mean
        wanted = F.one_hot(torch.from_numpy(codes).to(x.device), classes).double()
        strength = 0.1 * x.square().sum() / x.shape[1]
        square = x.T @ x + strength * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        self.offset = wanted.mean(0)
        self.weight = torch.linalg.solve(square, x.T @ (wanted - self.offset))

    def __call__(self, vectors: Tensor) -> np.ndarray:
        x = F.normalize(vectors.double(), dim=1) - self.mean
        answers: np.ndarray = (x @ self.weight + self.offset).argmax(1).cpu().numpy()
        return answers


def outcome(bench: Bench, head: Head, bank: Tensor, asked: Tensor) -> Outcome:
    """A head and a search, both built on clean pictures, asked with some vectors (M D)."""
    answers = head(asked)
    known: dict[str, Any] = {"gallery": bank.cpu().numpy(), "gallery_labels": bench.teach_codes}
    vectors = asked.cpu().numpy()
    return Outcome(
        float((answers == bench.ask_codes).mean()),
        mean_average_precision(vectors, bench.ask_codes, **known),
        recall_at_k(vectors, bench.ask_codes, (1,), **known)[1],
        answers,
    )


def withstood(
    look: Look, bench: Bench, patches: Mapping[str, tuple[Tensor, Square]]
) -> dict[str, Any]:
    """Every patch beside no patch: accuracy, retrieval, changed answers, and the fall by class."""
    bank = bench.seen(look, bench.teach)
    head = Head(bank, bench.teach_codes, len(bench.names))
    clean = outcome(bench, head, bank, bench.seen(look, bench.ask))
    rows = [_row("none", clean, clean)]
    falls = {}
    for name, (patch, square) in patches.items():
        found = outcome(bench, head, bank, bench.seen(look, pasted(bench.ask, patch, square)))
        rows.append(_row(name, found, clean))
        falls[name] = _by_class(bench, clean.answers, found.answers)
    return {"patches": rows, "by class": falls}


def _row(name: str, found: Outcome, clean: Outcome) -> dict[str, Any]:
    return {
        "patch": name,
        "accuracy": found.accuracy,
        "retrieval": found.retrieval,
        "nearest": found.nearest,
        "changed": changed_share(clean.answers, found.answers),
    }


def _by_class(bench: Bench, before: np.ndarray, after: np.ndarray) -> dict[str, list[float]]:
    """Share right without and with the patch, class by class."""
    told = {}
    for code, name in enumerate(bench.names):
        own = bench.ask_codes == code
        if own.any():
            told[name] = [float((each[own] == code).mean()) for each in (before, after)]
    return told


# --- defences ---


def corruptions(low: Tensor, high: Tensor, seed: int = 0) -> dict[str, Callable[[Tensor], Tensor]]:
    """Changes to every picture that may break a patch, and cost something without one."""

    def noise(x: Tensor) -> Tensor:
        draw = torch.Generator().manual_seed(seed)
        grain = torch.randn(x.shape, generator=draw).to(x) * 0.1 * (high - low).to(x)
        return torch.clamp(x + grain, low.to(x), high.to(x))

    def cropped(x: Tensor) -> Tensor:
        size = x.shape[-1]
        kept = round(0.75 * size)
        return F.interpolate(
            x[..., :kept, :kept], (size, size), mode="bilinear", align_corners=False
        )

    def covered(x: Tensor) -> Tensor:
        quarter = x.shape[-1] // 4
        x = x.clone()
        x[..., -quarter:, -quarter:] = ((low + high) / 2).to(x)
        return x

    return {"noise": noise, "JPEG 50": lambda x: _stored(x, low, high, 50),
            "upper left three quarters": cropped, "covered corner": covered}  # fmt: skip


def _stored(x: Tensor, low: Tensor, high: Tensor, quality: int) -> Tensor:
    out = []
    for picture in ((x - low.to(x)) / (high - low).to(x)).clamp(0, 1).cpu():
        pixels = (picture.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        back = np.asarray(Image.open(file), np.float32) / 255
        out.append(torch.from_numpy(back).permute(2, 0, 1))
    return torch.stack(out).to(x) * (high - low).to(x) + low.to(x)


def pruned(network: nn.Module, share: float) -> nn.Module:
    """A copy whose smallest weights, layer by layer, are zero."""
    made = copy.deepcopy(network)
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                size = module.weight.abs().flatten()
                count = int(share * len(size))
                if count:
                    module.weight[module.weight.abs() <= size.kthvalue(count).values] = 0
    return made


def defended(
    look: Look,
    bench: Bench,
    patch: tuple[Tensor, Square],
    changes: Mapping[str, Callable[[Tensor], Tensor]],
    smaller: Mapping[str, Look],
    seed: int = 0,
) -> list[dict[str, Any]]:
    """What each defence gives back under the patch, and what it costs without one."""
    bank = bench.seen(look, bench.teach)
    head = Head(bank, bench.teach_codes, len(bench.names))
    patched = pasted(bench.ask, *patch)
    rows = [
        _defence("none", head, bank, bench, *(bench.seen(look, x) for x in (bench.ask, patched)))
    ]
    for name, change in changes.items():
        both = [bench.seen(look, change(x)) for x in (bench.ask, patched)]
        rows.append(_defence(name, head, bank, bench, *both))
    for name, other in smaller.items():
        own = bench.seen(other, bench.teach)
        fresh = Head(own, bench.teach_codes, len(bench.names))
        both = [bench.seen(other, x) for x in (bench.ask, patched)]
        rows.append(_defence(name, fresh, own, bench, *both))
    # the head learns from the pictures that teach as they are and with the patch on them
    mixed = torch.cat([bank, bench.seen(look, pasted(bench.teach, *patch))])
    twice = np.concatenate([bench.teach_codes, bench.teach_codes])
    tuned = Head(mixed, twice, len(bench.names))
    both = [bench.seen(look, x) for x in (bench.ask, patched)]
    rows.append(_defence("head that has seen the patch", tuned, bank, bench, *both))
    return rows


def _defence(
    name: str, head: Head, bank: Tensor, bench: Bench, clean: Tensor, patched: Tensor
) -> dict[str, Any]:
    before, after = (outcome(bench, head, bank, vectors) for vectors in (clean, patched))
    return {
        "defence": name,
        "clean accuracy": before.accuracy,
        "patched accuracy": after.accuracy,
        "clean retrieval": before.retrieval,
        "patched retrieval": after.retrieval,
    }


def located(look: Look, bench: Bench, patch: tuple[Tensor, Square], grey: Tensor) -> float:
    """How often the part whose covering changes a picture's vector most lies on the patch.

    By chance it would be the share of parts that touch it, or less.
    """
    pictures = pasted(bench.ask[:COVERED], *patch)
    size = pictures.shape[-1]
    before = F.normalize(bench.seen(look, pictures), dim=1)
    edges = np.linspace(0, size, CELLS + 1).round().astype(int)
    change = np.zeros((CELLS, CELLS, len(pictures)))
    for y in range(CELLS):
        for x in range(CELLS):
            covered = pictures.clone()
            covered[..., edges[y] : edges[y + 1], edges[x] : edges[x + 1]] = grey.to(pictures)
            after = F.normalize(bench.seen(look, covered), dim=1)
            change[y, x] = (1 - (before * after).sum(1)).cpu().numpy()
    highest = change.reshape(-1, len(pictures)).argmax(0)
    square = patch[1]
    inside = np.zeros((CELLS, CELLS), bool)
    for y in range(CELLS):
        for x in range(CELLS):
            rows = edges[y] < square.top + square.side and edges[y + 1] > square.top
            columns = edges[x] < square.left + square.side and edges[x + 1] > square.left
            inside[y, x] = rows and columns
    return float(inside.reshape(-1)[highest].mean())
