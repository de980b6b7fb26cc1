"""For every test: a cache and data of its own, one thread, which suits small models, and no GPU."""

from __future__ import annotations

import os
import tempfile

import pytest

# fixtures hold no examples; as modules to look for some in, several would have one name
collect_ignore_glob = ["*/conftest.py"]

# before torch is imported, and for the processes that tests start
os.environ["FALLOW_CACHE"] = tempfile.mkdtemp(prefix="fallow-test-")
os.environ["FALLOW_DATA"] = tempfile.mkdtemp(prefix="fallow-test-")
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["FALLOW_ENCODER"] = "tiny"  # in the package, and quick


@pytest.fixture(scope="module", autouse=True)
def processor_only(request):
    """Tests say what the processor computes, also where there is a GPU; test_gpu is about that."""
    if request.module.__name__.endswith("test_gpu"):
        yield
        return
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")  # of programs that tests start
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setattr(torch.cuda, "device_count", lambda: 0)
        yield
