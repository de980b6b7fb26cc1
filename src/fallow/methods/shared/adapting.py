"""What methods share that carry a classifier over from labelled images to unlabelled ones.

They train on two streams: `source` with labels, and `target`, whose labels are never looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fallow.encoders import Encoder
from fallow.encoders.classifier import (
    Classifier,
    class_layers,
    load_classifier,
    save_classifier,
    scores,
)
from fallow.images.domains import Groups, groups_of
from fallow.measure.groups import ByGroup, averaged, macro_f1, right
from fallow.methods.shared.beginning import Beginning
from fallow.problems import SettingProblem, SourceProblem
from fallow.train import Batch, Method, Now
from fallow.train import Settings as BaseSettings
from fallow.train.order import by_group
from fallow.views import Recipe
from fallow.views.recipe import View, crop

if TYPE_CHECKING:
    from fallow.images import Images, Pack


class AdaptSettings(BaseSettings):
    """What all of them can be told."""

    warmup: float = Field(0.0, ge=0, lt=1, description="share of the budget with a rising rate")
    smallest: float = Field(0.5, gt=0, le=1, description="share of the image a crop keeps")
    flip: float = Field(0.5, ge=0, le=1, description="chance of a mirror image; 0 for text")
    views: Literal["strong", "weak"] = Field(
        "strong", description="weak: crops and flips alone; strong: also colours, turns, a hole"
    )
    hole: float = Field(0.5, ge=0, lt=1, description="largest side of the hole, of a strong view")
    width: int | None = Field(
        None, gt=0, description="of the embedding; none: 256, or the encoder's if smaller"
    )
    start: str | None = Field(
        None, description="folder of a classifier to start from; none: a new head on the encoder"
    )
    groups: tuple[str, ...] = Field(
        (), description="columns that say where an image is from; none: source and target"
    )
    groups_per_batch: int | None = Field(
        None, gt=0, description="groups a labelled batch is made of, alike; none: any images"
    )


class Adapter(Beginning, Method):
    """A classifier that learns from labels of one place and, most of them, from bare images."""

    family = "adaptation"
    learns_labels = True
    least_domains = 1

    Settings = AdaptSettings

    source_groups: Tensor  # rows of the source's pack
    domains: dict[str, Tensor]  # the same and the target's, numbered together

    def recipe(self) -> Mapping[str, Recipe]:
        seen = self.seen()
        return {"source": seen, "target": seen}

    def seen(self) -> Recipe:
        """How labelled images are looked at, and as a rule the others."""
        s = self.settings
        if s.views == "weak":
            return crop(s.size, s.smallest, s.flip)
        return strong(s.size, s.smallest, s.flip)

    def build(self, encoder: Encoder) -> None:
        names, s = self.facts.names, self.settings
        if len(names) < 2:
            raise SourceProblem(
                f"a classifier needs labels of at least two classes and the source has "
                f"{len(names) or 'none'}: give it with labels"
            )
        self.layers: nn.Sequential = class_layers(encoder.dimension, len(names), s.width)
        self.domains = {}
        if self.given is not None:
            self.take_over(self.given)
        elif s.start is not None:
            self.take_over(load_classifier(s.start))

    def take_over(self, given: Classifier) -> None:
        """Begin as another classifier: its encoder and its head."""
        whose = f"the classifier in {self.settings.start}" if self.given is None else "the model"
        if given.names != list(self.facts.names):
            raise SettingProblem(
                f"{whose} knows {', '.join(given.names)} and the "
                f"source has {', '.join(self.facts.names)}: their classes must be the same"
            )
        try:
            self.encoder.load_state_dict(given.encoder.state_dict())
        except RuntimeError as error:
            raise SettingProblem(
                f"{whose} has another encoder "
                f"({given.encoder.name}) than this run ({self.encoder.name}): use its encoder"
            ) from error
        hidden = int(given.layers[1].in_features)  # type: ignore[arg-type]
        self.layers = class_layers(given.encoder.dimension, len(given.names), hidden)
        self.layers.load_state_dict(given.layers.state_dict())

    def meet(self, images: Mapping[str, Images], packs: Mapping[str, Pack]) -> None:
        columns = self.settings.groups
        if "label" in columns:
            raise SettingProblem(
                "groups cannot be made of label: those of the target are not to be seen"
            )
        own = {name: groups_of(images[name], columns) for name in packs}
        place = next(self.encoder.parameters()).device
        source = own["source"].codes[packs["source"].rows]
        self.source_groups = torch.from_numpy(source)
        self.domains = {
            name: code.to(place) for name, code in together(own, packs, bool(columns)).items()
        }
        if len(set(self.domain_names())) < self.least_domains:
            raise SourceProblem(
                "all images are from one place, and this method tells places apart: name columns "
                "that differ in groups, or use erm"
            )

    def domain_names(self) -> list[int]:
        """The domains there are, over all streams."""
        return sorted({int(code) for codes in self.domains.values() for code in codes.unique()})

    def compose(self, now: Now, count: int, batch: int, seed: int) -> np.ndarray:
        each = self.settings.groups_per_batch
        if each is None:
            return super().compose(now, count, batch, seed)
        return by_group(self.source_groups.numpy(), batch, each, seed=seed, epoch=now.epoch)

    def prepare(self, name: str, batch: Batch, draw: np.random.Generator) -> Batch:
        """Holes in strong views; and nobody is told the target's labels."""
        for view, role in zip(batch.views, batch.roles, strict=True):
            if role == "strong":
                cut_out(view, self.settings.hole, draw)
        if name == "target":
            return replace(batch, labels=torch.full_like(batch.labels, -1))
        return batch

    def features(self, batch: Mapping[str, Batch], view: int = 0) -> tuple[Tensor, Tensor]:
        """Of the labelled images and of a view of the others, computed together."""
        source, target = batch["source"], batch["target"]
        found = self.encoder(torch.cat([source.views[0], target.views[view]]))
        ours, theirs = found.split([len(source), len(target)])
        return ours, theirs

    def domains_of(self, batch: Mapping[str, Batch]) -> Tensor:
        """Where the images of `features` are from."""
        return torch.cat([self.domains[name][batch[name].index] for name in ("source", "target")])

    @property
    def classifier(self) -> Classifier:
        """The encoder and the head, in use together."""
        return Classifier(self.encoder, self.layers, self.facts.names)

    def save(self, folder: Path) -> None:
        save_classifier(self.classifier, folder)


class SelfTrainingSettings(AdaptSettings):
    """Of methods in which the classifier labels the target itself."""

    schedule: Literal["cosine", "power", "inverse", "linear"] = Field(
        "inverse", description="how the rate falls: inverse is (1 + 10 progress) to the -0.75"
    )
    weight: float = Field(1.0, ge=0, description="of the target's loss beside the source's")


def strong(size: int, smallest: float = 0.5, flip: float = 0.5) -> Recipe:
    """A crop with other colours, turned and slanted a little; the hole is cut later.

    >>> strong(32).views[0].role
    'strong'
    """
    weak = crop(size, smallest, flip)
    return replace(weak, views=(harder(weak.views[0]),))


def harder(view: View) -> View:
    """The same crop in strong colours, turned and slanted."""
    return replace(
        view, role="strong", jitter=(0.5, 0.5, 0.5, 0.1), gray=0.1, solarise=0.1, rotate=30.0,
        shear=15.0,
    )  # fmt: skip


def weak_and_strong(size: int, smallest: float = 0.5, flip: float = 0.5) -> Recipe:
    """Two views of an image with crops of their own: one to be labelled, one to learn from.

    >>> [view.role for view in weak_and_strong(32).every_view]
    ['weak', 'strong']
    """
    weak = crop(size, smallest, flip)
    return replace(weak, views=(replace(weak.views[0], role="weak"), harder(weak.views[0])))


def cut_out(view: Tensor, largest: float, draw: np.random.Generator) -> None:
    """A square hole of any size up to a share of the side, in each picture, in place.  B 3 S S"""
    size = view.shape[-1]
    for picture in view:
        half = draw.uniform(0, largest) * size / 2
        middle = draw.uniform(0, size, 2)
        low = np.clip(np.round(middle - half), 0, size).astype(int)
        high = np.clip(np.round(middle + half), 0, size).astype(int)
        picture[:, low[0] : high[0], low[1] : high[1]] = 0.0  # the mean of normalised pixels


def told(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the images whose label is known (not -1); 0 if there are none.

    >>> round(float(told(torch.zeros(2, 2), torch.tensor([1, -1]))), 4)
    0.6931
    """
    total = F.cross_entropy(logits.float(), labels, ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)


def together(own: Mapping[str, Groups], packs: Mapping[str, Any], named: bool) -> dict[str, Tensor]:
    """Numbers of the places of all streams' images, by row of the pack; absent places have none.

    Without named groups each stream is a place of its own.
    """
    shown = {
        name: [groups.names[code] if named else name for code in groups.codes[packs[name].rows]]
        for name, groups in own.items()
    }
    numbers = _numbered(value for values in shown.values() for value in values)
    return {
        name: torch.tensor([numbers[value] for value in values], dtype=torch.long)
        for name, values in shown.items()
    }


def _numbered(values: Iterable[str]) -> dict[str, int]:
    return {value: number for number, value in enumerate(dict.fromkeys(values))}


def risen(position: float, hold: float, full: float) -> float:
    """0 up to `hold`, then evenly up to 1 at `full`, and 1 from there.

    >>> [risen(t, 1, 3) for t in (0, 1, 2, 3, 9)]
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    if position >= full:
        return 1.0
    return max(0.0, (position - hold) / (full - hold))


def judged(classifier: Classifier, images: Images, columns: Iterable[str] = ()) -> dict[str, Any]:
    """How a classifier does on labelled images: accuracy on average and by group, and macro F1.

    Images without a label, or with one the classifier does not know, do not count.
    """
    truth = images.labels_in(classifier.names)
    known = np.flatnonzero(truth >= 0)
    if not len(known):
        raise SourceProblem(f"no image of {images.name} has a label that the classifier knows")
    some, truth = images.select(known), truth[known]
    said = scores(classifier, some).argmax(1)
    groups = groups_of(some, list(columns))
    accuracy: ByGroup = averaged(right(said, truth), groups.codes, groups.count)
    worst = accuracy.worst_group
    return {
        "acc_avg": accuracy.overall,
        "acc_wg": accuracy.worst,
        "F1-macro_all": macro_f1(said, truth),
        "worst_group": None if worst is None else groups.names[worst],
        "by_group": {
            name: float(value)
            for name, value, size in zip(groups.names, accuracy.each, accuracy.sizes, strict=True)
            if size
        },
    }
