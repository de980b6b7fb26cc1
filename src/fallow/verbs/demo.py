"""`demo`: make a small sample collection and explore it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fallow.declare import Address, Option, Tell, silent, verb
from fallow.images.samples import demo as make
from fallow.outcomes import Result
from fallow.verbs.explore import explore


@verb(example="fallow demo fallow-demo")
def demo(
    folder: Annotated[
        Address, Option("where the pictures are made", Path, argument=True)
    ] = "fallow-demo",
    *,
    tell: Tell = silent,
) -> Result:
    """Make a small sample collection and explore it."""
    place = Path(folder)
    tell(f"drawing sample pictures in {place / 'pictures'}")
    make(place / "pictures")
    return explore(place / "pictures", out=place / "explore")
