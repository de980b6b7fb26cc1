"""Findings and runs to draw, made from the photographs that ship with scikit-image."""

from __future__ import annotations

import io
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

PHOTOS = ("coffee", "astronaut", "chelsea", "rocket", "hubble_deep_field", "gravel", "brick",
          "grass", "motorcycle_left", "ihc", "retina", "coins")  # fmt: skip


@cache
def _photos() -> list[Image.Image]:
    folder = Path(skimage.__file__).parent / "data"
    found = [next(folder.glob(f"{name}.*")) for name in PHOTOS]
    return [Image.open(path).convert("RGB") for path in found]


def crop(kind: int, rng: np.random.Generator, side: int = 128) -> bytes:
    """A random piece of one photograph as a JPEG thumbnail."""
    photo = _photos()[kind]
    part = rng.uniform(0.3, 0.7) * min(photo.size)
    width, height = (part, part * rng.uniform(0.6, 1)) if rng.random() < 0.6 else (part * 0.7, part)
    left, top = rng.uniform(0, photo.width - width), rng.uniform(0, photo.height - height)
    piece = photo.crop((int(left), int(top), int(left + width), int(top + height)))
    piece.thumbnail((side, side))
    buffer = io.BytesIO()
    piece.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def findings(count: int = 240, seed: int = 0, pool: int = 400) -> dict:
    """A whole report's worth of findings; `pool` distinct thumbnails serve any count."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, len(PHOTOS), count)
    made: dict[tuple[int, int], bytes] = {}
    items, thumbnails = [], []
    centres = rng.normal(0, 4, (len(PHOTOS), 2))
    for i, kind in enumerate(kinds.tolist()):
        key = (kind, i % max(1, pool // len(PHOTOS)))
        if key not in made:
            made[key] = crop(kind, np.random.default_rng((seed, *key)))
        thumbnails.append(made[key])
        x, y = centres[kind] + rng.normal(0, 0.9, 2)
        items.append(
            {
                "id": f"{i:05d}",
                "path": f"holiday 2024/{PHOTOS[kind]}/IMG_{i:05d}.jpg",
                "width": int(rng.integers(300, 4000)), "height": int(rng.integers(300, 3000)),
                "bytes": int(rng.integers(20_000, 4_000_000)),
                "label": PHOTOS[kind].split("_")[0] if rng.random() < 0.9 else None,
                "x": float(x), "y": float(y), "group": kind,
                "outlier": float(rng.random()), "sharpness": float(rng.lognormal(3, 1)),
                "brightness": float(rng.random()), "flags": [],
            }
        )  # fmt: skip
    by_outlier = sorted(range(count), key=lambda i: -items[i]["outlier"])
    some = rng.permutation(count).tolist()
    quality = {"blurry": some[:9], "dark": some[9:13], "bright": [], "low_resolution": some[13:60],
               "odd_aspect": some[60:62]}  # fmt: skip
    for name, indices in quality.items():
        for index in indices:
            items[index]["flags"].append(name)
    groups = []
    for kind, name in enumerate(PHOTOS):
        members = np.flatnonzero(kinds == kind).tolist()
        labels = {name.split("_")[0]: len(members) - 1, "other": 1}
        groups.append(
            {"group": kind, "size": len(members), "representatives": members[:8], "labels": labels}
        )
    return {
        "name": "holiday 2024",
        "created": "2026-11-21 13:05",
        "settings": {"encoder": "untrained", "seed": 0, "near_distance": 0.06, "groups": None},
        "encoder": {
            "name": "resnet18/32, untrained, with colour and texture statistics",
            "note": "The encoder is untrained: groups and neighbours follow colour and texture, "
            "not what the images show.",
        },
        "counts": {"images": count, "groups": len(PHOTOS), "exact_duplicates": 4,
                   "changed_copies": 7, "unreadable_files": 2},
        "headlines": [
            f"{count:,} images in {len(PHOTOS)} groups; the largest holds a tenth of them.",
            "6 files are exact copies of others and 3 sets of near duplicates could lose 5 more.",
            "9 images are blurry and 4 are very dark.",
            "4 labels look wrong.",
        ],
        "problems": [
            {"path": "holiday 2024/broken.jpg", "reason": "the file ends before the picture does"},
            {"path": "holiday 2024/notes.png", "reason": "this is text, not an image"},
        ],
        "items": items,
        "thumbnails": thumbnails,
        "groups": groups,
        "exact_duplicates": [some[100:102], some[102:105], some[105:107], some[107:109]],
        "changed_copies": [
            {"items": some[110:113], "keep": some[111], "changes": ["half size", "", "mirrored"]},
            {"items": some[113:115], "keep": some[113], "changes": ["", "cropped to 81%"]},
            {"items": some[115:117], "keep": some[116], "changes": ["darker, softer", ""]},
        ],
        "much_alike": [{"items": some[117:120], "keep": some[118]}],
        "outliers": by_outlier[: max(1, count // 10)],
        "quality": quality,
        "suspects": [
            {"item": i, "label": "coffee", "suggested": "chelsea", "confidence": 0.9 - 0.1 * k}
            for k, i in enumerate(some[120:124])
        ],
        "label_agreement": 0.873,
    }  # fmt: skip


def run(name: str = "simclr", seed: int = 0, minutes: float = 10) -> dict:
    """A training run that behaves like one."""
    rng = np.random.default_rng(seed)
    metrics = []
    for step in range(600):
        share = step / 600
        loss = 2.6 + 3 * np.exp(-5 * share) + rng.normal(0, 0.05)
        row = {
            "step": step, "minutes": share * minutes, "epoch": int(share * 40), "loss": loss,
            "loss_of_trivial": loss / 6.2, "spread": 0.9 - 0.3 * np.exp(-8 * share),
            "rate": 0.3 * (1 + np.cos(np.pi * share)) / 2,
            "images_per_second": 420 + rng.normal(0, 12),
        }  # fmt: skip
        if step % 100 == 99:
            row["knn"] = 0.45 + 0.3 * share + rng.normal(0, 0.01)
        metrics.append(row)
    thumbnails = [crop(k % len(PHOTOS), np.random.default_rng(k)) for k in range(96)]
    return {
        "name": name,
        "created": "2026-11-21 13:05",
        "counts": {"images": 5000, "epochs": 40, "minutes": minutes},
        "chosen": [
            "bfloat16 with channels-last memory: 3.1 times faster than float32 here.",
            "Batch 256, because the images are small and memory allows it.",
        ],
        "warnings": ["The embeddings barely spread in the first two minutes."] if seed else [],
        "metrics": metrics,
        "scores": [
            {"name": "this run", "knn": 0.74, "probe": 0.81},
            {"name": "untrained", "knn": 0.41, "probe": 0.52},
            {"name": "raw pixels", "knn": 0.38, "probe": None},
        ],
        "thumbnails": thumbnails,
        "clusters": [list(range(k, 96, 12)) for k in range(6)],
        "neighbours": [[k, k + 12, k + 24, k + 36, k + 48] for k in range(5)],
        "settings": {"temperature": 0.2 + seed / 10, "batch": 256, "seed": seed},
        "machine": {"processor": "2 cores", "memory": "8 GB", "torch": "2.13.0"},
    }


VOID = {"meta", "input", "img", "br", "hr"}


class Outline(HTMLParser):
    """Checks that tags close in order and collects what a test asks about."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        self.words.append(text)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)
