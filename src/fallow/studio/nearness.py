"""What is like what: neighbours, search by a picture that is sent, search by words."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Literal, NamedTuple

import numpy as np

from fallow.images.decode import Unreadable, decode
from fallow.inventory import store
from fallow.problems import Problem, SettingProblem
from fallow.studio.opening import Opened
from fallow.vectors import space

BATCH = 256  # pictures between two words on how far it is
SIDE = 256  # what an encoder is given of a picture
State = Literal["none", "looking", "ready", "failed"]


class Found(NamedTuple):
    """Rows by likeness, the most alike first."""

    rows: np.ndarray
    likeness: np.ndarray  # cosine


class Look:
    """A long look at all pictures in a thread of its own; asked for once, kept afterwards."""

    def __init__(self, work: Callable[[Callable[[int], None]], np.ndarray]) -> None:
        self.work = work
        self.state: State = "none"
        self.done = 0
        self.problem = ""
        self.vectors: np.ndarray | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin, unless it has begun."""
        with self._lock:
            if self.state in ("looking", "ready"):
                return
            self.state, self.done, self.problem = "looking", 0, ""
        threading.Thread(target=self._run, name="fallow-look", daemon=True).start()

    def _run(self) -> None:
        try:
            self.vectors = self.work(self._at)
            self.state = "ready"
        except Problem as error:
            self.problem, self.state = str(error), "failed"
        except Exception as error:  # the page must not wait for ever, whatever an encoder raises
            self.problem, self.state = f"the look was broken off: {error}", "failed"

    def _at(self, done: int) -> None:
        self.done = done


class Nearness:
    """Vectors of a desk's pictures: those of its run, or those of a look that somebody asked for.

    >>> from fallow.images.samples import shapes
    >>> from fallow.studio.opening import opened
    >>> Nearness(opened(shapes(2, side=16))).pictures.state
    'none'
    """

    def __init__(self, desk: Opened, encoder: Any = None, words: Any = None) -> None:
        self.desk, self.asked, self.words_from = desk, encoder, words
        self.pictures, self.words = Look(self._look), Look(self._look_with_words)
        self._lock = threading.Lock()
        self._encoder: Any = None
        self._space: space.Space | None = None
        self._dual: Any = None
        if desk.vectors is not None:
            self.pictures.vectors, self.pictures.state = desk.vectors, "ready"

    def like_row(self, row: int, count: int) -> Found:
        """The pictures most like one of the collection, itself left out."""
        row, vectors = self.desk.row(row), self._ready(self.pictures)
        return _nearest(vectors, vectors[row], count, leave_out=row)

    def like_bytes(self, data: bytes, count: int) -> Found:
        """The pictures most like one that is sent."""
        vectors = self._ready(self.pictures)
        try:
            pixels = decode(data, SIDE)
        except Unreadable as error:
            raise SettingProblem(f"this picture cannot be used: {error}") from error
        with self._lock:  # one at a time: an encoder takes all cores
            encoder, place = self._how()
            blocks = [encoder.embed([pixels])]
            if len(place.centres) > 1:
                from fallow.inventory.statistics import describe

                blocks.append(describe(pixels).statistics[None])
            query = place.place(*blocks)[0]
        return _nearest(vectors, query, count)

    def like_words(self, text: str, count: int) -> Found:
        """The pictures nearest to some words."""
        if not text.strip():
            raise SettingProblem("say in words what the pictures should show")
        vectors = self._ready(self.words)
        with self._lock:
            query = self._dual.embed_texts([text], normalise=True)[0]
        return _nearest(vectors, query, count)

    def _ready(self, look: Look) -> np.ndarray:
        if look.vectors is None:
            raise SettingProblem("the pictures have not been looked at yet: start that first")
        return look.vectors

    def _how(self) -> tuple[Any, space.Space]:
        """The encoder and the space that the vectors came from."""
        if self._space is None:
            self._encoder, self._space = self._as_in_run()
        return self._encoder, self._space

    def _as_in_run(self) -> tuple[Any, space.Space]:
        """As explore saw them: its encoder, and the space fitted to its own vectors again."""
        from fallow.encoders import encoder
        from fallow.studio import runs_read

        run, findings = self.desk.run, self.desk.findings
        assert run is not None  # vectors that no look made are a run's
        about, seed = findings.get("encoder", {}), findings.get("settings", {}).get("seed", 0)
        found = self.asked or encoder(str(about.get("name", "")))
        if store.encoder_key(found) != runs_read.encoder_key(run):
            raise SettingProblem(
                f"the run was made with other weights of {about.get('name')}: run explore again"
            )
        names = ["embedding", "statistics"] if about.get("note") else ["embedding"]
        kept = runs_read.columns(run, names)
        return found, space.fit(*(store.rows_of(kept.column(name)) for name in names), seed=seed)

    def _look(self, at: Callable[[int], None]) -> np.ndarray:
        """Encode every picture, and fit a space to what was seen; kept in the cache."""
        from fallow.encoders import chosen_encoder
        from fallow.regions.keep import kept, stage, weights

        images = self._images()
        encoder, _ = chosen_encoder(self.asked)
        about = {"encoder": weights(encoder), "preprocessing": asdict(encoder.preprocessing)}
        folder = stage("vectors of pictures", {**about, "images": images.fingerprint})

        def embed() -> np.ndarray:
            parts = []
            for start in range(0, len(images), BATCH):
                at(start)
                some = np.arange(start, min(start + BATCH, len(images)))
                parts.append(encoder.embed(images.select(some)))
            return np.concatenate(parts)

        raw = kept(folder, "vectors", embed)
        seen = np.isfinite(raw).all(axis=1)
        if not seen.any():
            raise SettingProblem("none of the pictures can be decoded")
        place = space.fit(raw[seen])
        vectors = np.full((len(raw), place.components.shape[1]), np.nan, np.float32)
        vectors[seen] = place.place(raw[seen])
        self._encoder, self._space = encoder, place
        return self._by_row(vectors)

    def _look_with_words(self, at: Callable[[int], None]) -> np.ndarray:
        from fallow.encoders.dual import dual_encoder
        from fallow.parts.embeddings import picture_vectors

        if self.words_from is None:
            raise SettingProblem("search by words needs a run of align: start with --words RUN")
        self._dual = dual_encoder(self.words_from)
        return self._by_row(picture_vectors(self._dual, self._images(), normalise=True))

    def _images(self) -> Any:
        if self.desk.images is None:
            raise SettingProblem("the pictures are not here: open the run with --pictures FOLDER")
        return self.desk.images

    def _by_row(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors of the source's rows as those of the desk's; NaN where a picture is gone."""
        if self.desk.rows is None:
            return vectors
        return np.where(self.desk.rows[:, None] >= 0, vectors[self.desk.rows], np.nan)


def _nearest(vectors: np.ndarray, query: np.ndarray, count: int, leave_out: int = -1) -> Found:
    likeness = vectors @ query
    readable = np.flatnonzero(np.isfinite(likeness))
    readable = readable[readable != leave_out]
    order = readable[np.argsort(-likeness[readable], kind="stable")][:count]
    return Found(order, likeness[order])


def pairs(found: Found) -> tuple[Sequence[int], Sequence[float]]:
    """As JSON holds them.

    >>> pairs(Found(np.array([3]), np.array([0.123456])))
    ([3], [0.1235])
    """
    return found.rows.tolist(), [round(float(one), 4) for one in found.likeness]
