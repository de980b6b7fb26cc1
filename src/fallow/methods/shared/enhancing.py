"""Running somebody's enhancer: a Python callable, a command, or a folder of finished pictures.

Whatever goes wrong with it (it crashes, hangs, gives another size) ends in one sentence.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fallow.images.decode import Unreadable, decode
from fallow.methods.shared.enhancers import ENHANCERS
from fallow.problems import Problem, SettingProblem, did_you_mean

SECONDS = 60.0
Enhancer = Callable[[str, np.ndarray], np.ndarray]  # a picture's name and pixels
ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp")


class EnhancerProblem(Problem):
    """The enhancer fails; the message names it and the picture."""


def enhancer(what: Any, seconds: float = SECONDS) -> Enhancer:
    """An enhancer from a callable, a command with {input} and {output}, a folder, or a name.

    >>> enhancer("gamma")("a.png", np.zeros((4, 4, 3), np.uint8)).shape
    (4, 4, 3)
    """
    if seconds <= 0:
        raise SettingProblem(f"a time limit lies above 0 seconds, not {seconds}")
    if callable(what):
        return of_function(what, seconds)
    if isinstance(what, os.PathLike) or (isinstance(what, str) and Path(what).is_dir()):
        return of_folder(what)
    if what in ENHANCERS:
        return of_function(ENHANCERS[what], seconds)
    if isinstance(what, str) and "{input}" in what and "{output}" in what:
        return of_command(what, seconds)
    raise SettingProblem(
        f"{what} is no enhancer: {did_you_mean(str(what), ENHANCERS)}; or give a folder of "
        'enhanced pictures, or a command such as "denoise {input} {output}"'
    )


def of_function(function: Callable[[np.ndarray], Any], seconds: float = SECONDS) -> Enhancer:
    """A callable from pixels to pixels (H W 3, uint8), stopped being waited for after a while."""
    called = getattr(function, "__name__", type(function).__name__)

    def run(name: str, pixels: np.ndarray) -> np.ndarray:
        answer: list[Any] = []

        def work() -> None:
            try:
                answer.append(function(pixels.copy()))
            except BaseException as error:  # whatever somebody else's code throws
                answer.append(error)

        thread = threading.Thread(target=work, daemon=True, name=f"enhance {name}")
        thread.start()
        thread.join(seconds)
        if not answer:
            raise EnhancerProblem(f"{called} has not finished {name} within {seconds:g} seconds")
        if isinstance(answer[0], BaseException):
            words = " ".join(str(answer[0]).split()) or type(answer[0]).__name__
            raise EnhancerProblem(f"{called} fails at {name}: {words}")
        return as_pixels(answer[0], called, name)

    return run


def of_command(command: str, seconds: float = SECONDS) -> Enhancer:
    """A command run once a picture, without a shell; {input} and {output} are PNG files."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SettingProblem(f"the command {command} cannot be taken apart: {error}") from error
    if not words or not all(
        any(mark in word for word in words) for mark in ("{input}", "{output}")
    ):
        raise SettingProblem("a command names {input} and {output}, the files to read and to write")

    def run(name: str, pixels: np.ndarray) -> np.ndarray:
        from PIL import Image

        with tempfile.TemporaryDirectory(prefix="fallow-enhance-") as folder:
            source, target = Path(folder) / "input.png", Path(folder) / "output.png"
            Image.fromarray(pixels).save(source)
            filled = [
                word.replace("{input}", str(source)).replace("{output}", str(target))
                for word in words
            ]
            _run(filled, words[0], name, seconds)
            if not target.is_file():
                raise EnhancerProblem(f"{words[0]} has written nothing for {name}")
            try:
                return as_pixels(decode(target.read_bytes()), words[0], name)
            except Unreadable as error:
                raise EnhancerProblem(
                    f"what {words[0]} has written for {name} cannot be read: {error}"
                ) from error

    return run


def _run(filled: list[str], called: str, name: str, seconds: float) -> None:
    try:
        process = subprocess.Popen(
            filled,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise EnhancerProblem(f"{called} cannot be started: {error.strerror}") from error
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise EnhancerProblem(
            f"{called} has not finished {name} within {seconds:g} seconds"
        ) from None
    finally:
        _stop(process)
    if process.returncode:
        lines = errors.decode("utf-8", "replace").strip().splitlines()
        why = f": {lines[-1][:200]}" if lines else ""
        raise EnhancerProblem(f"{called} fails at {name} (exit status {process.returncode}){why}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it has started, if it still runs."""
    if process.poll() is None:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def of_folder(folder: str | os.PathLike[str]) -> Enhancer:
    """Pictures somebody has enhanced already: those whose names, without ending, are the same."""
    root = Path(folder)
    if not root.is_dir():
        raise SettingProblem(f"there is no folder {folder}")
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in ENDINGS:
            continue
        stem = path.relative_to(root).with_suffix("").as_posix()
        if stem in found:
            raise EnhancerProblem(
                f"{root.name} holds {found[stem].name} and {path.name}: names must differ by more "
                "than their ending"
            )
        found[stem] = path
    if not found:
        raise EnhancerProblem(f"there are no pictures in {folder}")

    def run(name: str, pixels: np.ndarray) -> np.ndarray:
        path = found.get(PurePosixPath(name).with_suffix("").as_posix())
        path = path or found.get(PurePosixPath(name).stem)
        if path is None:
            raise EnhancerProblem(f"{root.name} has no enhanced picture of {name}")
        try:
            return as_pixels(decode(path.read_bytes()), root.name, name)
        except Unreadable as error:
            raise EnhancerProblem(f"{path.name} in {root.name} cannot be read: {error}") from error

    return run


def as_pixels(answer: Any, called: str, name: str) -> np.ndarray:
    """What an enhancer has given as uint8 of three colours, or what is wrong with it.

    >>> as_pixels(np.full((2, 2), 0.5), "mine", "a.png")[0, 0].tolist()
    [128, 128, 128]
    """
    try:
        values = np.asarray(answer)
    except Exception as error:
        raise EnhancerProblem(f"{called} gives no pixels for {name}: {error}") from error
    if values.ndim == 2:
        values = values[..., None].repeat(3, 2)
    if values.ndim != 3 or values.shape[2] != 3 or values.dtype.kind not in "buif":
        kind = type(answer).__name__ if values.ndim == 0 else f"{values.dtype} {values.shape}"
        raise EnhancerProblem(f"{called} gives no picture for {name} but {kind}")
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise EnhancerProblem(f"{called} gives values that are not numbers for {name}")
        if values.max(initial=0) <= 1:
            values = values * 255
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def enhanced(
    run: Enhancer, pictures: Iterable[tuple[str, np.ndarray]], times: int = 1
) -> Iterator[np.ndarray]:
    """Every picture enhanced; its sides must be those of the original, or `times` as long.

    >>> pictures = [("a.png", np.zeros((4, 6, 3), np.uint8))]
    >>> next(enhanced(enhancer("none"), pictures)).shape
    (4, 6, 3)
    """
    for name, pixels in pictures:
        made = run(name, pixels)
        height, width = (side * times for side in pixels.shape[:2])
        if made.shape[:2] != (height, width):
            hint = ": say so with scale" if times == 1 else ""
            raise EnhancerProblem(
                f"the enhanced {name} has {made.shape[1]} x {made.shape[0]} pixels instead of "
                f"{width} x {height}{hint}"
            )
        yield made
