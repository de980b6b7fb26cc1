"""What `develop` works with: files that are read one by one, and the ways to make pictures of them.

A way takes what one file holds and gives what is shown before, what is shown after, and what is
written: a picture of 8 bits, or a raw frame.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fallow.files import fingerprint
from fallow.images import Images
from fallow.measure.darkness import histogram
from fallow.methods import budget, settle
from fallow.methods.develop import day2night
from fallow.methods.develop.lightisp import LightISP
from fallow.methods.develop.rawformer import Rawformer, exposure_gap
from fallow.methods.shared.camera import Trained, train
from fallow.methods.shared.nights import matched
from fallow.methods.shared.pipeline import must_fit
from fallow.problems import Problem, SourceProblem
from fallow.raw.develop import Look, developed, developed_16
from fallow.raw.reading import raw_files, read
from fallow.raw.sensor import Raw, must_show
from fallow.raw.sixteen import eight_of, srgb_profile
from fallow.raw.tiff import exif_of
from fallow.train.method import make_settings

PHOTOS = 300  # of a folder to look like, drawn at random if there are more
SIDE = 720  # their short sides, if they are larger
MINUTES = 10.0
GAP = 1.5  # times brighter, from which two piles of raw differ by more than their cameras


@dataclass(frozen=True)
class Made:
    """What has become of one file."""

    before: np.ndarray  # H W 3 uint8
    after: np.ndarray
    kept: np.ndarray | Raw  # what is written, with 8 or 16 bits


@dataclass
class Way:
    """How files are developed: the work, what was learnt for it, and what to say about it."""

    work: Callable[[Any], Made]
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    trained: Trained | None = None
    learnt: dict[str, Any] = field(default_factory=dict)  # file names, and what writes each


# --- files ---


@dataclass(frozen=True)
class File:
    """One file of a source: its name below it, and what opens it."""

    name: str
    open: Callable[[], Any]
    tags: Callable[[], tuple[bytes, bytes]] = lambda: (b"", b"")  # ICC and EXIF of what is made


def raw_sources(source: Any) -> list[File]:
    """The raw files of a folder, or the one file."""
    place = Path(source)
    root = place if place.is_dir() else place.parent
    return [
        File(
            path.relative_to(root).as_posix(),
            partial(read, path),
            lambda path=path: (srgb_profile(), exif_of(path)),  # type: ignore[misc]
        )
        for path in raw_files(place)
    ]


def photo_sources(images: Images) -> list[File]:
    """Pictures of a collection, upright, as uint8."""
    return [
        File(name, partial(images.read, row), partial(images.tags, row))
        for row, name in enumerate(images.column("id").tolist())
    ]


def usable_frames(files: Sequence[File]) -> list[Raw]:
    """Frames that can be learnt from; the others show their problems when they are developed."""
    frames, problems = [], []
    for file in files:
        try:
            frame = file.open()
            must_show(frame)
            frames.append(frame)
        except Problem as problem:  # noqa: PERF203 (one bad file stops nothing)
            problems.append(str(problem))
    if not frames:
        first = f" The first: {problems[0]}" if problems else ""
        raise SourceProblem(f"none of {len(files)} raw files can be used.{first}")
    return frames


def one_sensor(frames: Sequence[Raw]) -> tuple[list[Raw], list[str]]:
    """The frames whose levels most of them have, and a note where others were left out.

    What is learnt is bound to a sensor: frames of others would only mix it up.

    >>> from fallow.raw.sensor import sensor
    >>> frames = [Raw(np.zeros((2, 2), np.uint16), sensor("RGGB", 0, v)) for v in (9, 8, 9)]
    >>> len(one_sensor(frames)[0]), len(one_sensor(frames)[1])
    (2, 1)
    """
    levels = [(raw.sensor.camera, *np.ravel(raw.sensor.black), raw.sensor.white) for raw in frames]
    most = Counter(levels).most_common(1)[0][0]
    kept = [raw for raw, own in zip(frames, levels, strict=True) if own == most]
    left = len(frames) - len(kept)
    notes = [f"{left:,} files of other sensors were not learnt from."] if left else []
    return kept, notes


def photos_of(images: Images, seed: int) -> list[np.ndarray]:
    """Photos to look like: no more than are needed, none larger than needed."""
    some = images.sample(PHOTOS, seed) if len(images) > PHOTOS else images
    return [pixels for _, pixels in some.map(np.asarray, SIDE) if isinstance(pixels, np.ndarray)]


def each_made(files: Sequence[File], way: Way) -> Iterator[tuple[File, Made | Problem]]:
    """Every file in turn; one that cannot be developed yields its problem."""
    for file in files:
        try:
            yield file, way.work(file.open())
        except Problem as problem:  # noqa: PERF203 (one bad file stops nothing)
            yield file, problem


# --- ways ---


def shown(raw: Raw) -> np.ndarray:
    """A frame for the eye: developed plainly, in the camera's own colours where it names none."""
    neutral = raw.sensor.neutral is not None
    gains = None if neutral else (1.6, 1.2, 1.4)
    matrix = None if raw.sensor.matrices else "camera"
    return developed(raw, Look(gains=gains, matrix=matrix))


def _kept(before: np.ndarray, pixels: np.ndarray) -> Made:
    """What is shown of 16 bits is taken from them: a frame is developed once."""
    return Made(before, eight_of(pixels) if pixels.dtype == np.uint16 else pixels, pixels)


def plainly(given: Mapping[str, Any], bits: int = 8) -> Way:
    """With levels, white balance, Malvar's demosaicking, the camera's matrix and sRGB's curve.

    Of a camera that names no matrix its own colours stay, and a note says so.
    """
    look = Look(**given)
    way = Way(lambda raw: made(raw), {"method": "plain"})

    def made(raw: Raw) -> Made:
        must_show(raw)
        how = look
        if look.matrix is None and not raw.sensor.matrices:
            how = replace(look, matrix="camera")
            way.notes.append(f"{raw.name} names no colour matrix: it keeps the camera's colours.")
        unbalanced = developed(raw, Look(gains=(1.0, 1.0, 1.0), matrix="camera"))
        return _kept(unbalanced, developed(raw, how) if bits == 8 else developed_16(raw, how))

    return way


def like_photos(
    files: Sequence[File],
    photos: Images,
    given: Mapping[str, Any],
    *,
    bits: int = 8,
    seed: int,
    folder: Path | None,
    tell: Callable[[str], None],
    device: torch.device,
) -> Way:
    """By a pipeline that learns the photos' look from the files."""
    settings = make_settings(LightISP.Settings, dict(given))
    frames, notes = one_sensor(usable_frames(files))
    looks = photos_of(photos, seed)
    trainee = LightISP(frames, looks, settings, seed=seed, device=device)
    tell(f"learning from {len(frames):,} raw files and {len(trainee.photos):,} photos")
    who = _identity(frames, settings, seed, photos.fingerprint)
    run = train(
        trainee, steps=settings.steps, minutes=settings.minutes, folder=folder, tell=tell,
        identity=who,
    )  # fmt: skip
    isp = trainee.isp()

    def work(raw: Raw) -> Made:
        must_show(raw)
        must_fit(isp, raw)
        return _kept(shown(raw), isp.developed(raw) if bits == 8 else isp.developed_16(raw))

    facts = {"method": "lightisp", "network": settings.network, **isp.facts()}
    learnt = {"isp.safetensors": isp.save, "isp.onnx": isp.export}
    return Way(work, facts, notes, run, learnt)


def like_camera(
    files: Sequence[File],
    others: Sequence[File],
    given: Mapping[str, Any],
    *,
    seed: int,
    folder: Path | None,
    tell: Callable[[str], None],
    device: torch.device,
) -> Way:
    """By a translation into the raw of the camera that the other files are from."""
    settings = make_settings(Rawformer.Settings, dict(given))
    ours, notes = one_sensor(usable_frames(files))
    theirs, more = one_sensor(usable_frames(others))
    notes += more
    trainee = Rawformer(ours, theirs, settings, seed=seed, device=device)
    tell(f"learning from {len(ours):,} raw files and {len(theirs):,} of the other camera")
    steps = None if settings.steps is None else settings.steps + settings.pretrain
    who = _identity([*ours, *theirs], settings, seed, str(len(ours)))
    run = train(
        trainee, steps=steps, minutes=settings.minutes, folder=folder, tell=tell, identity=who
    )
    there, back = trainee.translation(0), trainee.translation(1)
    if (gap := exposure_gap(ours, theirs)) > GAP:
        notes.append(
            f"One pile is {gap:.1f} times brighter than the other: that is learnt as if the "
            "cameras differed. Use files of similar scenes and exposures."
        )
    if trainee.done <= settings.pretrain:
        notes.append(
            "The time went into filling in hidden patches, and nothing of the other camera was "
            "learnt: give more minutes, or fewer steps with pretrain."
        )

    def work(raw: Raw) -> Made:
        must_show(raw)
        made = there.translated(raw)
        return Made(shown(raw), shown(made), made)

    size = sum(one.numel() for one in there.network.parameters())
    learnt = {"there.safetensors": there.save, "back.safetensors": back.save}
    facts = {"method": "rawformer", "parameters": size}
    return Way(work, facts, notes, run, learnt)


def at_night(images: Images, nights: Images | None, given: Mapping[str, Any], *, seed: int) -> Way:
    """As nights made of day photos, about as dark as real ones where there are some."""
    settings = make_settings(day2night.Settings, dict(given))
    facts: dict[str, Any] = {"method": "day2night"}
    if nights is not None:
        days, dark = (
            photos_of(some.sample(min(len(some), 12), seed), seed) for some in (images, nights)
        )
        settings, away = matched(days, dark, settings, seed)
        facts |= {"distance of histograms": round(away, 4)}
        facts["real nights"] = histogram(dark).tolist()
    facts["settings"] = settings.model_dump()

    def work(pixels: np.ndarray) -> Made:
        made = day2night.night_of_photo(pixels, settings, seed)
        return Made(pixels, made.noisy, made.noisy)

    return Way(work, facts)


def settled(
    method: str, settings: Mapping[str, Any] | None, preset: str | None, minutes: float | None
) -> dict[str, Any]:
    """Settings of a system, with a budget where it is trained.

    >>> settled("lightisp", {"batch": 2}, None, None)
    {'batch': 2, 'minutes': 10.0}
    >>> settled("plain", {"exposure": 2.0}, None, None)
    {'exposure': 2.0}
    """
    if method == "plain":
        known = Look.__dataclass_fields__
        for name in settings or {}:
            if name not in known:
                raise Problem(f"there is no setting {name!r} to develop with: {', '.join(known)}.")
        return dict(settings or {})
    given = settle("develop", method, settings, preset)
    if method == "day2night":
        return given
    if minutes is None and "steps" in given:
        return given
    given = {name: value for name, value in given.items() if name != "steps"}
    return budget(given, minutes, None, MINUTES)


def _identity(frames: Sequence[Raw], settings: Any, seed: int, more: str) -> str:
    seen = "".join(fingerprint(np.ascontiguousarray(one.mosaic).tobytes()) for one in frames)
    said = settings.model_dump_json(exclude={"steps", "minutes"})
    return fingerprint(f"{seen} {said} {seed} {more}".encode())
