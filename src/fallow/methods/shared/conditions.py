"""From a model and pictures of two conditions to a trained method: who learns from what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from fallow.images import Images, opened
from fallow.images.masks import Masked, read_masks, without_masks
from fallow.methods.shared.adapting import Adapter
from fallow.methods.shared.beginning import Beginning
from fallow.methods.shared.carrying import Carrier, InUse
from fallow.methods.shared.models import Given
from fallow.methods.shared.opinions import Sides, vectors_of
from fallow.methods.shared.pairing import pair_up
from fallow.problems import SettingProblem, SourceProblem

LARGEST_SIDE = 192  # of what is learnt from without a GPU, unless told otherwise
MOVES = {
    "person", "pedestrian", "people", "rider", "bicyclist", "cyclist", "car", "truck", "bus",
    "train", "tram", "motorcycle", "motorbike", "bicycle", "bike", "vehicle", "animal", "dog",
}  # fmt: skip


def choose_method(given: Given, source: Any, references: Any) -> str:
    """The system that suits what there is.

    >>> from fallow.encoders import encoder
    >>> from fallow.encoders.segmenter import Segmenter
    >>> from fallow.methods.shared.models import given_model
    >>> choose_method(given_model(Segmenter(encoder("unet/4"), 2)), None, "day/")
    'cma'
    """
    if given.segments:
        return "bimix" if source is not None else "cma"
    return "coral"


def suited(kind: type[Any], slug: str, given: Given) -> None:
    """A SettingProblem where a method cannot adapt such a model."""
    if isinstance(given.used, InUse):
        raise SettingProblem(
            "this model was adapted by bimix and lights pictures anew before it looks at them: "
            "adapt the one it was made from"
        )
    if given.segments and not issubclass(kind, Carrier):
        raise SettingProblem(
            f"{slug} adapts classifiers and the model is a segmenter: choose cma or bimix"
        )
    if not given.segments and not issubclass(kind, Adapter):
        raise SettingProblem(
            f"{slug} adapts segmenters and the model is a classifier: choose erm, coral, dann, "
            "afn, pseudo, fixmatch, noisy_student or swav"
        )
    assert issubclass(kind, Beginning)


def masks_as_known(
    images: Images, masks: Any, given: Given, classes: Any, ignore: Sequence[Any]
) -> Masked:
    """Masks in the codes of the model; a value it does not know is a Problem."""
    known = classes if classes is not None else dict(zip(given.names, given.values, strict=True))
    found = read_masks(images, masks, known, ignore)
    if list(found.classes.names) != given.names:
        raise SourceProblem(
            f"the masks have the classes {', '.join(found.classes.names)} and the model "
            f"{', '.join(given.names)}: they must be the same, in the same order"
        )
    return found


def truths(
    target: Images, labels: Any, given: Given, classes: Any, ignore: Sequence[Any]
) -> tuple[Images, dict[str, np.ndarray], list[str]]:
    """The target without its masks, the masks by id, and notes; none if there are no masks."""
    if labels is None and "mask" not in target.columns:
        return target, {}, []
    found = masks_as_known(target, labels, given, classes, ignore)
    held = found.labelled
    truth = {str(key): held.mask(row) for row, key in enumerate(held.column("id"))}
    kept = np.isin(target.column("id"), [*held.column("id"), *found.bare.column("id")])
    return without_masks(target.select(kept)), truth, found.notes


def side_of(given: Given, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes for a segmenter: what it was trained on, in whole steps of 16."""
    most = given.side if torch.cuda.is_available() else min(given.side, LARGEST_SIDE)
    side = int(settings.get("side") or max(32, given.side, settings.get("size", 0)))
    size = max(32, min(most, side) // 16 * 16)
    return {"side": side, "size": size} | dict(settings)


def moving(given: Given) -> list[int]:
    """Codes of the classes whose names are those of things that move.

    >>> from fallow.encoders import encoder
    >>> from fallow.encoders.segmenter import Segmenter
    >>> from fallow.methods.shared.models import given_model
    >>> moving(given_model(Segmenter(encoder("unet/4"), 2), names=["road", "Car"]))
    [1]
    """
    return [code for code, name in enumerate(given.names) if name.lower() in MOVES]


def sides(given: Given) -> Sides:
    """A segmenter in use."""
    return Sides(given.used, given.model, given.encoder, given.side)


def streams(
    kind: type[Any],
    given: Given,
    target: Images,
    source: Any,
    answers: Any,
    references: Any,
    pairs: Any,
    classes: Any,
    ignore: Sequence[Any],
    tell: Callable[[str], None],
) -> tuple[dict[str, Any], Images | None]:
    """The images to train on, by stream, and those that show the old condition."""
    labelled = None if source is None else opened(source, None if given.segments else answers)
    _apart(target, labelled)
    if not given.segments:
        if labelled is None:
            raise SourceProblem(
                "this method needs labelled pictures of the old condition: name them with source, "
                "or adapt a segmenter with cma, which needs none"
            )
        if "label" not in labelled.columns:
            raise SourceProblem(f"{labelled.name} has no labels: name a CSV of them with answers")
        unknown = sorted(set(labelled.labels[1]) ^ set(given.names))
        if unknown:
            raise SourceProblem(
                f"model and source do not know the same classes (not both know "
                f"{', '.join(unknown[:3])}): give the model's own classes"
            )
        return {"source": labelled, "target": _bare(target)}, labelled
    known = None
    if labelled is not None:
        known = masks_as_known(labelled, answers, given, classes, ignore).labelled
        for note in known.notes:
            tell(note)
    others = opened(references) if references is not None else labelled
    if others is None:
        raise SourceProblem(
            f"{kind.__name__} compares pictures with references of the old condition: name a "
            "folder of them with references; they need no labels"
        )
    old = sides(given)

    def embed(images: Images) -> np.ndarray:
        return vectors_of(old, images)

    found, said = pair_up(target, without_masks(others), pairs, embed)
    tell(said)
    both = {"target": found} | ({"source": known} if known is not None else {})
    return both, without_masks(others)


def _bare(images: Images) -> Images:
    return images._with(images.table.drop_columns([c for c in ("label",) if c in images.columns]))


def _apart(target: Images, source: Images | None) -> None:
    if source is not None and set(target.column("hash")) <= set(source.column("hash")):
        raise SourceProblem(
            f"all pictures of {target.name} are among those of {source.name}: there is one "
            "condition only, and nothing to adapt to"
        )
