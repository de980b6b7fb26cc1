"""`protect`: copies of images that teach strangers less, and how much less was measured."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa

from fallow.declare import (
    Address,
    Bar,
    EncoderName,
    Epochs,
    Labels,
    Minutes,
    Option,
    Preset,
    Seed,
    Settings,
    Source,
    Tell,
    Where,
    silent,
    verb,
)  # fmt: skip
from fallow.encoders import chosen_encoder
from fallow.images import Images, opened
from fallow.measure.verification import Verification, labels_to_verify, said, sentences, verified
from fallow.methods import budget, settle
from fallow.methods.protect.uc import UC, Protector, load_protector
from fallow.methods.shared.patterns import fitted, pattern_pictures, trained
from fallow.outcomes import Result, counted, save_json
from fallow.outcomes.copies import copy_names, folders_apart, refuse_existing, write_copies
from fallow.problems import SettingProblem
from fallow.report.protect import protect_page

MINUTES = 5.0  # for the patterns, when no budget is given
CUT = 0.25  # share of a pattern lost at black and white that is worth a sentence
LIMITS = (
    "This is not a guarantee: adversarial training, strong augmentation, greyscale and JPEG weaken "
    "such patterns, and only copies that are all protected protect each other."
)
UNTESTED = (
    "How much this protects was not tested: with labels, --verify trains a stranger's model on "
    "the copies and says."
)


class Protected(Result):
    """What `protect` returns: a row for each copy, and the protector for later images."""

    def __init__(self, table: pa.Table, findings: Mapping[str, Any], protector: Protector) -> None:
        super().__init__(
            table, headlines=findings["headlines"], findings=findings, page=protect_page
        )
        self.protector = protector

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Table, report and protect.json: all of it private."""
        place = super().save(folder)
        save_json(place / "protect.json", self.findings, ("examples", "patterns", "items"))
        return place


@verb(
    example="fallow protect photos/ --out copies/ --labels labels.csv --verify",
    systems="protect",
    system="uc",
)
def protect(
    source: Source,
    *,
    out: Annotated[Address, Option("empty folder for the copies (PNG)", Path)],
    private: Annotated[
        Address | None, Option("folder for report and protector, never to be published", Path)
    ] = None,
    protector: Annotated[
        Address | None, Option("private folder of an earlier run: use its patterns", Path)
    ] = None,
    labels: Labels = None,
    where: Where = None,
    encoder: EncoderName = None,
    minutes: Minutes = None,
    epochs: Epochs = None,
    verify: Annotated[
        bool | Verification,
        Option("train a stranger's model on the copies (needs labels)", bool),
    ] = False,
    verify_epochs: Annotated[int, Option("of each of the stranger's trainings", int)] = 15,
    preset: Preset = None,
    settings: Settings = None,
    seed: Seed = 0,
    tell: Tell = silent,
    progress_bar: Bar = False,
) -> Protected:
    """Write copies that teach a stranger's model less; measure how much with `verify`.

    `out` gets a PNG of every image; the originals are never touched. `private`, by default
    `<out>-private`, gets the report and the protector, with which later images are protected in
    the same way (`protector`). It is not to be published: the patterns in it can be taken off
    again. Labels are never used for the patterns, only by `verify`, which trains a stranger's model
    on the copies under label maps the patterns knew nothing of.

    >>> import tempfile
    >>> from fallow.images.samples import shapes
    >>> place = Path(tempfile.mkdtemp())
    >>> result = protect(shapes(12, side=24), out=place / "copies", epochs=1, settings={"width": 4})
    >>> result.table.num_rows, (place / "copies" / "shapes_0003.png").is_file()
    (12, True)
    """
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
        chosen, note = chosen_encoder(encoder)
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
        "psnr": _median(table, "psnr"),
        "ssim": _median(table, "ssim"),
        "measured": measured,
        "verdict": sentences(measured),
        "patterns": pattern_pictures(made),
        "examples": shown,
        "items": table.select(["path", "copy", "cluster", "psnr", "ssim"]).to_pylist(),
        "problems": [{"path": each.path, "reason": each.reason} for each in images.problems],
        "seed": seed,
        **about,
    }
    findings["notes"] = _notes(images, table, made, hidden, note)
    findings["headlines"] = [
        f"{table.num_rows:,} protected copies in {place}, PSNR {findings['psnr']:.1f} dB, "
        f"SSIM {findings['ssim']:.3f} (medians)",
        *(findings["verdict"] or [UNTESTED]),
        *map(said, measured.get("maps", [])),
        *findings["notes"],
    ]
    return Protected(table, findings, made).saved(hidden)


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


def _median(table: pa.Table, column: str) -> float:
    values = table.column(column).to_numpy()
    return float(np.median(values[np.isfinite(values)])) if np.isfinite(values).any() else 0.0


def _notes(images: Images, table: pa.Table, made: Protector, hidden: Path, note: str) -> list[str]:
    lines = [
        f"Keep {hidden} to yourself: whoever has the patterns in it can take them off the copies.",
        LIMITS,
    ]
    cut = _median(table, "cut")
    if cut > CUT:
        lines.append(
            f"Black or white areas cut away {cut:.0%} of the pattern (median): "
            "such pictures are protected less."
        )
    empty = sum(size == 0 for size in np.bincount(
        table.column("cluster").to_numpy(), minlength=len(made.patterns)))  # fmt: skip
    if empty:
        lines.append(f"{empty} of {len(made.patterns)} patterns are used by none of these images.")
    if images.problems:
        lines.append(f"{counted(len(images.problems), 'file')} could not be read and got no copy.")
    return [*lines, *([note] if note else [])]
