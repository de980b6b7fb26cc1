"""What a reader of spot's findings must know before trusting them, in sentences."""

from __future__ import annotations

import numpy as np

from fallow.images import Images
from fallow.measure.truth import Pairs
from fallow.methods.shared.paired import Beside
from fallow.outcomes.sentences import counted

KINDS = (
    "There are {} clear groups of pictures here ({}): each picture was compared with its own group "
    "alone. Later runs cannot be scored against this one."
)
HELP = (
    "What helps: a reference for each picture (reference=FOLDER), which is laid over it and "
    "compared place by place; or a folder for each kind of thing, each spotted by itself."
)
FEW = 10  # below this many images, what stands out may be chance


def groups_said(member: np.ndarray) -> str:
    """That pictures were judged within their groups.

    >>> groups_said(np.array([0, 0, 1]))[:40]
    'There are 2 clear groups of pictures her'
    """
    sizes = np.bincount(member)
    return KINDS.format(len(sizes), ", ".join(f"{size:,}" for size in sizes))


def doubts(images: Images, rows: np.ndarray, alone: bool) -> list[str]:
    """What a reader must know before trusting the ranking."""
    notes = []
    if alone and len(rows) == 2:
        notes.append("Two images only show where they differ from each other, not which is odd.")
    elif alone and len(rows) < FEW:
        notes.append(f"{len(rows)} images are few: below {FEW}, what stands out may be chance.")
    if alone:
        notes.append("A defect that most of the images share does not stand out.")
        copies = len(rows) - len(set(images.column("hash")[rows]))
        if copies:
            notes.append(
                f"{counted(copies, 'image')} repeat another byte for byte: "
                "a defect that is repeated hides itself."
            )
    ratios = images.column("width")[rows] / images.column("height")[rows]
    if ratios.max() > 1.5 * ratios.min():
        notes.append("The images differ in shape; each is squashed to the same square.")
    return notes


def met_references(met: Beside) -> list[str]:
    """Which references could not be laid over their pictures."""
    if not met.astray:
        return []
    some = ", ".join(met.astray[:3]) + ("…" if len(met.astray) > 3 else "")
    return [
        f"{counted(len(met.astray), 'reference')} could not be laid over their pictures ({some}): "
        "what they show may differ as a whole."
    ]


def unlike(pairs: Pairs) -> list[str]:
    """What was wrong with the sizes of masks."""
    notes = []
    if pairs.stretched:
        masks = counted(pairs.stretched, "mask")
        notes.append(f"{masks} of another size than the picture: stretched to fit.")
    if pairs.unfit:
        masks = counted(pairs.unfit, "mask")
        notes.append(f"{masks} of another shape than the picture: left out of the pixel measures.")
    return notes
