"""The outcome of `align`: do the two find each other, which captions to doubt, what is what."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.encoders.dual import DualEncoder
from fallow.images import Images
from fallow.images.captions import captions
from fallow.measure.mismatch import strangeness, wrong_share
from fallow.measure.words import both_ways, class_scores, classifier, merged, sentences
from fallow.outcomes.pictures import thumbnails
from fallow.outcomes.result import Result
from fallow.outcomes.sentences import counted, unreadable
from fallow.outcomes.tables import save_csv
from fallow.parts.embeddings import picture_vectors
from fallow.problems import SettingProblem

SHOWN = 24  # doubtful captions with their words weighed
WORDS = 40  # of a caption that are weighed


class Aligned(Result):
    """A row for each way of asking; `.doubts` ranks all captions, `.classes` sorts all pictures."""

    doubts: pa.Table
    classes: pa.Table | None = None

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """The table and report, doubts.csv, and classes.csv where classes were named."""
        place = super().save(folder)
        save_csv(place / "doubts.csv", self.doubts)
        if self.classes is not None:
            save_csv(place / "classes.csv", self.classes)
        return place


def aligned(
    dual: DualEncoder,
    images: Images,
    asked: Images,
    classes: Sequence[str],
    about: Mapping[str, Any],
    page: Callable[[Mapping[str, Any]], str],
) -> Aligned:
    """What a dual encoder says of captioned pictures; `asked` are those it did not learn from."""
    seen = picture_vectors(dual, images, normalise=True)
    known = merged(captions(images))
    said = dual.embed_texts(known.texts, normalise=True)
    new = np.isin(images.column("id"), asked.column("id"))  # nothing was learnt from these
    table = recalls(seen[new], said, known.pairs[new[known.pairs[:, 0]]], np.flatnonzero(new))
    pairs = known.pairs[np.isfinite(seen[known.pairs[:, 0]]).all(1)]
    strange = strangeness(np.nan_to_num(seen), said, pairs)
    untaught = new[pairs[:, 0]]
    doubts = _doubts(images, seen, said, known.texts, pairs, strange, untaught)
    headlines = [*about["headlines"], *(_recalled(row) for row in table.to_pylist())]
    headlines.append(_doubted(strange, untaught))
    chosen = None
    if classes:
        chosen, told = _sorted(dual, images, seen, classes)
        headlines.append(told)
    notes = [*images.notes, *unreadable(images.problems), *about["notes"]]
    findings = {
        **about,
        "headlines": headlines,
        "notes": notes,
        "asked": table.to_pylist(),
        "doubts": _weighed(dual, seen, doubts.slice(0, SHOWN).to_pylist()),
        "classes": [] if chosen is None else chosen.to_pylist(),
        "read": thumbnails(images),
        "problems": [{"path": each.path, "reason": each.reason} for each in images.problems],
    }
    result = Aligned(table, findings=findings, page=page)
    result.doubts, result.classes = doubts, chosen
    return result


def recalls(seen: np.ndarray, said: np.ndarray, pairs: np.ndarray, rows: np.ndarray) -> pa.Table:
    """How often the right one is among the first 1, 5 and 10, both ways, beside chance.

    `seen` are vectors of the pictures in `rows`, `pairs` their rows and those of their texts.
    """
    if not len(rows):
        return pa.table({"asked": pa.array([], "string")})
    texts, text = np.unique(pairs[:, 1], return_inverse=True)
    own = np.stack([np.searchsorted(rows, pairs[:, 0]), text], 1)
    recall = both_ways(seen, said[texts], own)
    ways = (
        ("pictures for their text", recall.image_to_text, len(texts)),
        ("texts for their picture", recall.text_to_image, len(rows)),
    )
    return pa.Table.from_pylist([_row(name, way.recall, count) for name, way, count in ways])


def _row(name: str, recall: Mapping[int, float], among: int) -> dict[str, Any]:
    return {"asked": name, "among": among, **{f"R@{k}": value for k, value in recall.items()}}


def _recalled(row: Mapping[str, Any]) -> str:
    shares: Sequence[str] = [f"{name} {value:.3f}" for name, value in row.items() if name[0] == "R"]
    return f"{row['asked']}: {', '.join(shares)} among {row['among']:,}"


def _doubts(
    images: Images,
    seen: np.ndarray,
    said: np.ndarray,
    texts: Sequence[str],
    pairs: np.ndarray,
    strange: np.ndarray,
    untaught: np.ndarray,
) -> pa.Table:
    """Every pair, the most doubtful first, with the text that would fit its picture best."""
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -strange))
    image, text = pairs[order].T
    better = np.array([int((said @ seen[row]).argmax()) for row in image], np.int64)
    return pa.table(
        {
            "row": image,
            "path": images.table.column("path").take(pa.array(image)),
            "caption": pa.array([texts[k] for k in text], pa.string()),
            "doubt": strange[order],
            "fits_better": pa.array([texts[k] for k in better], pa.string()),
            "learnt_from": ~untaught[order],
        }
    )


def _doubted(strange: np.ndarray, untaught: np.ndarray) -> str:
    """How many captions may be wrong; what was learnt from may have been learnt by heart."""
    judged = strange[untaught] if untaught.any() else strange
    share = wrong_share(judged)
    where = "that nothing was learnt from " if untaught.any() else ""
    return (
        f"about {share:.0%} of {counted(len(judged), 'caption')} {where}fit as badly as any other"
    )


def _sorted(
    dual: DualEncoder, images: Images, seen: np.ndarray, classes: Sequence[str]
) -> tuple[pa.Table, str]:
    """The class whose sentences are nearest to each picture."""
    columns = classifier(lambda texts: dual.embed_texts(texts, normalise=True), classes)
    readable = np.flatnonzero(np.isfinite(seen).all(1))
    scores = class_scores(seen[readable], columns, scale=dual.words.scale.item())
    likely = np.exp(scores - scores.max(1, keepdims=True))
    likely /= likely.sum(1, keepdims=True)
    best = likely.argmax(1)
    table = pa.table(
        {
            "row": readable,
            "path": images.table.column("path").take(pa.array(readable)),
            "class": pa.array([classes[k] for k in best], pa.string()),
            "probability": likely.max(1),
        }
    )
    sizes = np.bincount(best, minlength=len(classes))
    each = ", ".join(f"{size:,} {name}" for name, size in zip(classes, sizes, strict=True))
    return table, f"sorted by words alone: {each}"


def named(words: str | Sequence[str] | None) -> list[str]:
    """Classes as given: words with commas between them, or a list.

    >>> named("red shoe, boot"), named(None)
    (['red shoe', 'boot'], [])
    """
    given = words.split(",") if isinstance(words, str) else list(words or [])
    found = [" ".join(one.split()) for one in given]
    if len(found) == 1:
        raise SettingProblem(f"one class alone sorts nothing: name another beside {found[0]!r}")
    if found:
        sentences(found)  # refuses empty ones, and what is named twice
    return found


def _weighed(
    dual: DualEncoder, seen: np.ndarray, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The same rows with what each word adds: the likeness with it, less the likeness without."""
    texts: list[str] = []
    spans: list[tuple[int, list[str]]] = []
    for row in rows:
        words = row["caption"].split()
        few = range(min(len(words), WORDS))
        without = [" ".join(words[:k] + words[k + 1 :]) or words[k] for k in few]
        spans.append((len(texts), words))
        texts += [row["caption"], *without]
    if not texts:
        return rows
    said = dual.embed_texts(texts, normalise=True)
    for row, (start, words) in zip(rows, spans, strict=True):
        fit = said[start : start + 1 + min(len(words), WORDS)] @ seen[row["row"]]
        row["similarity"] = float(fit[0])
        row["words"] = [
            [word, float(fit[0] - one)] for word, one in zip(words, fit[1:], strict=False)
        ]
    return rows
