"""How well sounds were separated: distortion, interference, artefacts in decibels (BSS Eval)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve, toeplitz
from scipy.signal import fftconvolve

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
    correlations = _correlations(references, whole)
    true, own, together = (np.zeros((sources, whole)) for _ in range(3))
    for source, estimate in enumerate(estimates):
        true[source, :length] = references[source]
        with_all = _cross(references, estimate, whole)
        block = slice(source * TAPS, (source + 1) * TAPS)
        own[source] = _filtered(
            references[source : source + 1], correlations[block, block], with_all[block]
        )
        together[source] = _filtered(references, correlations, with_all)
    padded = np.pad(estimates, ((0, 0), (0, TAPS - 1)))
    return true, own - true, together - own, padded - together


def _correlations(references: np.ndarray, whole: int) -> np.ndarray:
    """How all sources at all delays go together.  S*TAPS S*TAPS"""
    size = int(2 ** np.ceil(np.log2(whole)))
    spectra = np.fft.rfft(references, size)
    sources = len(references)
    table = np.empty((sources * TAPS, sources * TAPS))
    for i in range(sources):
        for j in range(sources):
            found = np.fft.irfft(spectra[i] * spectra[j].conj(), size)
            block = toeplitz(np.r_[found[0], found[-1:-TAPS:-1]], found[:TAPS])
            table[i * TAPS : (i + 1) * TAPS, j * TAPS : (j + 1) * TAPS] = block
    return table


def _cross(references: np.ndarray, estimate: np.ndarray, whole: int) -> np.ndarray:
    size = int(2 ** np.ceil(np.log2(whole)))
    spectra = np.fft.rfft(references, size)
    found = np.fft.irfft(spectra * np.fft.rfft(estimate, size).conj(), size)
    return np.concatenate([np.r_[one[0], one[-1:-TAPS:-1]] for one in found])


def _filtered(references: np.ndarray, correlations: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """The nearest that the sources can come through filters.  N + TAPS - 1"""
    try:
        filters = solve(correlations, cross, assume_a="sym")
    except np.linalg.LinAlgError:
        filters = np.linalg.lstsq(correlations, cross, rcond=None)[0]
    parts = filters.reshape(len(references), TAPS)
    found: np.ndarray = sum(
        fftconvolve(one, taps) for one, taps in zip(references, parts, strict=True)
    )  # type: ignore[assignment]
    return found


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
