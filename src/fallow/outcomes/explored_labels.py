"""What `explore` says of labels, and how sure it is of everything: as findings and sentences."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from fallow.inventory.survey import Survey
from fallow.inventory.suspects import Suspects
from fallow.outcomes.sentences import counted


def labels_of(found: Survey) -> dict[str, Any]:
    """Doubtful labels with the pictures for and against, classes that looks do not tell, names."""
    doubted, names = found.suspects, found.names
    sizes = np.bincount(found.codes[found.codes >= 0], minlength=len(names))
    return {
        "suspects": [
            {
                "item": int(row),
                "label": found.label(int(row)),
                "suggested": names[int(doubted.suggested[place])],
                "confidence": round(float(doubted.confidence[place]), 4),
                "for": doubted.pictures[place],
                "against": doubted.against[place],
                "stays": round(float(doubted.kept[place]), 4),
            }
            for place, row in enumerate(doubted.rows)
        ],
        "label_agreement": None if doubted.agreement is None else round(doubted.agreement, 4),
        "labels": {
            "judged": doubted.judged,
            "unjudged": unjudged(doubted, found.codes),
            "expected": round(doubted.expected, 1),
            "interval": list(doubted.interval),
            "alike": [[names[one], names[two], part] for one, two, part in doubted.alike],
            "unlike": [[names[code], round(part, 4)] for code, part in doubted.unlike],
            "variants": [
                {
                    "names": [names[code] for code in one.codes],
                    "counts": [int(sizes[code]) for code in one.codes],
                    "why": one.why,
                    "mixed": one.mixed,
                    "alike": one.alike,
                }
                for one in found.variants
            ],
        },
        "sure": asdict(found.sure)
        | {
            "grouped": len(found.steady.halves),
            "kept": found.steady.kept,
            "coloured": found.steady.coloured,
            "numbers": [round(number, 1) for number in found.steady.numbers],
        },
    }


def label_headlines(found: Survey) -> list[str]:
    """What a terminal prints of labels."""
    judged = found.suspects
    if not (found.codes >= 0).any():
        return []
    if why := unjudged(judged, found.codes):
        return [f"labels not judged: {why}"]
    confirmed = f"images confirm {judged.agreement:.0%}"
    if not len(judged.rows):
        return [f"no suspected wrong label ({confirmed})"]
    low, high = judged.interval
    doubt = counted(len(judged.rows), "suspected wrong label")
    return [f"{doubt}, between {low:,} and {high:,} in truth ({confirmed} of all labels)"]


def unjudged(judged: Suspects, codes: np.ndarray) -> str | None:
    """Why no label can be doubted, if none can.

    >>> none = np.zeros(0, np.int64)
    >>> unjudged(Suspects(none, none, none, 1.0, 1.0), np.zeros(9, int))
    'there is only one, and nothing contradicts it'
    """
    if judged.judged:
        return None
    kinds = np.unique(codes[codes >= 0])
    if len(kinds) == 0:
        return "the images have none"
    if len(kinds) == 1:
        return "there is only one, and nothing contradicts it"
    if judged.agreement is None:
        return "too few images share a label"
    if judged.chance == 1:
        return "none contradicts another"
    return f"they do not follow from looks (images confirm {judged.agreement:.0%})"


def label_notes(found: Survey) -> list[str]:
    """Names that may mean one class: offered, never merged."""
    notes = []
    for one in found.variants:
        quoted = [f'"{found.names[code]}"' for code in one.codes]
        spelt = ", ".join(quoted[:-1]) + " and " + quoted[-1]
        if one.alike:
            notes.append(f"{spelt} may be one label ({one.why}): merge them if so; nothing was")
    return notes
