"""Pictures from above with captions from a map: joined, filtered, written with both licences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.encoders.dual import dual_encoder
from fallow.images import Images
from fallow.images.footprints import footprints
from fallow.images.maps import TERMS, read_map
from fallow.methods.curate.skyscript import Settings, best, pairs
from fallow.outcomes.result import Result
from fallow.outcomes.sentences import counted
from fallow.outcomes.tables import save_csv, save_json, save_parquet
from fallow.parts.embeddings import picture_vectors
from fallow.problems import SourceProblem


class Mapped(Result):
    """Pairs of picture and caption; those kept are also a list that `align` takes."""

    def save(self, folder: Any) -> Path:
        """pairs.parquet with all of them, captions.csv with those kept, NOTICE, findings.json."""
        place = super().save(folder)
        save_parquet(place / "pairs.parquet", self.table)
        kept = self.table.filter(self.table.column("kept"))
        names = {"path": kept.column("filepath"), "caption": kept.column("title_multi_objects")}
        save_csv(place / "captions.csv", pa.table(names))
        save_json(place / "findings.json", self.findings)
        (place / "NOTICE").write_text(
            f"Captions are made from a map: {TERMS} (https://www.openstreetmap.org/copyright).\n"
            "The database of captions is to be shared under the same terms.\n",
            encoding="utf-8",
        )
        return place


def map_pairs(
    images: Images,
    map_file: Any,
    boxes_file: Any,
    encoder: Any,
    settings: Settings,
    tell: Callable[[str], None] = lambda line: None,
) -> Mapped:
    """Join pictures and a map, put it into words, and keep the pairs that fit best."""
    things = read_map(map_file)
    tell(f"{counted(len(things), 'thing')} on the map")
    boxes, metres = footprints(images, boxes_file)
    found = pairs(boxes, metres, things, settings)
    if not found:
        raise SourceProblem(
            f"nothing of {Path(str(map_file)).name} that can be seen lies in a picture of "
            f"{images.name}: check that both are of one place, longitude first"
        )
    rows = np.array([one.row for one in found])
    columns: dict[str, Any] = {
        "filepath": images.table.column("path").take(pa.array(rows)),
        **{name: [one.record()[name] for one in found] for name in found[0].record()},
        "box": boxes[rows].tolist(),
        "gsd": metres[rows],
        "map_licence": [TERMS] * len(found),
    }
    if "licence" in images.columns:
        columns["picture_licence"] = images.table.column("licence").take(pa.array(rows))
    notes = list(images.notes)
    if encoder is None:
        kept = np.ones(len(found), bool)
        notes.append("no pair was left out by how well it fits: that takes a dual encoder")
    else:
        dual = dual_encoder(str(encoder))
        seen = picture_vectors(dual, images.select(rows), normalise=True)
        said = dual.embed_texts([one.caption for one in found], normalise=True)
        columns["similarity"] = similarity = np.nan_to_num((seen * said).sum(1), nan=-2.0)
        kept = np.zeros(len(found), bool)
        kept[best(similarity, settings.keep)] = True
    columns["kept"] = kept
    unplaced = int(np.isnan(boxes).any(1).sum())
    if unplaced:
        notes.append(f"{counted(unplaced, 'picture')} without a footprint got no caption.")
    distinct = len({one.captions for one in found})
    lines = [
        f"{counted(len(found), 'pair')} of {counted(len(images), 'picture')} and "
        f"{counted(len(things), 'thing')} on the map, {int(kept.sum()):,} kept",
        f"{distinct:,} different captions: equal ones are not each other's opposites in training",
    ]
    findings = {"pairs": len(found), "kept": int(kept.sum()), "different": distinct,
                "settings": settings.model_dump(), "notes": notes}  # fmt: skip
    return Mapped(pa.table(columns), headlines=lines, notes=notes, findings=findings)
