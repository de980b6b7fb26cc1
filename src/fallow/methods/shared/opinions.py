"""What a model says of pictures before and after it was adapted, with and without truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders.base import Encoder
from fallow.encoders.classifier import Classifier, scores
from fallow.encoders.headed import Segmenting, seen
from fallow.images import Images
from fallow.images.pairs import Paired
from fallow.losses.pseudo import relative_entropy_map
from fallow.measure.adapted import Check, checked, condition_accuracy
from fallow.measure.segmentation import confusion, iou_of, mean_iou
from fallow.methods.shared.carrying import logits_of
from fallow.methods.shared.segment import enlarged, on_stage
from fallow.parts.correspondence import certainty
from fallow.problems import SourceProblem
from fallow.views.flow import dense_flow, has_flow
from fallow.views.geometry import warped

ZOOM = 1.25  # how much larger a picture is seen a second time
SURE = 0.5  # certainty from which a place of a pair is compared
ENOUGH = 0.25  # share of such places from which a pair shows the same scene


@dataclass
class Sides:
    """One model in use: what answers, what embeds, and the scale it looks at."""

    answers: nn.Module  # logits of normalised pictures
    model: Segmenting  # whose features are compared
    encoder: Encoder
    side: int


@dataclass
class Judged:
    """What was measured of one picture; a value for the old model and one for the new."""

    id: str
    codes: list[np.ndarray]  # H W each
    undecided: list[float]
    steady: list[float]
    paired: list[float]  # NaN without a pair that fits
    shares: list[np.ndarray]  # of the classes
    changed: float  # share of pixels
    vectors: list[np.ndarray]  # embeddings
    tables: list[np.ndarray] = field(default_factory=list)  # against the truth, if there is one


@torch.no_grad()
def looked_at(
    old: Sides, new: Sides, images: Images, truth: Mapping[str, np.ndarray], classes: int
) -> Iterator[tuple[Judged, np.ndarray]]:
    """Every picture that can be read as both see it, with its pixels."""
    for row, pixels in images.map(np.asarray):
        if not isinstance(pixels, np.ndarray):
            continue
        found = [_seen(sides, pixels, classes) for sides in (old, new)]
        key = str(images.column("id")[row])
        paired = [np.nan, np.nan]
        if isinstance(images, Paired):
            paired = _paired(old, images.reference(row), pixels, [one["logits"] for one in found])
        codes = [one["codes"] for one in found]
        own = truth.get(key)
        tables = [] if own is None else [confusion(one, own, classes) for one in codes]
        yield (
            Judged(
                key,
                codes,
                [one["undecided"] for one in found],
                [one["steady"] for one in found],
                paired,
                [one["shares"] for one in found],
                float((codes[0] != codes[1]).mean()),
                [one["vector"] for one in found],
                tables,
            ),
            pixels,
        )


def _seen(sides: Sides, pixels: np.ndarray, classes: int) -> dict[str, Any]:
    """One model's answer for a picture, and how much of it stays for its larger mirror image."""
    x = on_stage(sides.encoder, pixels, sides.side)
    logits = logits_of(sides.answers, x)  # type: ignore[arg-type]
    large = [round(ZOOM * side) for side in x.shape[2:]]
    other = F.interpolate(x.flip(3), large, mode="bilinear", align_corners=False)
    again = logits_of(sides.answers, other).flip(3)  # type: ignore[arg-type]
    again = F.interpolate(again, x.shape[2:], mode="bilinear", align_corners=False)
    codes = enlarged(logits.softmax(1)[0].cpu(), pixels.shape[:2])
    return {
        "logits": logits,
        "codes": codes,
        "undecided": float(relative_entropy_map(logits).mean()),
        "steady": agreement(logits.argmax(1), again.argmax(1), classes),
        "shares": np.bincount(codes.ravel(), minlength=classes)[:classes] / codes.size,
        "vector": vector_of(sides, x),
    }


def agreement(one: Tensor, other: Tensor, classes: int, sure: Tensor | None = None) -> float:
    """Mean overlap (IoU) of two answers' classes, so that a large class does not hide the rest.

    >>> agreement(torch.tensor([0, 0, 1]), torch.tensor([0, 0, 0]), 2)
    0.333...
    """
    kept = torch.ones_like(one, dtype=torch.bool) if sure is None else sure
    if not kept.any():
        return float("nan")
    table = confusion(one[kept].cpu().numpy(), other[kept].cpu().numpy(), classes)
    return mean_iou(table)


def vector_of(sides: Sides, x: Tensor) -> np.ndarray:
    """A picture as the means of all features the decoder reads."""
    features, _ = seen(sides.model, x)
    return torch.cat([maps.mean((2, 3)) for maps in features], 1)[0].float().cpu().numpy()


def _paired(
    old: Sides, reference: np.ndarray, pixels: np.ndarray, logits: Sequence[Tensor]
) -> list[float]:
    """How far answers for a picture agree with the old model's for its reference.

    Only places count that flow finds in the reference with some certainty.
    """
    if not has_flow():
        return [np.nan, np.nan]
    ours, theirs = (
        on_stage(old.encoder, pixels, old.side),
        on_stage(old.encoder, reference, old.side),
    )
    if theirs.shape != ours.shape:
        theirs = F.interpolate(theirs, ours.shape[2:], mode="bilinear", align_corners=False)
    show = old.encoder.preprocessing.show
    flow, doubt = dense_flow(show(ours)[0], show(theirs)[0])
    moved, inside = warped(
        logits_of(old.answers, theirs).cpu(),  # type: ignore[arg-type]
        torch.from_numpy(flow)[None],
    )
    sure = inside[0] & (certainty(torch.from_numpy(doubt)) >= SURE)
    if sure.float().mean() < ENOUGH:
        return [np.nan, np.nan]
    told = moved.argmax(1)[0]
    return [agreement(one.argmax(1)[0].cpu(), told, moved.shape[1], sure) for one in logits]


@torch.no_grad()
def vectors_of(sides: Sides, images: Images) -> np.ndarray:
    """Embeddings of pictures, a row of NaN where one cannot be read.  N D"""
    found: dict[int, np.ndarray] = {}
    for row, pixels in images.map(np.asarray):
        if isinstance(pixels, np.ndarray):
            found[row] = vector_of(sides, on_stage(sides.encoder, pixels, sides.side))
    if not found:
        raise SourceProblem(f"none of the pictures in {images.name} can be read")
    blank = np.full_like(next(iter(found.values())), np.nan)
    return np.stack([found.get(row, blank) for row in range(len(images))])


def reference_vectors(sides: Sides, images: Images, most: int = 200) -> np.ndarray:
    """Embeddings of some pictures of the old condition, those that can be read."""
    found = vectors_of(sides, images.sample(min(most, len(images))))
    return found[np.isfinite(found).all(1)]


def pixel_checks(
    judged: Sequence[Judged], references: Sequence[np.ndarray] | None
) -> tuple[list[Check], dict[str, Any]]:
    """All checks of a segmenter, and its measures where there is truth.

    `references` are the old and the new model's embeddings of pictures of the old condition.
    """
    known = [one for one in judged if one.tables]
    checks: list[Check] = []
    measures: dict[str, Any] = {}
    if known:
        sums = [np.sum([one.tables[k] for one in known], 0) for k in (0, 1)]
        measures = {
            "pictures": len(known),
            "mIoU": [mean_iou(table, absent="untrue") for table in sums],
            "accuracy": [float(np.trace(table) / max(1, table.sum())) for table in sums],
            "IoU": [iou_of(table).tolist() for table in sums],
            "present": (sums[0].sum(1) > 0).tolist(),
        }
        each = [[mean_iou(one.tables[k], absent="untrue") for one in known] for k in (0, 1)]
        checks.append(checked("mean IoU of a picture", *each, counts=True, truth=True))
    checks += [
        _pair("agreement with references", [one.paired for one in judged], counts=True),
        _pair("agreement with itself", [one.steady for one in judged], counts=True),
        # what is trained on must not vote: these fall whether or not answers get better
        _pair("undecided pixels", [one.undecided for one in judged], counts=False, more=False),
    ]
    if references is not None:
        vectors = [np.stack([one.vectors[k] for one in judged]) for k in (0, 1)]
        told = [condition_accuracy(vectors[k], references[k]) for k in (0, 1)]
        checks.append(checked("condition told from features", *told, counts=True, more=False))
    return [one for one in checks if np.isfinite(one.before)], measures


def _pair(
    name: str, values: Sequence[Sequence[float]], *, counts: bool, more: bool = True
) -> Check:
    before, after = zip(*values, strict=True)
    return checked(name, before, after, counts=counts, more=more)


@dataclass
class Sorted:
    """What two classifiers say of the same pictures."""

    before: np.ndarray  # N C, NaN where a picture cannot be read
    after: np.ndarray
    mirrored: list[np.ndarray]  # the same for larger mirror images
    vectors: list[np.ndarray]  # embeddings, N W

    @property
    def rows(self) -> np.ndarray:
        """Pictures that could be read."""
        return np.flatnonzero(np.isfinite(self.before).all(1))


class _Other(nn.Module):
    """A classifier that sees mirror images, a little larger."""

    def __init__(self, inner: Classifier) -> None:
        super().__init__()
        self.inner, self.names, self.preprocessing = inner, inner.names, inner.preprocessing

    def forward(self, x: Tensor) -> Tensor:
        side = x.shape[-1]
        large = F.interpolate(x.flip(3), scale_factor=ZOOM, mode="bilinear", align_corners=False)
        start = (large.shape[-1] - side) // 2
        return self.inner(large[..., start : start + side, start : start + side])


def sorted_by(old: Classifier, new: Classifier, images: Images) -> Sorted:
    """Probabilities and embeddings of all pictures."""
    both = (old, new)
    before, after = (scores(one, images) for one in both)
    return Sorted(
        before,
        after,
        [scores(_Other(one), images) for one in both],  # type: ignore[arg-type]
        [one.encoder.embed(images) for one in both],
    )


def class_checks(
    found: Sorted, truth: np.ndarray, references: Sequence[np.ndarray] | None
) -> tuple[list[Check], dict[str, Any]]:
    """All checks of a classifier, and its measures where there is truth (N, -1 where unknown)."""
    rows = found.rows
    answers = [one[rows].argmax(1) for one in (found.before, found.after)]
    own = truth[rows]
    known = own >= 0
    checks, measures = [], {}
    if known.any():
        right = [np.where(known, one == own, np.nan) for one in answers]
        checks.append(checked("accuracy", *right, counts=True, truth=True))
        measures = {
            "pictures": int(known.sum()),
            "accuracy": [float(one[known].mean()) for one in right],
        }
    steady = [
        (one == other[rows].argmax(1)).astype(float)
        for one, other in zip(answers, found.mirrored, strict=True)
    ]
    checks.append(checked("agreement with itself", *steady, counts=True))
    doubt = [_undecided(one[rows]) for one in (found.before, found.after)]
    checks.append(checked("undecided pictures", *doubt, counts=False, more=False))
    if references is not None:
        told = [condition_accuracy(found.vectors[k][rows], references[k]) for k in (0, 1)]
        checks.append(checked("condition told from features", *told, counts=True, more=False))
    return checks, measures


def _undecided(probabilities: np.ndarray) -> np.ndarray:
    logs = np.log(np.maximum(probabilities, 1e-12))
    return -(probabilities * logs).sum(1) / np.log(max(2, probabilities.shape[1]))
