"""`spot` on many machines: workers judge the parts of a collection as one machine judges them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from fallow.device import best_device
from fallow.files import fingerprint
from fallow.inventory.store import encoder_key, rows_of, vectors_column
from fallow.methods.shared.oddness import Found, Judging
from fallow.scale.parts import Parts
from fallow.scale.spread import spread


@dataclass(frozen=True)
class Job:
    """What every worker has to know."""

    judging: Judging
    rows: Sequence[np.ndarray]  # of each part
    parts: Parts


@dataclass(frozen=True)
class InParts:
    """What `Judge.spread` may be: parts are judged by Ray's workers, and kept below a folder.

    Each question has a folder of its own there, named by what is asked about which pictures, so
    that a run which is begun again finds the answers it has.
    """

    folder: Path
    workers: int | None = None

    def __call__(self, judging: Judging, rows: Sequence[np.ndarray]) -> Iterator[Found]:
        job = Job(judging, rows, Parts(self.folder / _question(judging, rows)))
        left = sorted(set(range(len(rows))) - set(job.parts.finished()))
        encoder = judging.judge.encoder
        device = encoder.device
        encoder.to("cpu")  # as which it travels
        gpus = float(torch.cuda.is_available())
        try:
            for _ in spread(_judge, job, left, workers=self.workers, gpus=gpus):
                pass
        finally:
            encoder.to(device)
        for number in range(len(rows)):
            for problem in job.parts.problems(number):
                judging.images.problems.add(problem)
            yield _found(job.parts.read(number), judging.judge.how.grid)


def _question(judging: Judging, rows: Sequence[np.ndarray]) -> str:
    """A name that changes with whatever the answers depend on."""
    judge, bank = judging.judge, judging.bank
    by = [] if bank is None else [each.numpy().tobytes() for each in bank.tensors().values()]
    about = {
        "pictures": judging.images.fingerprint,
        "parts": [len(part) for part in rows],
        "rows": fingerprint(b"".join(part.tobytes() for part in rows)),
        "encoder": encoder_key(judge.encoder),
        "judge": [type(judge).__name__, asdict(judge.how), judge.settings.model_dump()],
        "bank": [fingerprint(each) for each in by],
    }
    return fingerprint(json.dumps(about, default=str).encode())[:16]


def _judge(job: Job, number: int) -> dict[str, Any]:
    images = job.judging.images
    before = len(images.problems)
    job.judging.judge.encoder.to(best_device())
    found = job.judging(job.rows[number])
    table = pa.table(
        {
            "row": found.rows,
            "patches": vectors_column(found.patches.reshape(len(found.rows), -1)),
            "vector": vectors_column(found.vectors.float().numpy()),
        }
    )
    job.parts.write(number, table, images.problems[before:])
    return {"part": number}


def _found(table: pa.Table, grid: tuple[int, int]) -> Found:
    patches = rows_of(table.column("patches")).reshape(-1, *grid)
    vectors = torch.from_numpy(rows_of(table.column("vector")).copy())
    return Found(table.column("row").to_numpy(), patches, vectors)
