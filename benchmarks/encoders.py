"""Images a second of lite: what it costs by size, other ways to compute it, and whole folders.

Sizes and ways are measured on one core. A way that needs a package or a compiler that is not there
is left out. Vectors of another way are compared with those of float32: the share of photos whose
nearest photo stays the same. With --peers, a folder of photos becomes vectors beside timm and
open_clip on all cores, decoding included.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import fallow
from benchmarks.peer import Peer
from benchmarks.photos import PHOTOS, extract, squares
from benchmarks.record import Line, alternate, cores, line, most_held
from fallow.encoders import Encoder, export_onnx

ALONE = True
SIZES = (96, 112, 128, 160, 192, 224)
BATCH = 16
WHOLE = 64  # batch where a whole folder is looked at
Way = Callable[[Tensor], Any]  # B 3 S S uint8 -> B D


def run(data: Path, python: str | None, quick: bool) -> list[Line]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        lines = [*sizes(data, quick), *ways(data, quick)]
    finally:
        torch.set_num_threads(threads)
    if python is None:
        print("timm and open_clip: no --peers, left out")
        return lines
    return [*lines, *folders(data, python, quick)]


def folders(data: Path, python: str, quick: bool) -> Iterator[Line]:
    """From files to vectors on all cores: the same network, batch and input size on both sides."""
    lite = fallow.encoder("lite")
    with tempfile.TemporaryDirectory() as folder:
        count = extract(data, PHOTOS, Path(folder), 64 if quick else None)

        def ours() -> float:
            images = fallow.open(folder)
            begin = time.perf_counter()
            lite.embed(images, batch=WHOLE)
            return count / (time.perf_counter() - begin)

        ours()
        for kind in ("timm", "open_clip"):
            for fast, how in ((False, "its defaults"), (True, "bf16 and channels last")):
                with Peer(python, "embedding.py") as peer:
                    peer.ask(
                        do="prepare", kind=kind, folder=folder, size=lite.size, batch=WHOLE,
                        workers=cores(), threads=cores(), fast=fast,
                    )  # fmt: skip
                    pairs = alternate(
                        ours, lambda peer=peer: peer.ask(do="embed")["rate"], 1 if quick else 3
                    )
                    version = dict(zip(("timm", "open_clip"), peer.version.split(), strict=True))
                yield line(
                    f"embed {count:,} photos, {lite.size} px, images/s on all cores",
                    f"{kind}, {how}", version[kind], pairs, 1.5, most_held(),
                )  # fmt: skip


def sizes(data: Path, quick: bool) -> Iterator[Line]:
    """Every size of lite, beside tiny."""
    tiny = fallow.encoder("tiny")
    theirs = rate(plain_call(tiny), pixels(data, tiny.size, quick))
    for size in SIZES[:1] if quick else SIZES:
        lite = fallow.encoder("lite", size=size)
        ours = rate(plain_call(lite), pixels(data, size, quick))
        pairs = alternate(ours, theirs, repeats(quick))
        yield line(f"lite, {size} px, images/s on one core", "tiny", "", pairs, None, most_held())


def ways(data: Path, quick: bool) -> Iterator[Line]:
    """lite at its own size as it is, beside other ways to compute the same network."""
    lite = fallow.encoder("lite")
    photos = pixels(data, lite.size, quick)
    ours = rate(plain_call(lite), photos)
    exact = table(unfolded(lite), photos)
    kept = same_nearest(table(plain_call(lite), photos), exact)
    with tempfile.TemporaryDirectory() as folder:
        for name, make in OTHERS.items():
            way = make(lite, Path(folder), photos)
            if way is None:
                print(f"{name}: not to be had here")
                continue
            pairs = alternate(ours, rate(way, photos), repeats(quick))
            yield line(f"lite, {lite.size} px, images/s on one core", name, "", pairs, None)
            shares = [(kept, same_nearest(table(way, photos), exact))]
            yield line("lite, nearest photo as in float32, share", name, "", shares, None)


def repeats(quick: bool) -> int:
    return 1 if quick else 5


def pixels(data: Path, size: int, quick: bool) -> Tensor:
    """Photos, N 3 S S uint8."""
    taken = squares(data, size, 2 * BATCH if quick else 8 * BATCH)
    return torch.from_numpy(taken).permute(0, 3, 1, 2)


def rate(way: Way, photos: Tensor) -> Callable[[], float]:
    """A function that looks at all photos once: images/s."""

    def once() -> float:
        begin = time.perf_counter()
        for part in photos.split(BATCH):
            way(part)
        return len(photos) / (time.perf_counter() - begin)

    once()
    return once


def table(way: Way, photos: Tensor) -> np.ndarray:
    return np.concatenate([np.asarray(way(part)) for part in photos.split(BATCH)])


def same_nearest(vectors: np.ndarray, exact: np.ndarray) -> float:
    """Share of rows whose nearest other row is the same in both tables.

    >>> same_nearest(np.eye(3), np.eye(3))
    1.0
    """
    nearest = []
    for rows in (vectors, exact):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        likeness = unit @ unit.T
        np.fill_diagonal(likeness, -np.inf)
        nearest.append(likeness.argmax(1))
    return float((nearest[0] == nearest[1]).mean())


def plain_call(encoder: Encoder) -> Way:
    """As every verb asks it."""

    def look(part: Tensor) -> Tensor:
        with torch.inference_mode():
            return encoder(encoder.preprocessing.normalise(part))

    return look


def unfolded(encoder: Encoder, *_: Any) -> Way:
    """In float32, with batch norms of their own."""

    def look(part: Tensor) -> Tensor:
        return encoder(encoder.preprocessing.normalise(part)).detach()

    return look


def compiled(encoder: Encoder, *_: Any) -> Way | None:
    if not shutil.which("g++"):
        return None
    network = torch.compile(encoder)

    def look(part: Tensor) -> Tensor:
        with torch.inference_mode():
            return network(encoder.preprocessing.normalise(part))

    return look


def onnx(encoder: Encoder, folder: Path, *_: Any) -> Way | None:
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    return _session(encoder, export_onnx(encoder, folder / "lite.onnx"))


def onnx_int8(encoder: Encoder, folder: Path, photos: Tensor) -> Way | None:
    """Weights and activations in 8 bits, their ranges from some photos."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Some(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(photos[: 2 * BATCH].split(BATCH))

        def get_next(self) -> dict[str, np.ndarray] | None:
            part = next(self.left, None)
            if part is None:
                return None
            return {"images": encoder.preprocessing.normalise(part).numpy()}

    made = export_onnx(encoder, folder / "lite.onnx")
    quant_pre_process(str(made), str(folder / "shaped.onnx"), skip_symbolic_shape=True)
    target = folder / "int8.onnx"
    quantize_static(
        str(folder / "shaped.onnx"), str(target), Some(), QuantFormat.QDQ, per_channel=True
    )
    return _session(encoder, target)


def _session(encoder: Encoder, path: Path) -> Way:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])

    def look(part: Tensor) -> np.ndarray:
        return session.run(None, {"images": encoder.preprocessing.normalise(part).numpy()})[0]

    return look


def openvino(encoder: Encoder, folder: Path, *_: Any) -> Way | None:
    if importlib.util.find_spec("openvino") is None:
        return None
    import openvino as runtime

    model = runtime.Core().compile_model(
        str(export_onnx(encoder, folder / "lite.onnx")), "CPU", {"INFERENCE_NUM_THREADS": 1}
    )

    def look(part: Tensor) -> np.ndarray:
        return model(encoder.preprocessing.normalise(part).numpy())[0]

    return look


OTHERS: dict[str, Callable[[Encoder, Path, Tensor], Way | None]] = {
    "torch, float32, norms apart": unfolded,
    "torch.compile": compiled,
    "onnxruntime, float32": onnx,
    "onnxruntime, int8": onnx_int8,
    "OpenVINO": openvino,
}
