"""What methods share that carry a segmenter over to pictures of another condition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders import Encoder
from fallow.encoders.headed import Segmenting
from fallow.encoders.relighting import Curves
from fallow.encoders.segmenter import Segmenter, load_segmenter, save_segmenter
from fallow.encoders.windows import averaged, squares
from fallow.files import atomic_write, part_of
from fallow.images.pairs import Paired, places_in
from fallow.losses.pseudo import class_thresholds, relative_labels
from fallow.methods.shared.beginning import Beginning
from fallow.problems import SettingProblem, SourceProblem
from fallow.train.method import Batch, Beside, Method
from fallow.train.method import Settings as BaseSettings
from fallow.train.streams import source_side
from fallow.views import Recipe
from fallow.views.masks import render_masks
from fallow.views.recipe import View
from fallow.views.render import Pixels, draw, render_drawn

if TYPE_CHECKING:
    from fallow.images import Images, Pack


class CarrySettings(BaseSettings):
    """What all of them can be told."""

    start: str | None = Field(None, description="folder of the segmenter that is carried over")
    size: int = Field(96, ge=32, description="side of the views in pixels")
    side: int | None = Field(
        None, ge=16, description="short side pictures are looked at; none: the views' size"
    )
    flip: float = Field(0.5, ge=0, le=1, description="chance of a mirror image")
    batch: int = Field(2, ge=1, description="pictures a step of each stream, over all ranks")


class Carrier(Beginning, Method):
    """A segmenter that learns from bare pictures of another condition, each with a reference."""

    family = "adaptation"
    Settings: ClassVar[Any] = CarrySettings
    model: Segmenting

    def build(self, encoder: Encoder) -> None:
        if self.given is not None:
            self.model = self.given
        elif self.settings.start is not None:
            self.model = taken_over(encoder, self.settings.start)
        else:
            raise SettingProblem(
                "there is no segmenter to carry over: set start to the folder of one, such as "
                "segmented/segmenter of a run of fallow segment"
            )
        if self.model.dimensions != 2:
            raise SettingProblem("only segmenters of pictures can be carried over, not of volumes")

    @property
    def classes(self) -> int:
        return self.model.classes

    @property
    def side(self) -> int:
        return self.settings.side or self.settings.size

    def seen(self) -> Recipe:
        """A square anywhere, at the scale pictures are looked at later."""
        s = self.settings
        share = min(1.0, s.size / self.side)
        view = View(size=s.size, square=share, flip=s.flip, role="weak")
        return Recipe((view,), side=self.side)

    def recipe(self) -> Mapping[str, Recipe]:
        return {"target": self.seen()}

    def as_seen(self) -> Recipe:
        """`seen`, normalised as the network wants it."""
        mean, std = self.encoder.mean, self.encoder.std
        return replace(self.seen(), mean=mean, std=std)  # type: ignore[arg-type]

    def beside(self, name: str, images: Images, pack: Pack, seed: int) -> Beside | None:
        """Of the target's pictures, their references through the very same crop."""
        if name != "target":
            return None
        if not isinstance(images, Paired):
            raise SourceProblem(
                "every picture needs a reference of the same place in the old condition: name the "
                "folder of them with references"
            )
        self.references = reference_views(images, pack, self.as_seen())
        return lambda rows, epoch: {"reference": self.references(rows, seed, epoch)}

    def predictor(self) -> nn.Module:
        """The network that writes masks."""
        return self.model

    def save(self, folder: Path) -> None:
        if isinstance(self.model, Segmenter):
            save_segmenter(self.model, folder, {"side": self.side})


def taken_over(encoder: Encoder, folder: str) -> Segmenter:
    """The segmenter of a folder, with its weights in this encoder."""
    saved, _ = load_segmenter(folder)
    model = Segmenter(encoder, saved.classes)
    try:
        model.load_state_dict(saved.state_dict())
    except RuntimeError as error:
        raise SettingProblem(
            f"the segmenter in {folder} has another encoder ({saved.encoder.name}) than this run "
            f"({encoder.name}): use its encoder"
        ) from error
    return model


def reference_views(
    images: Paired, pack: Pack, recipe: Recipe
) -> Callable[[np.ndarray, int, int], Tensor]:
    """Called with rows of the pack, a seed and an epoch: their references' views (B 3 S S).

    They show what the pictures' own views of that seed and epoch show: chance is keyed by the
    picture, and a reference has its shape.
    """
    references = images.references.pack(side=source_side(recipe))
    place = places_in(references, images.match[pack.rows])

    def views(rows: np.ndarray, seed: int, epoch: int) -> Tensor:
        there = place[rows]
        sizes = references.heights[there], references.widths[there]
        drawn = draw(recipe, *sizes, pack.rows[rows], seed=seed, epoch=epoch)
        return render_drawn(references, there, drawn, recipe).views[0]

    return views


def logits_of(model: Segmenting, x: Tensor) -> Tensor:
    """Logits of whole pictures (B 3 H W), averaged over square windows as tall as they are."""
    side, stride = squares(*x.shape[2:])
    return averaged(model, x, (side, side), stride, batch=4)


@torch.no_grad()
def ensemble(model: Segmenting, x: Tensor, scales: Sequence[float]) -> Tensor:
    """Mean probabilities (B K H W) over a picture's sizes and mirror images.

    >>> from fallow.encoders import encoder
    >>> model = Segmenter(encoder("unet/4"), 3).eval()
    >>> ensemble(model, torch.zeros(1, 3, 32, 48), [0.5, 1.0]).shape
    torch.Size([1, 3, 32, 48])
    """
    size = x.shape[2:]
    total = x.new_zeros(())
    for scale in scales:
        sides = [max(16, round(scale * side)) for side in size]
        scaled = F.interpolate(x, sides, mode="bilinear", align_corners=False)
        for turned in (False, True):
            logits = logits_of(model, scaled.flip(3) if turned else scaled)
            logits = logits.flip(3) if turned else logits
            logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
            total = total + logits.softmax(1)
    return total / (2 * len(scales))


def own_labels(
    model: Segmenting,
    pack: Pixels,
    recipe: Recipe,
    scales: Sequence[float],
    share: float,
    device: torch.device,
) -> list[np.ndarray]:
    """What a segmenter is surest of, class by class, in all pictures: H W uint8 each, 255: not.

    The pictures are looked at twice, once for the thresholds: nothing large is kept.
    """
    was = [part for part in model.modules() if part.training]
    model.eval()

    def looked() -> Iterator[Tensor]:
        for picture in pictures(pack, recipe):
            yield ensemble(model, picture.to(device), scales).cpu()

    thresholds = class_thresholds(looked(), share)
    found = [relative_labels(one, thresholds)[0].numpy().astype(np.uint8) for one in looked()]
    for part in was:
        part.training = True
    return found


def pictures(pack: Pixels, recipe: Recipe) -> Iterator[Tensor]:
    """Every picture of a pack as a network's input: 1 3 H W."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (recipe.mean, recipe.std))
    flat = np.asarray(pack.pixels)
    sizes = zip(pack.offsets, pack.heights, pack.widths, strict=True)
    for start, height, width in ((int(a), int(b), int(c)) for a, b, c in sizes):
        pixels = np.array(flat[start : start + height * width * 3]).reshape(height, width, 3)
        yield (torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255 - mean) / std


def through(labels: Sequence[np.ndarray], batch: Batch) -> Tensor:
    """Labels of a pack's pictures (H W each) through a batch's views: B S S, 255 outside."""
    chosen = [labels[row] for row in batch.index.tolist()]
    return render_masks(chosen, batch.geometry, [batch.views[0].shape[-1]])[0]


def crowded(labels: Tensor, most: float) -> Tensor:
    """Of which pictures (B S S) a single class has more than that share of all that is labelled.

    >>> crowded(torch.tensor([[[0, 0]], [[0, 1]], [[255, 255]]]), 0.75).tolist()
    [True, False, False]
    """
    found = []
    for one in labels:
        counts = one[one != 255].flatten().bincount()
        found.append(bool(counts.numel()) and bool(counts.max() > most * counts.sum()))
    return torch.tensor(found)


class InUse(nn.Module):
    """A segmenter whose pictures are lit anew first, and whose rare classes are raised."""

    weights: Tensor

    def __init__(self, model: Segmenting, relit: nn.Module | None, weights: Tensor) -> None:
        super().__init__()
        self.model, self.relit = model, relit
        self.register_buffer("weights", weights.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.relit is None else x + self.relit(x)
        return self.model(x) * self.weights.view(1, -1, 1, 1)


RELIGHTING = "relighting.safetensors"


def save_relighting(used: nn.Module, folder: Path) -> None:
    """Beside a saved segmenter, what `InUse` adds to it."""
    from safetensors.torch import save as to_bytes

    assert isinstance(used, InUse)
    held = {"weights": used.weights}
    if used.relit is not None:
        held |= {f"relit.{name}": value for name, value in used.relit.state_dict().items()}
    held = {name: value.detach().cpu().contiguous().clone() for name, value in held.items()}
    with atomic_write(folder / RELIGHTING) as file:
        file.write(to_bytes(held))


def load_relighting(model: Segmenting, folder: Path) -> nn.Module:
    """The segmenter of a folder as it is used: with what `save_relighting` wrote, if it did."""
    from safetensors.torch import load as from_bytes

    path = folder / RELIGHTING
    if not path.is_file():
        return model
    held = from_bytes(path.read_bytes())
    state = part_of(held, "relit")
    relit = None
    if state:
        relit = Curves(len(state["layers.0.weight"]))
        relit.load_state_dict(state)
    return InUse(model, relit, held["weights"])
