"""Video files frame by frame, and frames as a video file; through the extra `pose`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fallow.images.decode import PIXEL_LIMIT
from fallow.problems import MissingPackage, SourceProblem


class Film:
    """A video: `size`, `rate`, and its frames; `notes` says where it broke off, if it did."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        if not self.path.is_file():
            raise SourceProblem(f"there is no video {self.path}: check the name")
        with self._opened() as (_, stream):
            self.size = (int(stream.width), int(stream.height))
            self.rate = float(stream.average_rate or 25)
            self.said = int(stream.frames or 0)  # 0: the file does not say how many
        if not 0 < self.size[0] * self.size[1] <= PIXEL_LIMIT:
            raise SourceProblem(
                f"{self.path.name} has frames of {self.size[0]} x {self.size[1]} pixels, more than "
                f"{PIXEL_LIMIT:,}: make them smaller first"
            )

    def __iter__(self) -> Iterator[np.ndarray]:
        """Its frames, uint8 H W 3, as long as they can be read."""
        import av

        count, why = 0, ""
        with self._opened() as (container, stream):
            try:
                for frame in container.decode(stream):
                    if (frame.width, frame.height) != self.size:
                        why = "its frames change their size"
                        break
                    count += 1
                    yield frame.to_ndarray(format="rgb24")
            except av.FFmpegError as error:
                why = error.strerror or str(error)
        if not count:
            raise SourceProblem(f"no frame of {self.path.name} can be read: was the video cut off?")
        if why or count < self.said:
            of = f" of {self.said:,}" if self.said else ""
            self.notes.append(
                f"{self.path.name} breaks off after {count:,}{of} frames"
                + (f": {why}" if why else "")
            )

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        try:
            import av
        except ModuleNotFoundError:
            raise MissingPackage("av", "pose") from None
        try:
            container = av.open(str(self.path))
        except (av.FFmpegError, OSError) as error:
            said = error.strerror or str(error)
            raise SourceProblem(
                f"{self.path.name} cannot be read as video ({said}): was it cut off?"
            ) from error
        with container:
            if not container.streams.video:
                raise SourceProblem(f"{self.path.name} holds no pictures: give a video")
            yield container, container.streams.video[0]


class FilmWriter:
    """Frames as an MP4, there as a whole when the block ends well.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.mp4"
    >>> with FilmWriter(path, (32, 16), rate=10) as film:
    ...     film.add(np.zeros((16, 32, 3), np.uint8))
    >>> [frame.shape for frame in Film(path)]
    [(16, 32, 3)]
    """

    def __init__(self, path: Path, size: tuple[int, int], rate: float) -> None:
        try:
            import av
        except ModuleNotFoundError:
            raise MissingPackage("av", "pose") from None
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.part = path, path.with_name(f".{path.stem}.part.mp4")
        self.container = av.open(str(self.part), "w")
        kind = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        stream: Any = self.container.add_stream(kind, rate=Fraction(rate).limit_denominator(1001))
        # the usual colour format halves both sides: odd ones lose their last line
        stream.width, stream.height = (max(2, side // 2 * 2) for side in size)
        stream.pix_fmt = "yuv420p"
        self.stream = stream

    def add(self, pixels: np.ndarray) -> None:
        """One more frame, uint8 H W 3."""
        import av

        cut = np.ascontiguousarray(pixels[: self.stream.height, : self.stream.width])
        for packet in self.stream.encode(av.VideoFrame.from_ndarray(cut, format="rgb24")):
            self.container.mux(packet)

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(self, kind: Any, *rest: Any) -> None:
        try:
            if kind is None:
                for packet in self.stream.encode():
                    self.container.mux(packet)
            self.container.close()
            if kind is None:
                os.replace(self.part, self.path)
        finally:
            self.part.unlink(missing_ok=True)
