"""DSA: gradient matching under one drawn transform for real and synthetic images (Zhao 2021)."""

from __future__ import annotations

from pydantic import Field

from fallow.methods.distil.dc import DC


class DSA(DC):
    """DC with differentiable Siamese augmentation: images that survive being augmented."""

    class Settings(DC.Settings):
        augment: bool = Field(True, description="one drawn transform for real and synthetic alike")
