"""One function over many items through Ray Data: on this machine's cores, or on a cluster's."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from fallow.problems import MissingPackage, Problem

TRIES = 4  # at an item, before its worker's death is its fault
BLOCKS = 1000  # of items, at most: what Ray keeps account of


def spread(
    work: Callable[[Any, int], dict[str, Any]],
    job: Any,
    items: Sequence[int],
    *,
    workers: int | None = None,
    gpus: float = 0,
) -> Iterator[dict[str, Any]]:
    """What `work(job, item)` says of every item, in the order in which they are done.

    `work` keeps what it makes itself, so that what is said may be little, and must not mind being
    asked again: an item whose worker dies is done by another. Joins the cluster that RAY_ADDRESS
    names, or starts one on this machine with so many workers.
    """
    if not items:
        return
    with _ray(workers) as ray:
        shared = ray.put(job)
        blocks = min(len(items), BLOCKS)
        asked = ray.data.from_items([{"item": item} for item in items], override_num_blocks=blocks)
        room = ray.data.TaskPoolStrategy(size=min(workers, blocks)) if workers else None
        with warnings.catch_warnings():  # the argument that bounds tries is about to be renamed
            warnings.simplefilter("ignore", DeprecationWarning)
            done = asked.map(
                partial(_one, work, shared),
                compute=room,
                num_cpus=1,
                num_gpus=gpus,
                ray_remote_args_fn=lambda: {"max_retries": TRIES - 1},
            )
        try:
            for row in done.iter_rows():
                if row["problem"]:
                    raise Problem(row["problem"])
                yield row["said"]
        except ray.exceptions.RayError as error:
            # what the work itself raised is its own story; a worker that is gone has none
            if isinstance(error, ray.exceptions.RayTaskError):
                raise
            raise Problem(
                f"a worker died {TRIES} times over the same part: give each more memory (fewer "
                "workers), or look into Ray's log for a picture that ends the program"
            ) from error


def _one(work: Callable[[Any, int], dict[str, Any]], shared: Any, row: Any) -> dict[str, Any]:
    try:
        return {"said": work(_held(shared), int(row["item"])), "problem": ""}
    except Problem as problem:  # the sentence, without the worker's traceback around it
        return {"said": {}, "problem": str(problem)}


_job: dict[str, Any] = {}


def _held(shared: Any) -> Any:
    """The job, unpacked once by every worker process."""
    import ray

    key = shared.hex()
    if key not in _job:
        _job.clear()
        _job[key] = ray.get(shared)
    return _job[key]


@contextmanager
def _ray(workers: int | None) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingPackage("ray", "scale") from None
    for name in ("ray.data", "ray.data._internal.plan"):
        logging.getLogger(name).setLevel(logging.ERROR)
    mine = not ray.is_initialized()
    if mine:
        cores = None if os.environ.get("RAY_ADDRESS") else workers
        ray.init(
            num_cpus=cores,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()
