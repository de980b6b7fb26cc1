"""`distil`: a few synthetic images that teach a network what a labelled folder teaches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch

from fallow import declare
from fallow.device import best_device
from fallow.images import opened
from fallow.measure.scores import halves
from fallow.methods import settle
from fallow.methods.distil import find_host
from fallow.methods.shared.coreset import reference
from fallow.methods.shared.distilling import (
    ASKED,
    decide_mirror,
    judged_mirror,
    of_classes,
    side_for,
    verified,
)  # fmt: skip
from fallow.methods.shared.tiny import Real, Space, refine, squares
from fallow.outcomes.distilled import Distilled, TinySet, findings_of, table_of
from fallow.problems import Problem, SettingProblem
from fallow.report.distil import distil_page
from fallow.train import make_settings


@declare.verb(
    example="fallow distil photos/ --labels labels.csv --per-class 10 --verify",
    out="{name}-distil",
    systems="distil",
    system="host",
)
def distil(
    source: declare.Source,
    *,
    labels: declare.Labels = None,
    where: declare.Where = None,
    per_class: Annotated[int, declare.Option("synthetic images of each class", int)] = 10,
    host: Annotated[str, declare.Option("how: dm, dc, dsa or mtt")] = "dm",
    fyi: Annotated[
        bool | None, declare.Option("use mirror images; tested if left out", bool, seldom=True)
    ] = None,
    verify: Annotated[
        bool, declare.Option("train fresh networks on them, and on real images", bool)
    ] = False,
    minutes: declare.Minutes = None,
    out: declare.Out = None,
    preset: declare.Preset = None,
    settings: declare.Settings = None,
    seed: declare.Seed = 0,
    tell: declare.Tell = declare.silent,
) -> Distilled:
    """Make `per_class` synthetic images of every class that can stand in for the folder.

    `host` is how: dm (quick), dc, dsa, mtt. `fyi` uses every synthetic image together with its
    mirror image; left out, it does so unless held-out images say that mirroring changes what they
    mean. `verify` trains fresh networks on the synthetic images and, beside them, on as many real
    ones drawn at random, by k-centre and by herding. Held out are the images whose `split` is
    test, else one in five of each class; they never change a pixel.

    >>> import tempfile
    >>> from fallow.images.samples import shapes
    >>> quick = {"steps": 2, "width": 8, "size": 16, "real": 4}
    >>> tiny = distil(shapes(80, side=24), per_class=2, settings=quick, out=tempfile.mkdtemp())
    >>> tiny.table.num_rows, tiny.pictures.shape
    (16, (16, 16, 16, 3))
    """
    kind = find_host(host)
    if per_class < 1:
        raise SettingProblem(f"per_class={per_class} is not possible: use 1 or more")
    given = _given(host, settings, preset, fyi, minutes)
    images = of_classes(opened(source, labels, where))
    size = side_for(images, given.get("size"), torch.cuda.is_available())
    given["size"] = size
    codes, names = images.labels
    teach, ask = halves(images, codes, seed)
    device = best_device()
    rows, pixels = squares(images.select(teach), size)
    real = Real.of(pixels, torch.from_numpy(codes[teach][rows]), names)
    if given.get("whiten"):
        real = Real.of(pixels, real.labels, names, space=Space.of(pixels, whiten=True))
    paths = images.select(teach).column("path")[rows]
    held = None
    if ask.any():
        asked, others = squares(images.select(ask), size)
        held = Real.of(others, torch.from_numpy(codes[ask][asked]), names, space=real.space).to(
            device
        )
    real = real.to(device)
    notes: list[str] = []

    depth = int(given.get("depth", kind.Settings.model_fields["depth"].default))
    depth = max(1, min(depth, size.bit_length() - 1))
    judge = None
    if verify or fyi is not False:
        tell(f"looking at {len(real):,} real images, and at the mirror images of those held out")
        judge = reference(real, seed=seed, depth=depth)
    judgement = judged_mirror(judge, held, names)
    decide_mirror(given, fyi, judgement, notes)
    chosen = make_settings(kind.Settings, given)
    maker = kind(real, per_class, chosen, seed=seed)
    refined = refine(maker, steps=chosen.steps, minutes=chosen.minutes, tell=tell)

    flips = judgement.keeps is not False
    tested: dict[str, list[float]] = {}
    if verify:
        if held is None or judge is None or len(held) < ASKED:
            raise Problem(
                f"{0 if held is None else len(held)} held-out images are too few to verify with: "
                f"{ASKED} are needed, in a split column or as one in five of each class"
            )
        tested = verified(maker, refined, held, judge, flips, seed, tell)
    recipe = {
        "classes": names,
        "per_class": per_class,
        "host": host,
        "settings": chosen.model_dump(exclude_none=True),
        "steps": refined.steps,
        "seed": seed,
        "size": size,
        "source": images.name,
        "fingerprint": images.fingerprint,
        "train": {
            "optimiser": "sgd", "rate": 0.01, "momentum": 0.9, "weight_decay": 5e-4,
            "epochs": 1000, "batch": 256, "augment": True, "mirror": flips, **maker.recipe(),
        },
    }  # fmt: skip
    tiny = TinySet(
        refined.pixels.cpu(),
        refined.labels.cpu(),
        names,
        real.space.to(torch.device("cpu")),
        recipe,
    )
    table = table_of(tiny, refined, maker, paths, per_class)
    findings = findings_of(images, real, held, table, tiny, refined, tested, judgement, notes)
    findings["pictures"] = {"start": tiny.space.leave(refined.start.cpu())}
    findings["pictures"]["end"] = tiny.space.leave(tiny.pixels)
    return Distilled(table, findings, tiny, distil_page).saved(out)


def _given(
    host: str, settings: Mapping[str, Any] | None, preset: str | None, fyi: bool | None,
    minutes: float | None,
) -> dict[str, Any]:  # fmt: skip
    """Settings as plain values; mirroring and the budget have words of their own."""
    own = dict(settings or {})
    if fyi is not None and "copies" in own:
        raise SettingProblem("give fyi or the setting copies, not both: they say the same")
    if minutes is not None:
        own.pop("steps", None)
    copies = None if fyi is None else "mirror" if fyi else "none"
    return settle("distil", host, own, preset, copies=copies, minutes=minutes)
