"""Items go to workers; one that dies is done again, and one that always kills is named."""

from __future__ import annotations

import os
import signal
import sys
import time

import pyarrow as pa
import pytest
from killing import one_killed

from fallow.problems import Problem
from fallow.scale.parts import Parts
from fallow.scale.spread import TRIES, spread

# workers do not know this file
pytest.importorskip("ray.cloudpickle").register_pickle_by_value(sys.modules[__name__])


def square(parts: Parts, item: int) -> dict:
    time.sleep(0.05)
    parts.write(item, pa.table({"value": [item**2]}))
    return {"item": item}


def deadly(parts: Parts, item: int) -> dict:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def refusing(parts: Parts, item: int) -> dict:
    raise Problem(f"item {item} cannot be done: leave it out")


@pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
@pytest.mark.parametrize("seed", range(3))
def test_a_worker_killed_while_it_works_is_replaced(seed, two_workers, tmp_path):
    parts = Parts(tmp_path)
    with one_killed(seed) as killed:
        said = list(spread(square, parts, range(60)))
    assert killed, "the job ended before a worker could be killed"
    assert sorted(one["item"] for one in said) == list(range(60))
    assert [one["value"][0].as_py() for one in parts.each()] == [k**2 for k in range(60)]


@pytest.mark.slow
def test_an_item_that_ends_every_worker_ends_the_job_in_a_sentence(two_workers, tmp_path):
    with pytest.raises(Problem, match=f"died {TRIES} times over the same part"):
        list(spread(deadly, Parts(tmp_path), [0]))


def test_a_problem_of_a_worker_arrives_as_its_sentence(two_workers, tmp_path):
    with pytest.raises(Problem, match=r"^item \d cannot be done: leave it out$"):
        list(spread(refusing, Parts(tmp_path), range(2)))


def test_nothing_to_do_starts_nothing(tmp_path):
    assert list(spread(square, Parts(tmp_path), [])) == []
