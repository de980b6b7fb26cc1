"""What students of their own slowly following teacher share: settings, advice, held prototypes."""

from __future__ import annotations

from pydantic import Field
from torch import nn

from fallow.train.method import Now, Optimiser, Settings
from fallow.train.optimisers import clip_each


class SelfDistilledSettings(Settings):
    """Of students that see small views of an image while their teacher sees large ones."""

    hidden: int = Field(512, gt=0, description="width of the head")
    temperature: float = Field(0.1, gt=0, description="softness of the student's answers")
    teacher_momentum: float = Field(
        0.99, ge=0, le=1, description="share of itself a teacher keeps; rises to 1"
    )
    crops: int = Field(4, ge=0, description="small local views beside the large ones")
    boundary: float = Field(
        0.25, gt=0.05, lt=1, description="share of the image that parts local from large views"
    )
    optimiser: Optimiser = "adamw"
    learning_rate: float = 1e-3
    final_rate: float = 0.01
    warmup: float = 0.1
    weight_decay: float = 0.04
    final_weight_decay: float | None = 0.4


class CentredSettings(SelfDistilledSettings):
    """Of students whose teacher's answers are centred and sharpened, so that they say something."""

    prototypes: int = Field(1024, gt=1, description="how many answers there are")
    bottleneck: int = Field(128, gt=0, description="dimension the prototypes live in")
    gain: bool = Field(False, description="whether prototypes learn their length")
    teacher_temperature: float = Field(0.04, gt=0, description="lower against a uniform teacher")
    first_temperature: float = Field(0.04, gt=0, description="the teacher's at the start")
    temperature_warmup: float = Field(
        0.0, ge=0, le=1, description="share of the budget from first_ to teacher_temperature"
    )
    centre_momentum: float = Field(0.9, ge=0, lt=1)
    freeze_epochs: float = Field(1.0, ge=0, description="epochs with fixed prototypes")
    clip_each: float | None = Field(3.0, gt=0, description="largest gradient norm of a tensor")


ADVICE = (
    "lower teacher_temperature, use fewer prototypes, raise the batch, or lower teacher_momentum"
)


def hold_prototypes(
    method: nn.Module, prototypes: nn.Module, settings: CentredSettings, now: Now
) -> None:
    """Clip each gradient, and leave the prototypes where they are for the first epochs."""
    if settings.clip_each is not None:
        clip_each(method.parameters(), settings.clip_each)
    if now.step < settings.freeze_epochs * now.steps_per_epoch:
        for parameter in prototypes.parameters():
            parameter.grad = None  # neither momentum nor decay may move it
