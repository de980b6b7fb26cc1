"""What may be in a collection one publishes: a policy, by hand or from a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fallow.files import plain_yaml
from fallow.problems import Problem
from fallow.train import make_settings

KINDS = ("blurry", "dark", "bright", "low_resolution", "odd_aspect", "blank")
DETECTED = ("faces", "people", "plates", "content")
Need = Literal["creator", "licence", "title", "source_url"]


class Settings(BaseModel):
    """The policy: what may be in the collection, from a YAML file or by hand."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    licences: tuple[str, ...] = Field(
        ("CC-BY", "CC0", "PDM"), description="families, or one version as in CC-BY-4.0"
    )
    need: tuple[Need, ...] = Field(
        ("creator", "licence"), description="what must be known of a picture to keep it"
    )
    conflicts: Literal["drop", "review"] = Field(
        "drop", description="pictures whose licence is contradicted by another source"
    )
    people: tuple[str, ...] = Field(
        ("face", "person"), description="labels that count as people; add statue, drawing, hand ..."
    )
    plates: tuple[str, ...] = Field(("plate",), description="labels that count as number plates")
    content: tuple[str, ...] = Field(("flagged",), description="labels nobody wants to see")
    sure: float = Field(0.5, gt=0, lt=1, description="score from which a detection counts")
    unsure: float = Field(0.2, ge=0, lt=1, description="score from which a person should look")
    personal: Literal["report", "review", "drop"] = Field(
        "report", description="pictures whose file holds a position, serial number or owner's name"
    )
    duplicates: bool = Field(True, description="keep the best of pictures that look the same")
    quality: tuple[str, ...] = Field(
        ("blank",), description=f"kinds of picture to leave out, of {', '.join(KINDS)}"
    )
    per_creator: int | None = Field(None, ge=1, description="at most as many of one creator")
    size: int | None = Field(None, ge=1, description="pictures in the end, of those that pass")
    choose: Literal["random", "diverse"] = Field(
        "random", description="how to choose them: by lot, or as unlike each other as can be"
    )
    seed: int = 0


def read_policy(path: str | Path) -> Settings:
    """The settings of a YAML file."""
    try:
        found = plain_yaml(Path(path).read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise Problem(f"the policy {path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # PyYAML and the codecs have no common ancestor
        raise Problem(f"the policy {path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise Problem(f"the policy {path} must name settings, each with its value")
    return make_settings(Settings, found)
