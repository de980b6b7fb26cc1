"""FYI: Flip Your Images for dataset distillation (Son et al., ECCV 2024), for every host.

A synthetic image that is always used together with its mirror image need not show the same part
on both sides, and so has room for more. Nothing else changes: the copies are made before any
other augmentation, gradients flow back through both halves, and only the images are kept.
Where mirroring changes what a picture means, the mirror images teach the wrong class: `judged`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

Copies = Literal["mirror", "random", "none"]

STRONG = 0.25  # share of the skill (accuracy above chance) whose loss calls for a warning
SURE = 2.0  # standard errors a difference must have to count


def mirrored(x: Tensor) -> Tensor:
    """Images and then their mirror images, along the fourth dimension from the end.

    >>> mirrored(torch.tensor([[[[1.0, 2.0]]]])).flatten().tolist()
    [1.0, 2.0, 2.0, 1.0]
    """
    return torch.cat([x, x.flip(-1)], -4)


def with_copies(x: Tensor, how: Copies, generator: torch.Generator) -> Tensor:
    """What takes the place of the synthetic images wherever they enter a loss.

    "mirror" is FYI; "random" has as many images, each turned or not by chance: the baseline that
    tells FYI from mere flipping; "none" leaves them alone.

    >>> draws = torch.Generator().manual_seed(0)
    >>> [
    ...     len(with_copies(torch.ones(3, 1, 2, 2), how, draws))
    ...     for how in ("mirror", "random", "none")
    ... ]
    [6, 6, 3]
    """
    if how == "none":
        return x
    if how == "mirror":
        return mirrored(x)
    twice = torch.cat([x, x], -4)
    turned = torch.rand(twice.shape[:-3], generator=generator).to(x.device) < 0.5
    return torch.where(turned[..., None, None, None], twice.flip(-1), twice)


def twice(labels: Tensor, how: Copies) -> Tensor:
    """The labels of `with_copies`."""
    return labels if how == "none" else torch.cat([labels, labels])


def asymmetry(x: Tensor) -> Tensor:
    """How far each image is from its own mirror image: mean squared difference.  B C H W -> B

    >>> asymmetry(torch.tensor([[[[1.0, 3.0]]], [[[2.0, 2.0]]]])).tolist()
    [4.0, 0.0]
    """
    return (x - x.flip(-1)).square().mean((1, 2, 3))


class FYI:
    """Use every synthetic image together with its mirror image (Son et al. 2024): a switch.

    It belongs to the settings of every host, and is off where mirroring changes the meaning.
    """

    class Settings(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)

        copies: Copies = Field(
            "mirror",
            description="beside each synthetic image: its mirror (FYI), random flips, or none",
        )


# --- data that must not be mirrored ---


@dataclass(frozen=True)
class Judgement:
    """What held-out images and their mirror images say, or the class names."""

    keeps: bool | None  # the meaning; None: nobody can tell
    sentence: str
    plain: float | None = None  # accuracy on held-out images
    mirrored: float | None = None  # and on their mirror images


def judged(
    predicted: np.ndarray, mirrored: np.ndarray, truth: np.ndarray, names: Sequence[str]
) -> Judgement:
    """Does a mirror image still belong to its class? Predictions for held-out images, and mirrored.

    >>> truth = np.arange(200) % 2
    >>> judged(truth, 1 - truth, truth, ["b", "d"]).keeps, judged(truth, truth, truth, "ab").keeps
    (False, True)
    """
    right, still = predicted == truth, mirrored == truth
    plain, turned = float(right.mean()), float(still.mean())
    chance = float(np.bincount(truth).max() / len(truth))
    error = float(np.sqrt(max(plain * (1 - plain), 1e-9) / len(truth)))
    if plain - chance < SURE * error:
        by_name = named(names)
        return Judgement(by_name.keeps, by_name.sentence or (
            f"whether mirroring changes what the {len(truth)} held-out images mean could not be "
            f"tested: a small network names {plain:.0%} of them"
        ), plain, turned)  # fmt: skip
    lost = right.astype(float) - still.astype(float)
    doubt = float(lost.std() / np.sqrt(len(lost)))
    skill = (plain - turned) / (plain - chance)
    if lost.mean() - SURE * doubt > 0 and skill > STRONG:
        return Judgement(
            False,
            f"mirroring changes what these images mean: a small network names {plain:.0%} of the "
            f"held-out images and {turned:.0%} of their mirror images"
            + _worst(mirrored, truth, names),
            plain,
            turned,
        )
    return Judgement(
        True,
        f"mirroring keeps what the held-out images mean: {plain:.0%} named as they are, "
        f"{turned:.0%} mirrored",
        plain,
        turned,
    )


def _worst(mirrored: np.ndarray, truth: np.ndarray, names: Sequence[str]) -> str:
    """The mistake made most often with mirror images, in words."""
    confused = np.zeros((len(names), len(names)), int)
    np.add.at(confused, (truth, mirrored), 1)
    np.fill_diagonal(confused, 0)
    if not confused.any():
        return ""
    one, other = divmod(int(confused.argmax()), len(names))
    return f" (a mirrored {names[one]} is taken for {names[other]})"


_SIDED = re.compile(r"(?i)(^|[^a-z])(left|right|l|r|sinistr\w*|dextr\w*|clockwise)($|[^a-z])")


def named(names: Sequence[str]) -> Judgement:
    """What class names alone give away: digits, letters, sides.

    >>> named(["3", "7"]).keeps, named(["left turn", "stop"]).keeps, named(["cat", "dog"]).keeps
    (False, False, None)
    """
    if names and all(len(name.strip()) == 1 and name.strip().isalnum() for name in names):
        return Judgement(
            False, "the classes are named like digits or letters, which must not be mirrored"
        )
    sided = [name for name in names if _SIDED.search(name)]
    if sided:
        return Judgement(False, f"the class {sided[0]} names a side, which mirroring swaps")
    return Judgement(None, "")
