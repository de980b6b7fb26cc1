"""The outcome of `separate`: what was asked for, and what is left."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from fallow.outcomes.result import Result
from fallow.outcomes.tables import save_json
from fallow.sounds.reading import save_wav
from fallow.sounds.spectra import spectrum

ROWS = 128


class Heard(Result):
    """Samples before and after; saved as WAV files with their spectra beside each other."""

    def __init__(
        self,
        table: pa.Table,
        samples: np.ndarray,
        made: np.ndarray,
        about: Mapping[str, Any],
        page: Callable[[Mapping[str, Any]], str],
    ) -> None:
        share, seconds = (table.column(name)[0].as_py() for name in ("share", "seconds"))
        lines = [f"'{about['query']}' out of {seconds:.1f} seconds: {share:.0%} of the energy"]
        notes = ["No true source is known here: listen before you trust it."]
        if share > 0.95:
            notes.append("Nearly everything was taken for what was asked for.")
        elif share < 0.01:
            notes.append("Next to nothing was found: it may not be in the recording.")
        findings = {"name": about["query"], "headlines": lines, "notes": notes, **about}
        self.samples, self.made, self.rest = samples, made, samples - made
        self.rate = int(about["settings"]["rate"])
        sounds = {"recording": samples, "asked for": made, "left": self.rest}
        shown = {name: picture(one) for name, one in sounds.items()}
        super().__init__(
            table,
            headlines=lines,
            notes=notes,
            findings=findings,
            page=lambda found: page({**found, "spectra": shown, "sounds": sounds}),
        )

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """asked.wav, left.wav, findings.json, table and report."""
        place = super().save(folder)
        save_wav(place / "asked.wav", self.made, self.rate)
        save_wav(place / "left.wav", self.rest, self.rate)
        save_json(place / "findings.json", self.findings)
        return place


def picture(samples: np.ndarray, size: int = 512) -> np.ndarray:
    """A spectrum as a grey picture: low frequencies at the bottom, 80 dB from black to white."""
    if len(samples) < size:
        samples = np.pad(samples, (0, size - len(samples)))
    hop = max(size // 4, len(samples) // 900)
    loud = spectrum(torch.from_numpy(samples.astype(np.float32))[None], size, hop)[0].abs()
    decibels = 20 * torch.log10(loud.clamp_min(1e-8))
    values = ((decibels + 60) / 80).clamp(0, 1)[:ROWS].flip(0)
    grey = (values * 255).byte().numpy()
    return np.repeat(np.repeat(grey, 2, 0)[..., None], 3, 2)
