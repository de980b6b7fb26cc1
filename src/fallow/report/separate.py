"""The report of `separate`: spectra before and after, to listen to and to look at."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from fallow.report.figures import inline_image, line_chart
from fallow.report.page import Html, Page, element
from fallow.report.sections import closing, opening

LONGEST = 120  # seconds that are put into the page


def separate_page(found: Mapping[str, Any]) -> str:
    """One run of `separate` as one HTML text.

    >>> "a &lt;dog&gt;" in separate_page({"name": "a <dog>"})
    True
    """
    page = Page(str(found.get("name", "separate")), subtitle=str(found.get("source", "")))
    page.lead(opening({}, found.get("headlines", []), found.get("notes", [])))
    rate = int((found.get("settings") or {}).get("rate", 8000))
    parts = []
    for name, picture in (found.get("spectra") or {}).items():
        samples = found["sounds"][name]
        parts.append(
            element(
                "figure",
                element("figcaption", name),
                inline_image(picture, f"spectrum: {name}", quality=85),
                _player(samples, rate) if len(samples) <= LONGEST * rate else None,
            )
        )
    page.section(
        "Sounds",
        *parts,
        intro="Time to the right, frequency upwards; white is loud.",
        empty="Nothing was heard.",
    )
    losses = found.get("losses") or []
    steps = list(range(0, len(losses), max(1, len(losses) // 200)))
    smooth = [float(np.mean(losses[max(0, k - 10) : k + 10])) for k in steps]
    page.section(
        "Training",
        line_chart({"loss": (steps, smooth)}, "Loss", x_label="step") if steps else None,
        empty="An earlier run separated them.",
    )
    closing(page, found, found.get("settings"))
    return page.html()


def _player(samples: np.ndarray, rate: int) -> Html:
    from scipy.io import wavfile

    file = io.BytesIO()
    wavfile.write(file, rate, np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16))
    held = base64.b64encode(file.getvalue()).decode()
    return element("audio", controls="controls", src=f"data:audio/wav;base64,{held}")
