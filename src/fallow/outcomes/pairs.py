"""Captioned pictures protected by their texts: copies, and what a stranger still learns."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from fallow import encoders
from fallow.encoders.dual import dual_encoder
from fallow.images import Images, opened
from fallow.images.captions import captions, with_captions
from fallow.measure.words import both_ways, merged
from fallow.methods import find
from fallow.methods.protect.t2ue import LIMITS, T2UE, PatternWriter
from fallow.outcomes.copies import copy_names, refuse_existing, write_copies
from fallow.outcomes.pictures import save_picture
from fallow.outcomes.protected import Protected, median, notes_of
from fallow.problems import SettingProblem, SourceProblem
from fallow.train import fit, make_settings
from fallow.views.perturb import Budget, random_signs, stepped, steps_at

COVERAGE = (0.2, 0.4, 0.6, 0.8, 1.0)  # shares of a stranger's pairs that are protected
ASKED = 5  # one pair in so many is never trained on
STRANGER = {"batch": 32, "size": 32, "text_width": 64, "vocabulary": 1000}


@dataclass
class PairProtector:
    """A pattern for every picture, by row: of its own first caption."""

    patterns: Tensor  # N 3 P P
    budget: Budget

    def change(self, row: int, height: int, width: int) -> np.ndarray:
        """The 8-bit steps the picture gets.  H W 3, int16"""
        return steps_at(self.patterns[row], (height, width), self.budget)

    def protect(self, pixels: np.ndarray, row: int) -> np.ndarray:
        """A protected copy of one uint8 picture (H W 3)."""
        return stepped(pixels, self.change(row, pixels.shape[0], pixels.shape[1]))


def pair_protector(writer: PatternWriter, images: Images) -> PairProtector:
    """Patterns for captioned pictures, of which no pixel is looked at."""
    firsts = [texts[0] if texts else "" for texts in captions(images)]
    bare = sum(not text for text in firsts)
    if bare:
        raise SourceProblem(
            f"{bare:,} of {len(images):,} pictures have no caption: a pattern is made of one"
        )
    return PairProtector(writer.patterns(firsts), writer.budget)


def verified_pairs(
    images: Images,
    made: PairProtector,
    *,
    epochs: float,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """What a stranger's dual encoder learns from the pairs, at equal steps and rates.

    Clean, with random signs of the same strength, and with a growing share protected; asked is
    how often a clean picture that nobody trained on finds its text among ten, and the other way.
    """
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(images))
    ask, teach = np.sort(order[: len(images) // ASKED]), order[len(images) // ASKED :]
    if len(ask) < 2:
        raise SourceProblem(f"{len(images)} pairs are too few to ask a stranger's model: give ten")
    size = tuple(made.patterns.shape[-2:])
    signs = random_signs(len(images), size, made.budget, seed)  # type: ignore[arg-type]
    chance = PairProtector(signs, made.budget)
    rows: list[tuple[str, PairProtector, float]] = [
        ("clean", made, 0.0),
        ("random signs", chance, 1),
    ]
    rows += [(f"{share:.0%} protected", made, share) for share in COVERAGE]
    texts = captions(images)
    asked = images.select(ask)
    found = []
    with tempfile.TemporaryDirectory() as place:
        for name, protector, share in rows:
            hidden = set(teach[: round(share * len(teach))].tolist())
            folder = Path(place) / name.replace("%", "").replace(" ", "-")
            taught = _written(images, teach, hidden, protector, folder, texts)
            dual = _stranger(taught, epochs, seed)
            known = merged(captions(asked))
            recall = both_ways(
                dual.embed_images(asked, normalise=True),
                dual.embed_texts(known.texts, normalise=True),
                known.pairs,
            )
            row = {
                "learnt from": name,
                "picture finds text": recall.image_to_text.recall[10],
                "text finds picture": recall.text_to_image.recall[10],
                "median": recall.image_to_text.median,
            }
            found.append(row)
            tell(f"{name}: R@10 {row['picture finds text']:.3f}, {row['text finds picture']:.3f}")
    return {"rows": found, "asked": len(ask), "learnt from": len(teach), "epochs": epochs,
            "chance": min(1.0, 10 / len(ask))}  # fmt: skip


def _written(
    images: Images,
    teach: np.ndarray,
    hidden: set[int],
    protector: PairProtector,
    folder: Path,
    texts: Sequence[Sequence[str]],
) -> Images:
    """The pairs a stranger finds: some protected, the others as they are."""
    table: dict[str, list[str]] = {"path": [], "caption": []}
    for place, pixels in images.select(teach).map(lambda pixels: pixels):
        row = int(teach[place])
        if not isinstance(pixels, np.ndarray):
            continue
        name = f"{row:06d}.png"
        copy = protector.protect(pixels, row) if row in hidden else pixels
        save_picture(folder / name, copy)
        table["path"] += [name] * len(texts[row])
        table["caption"] += list(texts[row])
    return with_captions(opened(folder), pa.table(table))


def _stranger(images: Images, epochs: float, seed: int) -> Any:
    kind = find("align", "clip")
    settings = make_settings(kind.Settings, {**STRANGER, "epochs": epochs})
    start = encoders.encoder("resnet8/16", seed=seed, size=STRANGER["size"])
    learnt: Any = fit(kind, images, encoder=start, settings=settings, seed=seed).method
    return learnt.dual()


def said(measured: dict[str, Any]) -> list[str]:
    """What the test says, plainly.

    >>> rows = [
    ...     {"learnt from": name, "picture finds text": value}
    ...     for name, value in (("clean", 0.5), ("random signs", 0.5), ("100% protected", 0.1))
    ... ]
    >>> said({"rows": rows, "asked": 100, "chance": 0.1, "epochs": 5})[0][:44]
    'A stranger finds the text of a picture among'
    """
    if not measured:
        return ["How much this protects was not tested: --verify trains a stranger's dual encoder."]
    shares = {row["learnt from"]: row["picture finds text"] for row in measured["rows"]}
    clean, last = shares["clean"], list(shares.values())[-1]
    told = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    error = np.sqrt((clean * (1 - clean) + last * (1 - last)) / measured["asked"])
    lines = [
        f"A stranger finds the text of a picture among the first ten by: {told} "
        f"(chance {measured['chance']:.1%})."
    ]
    if clean - measured["chance"] <= 2 * np.sqrt(clean * (1 - clean) / measured["asked"]):
        lines.append("Even clean pairs taught the stranger nothing: this test says nothing.")
    elif clean - last <= 2 * error:
        lines.append("No protection was measured, also with all pairs protected.")
    else:
        lines.append("Protection was measured where all pairs are protected; look at what is left "
                     "where only some are.")  # fmt: skip
    return lines


def protect_pairs(
    images: Images,
    surrogate: Any,
    given: Mapping[str, Any],
    places: tuple[Path, Path],
    *,
    page: Callable[[Mapping[str, Any]], str],
    verify: float | None,
    seed: int,
    tell: Callable[[str], None],
    progress_bar: bool,
) -> Protected:
    """Learn a writer of patterns, write copies of captioned pictures, and test them if asked."""
    place, hidden = places
    names = copy_names(images.column("id").tolist())
    refuse_existing(place, names)
    if surrogate is None:
        raise SettingProblem(
            "patterns from captions are learnt against a dual encoder: name one with encoder, a "
            "run of align or hf:NAME"
        )
    dual = dual_encoder(str(surrogate))
    settings = make_settings(
        T2UE.Settings, {"size": dual.image.size, **given, "start": str(surrogate)}
    )
    run = fit(
        T2UE, images, encoder=dual.image, settings=settings, out=hidden / "run", seed=seed,
        tell=tell, progress_bar=progress_bar,
    )  # fmt: skip
    learnt: Any = run.method
    made = pair_protector(learnt.writer(seed), images)
    table, shown = write_copies(images, made, np.arange(len(images)), place, names)
    measured = {}
    if verify is not None:
        measured = verified_pairs(images, made, epochs=verify, seed=seed, tell=tell)
    notes = notes_of(images, table, len(made.patterns), hidden, "")
    notes[1] = LIMITS
    findings = {
        "source": images.name,
        "method": "t2ue",
        "encoder": dual.image.name,
        "budget": {"eps": made.budget.size, "norm": made.budget.norm},
        "copies": str(place),
        "private": str(hidden),
        "psnr": median(table, "psnr"),
        "ssim": median(table, "ssim"),
        "pairs": measured,
        "verdict": said(measured),
        "examples": shown,
        "items": table.select(["path", "copy", "cluster", "psnr", "ssim"]).to_pylist(),
        "problems": [{"path": each.path, "reason": each.reason} for each in images.problems],
        "settings": run.settings.model_dump(exclude_none=True),
        "notes": notes,
        "seed": seed,
    }
    findings["headlines"] = [
        f"{table.num_rows:,} protected copies in {place}, PSNR {findings['psnr']:.1f} dB (median)",
        *said(measured),
    ]
    return Protected(table, findings, made, page).saved(hidden)
