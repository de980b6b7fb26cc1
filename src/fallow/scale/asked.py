"""`curate` on many machines: workers ask the stages as one machine asks them, chunk by chunk."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from fallow.inventory.ledger import Entry, load_looks, save_looks
from fallow.methods.curate.people_free import Answers, Asking
from fallow.scale.spread import spread


@dataclass(frozen=True)
class Job:
    """What every worker has to know."""

    asking: Asking
    chunks: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Known:
    """Some entries of a ledger, which travel; the ledger stays where it is."""

    entries: dict[tuple[str, str, str], Entry]

    def __call__(self, stage: str, key: str, subject: str) -> Entry | None:
        return self.entries.get((stage, key, subject))


@dataclass(frozen=True)
class ByWorkers:
    """What `spread` of `curate` may be: chunks are asked about by Ray's workers.

    Answers come back as they are given, so that the ledger is what an interrupted run goes on from.
    """

    workers: int | None = None

    def __call__(self, asking: Asking, chunks: Sequence[Sequence[int]]) -> Iterator[Answers]:
        known = Known(dict(_known(asking, chunks)))
        job = Job(replace(asking, known=known, threads=1), chunks)
        for said in spread(_ask, job, range(len(chunks)), workers=self.workers):
            entries = [Entry(**one) for one in json.loads(said["entries"])]
            yield Answers(entries, load_looks(io.BytesIO(said["looks"])))


def _known(
    asking: Asking, chunks: Sequence[Sequence[int]]
) -> Iterator[tuple[tuple[str, str, str], Entry]]:
    for chunk in chunks:
        for row in chunk:
            for stage in asking.stages:
                which = (stage.name, stage.key, stage.subject(asking.pictures[row]))
                entry = asking.known(*which)
                if entry is not None:
                    yield which, entry


def _ask(job: Job, number: int) -> dict[str, Any]:
    rows = job.chunks[number]
    some = replace(job.asking, images=job.asking.images.select(rows))
    answers = some(range(len(rows)))
    held = io.BytesIO()
    save_looks(held, answers.looks)
    entries = json.dumps([asdict(one) for one in answers.entries])
    return {"entries": entries, "looks": held.getvalue()}
