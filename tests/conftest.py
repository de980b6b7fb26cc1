"""For every test: a cache of its own, and one thread, which suits small models best."""

from __future__ import annotations

import os
import tempfile

# before torch is imported, and for the processes that tests start
os.environ["FALLOW_CACHE"] = tempfile.mkdtemp(prefix="fallow-test-")
os.environ["OMP_NUM_THREADS"] = "1"
