"""What every report of a trained run says of the training itself."""

from __future__ import annotations

import platform
from typing import Any

from fallow.train import Run


def ran(run: Run) -> dict[str, Any]:
    """Curves, settings, the machine and the time, as findings hold them."""
    return {
        "metrics": run.history,
        "settings": {"encoder": run.encoder.name, **run.settings.model_dump(exclude_none=True)},
        "machine": {
            "processor": platform.machine(),
            "computing": str(run.choice),
            "notes": "; ".join(run.notes),
        },
        "seconds": round(run.seconds, 1),
    }
