"""How well sounds were separated: distortion, interference, artefacts in decibels (BSS Eval)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import cho_factor, cho_solve, toeplitz

from fallow.problems import Problem

TAPS = 512  # of the filters that sources may pass through unpunished


class Separated(NamedTuple):
    """One number for every source, in decibels; NaN where a source or an estimate is silent."""

    sdr: np.ndarray
    sir: np.ndarray
    sar: np.ndarray
    isr: np.ndarray


def separated_images(references: np.ndarray, estimates: np.ndarray) -> Separated:
    """BSS Eval as museval has it (version 4): a filtered source is a distorted one."""
    true, spatial, interference, rest = _parts(references, estimates)
    return Separated(
        _decibels(true, spatial + interference + rest),
        _decibels(true + spatial, interference),
        _decibels(true + spatial + interference, rest),
        _decibels(true, spatial),
    )


def separated_sources(references: np.ndarray, estimates: np.ndarray) -> Separated:
    """BSS Eval as mir_eval has it (version 3): a filtered source is as good as the source."""
    true, spatial, interference, rest = _parts(references, estimates)
    own = true + spatial
    return Separated(
        _decibels(own, interference + rest),
        _decibels(own, interference),
        _decibels(own + interference, rest),
        np.full(len(references), np.inf),
    )


def _parts(
    references: np.ndarray, estimates: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The estimate of each source (S N) as source, its filtering, other sources, and the rest."""
    references, estimates = (np.asarray(x, np.float64) for x in (references, estimates))
    if references.shape != estimates.shape or references.ndim != 2:
        raise Problem(
            f"sources and estimates are equal tables of samples, not {references.shape} and "
            f"{estimates.shape}"
        )
    sources, length = references.shape
    whole = length + TAPS - 1
    size = next_fast_len(whole, real=True)
    spectra = rfft(references, size)  # S F
    table = _correlations(spectra, size)
    met = _delays(irfft(spectra * rfft(estimates, size)[:, None].conj(), size))  # S S TAPS
    alone = [
        _solved(table[one : one + TAPS, one : one + TAPS], met[source, source, :, None])[:, 0]
        for source, one in enumerate(range(0, sources * TAPS, TAPS))
    ]
    filters = _solved(table, met.reshape(sources, -1).T).T.reshape(sources, sources, TAPS)
    own = irfft(spectra * rfft(np.stack(alone), size), size)[:, :whole]
    mixed = (spectra * rfft(filters, size)).sum(1)  # of the sources, for each estimate
    together = irfft(mixed, size)[:, :whole]
    true, padded = (np.pad(x, ((0, 0), (0, TAPS - 1))) for x in (references, estimates))
    return true, own - true, together - own, padded - together


def _delays(correlation: np.ndarray) -> np.ndarray:
    """Of correlations at all delays, those at 0, -1, -2 and so on.  ... -> ... TAPS"""
    return np.concatenate([correlation[..., :1], correlation[..., :-TAPS:-1]], -1)


def _correlations(spectra: np.ndarray, size: int) -> np.ndarray:
    """How all sources at all delays go together.  S*TAPS S*TAPS"""
    sources = len(spectra)
    table = np.empty((sources, TAPS, sources, TAPS))
    for i in range(sources):
        for j in range(i + 1):
            found = irfft(spectra[i] * spectra[j].conj(), size)
            block = toeplitz(_delays(found), found[:TAPS])
            table[i, :, j], table[j, :, i] = block, block.T
    return table.reshape(sources * TAPS, sources * TAPS)


def _solved(table: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Filters through which sources come nearest; the shortest where several do as well."""
    try:
        return cho_solve(cho_factor(table, check_finite=False), wanted, check_finite=False)
    except np.linalg.LinAlgError:
        return np.linalg.lstsq(table, wanted, rcond=None)[0]


def _decibels(wanted: np.ndarray, unwanted: np.ndarray) -> np.ndarray:
    power, other = np.square(wanted).sum(1), np.square(unwanted).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 10 * np.log10(power / other)
    return np.where(power > 0, np.where(other > 0, ratio, np.inf), np.nan)


def invariant_ratio(reference: np.ndarray, estimate: np.ndarray) -> float:
    """SI-SDR: decibels by which an estimate is its source, whatever its loudness.

    >>> invariant_ratio(np.array([1.0, -1.0]), np.array([3.0, -3.0])) > 100
    True
    """
    reference, estimate = (x - x.mean() for x in (reference, estimate))
    power = float(reference @ reference)
    if power == 0:
        return float("nan")
    own = reference * float(estimate @ reference) / power
    rest = float(np.square(estimate - own).sum())
    return 10 * float(np.log10(max(float(own @ own), 1e-30) / max(rest, 1e-30)))
