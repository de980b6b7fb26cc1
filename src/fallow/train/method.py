"""What a trained system is: settings, a recipe of views, heads, and one step's loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from torch import Tensor, nn

from fallow.distributed import gather
from fallow.problems import SettingProblem, did_you_mean
from fallow.train.order import distinct, false_negatives, repeats, shuffled

if TYPE_CHECKING:
    from fallow.encoders import Encoder
    from fallow.images import Images, Pack
    from fallow.views import Recipe


Beside = Callable[[np.ndarray, int], dict[str, Tensor]]  # rows, epoch -> B ... by name
Optimiser = Literal["sgd", "adam", "adamw", "lars", "lars-mocov3", "larc"]


@dataclass(frozen=True)
class Facts:
    """What a method may know of the images before it is built."""

    count: int
    side: int  # median short side in pixels
    classes: int = 0  # 0: no labels
    names: tuple[str, ...] = ()  # of the classes
    dimensions: int = 2  # 3: volumes
    streams: tuple[str, ...] = ()  # names of the images there are
    texts: tuple[str, ...] = ()  # all texts of all streams, for a method that reads


@dataclass
class Now:
    """Where training stands when a step begins."""

    step: int
    epoch: int
    progress: float  # 0 at the first step, 1 at the end of the budget
    steps_per_epoch: int
    rank: int = 0
    world: int = 1


@dataclass
class Batch:
    """One stream's images of one step, as the recipe's views."""

    groups: list[Tensor]  # per resolution: (V_g * B, 3, S, S), view after view
    views: list[Tensor]  # slices of groups, one (B, 3, S, S) per view
    index: Tensor  # B, rows of the pack, the same in every epoch
    labels: Tensor  # B, -1 where unknown
    geometry: Tensor  # V B 2 3, output pixels -> source pixels
    roles: list[str] = field(default_factory=list)
    masks: list[Tensor] = field(default_factory=list)  # per view B S S; 255: not to be judged
    sizes: Tensor = field(default_factory=lambda: torch.zeros(0, 2))  # B 2, of the sources
    beside: dict[str, Tensor] = field(default_factory=dict)  # each B ..., as `Method.beside` says

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: torch.device) -> Batch:
        if device.type == "cpu":
            return self
        groups = [group.to(device, non_blocking=True) for group in self.groups]
        rows = len(self.index)
        return Batch(
            groups,
            [view for group in groups for view in group.split(rows)],
            self.index.to(device),
            self.labels.to(device),
            self.geometry.to(device),
            self.roles,
            [mask.to(device) for mask in self.masks],
            self.sizes.to(device),
            {name: one.to(device) for name, one in self.beside.items()},
        )


@dataclass
class Loss:
    """A step's loss, and what the watch and the log want to see of it."""

    total: Tensor
    parts: Mapping[str, Tensor | float] = field(default_factory=dict)
    embedding: Tensor | None = None  # B D, for the collapse watch
    trivial: float | None = None  # the loss of a collapsed model
    advice: str | None = None  # if given, a run that sits at the trivial loss stops with it


class Settings(BaseModel):
    """What every trained method can be told; a method adds its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: float | None = Field(None, gt=0, description="passes over the images")
    minutes: float | None = Field(None, gt=0, description="wall-clock budget instead of epochs")
    size: int = Field(32, ge=8, description="side of the (largest) views in pixels")
    batch: int = Field(256, ge=1, description="images a step, over all ranks")
    accumulate: int = Field(1, ge=1, description="parts a batch is cut into to save memory")
    optimiser: Optimiser = "sgd"
    learning_rate: float = Field(0.06, gt=0, description="at batch 256; scales with the batch")
    schedule: Literal["cosine", "power", "inverse", "linear"] = Field(
        "cosine",
        description="how the rate falls: half a cosine, (1 - progress) to the 0.9, inverse: "
        "(1 + 10 progress) to the -0.75, or a straight line",
    )
    start_rate: float = Field(0.0, ge=0, description="share of the learning rate to warm up from")
    final_rate: float = Field(0.0, ge=0, description="share of the learning rate left at the end")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the budget with a rising rate")
    weight_decay: float = Field(5e-4, ge=0)
    final_weight_decay: float | None = Field(
        None, ge=0, description="weight decay at the end, reached along half a cosine"
    )
    momentum: float = Field(0.9, ge=0, lt=1)
    second_momentum: float = Field(
        0.999, ge=0, lt=1, description="the memory of squared gradients of Adam and AdamW"
    )
    clip: float | None = Field(None, gt=0, description="largest gradient norm")
    precision: Literal["auto", "32", "bf16"] = Field(
        "auto", description="auto times the choices on the first batch and keeps the fastest"
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="torch.compile; auto tries it when the budget is an hour or more"
    )
    save_minutes: float = Field(2.0, ge=0, description="time between checkpoints; 0: every step")

    @field_validator("precision", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        """YAML and the command line read 32 as a number."""
        return str(value) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _one_budget(self) -> Settings:
        if self.epochs is not None and self.minutes is not None:
            raise ValueError("give epochs or minutes, not both")
        return self


class ContrastiveSettings(Settings):
    """Of methods that push the images of a batch apart, and so may push apart what is alike."""

    compose: Literal["shuffled", "distinct"] = Field(
        "shuffled",
        description="distinct: no two images of a pseudo-class in a batch, or as few as possible",
    )
    pseudo_classes: int | None = Field(
        None, gt=1, description="clusters that distinct batches keep apart; none: the batch"
    )


SettingsT = TypeVar("SettingsT", bound=BaseModel)


def make_settings(kind: type[SettingsT], values: Mapping[str, Any]) -> SettingsT:
    """Settings of a method from plain values, with one sentence for what is wrong.

    >>> make_settings(Settings, {"epochs": 3}).batch
    256
    >>> make_settings(Settings, {"epoch": 3})
    Traceback (most recent call last):
    ...
    fallow.problems.SettingProblem: there is no setting 'epoch': did you mean epochs?
    """
    wrong = setting_problems(kind, values)
    if wrong:
        raise SettingProblem(next(iter(wrong.values())))
    return kind(**values)


def setting_problems(kind: type[SettingsT], values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with plain values as settings: a sentence each, by the setting's name.

    >>> setting_problems(Settings, {"batch": 0, "epoch": 3})["epoch"]
    "there is no setting 'epoch': did you mean epochs?"
    """
    try:
        kind(**values)
    except ValidationError as error:
        found: dict[str, str] = {}
        for one in error.errors():
            name = ".".join(str(part) for part in one["loc"])
            if one["type"] == "extra_forbidden":
                text = f"there is no setting {name!r}: {did_you_mean(name, kind.model_fields)}"
            else:
                text = one["msg"].removeprefix("Value error, ")
                text = f"setting {name}: {text}" if name else text
            found.setdefault(name, text)
        return found
    return {}


Options = Settings  # Method.Settings below hides the name


class Method(nn.Module):
    """A trained system. A subclass says what is new about it and nothing else."""

    pseudo_classes: Tensor  # N, by row of the pack; -1 until they are known. Distinct batches only

    Settings: ClassVar[type[Settings]] = Settings
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    family: ClassVar[str] = ""  # where the survey of mechanisms puts it
    predicts: ClassVar[str] = ""  # what is predicted from what, in half a sentence
    needs_transformer: ClassVar[bool] = False  # it works on patches
    wants_masks: ClassVar[bool] = False  # it trains on masks where images have them
    learns_labels: ClassVar[bool] = False  # it must not see those it is judged by
    reads: ClassVar[tuple[str, ...]] = ()  # columns of the images it learns from, such as captions

    def __init__(self, encoder: Encoder, settings: Options, facts: Facts) -> None:
        super().__init__()
        self.encoder = encoder
        self.settings: Any = settings
        self.facts = facts
        if self.keeps_apart:
            self.register_buffer("pseudo_classes", torch.full((facts.count,), -1))
        self.build(encoder)

    def recipe(self) -> Recipe | Mapping[str, Recipe]:
        """Which views of which stream of images a step wants."""
        raise NotImplementedError

    def build(self, encoder: Encoder) -> None:
        """Add heads, queues, teachers."""

    def loss(self, batch: Any, now: Now) -> Loss:
        """One step; `batch` is a Batch, or one per stream by name."""
        raise NotImplementedError

    @property
    def keeps_apart(self) -> bool:
        """Whether batches are composed so that images of a pseudo-class do not meet."""
        return (
            isinstance(self.settings, ContrastiveSettings) and self.settings.compose == "distinct"
        )

    def meet(self, images: Mapping[str, Images], packs: Mapping[str, Pack]) -> None:
        """Before every session: what it may know of its streams' images besides their pixels.

        Weights may still be added here; nothing learnt is there yet, also when a run resumes.
        """

    def rate(self, now: Now, planned: Callable[[float], float]) -> float:
        """The step's learning rate; `planned` is the settings' by progress, 0 to 1.

        Stages may each begin the schedule again, or follow one of their own.
        """
        return planned(now.progress)

    def rate_scales(self) -> Mapping[str, float]:
        """Parts, by name, that learn at another rate: a factor of the common one."""
        return {}

    def before_training(self, pack: Pack, seed: int) -> None:
        """Once, before the first step; what it makes must live in buffers to survive a resume."""
        if self.keeps_apart:
            self.pseudo_classes[: len(pack)] = torch.from_numpy(self.name_classes(pack, seed))

    def name_classes(self, pack: Pack, seed: int, **how: Any) -> np.ndarray:
        """A pseudo-class for every entry of the pack, for distinct batches."""
        from fallow.train.pseudo import pseudo_classes

        s = self.settings
        if s.minutes is not None:
            how["seconds"] = 6 * s.minutes  # a tenth of the budget
        count, device = s.pseudo_classes or s.batch, self.pseudo_classes.device
        return pseudo_classes(pack, count, seed=seed, device=device, **how)

    def before_epoch(self, now: Now, images: Images) -> None:
        """Clusters, pseudo-labels; what it makes must live in buffers to survive a resume."""

    def beside(self, name: str, images: Images, pack: Pack, seed: int) -> Beside | None:
        """What else of a stream's images a step needs: called with rows of the pack and an epoch,
        in the thread that loads ahead, it says what goes into `Batch.beside`."""
        return None

    def prepare(self, name: str, batch: Batch, draw: np.random.Generator) -> Batch:
        """Change a stream's batch in the thread that loads ahead; `draw` is the step's own."""
        return batch

    def begin_step(self, now: Now) -> None:
        """Nothing of this step is computed yet; called once however many parts the batch has."""

    def before_step(self, now: Now) -> None:
        """Gradients are there, the step is not yet made."""

    def after_step(self, now: Now) -> None:
        """Teacher, queue, prototypes."""

    def save(self, folder: Path) -> None:
        """What a finished run keeps in its folder beside the encoder."""

    def pictures(self, images: Sequence[np.ndarray]) -> dict[str, list[list[np.ndarray]]]:
        """Figures for the report: titles, and rows of uint8 pictures made of uint8 images."""
        return {}

    def compose(self, now: Now, count: int, batch: int, seed: int) -> np.ndarray:
        """Which rows meet in which batch: (steps, batch) for one epoch."""
        if self.keeps_apart:
            classes = self.pseudo_classes[:count].cpu().numpy()
            return distinct(classes, batch, seed=seed, epoch=now.epoch)
        return shuffled(count, batch, seed=seed, epoch=now.epoch)

    def forward(self, batch: Any, now: Now) -> Loss:
        """The way in for data-parallel wrappers: `loss`, and how the batch was composed."""
        found = self.loss(batch, now)
        if isinstance(self.settings, ContrastiveSettings) and isinstance(batch, Batch):
            found.parts = {**found.parts} | self.composition(batch)
        return found

    def composition(self, batch: Batch) -> dict[str, Tensor | float]:
        """What the batch of all ranks pushes apart wrongly, as far as anybody can know."""
        parts: dict[str, Tensor | float] = {}
        share = false_negatives(batch.labels)
        if share is not None:
            parts["false_negatives"] = share
        if self.keeps_apart:
            together = gather(self.pseudo_classes[batch.index]).cpu().numpy()
            parts["repeats"] = float(repeats(together, np.arange(len(together))[None])[0])
        return parts
