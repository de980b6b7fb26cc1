"""`protect`: copies of images that teach strangers less, and how much less was measured."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from fallow import declare
from fallow.encoders import chosen_encoder
from fallow.images import opened
from fallow.images.captions import captioned, with_captions
from fallow.measure.verification import Verification, labels_to_verify, said, sentences, verified
from fallow.methods import budget, settle
from fallow.methods.protect.uc import UC, load_protector
from fallow.methods.shared.patterns import fitted, pattern_pictures, trained
from fallow.outcomes.copies import copy_names, folders_apart, refuse_existing, write_copies
from fallow.outcomes.pairs import protect_pairs
from fallow.outcomes.protected import Protected, median, notes_of
from fallow.problems import SettingProblem
from fallow.report.protect import protect_page

MINUTES = 5.0  # for the patterns, when no budget is given
UNTESTED = (
    "How much this protects was not tested: with labels, --verify trains a stranger's model on "
    "the copies and says."
)


@declare.verb(
    example="fallow protect photos/ --out copies/ --labels labels.csv --verify",
    systems="protect",
    system="method",
)
def protect(
    source: declare.Source,
    *,
    out: Annotated[declare.Address, declare.Option("empty folder for the copies (PNG)", Path)],
    private: Annotated[
        declare.Address | None,
        declare.Option("folder for report and protector, never to be published", Path),
    ] = None,
    protector: Annotated[
        declare.Address | None,
        declare.Option("private folder of an earlier run: use its patterns", Path, seldom=True),
    ] = None,
    labels: declare.Labels = None,
    where: declare.Where = None,
    captions: Annotated[Any, declare.Option("texts of the images, for t2ue")] = None,
    method: Annotated[str, declare.Option("uc, or t2ue: patterns from captions")] = "uc",
    encoder: declare.EncoderName = None,
    minutes: declare.Minutes = None,
    epochs: declare.Epochs = None,
    verify: Annotated[
        bool | Verification,
        declare.Option("train a stranger's model on the copies (needs labels)", bool),
    ] = False,
    verify_epochs: Annotated[
        int, declare.Option("of each of the stranger's trainings", int, seldom=True)
    ] = 15,
    preset: declare.Preset = None,
    settings: declare.Settings = None,
    seed: declare.Seed = 0,
    tell: declare.Tell = declare.silent,
    progress_bar: declare.Bar = False,
) -> Protected:
    """Write copies that teach a stranger's model less; measure how much with `verify`.

    `out` gets a PNG of every image; the originals are never touched. `private`, by default
    `<out>-private`, gets the report and the protector, with which later images are protected in
    the same way (`protector`). It is not to be published: the patterns in it can be taken off
    again. Labels are never used for the patterns, only by `verify`, which trains a stranger's model
    on the copies under label maps the patterns knew nothing of. With `method="t2ue"` the patterns
    come from `captions` alone, by a dual encoder (`encoder`: a run of align, or hf:NAME).

    >>> import tempfile
    >>> from fallow.images.samples import shapes
    >>> place = Path(tempfile.mkdtemp())
    >>> result = protect(shapes(12, side=24), out=place / "copies", epochs=1, settings={"width": 4})
    >>> result.table.num_rows, (place / "copies" / "shapes_0003.png").is_file()
    (12, True)
    """
    if method == "t2ue":
        given = settle("protect", method, settings, preset)
        budgeted = budget(given, minutes, epochs, MINUTES)
        images = captioned(with_captions(opened(source, labels, where), captions))
        return protect_pairs(
            images, encoder, budgeted, folders_apart(images, out, private), page=protect_page,
            verify=verify_epochs if verify else None, seed=seed, tell=tell,
            progress_bar=progress_bar,
        )  # fmt: skip
    if method != "uc" or captions is not None:
        raise SettingProblem(f"method is uc, or t2ue with captions, not {method!r}")
    if protector is not None:
        _only_applied(settings or {}, preset, encoder, minutes, epochs)
    wanted = budget(settle("protect", "uc", settings, preset), minutes, epochs, MINUTES)
    images = opened(source, labels, where)
    place, hidden = folders_apart(images, out, private)
    names = copy_names(images.column("id").tolist())
    refuse_existing(place, names)
    if verify:
        labels_to_verify(images)  # what is missing must show before the work
    note = ""
    about: dict[str, Any]
    if protector is not None:
        made, about = load_protector(Path(protector)), {"patterns from": Path(protector).name}
    else:
        chosen, note = chosen_encoder(encoder or "tiny")  # what was measured
        how = fitted(UC, images, wanted, tell)
        made, about = trained(UC, images, chosen, how, hidden, seed, tell, progress_bar)
        made.save(hidden / "protector")
    clusters = made.clusters(images)
    table, shown = write_copies(images, made, clusters, place, names)
    measured: dict[str, Any] = {}
    if verify:
        plan = verify if isinstance(verify, Verification) else Verification(epochs=verify_epochs)
        measured = verified(images, made, clusters, plan, seed=seed, tell=tell)
    findings = {
        "source": images.name,
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "fingerprint": images.fingerprint,
        "encoder": made.encoder.name,
        "clusters": np.bincount(clusters[clusters >= 0], minlength=len(made.patterns)).tolist(),
        "budget": {"eps": made.budget.size, "norm": made.budget.norm},
        "copies": str(place),
        "private": str(hidden),
        "psnr": median(table, "psnr"),
        "ssim": median(table, "ssim"),
        "measured": measured,
        "verdict": sentences(measured),
        "patterns": pattern_pictures(made),
        "examples": shown,
        "items": table.select(["path", "copy", "cluster", "psnr", "ssim"]).to_pylist(),
        "problems": [{"path": each.path, "reason": each.reason} for each in images.problems],
        "seed": seed,
        **about,
    }
    findings["notes"] = notes_of(images, table, len(made.patterns), hidden, note)
    findings["headlines"] = [
        f"{table.num_rows:,} protected copies in {place}, PSNR {findings['psnr']:.1f} dB, "
        f"SSIM {findings['ssim']:.3f} (medians)",
        *(findings["verdict"] or [UNTESTED]),
        *map(said, measured.get("maps", [])),
    ]
    return Protected(table, findings, made, protect_page).saved(hidden)


def _only_applied(given: Mapping[str, Any], preset: Any, encoder: Any, *budget: Any) -> None:
    told = [
        *given,
        *(["preset"] if preset else []),
        *(["encoder"] if encoder is not None else []),
        *(["a training budget"] if any(one is not None for one in budget) else []),
    ]
    if told:
        raise SettingProblem(
            f"{told[0]} cannot be chosen with a saved protector: its patterns are only applied"
        )
