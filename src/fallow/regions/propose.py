"""What cuts an image into regions: superpixels, a Segment Anything model, or one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from fallow.problems import SettingProblem, did_you_mean
from fallow.regions.flatten import LEFTOVER, fill, numbered

SAM = "facebook/sam-vit-base"


class Proposer(Protocol):
    """Regions 0, 1, ... (H W int32) of an image (H W 3 uint8); every pixel belongs to one."""

    @property
    def name(self) -> str: ...

    @property
    def about(self) -> Mapping[str, Any]:
        """Whatever changes the regions: what is kept is kept under it."""

    def __call__(self, pixels: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Superpixels:
    """Pixels grouped by colour, then neighbouring groups merged by colour; needs no network.

    >>> Superpixels()(np.zeros((6, 8, 3), np.uint8)).shape
    (6, 8)
    """

    scale: float = 100.0  # a larger one makes larger groups
    sigma: float = 0.8
    smallest: int = 60  # pixels
    difference: float = 0.03  # of mean colours that still merge

    @property
    def name(self) -> str:
        return "superpixels"

    @property
    def about(self) -> Mapping[str, Any]:
        return {"name": self.name, **asdict(self)}

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        from fallow.regions.superpixels import felzenszwalb, merged

        found = felzenszwalb(pixels, self.scale, self.sigma, self.smallest)
        return merged(found, pixels, self.difference)


@dataclass(frozen=True)
class Slic:
    """Compact superpixels of about one size, neighbouring ones merged by colour.

    >>> Slic(count=9)(np.zeros((6, 8, 3), np.uint8)).max()
    np.int32(0)
    """

    count: int = 600
    compactness: float = 0.1
    difference: float = 0.03

    @property
    def name(self) -> str:
        return "slic"

    @property
    def about(self) -> Mapping[str, Any]:
        return {"name": self.name, **asdict(self)}

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        from fallow.regions.superpixels import merged, slic

        return merged(slic(pixels, self.count, self.compactness), pixels, self.difference)


@dataclass(frozen=True)
class Flattened:
    """Overlapping proposals of a model, flattened and filled until every pixel has a region."""

    generator: Any  # pixels -> proposals n H W bool; with name and about
    leftover: int = LEFTOVER

    @property
    def name(self) -> str:
        return str(self.generator.name)

    @property
    def about(self) -> Mapping[str, Any]:
        return {**self.generator.about, "leftover": self.leftover}

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        from fallow.regions.flatten import flatten

        return numbered(fill(flatten(self.generator(pixels)), self.leftover))


OWN: dict[str, type[Superpixels] | type[Slic]] = {"superpixels": Superpixels, "slic": Slic}


def proposer(name: Any = None, **options: Any) -> Proposer:
    """A proposer by name: "superpixels", "slic", or "sam:NAME" for a model of the hub or a folder.

    Without a name, the SAM model SAM if its weights are in the local cache and a GPU runs it,
    superpixels otherwise. A callable that is a proposer already passes through.

    >>> proposer("superpixels", scale=50).about["scale"]
    50
    """
    if name is not None and not isinstance(name, str):
        if not callable(name) or not hasattr(name, "about"):
            raise SettingProblem(
                "regions= wants a name or a callable with name and about, "
                f"not {type(name).__name__}"
            )
        return name
    if name is None:
        name = f"sam:{SAM}" if _sam_at_hand() else "superpixels"
    kind, _, model = name.partition(":")
    if kind == "sam":
        from fallow.regions.sam import Generator, load

        leftover = options.pop("leftover", LEFTOVER)
        _known(options, Generator, name)
        return Flattened(Generator(load(model or SAM), name=name, **options), leftover)
    if name not in OWN:
        raise SettingProblem(
            f"nothing called {name!r} makes regions; {did_you_mean(kind, [*OWN, 'sam'])} "
            "A model is named as sam:NAME."
        )
    _known(options, OWN[name], name)
    return OWN[name](**options)


def _known(options: Mapping[str, Any], kind: type, name: str) -> None:
    known = [n for n in kind.__dataclass_fields__ if n not in ("model", "name")]  # type: ignore[attr-defined]
    for option in options:
        if option not in known:
            raise SettingProblem(f"{name} has no option {option!r}: {did_you_mean(option, known)}")


def _sam_at_hand() -> bool:
    """Whether the weights are in the local cache, and a GPU makes them bearable."""
    import torch

    if not torch.cuda.is_available():
        return False
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return False
    return isinstance(try_to_load_from_cache(SAM, "model.safetensors"), str)
