"""Images judged by images: what is kept of them, parts of large sets, where ordinary scores end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.device import fast_bf16
from fallow.encoders import Encoder
from fallow.encoders.lite import Lite
from fallow.encoders.maps import Sight, look, sight
from fallow.images import Images
from fallow.methods.shared.alike import Alike
from fallow.methods.shared.expected import Expected, expected
from fallow.problems import SettingProblem, SourceProblem

AT_ONCE = 64  # new images scored against a bank before the next are read
# the stage of lite at stride 16 on a finer grid: chosen on industrial sets, see claims/musc.py
LITE: dict[str, Any] = {"layers": (2,), "side": 24}
ENOUGH = 5  # known-good images, from which on their own scores say where good ends

Tell = Callable[[str], None]


@dataclass
class Bank:
    """Images others can be scored against: maps per layer, and vectors."""

    maps: list[Tensor]  # each M h w C, float16
    vectors: Tensor  # M D
    usual: Tensor | None = None  # h w, what patch scores are everywhere at a place

    def __len__(self) -> int:
        return len(self.vectors)

    def sampled(self, count: int, seed: int) -> Bank:
        """At most `count` of them, drawn by `seed`."""
        drawn = np.random.default_rng(seed).permutation(len(self))[:count]
        rows = torch.from_numpy(np.sort(drawn))
        return Bank([each[rows] for each in self.maps], self.vectors[rows], self.usual)

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name, as it is saved."""
        held = {f"layer{n}": each for n, each in enumerate(self.maps)} | {"vectors": self.vectors}
        return held if self.usual is None else held | {"usual": self.usual}

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> Bank:
        """What `tensors` gave.

        >>> bank = Bank([torch.rand(3, 2, 2, 4)], torch.rand(3, 5))
        >>> len(Bank.of(bank.tensors()).sampled(2, seed=0))
        2
        """
        count = sum(name.startswith("layer") for name in tensors)
        maps = [tensors[f"layer{n}"] for n in range(count)]
        return cls(maps, tensors["vectors"], tensors.get("usual"))


class Found(NamedTuple):
    """Rows that could be read, their patch scores and image vectors."""

    rows: np.ndarray
    patches: np.ndarray  # N h w
    vectors: Tensor  # N D
    alike: Alike | None = None  # whether they show the same thing, where that was asked


class Ordinary(NamedTuple):
    """Where the ordinary ends, for pictures and for patches, and the colours of the heat maps."""

    threshold: float
    patch: float
    heat: tuple[float, float]


class Verdict(NamedTuple):
    """One score for each image, and the score from which on an image stands out."""

    scores: np.ndarray
    threshold: float
    alone: np.ndarray  # the scores before anything was averaged over other images
    ordinary: Ordinary
    expected: Expected | None = None  # what a model says of all, where they judge each other

    def named(self) -> dict[str, np.ndarray]:
        """The scores by what they are called where they are measured."""
        if self.alone is self.scores:
            return {"image": self.scores}
        return {"image": self.scores, "image, without look-alikes": self.alone}


class Judge:
    """Looks at images through an encoder and scores their patches; a system says how.

    `spread` sees to it that all parts of a collection are judged: here, or by many machines.
    """

    def __init__(self, encoder: Encoder, how: Sight, settings: Any) -> None:
        self.encoder, self.how, self.settings = encoder, how, settings
        self.spread: Callable[[Judging, list[np.ndarray]], Iterator[Found]] = map

    # what a system adds

    def kept(self, maps: Tensor) -> Tensor:
        """Maps of one layer (B h w C) in the form in which they are compared and saved."""
        raise NotImplementedError

    def scores(self, seen: Bank, known: Bank | None) -> Tensor:
        """Patch scores, N h w: among each other, or against known ones."""
        raise NotImplementedError

    @property
    def most(self) -> int | None:
        """How many known-good pictures are used."""
        return self.settings.subset  # type: ignore[no-any-return]

    def asked(self, bank: Bank) -> Callable[[Bank], Tensor]:
        """What scores new images by those of a bank."""
        return partial(self.scores, known=bank)

    def settled(self, patches: np.ndarray, bank: Bank) -> np.ndarray:
        """Patch scores (N h w) of all, as they count; the bank keeps what later ones need."""
        return patches

    # what they share

    def maps(self, patches: np.ndarray, size: Sequence[int]) -> np.ndarray:
        """Patch scores (N h w) as maps of height x width pixels."""
        height, width = size
        return upsampled(torch.from_numpy(patches), (int(height), int(width))).numpy()

    @property
    def bf16(self) -> bool:
        wanted = self.settings.precision
        return wanted == "bf16" or (wanted == "auto" and fast_bf16(self.encoder.device))

    def among(self, images: Images, seed: int, tell: Tell) -> tuple[Found, Bank]:
        """Images that judge each other, and some of them to judge others by."""
        parts = random_parts(len(images), self.settings.subset, seed)
        judging = Judging(self, images, None)
        own, bank = judging.seen(parts[0])  # as random a part as any
        others = self.spread(judging, parts[1:])
        return together(told(chain([own], others), len(parts), tell)), bank

    def against(self, images: Images, bank: Bank, tell: Tell) -> Found:
        """Images judged by those of a bank, not by each other."""
        parts = np.split(np.arange(len(images)), range(AT_ONCE, len(images), AT_ONCE))
        done = self.spread(Judging(self, images, bank), parts)
        found = together(told(done, len(parts), tell))
        if not len(found.rows):
            raise none_decoded(images)
        return found

    def good(self, pool: Images, seed: int, tell: Tell) -> tuple[Bank, Ordinary | None]:
        """Known-good images, and where their own scores end if there are enough of them."""
        limit = self.most
        if limit is not None and len(pool) > limit:
            tell(f"{limit} of the {len(pool)} good images are used")
            pool = pool.sample(limit, seed)
        _, bank = self.looked(pool)
        if len(bank) < ENOUGH:
            return bank, None
        patches = self.settled(self.scores(bank, None).numpy(), bank)
        scores = self.image_scores(patches)
        # none of them is odd, and the next good one may lie a little beyond
        end = max(
            robust_threshold(scores, self.settings.strictness), float(scores.max() + scores.std())
        )
        return bank, ordinary(patches, scores, end)

    def map(self, found: Found, place: int, size: Sequence[int]) -> np.ndarray:
        """The map of one of the images found, of height x width pixels."""
        return self.maps(found.patches[place][None], size)[0]

    def image_scores(self, patches: np.ndarray) -> np.ndarray:
        """The maximum of each map at the size the encoder saw."""
        return np.array([self.maps(one[None], self.how.pixels).max() for one in patches])

    def verdict(self, found: Found, known: Ordinary | None) -> Verdict:
        """Scores and threshold of images; where ordinary ends they say unless it is known."""
        alone = self.image_scores(found.patches)
        if known is not None:
            return Verdict(alone, known.threshold, alone, known)
        said = expected(alone)
        ends = ordinary(found.patches, alone, said.threshold)
        return Verdict(alone, ends.threshold, alone, ends, said)

    def looked(self, images: Images) -> tuple[list[int], Bank]:
        """Readable rows, and their maps as they are kept, in half precision."""
        rows: list[int] = []
        vectors: list[Tensor] = []
        maps: list[list[Tensor]] = [[] for _ in self.how.layers]
        for seen in look(self.encoder, images, self.how):
            rows += seen.rows
            vectors.append(seen.vectors.cpu())
            for held, each in zip(maps, seen.maps, strict=True):
                held.append(self.kept(each).half().cpu())
        if not rows:
            raise none_decoded(images)
        return rows, Bank([torch.cat(each) for each in maps], torch.cat(vectors))


@dataclass(frozen=True)
class Judging:
    """Rows of a collection judged by the images of a bank; without one, by each other."""

    judge: Judge
    images: Images
    bank: Bank | None

    @cached_property
    def scores(self) -> Callable[[Bank], Tensor]:
        if self.bank is None:
            return partial(self.judge.scores, known=None)
        return self.judge.asked(self.bank)

    def seen(self, part: np.ndarray) -> tuple[Found, Bank]:
        """What is found in these rows, and what was seen of them."""
        rows, seen = self.judge.looked(self.images.select(part))
        if self.bank is None and len(rows) < 2:
            raise SourceProblem(
                f"only one image of {self.images.name} can be decoded: there is nothing to compare"
            )
        return Found(part[rows], self.scores(seen).numpy(), seen.vectors), seen

    def __call__(self, part: np.ndarray) -> Found:
        try:
            return self.seen(part)[0]
        except SourceProblem:
            if self.bank is None:
                raise
            # others can be decoded, or else there is nothing in the end
            none = np.zeros((0, *self.judge.how.grid), np.float32)
            return Found(part[:0], none, self.bank.vectors[:0])


def none_decoded(images: Images) -> SourceProblem:
    """That nothing can be decoded, and why the first one cannot."""
    reason = f" ({images.problems[0].reason})" if images.problems else ""
    return SourceProblem(f"none of the images in {images.name} can be decoded{reason}")


def told(done: Iterable[Found], count: int, tell: Tell) -> list[Found]:
    """The parts, and a line for each where there are several."""
    found = []
    for number, part in enumerate(done, 1):
        if count > 1:
            tell(f"part {number} of {count}: {len(part.rows)} images")
        found.append(part)
    return found


def suited_sight(encoder: Encoder, settings: Any, images: Images) -> Sight:
    """How images are looked at: as the settings say, in as many tiles as suit their size."""
    if not hasattr(encoder, "look"):
        raise SettingProblem("spot needs an encoder with patch features: use one of fallow.encoder")
    said = {name: getattr(settings, name) for name in ("size", "layers", "norm", "side")}
    if isinstance(encoder.network, Lite):
        said = {name: LITE.get(name) if value is None else value for name, value in said.items()}
    if settings.tiles != "auto":
        return sight(encoder, **said, tiles=settings.tiles)
    size = sight(encoder, **said).size
    sides = [float(np.median(images.column(name))) for name in ("height", "width")]
    rows, columns = (min(4, max(1, round(side / size))) for side in sides)
    return sight(encoder, **said, tiles=(rows, columns))


def upsampled(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Patch scores (N, h, w) as maps of `size`, the corner patches on the corner pixels.

    >>> upsampled(torch.tensor([[[0.0, 1.0]]]), (1, 3))
    tensor([[[0.0000, 0.5000, 1.0000]]])
    """
    return F.interpolate(scores[:, None], size, mode="bilinear", align_corners=True)[:, 0]


def random_parts(count: int, subset: int | None, seed: int) -> list[np.ndarray]:
    """Rows in as few random parts of nearly one size as `subset` allows.

    >>> [len(part) for part in random_parts(10, 4, seed=0)]
    [4, 3, 3]
    """
    number = 1 if subset is None else math.ceil(count / subset)
    if number == 1:
        return [np.arange(count)]
    order = np.random.default_rng(seed).permutation(count)
    return [np.sort(part) for part in np.array_split(order, number)]


def robust_threshold(scores: np.ndarray, strictness: float) -> float:
    """Where ordinary scores end, found without labels.

    The densest half of the scores is taken for ordinary; the spread is measured below its middle,
    where defects do not reach.

    >>> sound = np.random.default_rng(0).normal(1, 0.1, 60)
    >>> 1.2 < robust_threshold(np.r_[sound, np.full(40, 2.0)], 3) < 1.4
    True
    """
    ordered = np.sort(np.asarray(scores, float))
    half = len(ordered) // 2 + 1
    widths = ordered[half - 1 :] - ordered[: len(ordered) - half + 1]
    first = int(widths.argmin())
    middle = float(np.median(ordered[first : first + half]))
    below = middle - ordered[ordered <= middle]
    return middle + strictness * 1.4826 * float(np.median(below))


def ordinary(patches: np.ndarray, scores: np.ndarray, threshold: float) -> Ordinary:
    """Where ordinary patches end, and one scale of colours, so that ordinary images stay calm.

    >>> calm = np.full((20, 2, 2), 0.5)
    >>> ends = ordinary(np.concatenate([calm, calm[:1] + 1]), np.r_[np.full(20, 0.5), 1.5], 1.0)
    >>> round(ends.patch, 2)
    0.5
    """
    if not np.isfinite(threshold):  # nothing is odd: what comes later may lie a little beyond
        threshold = float(scores.max() + scores.std())
    calm = scores <= threshold
    most = patches.reshape(len(patches), -1).max(1)
    # where some are flagged, a few of those that are not are odd all the same
    patch = float(np.quantile(most[calm], 1.0 if calm.all() else 0.95)) if calm.any() else threshold
    low = float(np.median(patches))
    high = max(patch + 0.5 * (patch - low), float(np.quantile(most, 0.95)), low + 1e-6)
    return Ordinary(threshold, patch, (low, high))


def together(done: Sequence[Found]) -> Found:
    """Parts as one."""
    rows, patches, vectors, asked = zip(*done, strict=True)
    return Found(np.concatenate(rows), np.concatenate(patches), torch.cat(vectors), asked[0])
