"""`grade`: does an enhancer of pictures help those who must recognise what is in them?"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from fallow import declare
from fallow.encoders import chosen_encoder
from fallow.images import Images, opened
from fallow.measure.scores import halves
from fallow.methods import settle
from fallow.methods.grade.ug2 import Judgement, Settings, judged, judged_boxes, standings
from fallow.methods.shared.detecting import detector as detector_of
from fallow.methods.shared.detecting import in_boxes, marked_boxes
from fallow.methods.shared.enhancers import ENHANCERS
from fallow.methods.shared.enhancing import Enhancer
from fallow.methods.shared.enhancing import enhancer as enhancer_of
from fallow.methods.shared.recognisers import recognisers
from fallow.outcomes.graded import Graded, graded
from fallow.problems import SettingProblem, SourceProblem
from fallow.report.grade import grade_page
from fallow.train import make_settings

Pictures = Sequence[tuple[str, np.ndarray]]


@declare.verb(
    example='fallow grade "denoise {input} {output}" photos/ --labels labels.csv',
    out="{name}-grade",
    systems="grade",
    system="method",
)
def grade(
    enhancer: Annotated[
        Any,
        declare.Option(
            "command with {input} and {output}, folder of enhanced pictures, or a built-in name",
            argument=True,
            executes=True,
        ),
    ],
    source: declare.Source,
    *,
    known: Annotated[
        Any, declare.Option("labelled clean pictures recognisers learn from; else some of source")
    ] = None,
    labels: declare.Labels = None,
    boxes: Annotated[
        Any, declare.Option("marked boxes (COCO, VOC, YOLO, …): detectors judge, not recognisers")
    ] = None,
    detector: Annotated[
        Any, declare.Option("faces, people, or an ONNX file of a RetinaFace", seldom=True)
    ] = "faces",
    where: declare.Where = None,
    method: Annotated[str, declare.Option("ug2")] = "ug2",
    encoder: declare.EncoderName = None,
    floors: Annotated[
        bool, declare.Option("judge the built-in enhancers beside it", bool, seldom=True)
    ] = True,
    out: declare.Out = None,
    preset: declare.Preset = None,
    settings: declare.Settings = None,
    seed: declare.Seed = 0,
    tell: declare.Tell = declare.silent,
) -> Graded:
    """Judge an enhancer by what recognisers make of its pictures, beside no enhancement.

    `enhancer` is a callable from pixels to pixels, a command, a folder of enhanced pictures named
    like the originals, or one of gamma, clahe, denoise, sharpen, dehaze, retinex. Recognisers
    learn from `known`, labelled pictures as they should be; without it from the training part of
    `source`, and are asked about the rest. With `boxes` a `detector` judges instead, by the mean
    average precision of what it finds. No original is changed.

    >>> from fallow.images.samples import shapes
    >>> result = grade("gamma", shapes(64, side=32), encoder="resnet8/8", floors=False)
    >>> result.findings["enhancer"], sorted(set(result.table["measure"].to_pylist()))
    ('gamma', ['LRAP', 'M1', 'M2'])
    """
    if method != "ug2":
        raise SettingProblem(f"there is no method {method!r} to grade: did you mean ug2?")
    how = make_settings(Settings, settle("grade", method, settings, preset))
    run = enhancer_of(enhancer, how.seconds)
    images = opened(source, labels, where)
    called = enhancer if isinstance(enhancer, str) else getattr(enhancer, "__name__", "enhancer")
    runs = {str(called): run}
    if floors and how.scale == 1:
        runs |= {name: enhancer_of(name, how.seconds) for name in ENHANCERS if name != "none"}
    if boxes is None:
        court = _recognisers(*_parts(images, known, seed), encoder, how)
    else:
        court = _detector(images, boxes, detector, how)
    asked = court.asked
    pictures = [(name, asked.read(k)) for k, name in enumerate(asked.column("id").tolist())]
    found = {}
    for name, one in runs.items():
        tell(f"judging {name}")
        found[name] = court.judge(pictures, one)
    about: Mapping[str, Any] = {
        "source": images.name,
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "enhancer": str(called),
        "encoder": court.by,
        "settings": how.model_dump(),
        "seed": seed,
        "notes": court.notes,
        "learnt from": court.taught,
    }
    samples = [(name, old, run(name, old)) for name, old in pictures[:6]]
    order = standings(found, confidence=how.confidence, seed=how.seed) if court.taught else []
    return graded(found, order, samples, about, grade_page).saved(out)


def _parts(images: Images, known: Any, seed: int) -> tuple[Images, Images]:
    """What recognisers learn from, and what they are asked about."""
    if known is not None:
        return opened(known).labelled, images.labelled
    told = images.labelled
    if not len(told):
        raise SourceProblem("grading needs labels: give labels=, or pictures in folders by class")
    teach, ask = halves(told, told.labels[0], seed)
    return told.select(np.flatnonzero(teach)), told.select(np.flatnonzero(ask))


@dataclass(frozen=True)
class Court:
    """Who judges, and the pictures that are asked about."""

    asked: Images
    by: str  # encoder of the recognisers, or detector
    judge: Callable[[Pictures, Enhancer], Judgement]
    taught: int = 0  # pictures recognisers learnt from
    notes: Sequence[str] = ()


def _recognisers(taught: Images, asked: Images, encoder: Any, how: Settings) -> Court:
    names = taught.labels[1]
    codes = asked.labels_in(names)
    if (codes < 0).any():
        raise SourceProblem(
            f"{int((codes < 0).sum()):,} pictures have a label that nothing was learnt of: "
            "choose others with where="
        )
    look, note = chosen_encoder(encoder)
    who = recognisers(look, [*map(taught.read, range(len(taught)))], taught.labels[0])
    classes = {name: frozenset([k]) for k, name in enumerate(names)}
    truth = [names[code] for code in codes]

    def judge(pictures: Pictures, run: Enhancer) -> Judgement:
        return judged(pictures, truth, run, who, classes, how)

    return Court(asked, look.name, judge, len(taught), [note] if note else [])


def _detector(images: Images, source: Any, what: Any, how: Settings) -> Court:
    detect = detector_of(what)
    marked = marked_boxes(images, source, detect.labels)

    def judge(pictures: Pictures, run: Enhancer) -> Judgement:
        return judged_boxes(pictures, marked, run, {detect.name: in_boxes(detect)}, how)

    return Court(images, detect.name, judge)
