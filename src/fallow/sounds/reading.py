"""Sound files and the sound of videos as samples of one channel, and samples as WAV files."""

from __future__ import annotations

import io
from math import gcd
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from fallow.files import atomic_write
from fallow.problems import MissingPackage, SourceProblem

SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")
VIDEOS = (".mp4", ".mpg", ".mpeg", ".mkv", ".webm", ".mov", ".avi", ".m4a", ".aac")


def read_sound(path: str | PathLike[str], rate: int = 16_000) -> np.ndarray:
    """Samples (N float32) at a rate, channels averaged; of videos their sound (extra sound)."""
    place = Path(path)
    if not place.is_file():
        raise SourceProblem(f"there is no recording {place}: check the name")
    ending = place.suffix.lower()
    if ending in SOUNDS:
        samples, own = _of_sound(place)
    elif ending in VIDEOS:
        samples, own = _of_video(place)
    else:
        known = ", ".join((*SOUNDS, *VIDEOS))
        raise SourceProblem(f"{place.name} is no recording that is known: {known}")
    if not len(samples):
        raise SourceProblem(f"{place.name} holds no sound")
    return resampled(samples, own, rate)


def _of_sound(place: Path) -> tuple[np.ndarray, int]:
    try:
        import soundfile
    except ModuleNotFoundError:
        raise MissingPackage("soundfile", "sound") from None
    try:
        samples, own = soundfile.read(str(place), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise SourceProblem(f"{place.name} cannot be read as sound: {error}") from error
    return samples.mean(1), int(own)


def _of_video(place: Path) -> tuple[np.ndarray, int]:
    try:
        import av
    except ModuleNotFoundError:
        raise MissingPackage("av", "sound") from None
    parts: list[np.ndarray] = []
    own = 0
    try:
        with av.open(str(place)) as opened:
            if not opened.streams.audio:
                raise SourceProblem(f"{place.name} has no sound")
            make = av.AudioResampler(format="fltp")
            for frame in opened.decode(audio=0):
                own = frame.sample_rate
                parts += [one.to_ndarray().mean(0) for one in make.resample(frame)]
    except av.FFmpegError as error:
        if not parts:
            raise SourceProblem(f"{place.name} cannot be read as video: {error}") from error
    return (np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32)), own


def resampled(samples: np.ndarray, own: int, rate: int) -> np.ndarray:
    """Samples at another rate.

    >>> resampled(np.zeros(100, np.float32), 100, 50).shape
    (50,)
    """
    if own == rate:
        return samples.astype(np.float32)
    from scipy.signal import resample_poly

    common = gcd(own, rate)
    found: np.ndarray = resample_poly(samples, rate // common, own // common).astype(np.float32)
    return found


def save_wav(path: str | PathLike[str], samples: np.ndarray, rate: int = 16_000) -> Path:
    """Samples in -1 ... 1 as a 16-bit WAV file, cut off where they are louder."""
    from scipy.io import wavfile

    file: Any = io.BytesIO()
    whole = np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16)
    wavfile.write(file, rate, whole)
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(place) as target:
        target.write(file.getvalue())
    return place
