"""`forget`: take images out of a trained model without retraining it, and measure what is left."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch

from fallow.declare import (
    Labels,
    Option,
    Out,
    Preset,
    Seed,
    Settings,
    Tell,
    Where,
    silent,
    verb,
)  # fmt: skip
from fallow.device import best_device
from fallow.encoders.base import Preprocessing
from fallow.encoders.classifier import (
    as_classifier,
    load_classifier,
)  # fmt: skip
from fallow.images import opened
from fallow.measure.forgetting import Judge, compare_to_last
from fallow.methods import settle
from fallow.methods.forget import laf
from fallow.methods.shared.forgetting import (
    check_embedding,
    check_told_apart,
    label_names,
    other_images,
    parts_of,
    pool_of,
    repaired,
    retrained,
    shelves_of,
    training_of,
)  # fmt: skip
from fallow.outcomes.forgotten import Forgotten
from fallow.problems import SettingProblem
from fallow.report.forget import forget_page
from fallow.train import make_settings


@verb(
    example="fallow forget my-model --forget list.txt --keep photos/",
    out="{name}-forgotten",
    systems="forget",
    system="laf",
)
def forget(
    model: Annotated[Any, Option("folder of a run of learn --method supervised", argument=True)],
    *,
    forget: Annotated[Any, Option("list of paths (text or CSV), or a folder")],
    keep: Annotated[Any, Option("the images the model was trained on")],
    test: Annotated[Any, Option("images it never saw; else those whose split is test")] = None,
    labels: Labels = None,
    where: Where = None,
    layer: str | None = None,
    preprocessing: Preprocessing | None = None,
    names: Sequence[str] | None = None,
    retrain: Annotated[Any, Option("also train without them, to compare with", bool)] = False,
    out: Out = None,
    preset: Preset = None,
    settings: Settings = None,
    seed: Seed = 0,
    tell: Tell = silent,
) -> Forgotten:
    """Make a model forget some of the images it was trained on, without their labels.

    `model` is the folder of a run of `fallow learn --method supervised`, a Classifier, an
    (encoder, head) pair, or any torch classifier with the name of its embedding `layer`, its
    `preprocessing` and, in the order of its outputs, the `names` of its classes. `keep` are the
    images it was trained on; `forget` names some of them (a list of paths, a file with such a
    list) or is a folder of copies of them. Labels only serve to measure the result, and to repair
    the head if the settings say so. `test` are images the model never saw; without them, those
    whose `split` is test. `retrain` trains the run again without the forgotten images, for
    comparison; a model that was retrained already may be given instead.

    The model is not changed: the result's `.model` is an edited copy. No picture of a forgotten
    image is written anywhere.

    >>> import fallow
    >>> from fallow.images.samples import shapes
    >>> images = shapes(32, seed=0, side=24)
    >>> run = fallow.learn(images, method="supervised", encoder="resnet8/8", epochs=1)
    >>> result = fallow.forget(
    ...     run.run.method.classifier,
    ...     forget=images.column("path")[:4].tolist(),
    ...     keep=images,
    ...     settings={"steps": 2, "autoencoder_steps": 1},
    ... )
    >>> result.table.column("model").to_pylist()
    ['original', 'LAF']
    """
    chosen = make_settings(laf.Settings, settle("forget", "laf", settings, preset))
    named = isinstance(model, str | os.PathLike)
    if out is not None and named and Path(out).resolve() == Path(model).resolve():
        raise SettingProblem(f"{out} holds the model itself, which is kept: choose another out")
    parts = parts_of(forget, opened(keep, labels, where), test)
    if named:
        subject: Any = load_classifier(Path(model))
    else:
        subject = as_classifier(model, layer, preprocessing, names or label_names(parts))
    if not retrain:
        run = None
    elif isinstance(retrain, torch.nn.Module):
        run = as_classifier(retrain, layer, preprocessing, subject.names)
    else:
        run = training_of(model)
        if "label" not in parts.kept.columns:
            raise SettingProblem("retraining needs the labels of the kept images: give labels=")
    device = best_device()
    subject = copy.deepcopy(subject).to(device).eval().requires_grad_()
    shelves = shelves_of(parts, subject.preprocessing)
    pools = {name: pool_of(shelf, subject, device) for name, shelf in shelves.items()}
    check_embedding(subject, pools["kept"])
    codes = {name: images.labels_in(subject.names) for name, images in parts.each.items()}
    check_told_apart(subject, parts, codes)

    tell(f"forgetting {len(shelves['forgotten']):,} of {parts.total:,} images")
    clock = time.perf_counter()
    edited = laf.erase(subject, pools["kept"], pools["forgotten"], chosen, seed=seed)
    seconds = time.perf_counter() - clock
    judge = Judge(parts, shelves, device, seed)
    rows = [judge.row("original", subject), judge.row("LAF", edited.model, seconds)]
    final = edited.model
    if chosen.repair:
        clock = time.perf_counter()
        final = copy.deepcopy(edited.model)
        repaired(final, shelves["kept"], codes["kept"], chosen, device, seed)
        seconds += time.perf_counter() - clock
        rows.append(judge.row("LAF, repaired", final, seconds))
    if run is not None:
        again, spent = (run, None) if isinstance(run, torch.nn.Module) else retrained(run, parts)
        rows.append(judge.row("retrained", again.to(device).eval(), spent))
        compare_to_last(rows, judge)
    others = other_images(Path(model), parts) if named else []
    result = Forgotten(final, edited, rows, parts, shelves, chosen, seed, others, forget_page)
    result.model.to("cpu")
    return result.saved(out)
