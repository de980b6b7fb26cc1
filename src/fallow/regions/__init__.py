"""Regions: an image cut into parts of one thing each, and what those parts look like."""

from __future__ import annotations

from fallow.regions.flatten import fill, flatten, numbered
from fallow.regions.look import crop, look_at_regions
from fallow.regions.propose import Proposer, Superpixels, proposer

__all__ = [
    "Proposer",
    "Superpixels",
    "crop",
    "fill",
    "flatten",
    "look_at_regions",
    "numbered",
    "proposer",
]
