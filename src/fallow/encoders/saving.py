"""Encoders on disk: model.safetensors, which any torch code loads, and encoder.json.

A last step that was fitted to a collection lies beside them, in whitening.safetensors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from fallow import __version__
from fallow.encoders.base import Encoder
from fallow.encoders.building import describe, rebuild
from fallow.encoders.whitening import Whitening
from fallow.files import atomic_write, fingerprint
from fallow.problems import Problem, SettingProblem, did_you_mean

WHITENING = "whitening.safetensors"
_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def save(encoder: Encoder, folder: str | Path, *, dtype: str = "float32") -> Path:
    """Write an encoder into a folder, which is made if needed, and return the folder.

    With `dtype` "bf16" or "fp16" matrices and kernels take half the space; vectors, such as the
    statistics of norms, stay as they are. The weights carry their public parameter names.

    >>> import tempfile
    >>> from fallow.encoders import encoder
    >>> folder = save(encoder("resnet8/16"), Path(tempfile.mkdtemp()) / "mine")
    >>> sorted(path.name for path in folder.iterdir())
    ['encoder.json', 'model.safetensors']
    """
    from safetensors.torch import save as to_bytes

    if dtype != "float32" and dtype not in _HALVES:
        known = ["float32", *_HALVES]
        raise SettingProblem(f"no dtype {dtype!r} to save in; {did_you_mean(dtype, known)}")
    state = {}
    for key, value in encoder.plain.state_dict().items():
        value = value.detach().cpu()
        if dtype in _HALVES and value.is_floating_point() and value.ndim > 1:
            value = value.to(_HALVES[dtype])
        state[key] = value.clone(memory_format=torch.contiguous_format)
    weights = to_bytes(state, metadata={"format": "pt"})
    description = describe(encoder) | {
        "weights": fingerprint(weights),
        "dtype": dtype,
        "fallow": __version__,
    }
    last = None
    if encoder.whitening is not None:
        held = encoder.whitening.state_dict()
        last = to_bytes({key: value.cpu().contiguous() for key, value in held.items()})
        description["whitening"] = fingerprint(last)
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / "model.safetensors") as file:
            file.write(weights)
        if last is not None:
            with atomic_write(folder / WHITENING) as file:
                file.write(last)
        with atomic_write(folder / "encoder.json") as file:
            file.write(json.dumps(description, indent=2).encode())
    except OSError as error:
        raise Problem(f"the encoder cannot be written to {folder}: {error.strerror}.") from error
    return folder


def load(folder: str | Path) -> Encoder:
    """The encoder `save` wrote; anything missing or altered is a Problem."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    folder = Path(folder)
    description = _description(folder)
    weights = _read_described(folder / "model.safetensors", description["weights"])
    last = None
    if "whitening" in description:
        last = _read_described(folder / WHITENING, description["whitening"])
    try:
        state = from_bytes(weights)
        encoder = rebuild(description)
        encoder.plain.load_state_dict(state)
        if last is not None:
            encoder.whitening = Whitening(**from_bytes(last))
    except (SafetensorError, KeyError, TypeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise Problem(f"the encoder in {folder} cannot be built again: {reason}") from error
    return encoder.eval()


def _read_described(path: Path, described: str) -> bytes:
    data = _read(path)
    if fingerprint(data) != described:
        raise Problem(
            f"{path} is damaged or not what encoder.json describes; save the encoder again."
        )
    return data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}.") from error


def _description(folder: Path) -> dict[str, Any]:
    path = folder / "encoder.json"
    needed = {"name", "options", "preprocessing", "provenance", "weights"}
    try:
        description = json.loads(_read(path))
    except ValueError as error:
        raise Problem(f"{path} is not readable JSON; save the encoder again.") from error
    if not isinstance(description, dict) or not needed <= description.keys():
        raise Problem(f"{path} does not describe an encoder; save the encoder again.")
    return description
