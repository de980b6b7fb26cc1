"""Labels for foreign images, made once and before training by something other than the student.

Who labels is the user's choice: a segmenter that is told by text what to look for, a segmenter of
fallow that was trained on other images, or masks that are there already. Nothing is left out where
the labeller is unsure; its labels are kept as palette pictures and serve every later run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fallow.encoders.concepts import BACKGROUND, Concepts, concepts, read_concepts
from fallow.encoders.windows import sliding
from fallow.files import atomic_write, cache_dir, fingerprint
from fallow.images.classes import Classes
from fallow.images.masks import IGNORE, read_masks, with_masks
from fallow.methods.shared.segment import enlarged, on_stage, window_for
from fallow.problems import Problem, SettingProblem, SourceProblem

if TYPE_CHECKING:
    from torch import Tensor

    from fallow.encoders.prompted import Prompted
    from fallow.encoders.segmenter import Segmenter
    from fallow.images import Images

OPEN_VOCABULARY = "hf:CIDAS/clipseg-rd64-refined"  # who labels if nobody is named
KINDS = "a folder of masks, the folder of a run of segment, or hf:NAME of a CLIPSeg"


class Labeller(Protocol):
    """Says what every pixel of a picture is."""

    @property
    def identity(self) -> str: ...  # another identity, other labels
    @property
    def says(self) -> str: ...  # what it is, for the report
    def __call__(self, image: np.ndarray) -> np.ndarray: ...  # H W 3 uint8 -> H W class codes


@dataclass(frozen=True)
class BySegmenter:
    """A segmenter of fallow that was trained on other images; classes meet by name."""

    segmenter: Segmenter
    side: int  # the short side of pictures it was trained at
    codes: np.ndarray  # its codes -> ours
    where: str

    @property
    def identity(self) -> str:
        state = self.segmenter.decoder.state_dict()
        weights = b"".join(value.cpu().numpy().tobytes() for value in state.values())
        return json.dumps([fingerprint(weights), self.side, self.codes.tolist()])

    @property
    def says(self) -> str:
        return f"the saved segmenter {self.where} (no open vocabulary: it knows its own classes)"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        encoder, side = self.segmenter.encoder, round(self.side * 3 / 4)
        x = on_stage(encoder, image, self.side)  # as a method looks at pictures after training
        said = sliding(self.segmenter, x, window_for(encoder, x, (side, side)))[0].cpu()
        return self.codes[enlarged(said, image.shape[:2])]


@dataclass(frozen=True)
class ByText:
    """A text-prompted segmenter and the words for each class."""

    segmenter: Prompted
    concepts: Concepts
    vectors: Tensor  # K D

    @property
    def identity(self) -> str:
        return json.dumps([self.segmenter.identity, self.concepts.entries])

    @property
    def says(self) -> str:
        return (
            f"an open-vocabulary segmenter, {self.segmenter.name}, told {len(self.vectors)} "
            f"concepts for {len(self.concepts.classes)} classes"
        )

    def __call__(self, image: np.ndarray) -> np.ndarray:
        from fallow.encoders.prompted import labelled

        scores = self.segmenter.classes(image, self.concepts, self.vectors)
        return labelled(scores)[0].cpu().numpy().astype(np.uint8)


def foreign_images(
    source: Any,
    *,
    labeller: Any = None,
    concepts: Any = None,
    classes: Classes,
    tell: Callable[[str], None] = lambda line: None,
) -> Images:
    """Foreign images with a mask each, in the class codes of the images they are to help.

    Masks that came with them are used as they are, unless a labeller is named.
    """
    from fallow.images import opened

    images = opened(source)
    if labeller is None and concepts is None and "mask" in images.columns:
        found, says = _own_masks(images, None, classes), "the masks that came with them"
    elif _is_masks(labeller):
        found, says = _own_masks(images, labeller, classes), f"the masks in {labeller}"
    else:
        chosen = read_labeller(labeller, concepts, classes)
        for note in getattr(getattr(chosen, "concepts", None), "notes", ()):
            tell(note)
        found, says = label(images, chosen, classes, tell), chosen.says
    shares = class_shares(found, len(classes))
    common = ", ".join(
        f"{classes.names[k]} {shares[k]:.0%}" for k in np.argsort(-shares)[:4] if shares[k] > 0
    )
    tell(f"{len(found)} foreign images, labelled once by {says}: {common}")
    if len(found) < len(images):
        tell(f"{len(images) - len(found)} foreign images have no label and are left out")
    return found


def label(
    images: Images,
    labeller: Labeller,
    classes: Classes,
    tell: Callable[[str], None] = lambda line: None,
) -> Images:
    """Every readable image with the labeller's mask; what was labelled before is read again."""
    key = fingerprint(json.dumps([images.fingerprint, labeller.identity, classes.names]).encode())
    folder = cache_dir() / "foreign" / key
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{fingerprint(key.encode())}.png" for key in images.column("id")]
    codes = {row: _read(folder / name) for row, name in enumerate(names)}
    missing = np.array([row for row, mask in codes.items() if mask is None], np.int64)
    if len(missing):
        tell(f"labelling {len(missing)} foreign images once: {labeller.says}")
    # one thread: the labeller itself uses them all
    for place, mask in images.select(missing).map(labeller, threads=1):
        if isinstance(mask, np.ndarray):
            row = int(missing[place])
            _write(folder / names[row], mask, classes)
            codes[row] = mask
    known = {row: mask for row, mask in codes.items() if mask is not None}
    if not known:
        raise SourceProblem(f"none of the {len(images)} foreign images could be labelled")
    rows = np.array(sorted(known))
    return with_masks(images.select(rows), {k: known[row] for k, row in enumerate(rows.tolist())})


def read_labeller(name: Any, told: Any, classes: Classes) -> Labeller:
    """A text-prompted segmenter with its concepts, or a saved segmenter of fallow."""
    if callable(name):
        return name
    where = OPEN_VOCABULARY if name is None else os.fspath(name)
    folder = Path(where).expanduser()
    if where.startswith("hf:") or (folder / "config.json").is_file():
        if told is None:
            raise SettingProblem(
                "a segmenter that is told by text needs the words for each class: give concepts "
                "(a YAML file with lines like  car: car, lorry), or name a labeller: "
                "a folder of masks, or the folder of a run of segment"
            )
        return _by_text(where, told, classes)
    if not folder.exists():
        raise SettingProblem(f"there is no labeller {where}: give {KINDS}")
    return _by_segmenter(folder, classes)


def _by_segmenter(folder: Path, classes: Classes) -> BySegmenter:
    from fallow.encoders.segmenter import load_segmenter

    inner = folder / "segmenter"
    segmenter, about = load_segmenter(inner if inner.is_dir() else folder)
    if not about or "names" not in about:
        raise SourceProblem(
            f"the segmenter in {folder} does not say what its classes are called: "
            "name the folder of a run of segment"
        )
    if segmenter.dimensions != 2:
        raise SourceProblem(f"the segmenter in {folder} is for volumes, not for pictures")
    return BySegmenter(
        segmenter, int(about["side"]), same_classes(about["names"], classes.names), str(folder)
    )


def _by_text(name: str, told: Any, classes: Classes) -> ByText:
    from fallow.encoders.prompted import prompted

    found = concepts(told) if isinstance(told, Mapping) else read_concepts(told)
    ordered = found.ordered(classes.names)
    try:
        segmenter = prompted(name)
    except Problem as problem:
        raise Problem(
            f"{str(problem).rstrip('.')}; or name another labeller of the foreign images: "
            "a folder of masks, or the folder of a run of segment"
        ) from None
    return ByText(segmenter, ordered, segmenter.words(ordered.flat))


def same_classes(theirs: Sequence[str], ours: Sequence[str]) -> np.ndarray:
    """Codes of ours for those of theirs, by name; the rest is background, or unjudged without one.

    >>> same_classes(["road", "car", "lake"], ["car", "road"]).tolist()
    [1, 0, 255]
    >>> same_classes(["road", "car"], ["background", "car"]).tolist()
    [0, 1]
    """
    known = {name: code for code, name in enumerate(ours)}
    if not (set(theirs) & set(known)) - {BACKGROUND}:
        raise SettingProblem(
            f"the labeller knows {', '.join(theirs)}, but none of {', '.join(ours)}: "
            "classes meet by their names"
        )
    rest = known.get(BACKGROUND, IGNORE)
    return np.array([known.get(name, rest) for name in theirs], np.uint8)


def class_shares(images: Images, classes: int) -> np.ndarray:
    """How much of all judged pixels each class has (K)."""
    counts = np.zeros(classes)
    for row in range(len(images)):
        counts += np.bincount(images.mask(row).ravel(), minlength=IGNORE + 1)[:classes]
    return counts / max(1.0, counts.sum())


def _is_masks(labeller: Any) -> bool:
    """Whether a labeller is masks that exist already: a folder or archive without a network."""
    if not isinstance(labeller, str | os.PathLike) or str(labeller).startswith("hf:"):
        return False
    place = Path(labeller).expanduser()
    networks = ("segmenter.json", "config.json", "run.json")
    return place.exists() and not any((place / name).is_file() for name in networks)


def _own_masks(images: Images, masks: Any, classes: Classes) -> Images:
    """Foreign images with masks that hold the same values as those of the target."""
    if classes.instances:
        found = read_masks(images, masks)
        if len(found.classes) != len(classes):
            raise SourceProblem(
                "the masks of the foreign images do not tell object from background as the "
                "others do"
            )
        return found.labelled
    named = dict(zip(classes.names, classes.values, strict=True))
    return read_masks(images, masks, named, classes.ignore).labelled


def _read(path: Path) -> np.ndarray | None:
    from PIL import Image

    if not path.is_file():
        return None
    with Image.open(path) as opened:
        return np.array(opened)


def _write(path: Path, codes: np.ndarray, classes: Classes) -> None:
    from PIL import Image

    picture = Image.fromarray(codes)
    colours = [part for colour in classes.colours for part in colour]
    picture.putpalette(colours + [0] * (3 * IGNORE - len(colours)) + [255, 255, 255])
    with atomic_write(path) as target:
        picture.save(target, "PNG")
