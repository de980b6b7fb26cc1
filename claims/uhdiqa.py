"""UHD-IQA: are photos ranked by how good they are, with no ratings, with few, and by damage?

*Rated*: photos with people's ratings; a seed draws four in five of them, and the folds a fit is
judged by. Rank correlation of each tier beside the deviation of the Laplacian, which is nothing but
sharpness. *Damaged*: photos of which a seed holds some back are spoilt in all 24 ways and five
grades; rank correlation with the grade, over each photo and way, and over all together. A ridge
learns from a hundred spoilt photos of other content; what is natural, from clean ones. What an
encoder that learnt damage adds is asked in arniqa.py.
"""

from __future__ import annotations

import io
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive
from PIL import Image

from claims.kept import Kept
from claims.record import Entry, budget, by_row, entry
from fallow.inventory.naturalness import niqe
from fallow.measure.opinion import agreement
from fallow.measure.ridge import ridge
from fallow.methods.spot.uhdiqa import Looked, Settings, judge, look, natural_of
from fallow.views.damage import DAMAGES, GRADES, damaged


@dataclass(frozen=True)
class Plan:
    """What all sides share."""

    share: float = 0.8  # of the rated photos
    rated_seeds: int = 5
    labelled: int = 100  # spoilt photos a ridge learns from
    held: int = 4  # photos that are asked, in all ways and grades
    ways: tuple[str, ...] = tuple(DAMAGES)
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    return rated(data, minutes, plan) + spoilt(data, minutes, plan)


# --- ratings ---


def rated(data: Path, minutes: float, plan: Plan) -> list[Entry]:
    import fallow

    begin = time.monotonic()
    photos = fallow.open(archive(data, "iqa_biq2021"))
    mos = photos.column("mos").astype(float)
    seen = look(photos)
    sharp = np.array([edges(pixels) for _, pixels in photos.map(np.asarray)])
    clean = look(fallow.open(archive(data, "natural_photos")))
    natural = natural_of(clean, range(len(clean.blocks)))
    values: dict[str, list[float]] = {}
    for seed in range(plan.rated_seeds):
        draw = np.random.default_rng([seed, 19])
        rows = np.sort(draw.choice(len(mos), round(plan.share * len(mos)), replace=False))
        some = of_rows(seen, rows)
        found = judge(some, mos[rows], natural=natural, settings=Settings(seed=seed))
        for tier in found.tiers:
            assert tier.agreement is not None
            values.setdefault(tier.name, []).append(tier.agreement.srcc)
        values.setdefault("Laplacian", []).append(agreement(sharp[rows], mos[rows]).srcc)
    about = {
        "data": {"name": "iqa_biq2021", "images": len(photos), "fingerprint": photos.fingerprint},
        "budget": budget(minutes, begin),
        "settings": asdict(plan),
        "observed": {"rank correlation": values},
    }
    compared = [("niqe", "Laplacian"), ("brisque", "Laplacian"), ("statistics", "Laplacian"),
                ("brisque", "niqe"), ("statistics", "brisque")]  # fmt: skip
    said = "{ours} ranks rated photos better than {theirs}"
    return by_row(values, [(said, *pair) for pair in compared], **about)


def edges(pixels: np.ndarray) -> float:
    from scipy.ndimage import laplace

    return float(laplace(pixels.mean(2)).std())


def of_rows(seen: Looked, rows: np.ndarray) -> Looked:
    learned = None if seen.learned is None else seen.learned[rows]
    return replace(
        seen, natural=seen.natural[rows], plain=seen.plain[rows], learned=learned,
        blocks=[seen.blocks[row] for row in rows], skipped={},
    )  # fmt: skip


# --- damage ---


def spoilt(data: Path, minutes: float, plan: Plan) -> list[Entry]:
    import fallow

    kept = Kept("uhdiqa", asdict(plan))
    photos = fallow.open(archive(data, "natural_photos")).where("\"set\" = 'bsds'")
    within: dict[str, list[float]] = {}
    overall: dict[str, list[float]] = {}
    for seed in range(plan.seeds):
        found = kept(f"damage {seed}", partial(one_seed, photos, seed, plan))
        for name, (each, whole) in found.items():
            within.setdefault(name, []).append(each)
            overall.setdefault(name, []).append(whole)
    about = {
        "data": {"name": "natural_photos", "images": len(photos)},
        "budget": kept.budget(minutes),
        "settings": asdict(plan),
        "observed": {"of each photo and way": within, "of all": overall},
    }
    compared = [
        ("niqe", "random"),
        ("niqe", "file size"),
        ("brisque", "niqe"),
        ("statistics", "brisque"),
    ]
    return [
        entry(f"{ours} ranks damage better than {theirs}, {words}", ours, theirs,
              seeds=list(zip(table[ours], table[theirs], strict=True)), **about)
        for words, table in (("photo by photo", within), ("over all photos", overall))
        for ours, theirs in compared
    ]  # fmt: skip


@dataclass(frozen=True)
class Spoilt:
    """Clean photos, some spoilt with their grade known, and others whose grade is asked."""

    clean: Any
    ones: list[np.ndarray]
    grades: np.ndarray
    others: list[np.ndarray]
    truth: np.ndarray

    @classmethod
    def drawn(cls, photos: Any, seed: int, plan: Plan) -> Spoilt:
        draw = np.random.default_rng([seed, 29])
        order = draw.permutation(len(photos))
        held, clean = order[: plan.held], photos.select(np.sort(order[plan.held :]))
        known = [(int(draw.integers(len(clean))), str(draw.choice(plan.ways)),
                  int(draw.integers(1, GRADES + 1))) for _ in range(plan.labelled)]  # fmt: skip
        asked = [(int(row), way, grade) for row in held for way in plan.ways
                 for grade in range(1, GRADES + 1)]  # fmt: skip
        return cls(
            clean,
            [made(clean[row], way, grade, draw) for row, way, grade in known],
            np.array([grade for *_, grade in known], float),
            [made(photos[row], way, grade, draw) for row, way, grade in asked],
            np.array([grade for *_, grade in asked], float),
        )


def one_seed(photos: Any, seed: int, plan: Plan) -> dict[str, tuple[float, float]]:
    """Rank correlation of each scorer with the grade: within a photo and way, and over all."""
    import fallow

    some = Spoilt.drawn(photos, seed, plan)
    natural = natural_of(look(some.clean), range(len(some.clean)))
    learnt, seen = (look(fallow.images.open(pixels)) for pixels in (some.ones, some.others))
    both = [np.concatenate([one.natural, one.plain], 1) for one in (learnt, seen)]
    scores = {
        "random": np.random.default_rng([seed, 31]).random(len(some.others)),
        "file size": -np.array([stored(pixels) for pixels in some.others], float),
        "niqe": np.array([niqe(one, natural) for one in seen.blocks]),
        "brisque": ridge(learnt.natural, some.grades)(seen.natural),
        "statistics": ridge(both[0], some.grades)(both[1]),
    }
    return {name: ranked(np.nan_to_num(one), some.truth) for name, one in scores.items()}


def made(pixels: np.ndarray, way: str, grade: int, draw: np.random.Generator) -> np.ndarray:
    spoilt = damaged(pixels.astype(np.float32) / 255, way, grade, draw)
    return np.rint(spoilt * 255).astype(np.uint8)


def stored(pixels: np.ndarray) -> int:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.tell()


def ranked(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """The mean over runs of grades 1 to 5, and of all; a scorer that says one thing gets 0."""
    from scipy.stats import spearmanr

    def of(x: np.ndarray, y: np.ndarray) -> float:
        return float(spearmanr(x, y).statistic) if np.ptp(x) > 0 else 0.0

    runs = zip(scores.reshape(-1, GRADES), truth.reshape(-1, GRADES), strict=True)
    return float(np.mean([of(*one) for one in runs])), of(scores, truth)
