"""`search`: the pictures that words describe best."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pyarrow as pa

from fallow import declare
from fallow.encoders.dual import dual_encoder
from fallow.images import opened
from fallow.outcomes import Result, unreadable
from fallow.parts.embeddings import picture_vectors
from fallow.problems import SettingProblem


@declare.verb(example='fallow search words/ photos/ "a red shoe"')
def search(
    run: Annotated[Any, declare.Option("run of align, or hf:NAME of a CLIP", argument=True)],
    source: declare.Source,
    words: Annotated[str, declare.Option("what the pictures should show", argument=True)],
    *,
    where: declare.Where = None,
    count: Annotated[int, declare.Option("pictures to list", int)] = 12,
    out: Annotated[Any, declare.Option("folder for the list")] = None,
) -> Result:
    """List the pictures nearest to some words, in the space of a run of `align` or of a hub's CLIP.

    Vectors of pictures are kept in the cache: the first search looks at all of them, later ones at
    none.
    """
    if not words.strip():
        raise SettingProblem("say in words what the pictures should show")
    if count < 1:
        raise SettingProblem(f"count={count} is not possible: ask for one or more")
    dual = dual_encoder(run)
    images = opened(source, where=where)
    vectors = picture_vectors(dual, images, normalise=True)
    likeness = vectors @ dual.embed_texts([words], normalise=True)[0]
    readable = np.flatnonzero(np.isfinite(likeness))
    order = readable[np.argsort(-likeness[readable], kind="stable")][:count]
    paths = images.table.column("path").take(pa.array(order))
    table = pa.table({"row": order, "path": paths, "similarity": likeness[order]})
    lines = [f"{row['similarity']:.3f}  {row['path']}" for row in table.to_pylist()]
    return Result(table, headlines=[*lines, *unreadable(images.problems)]).saved(out)
