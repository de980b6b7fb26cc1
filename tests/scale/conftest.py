"""Two workers of Ray, started once for all tests of scale."""

import os

import pytest


@pytest.fixture(scope="package")
def two_workers():
    """Ray with two workers, which jobs join."""
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (as eager as the tests beside it)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()
