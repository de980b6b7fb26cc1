"""What people and machines say of pictures: labels, boxes, relations, in one store."""

from __future__ import annotations

from fallow.annotations.formats import read, write
from fallow.annotations.hierarchy import Hierarchy
from fallow.annotations.merge import Merged, merged, named_as, with_denials
from fallow.annotations.rules import Finding, check, mended
from fallow.annotations.statistics import Summary, summary
from fallow.annotations.store import Annotations, annotated

__all__ = [
    "Annotations",
    "Finding",
    "Hierarchy",
    "Merged",
    "Summary",
    "annotated",
    "check",
    "mended",
    "merged",
    "named_as",
    "read",
    "summary",
    "with_denials",
    "write",
]
