"""Key points of pictures: one set of named points a picture, from and to the files of others."""

from __future__ import annotations

from fallow.annotations.points.formats import FORMS, read, write
from fallow.annotations.points.store import KeyPoints, mirrored, with_points, within

__all__ = ["FORMS", "KeyPoints", "mirrored", "read", "with_points", "within", "write"]
