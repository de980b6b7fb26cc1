"""Arrays that take long to make, kept by what they are made from, so that a run can go on."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fallow.files import atomic_write, cache_dir, fingerprint

KEPT = "kept"  # in the cache


def stage(kind: str, about: Mapping[str, Any]) -> Path:
    """The cache's folder for one kind of thing made in one way; about.json says which."""
    told = json.dumps(dict(about), sort_keys=True, default=str, indent=1).encode()
    folder = cache_dir() / KEPT / kind / fingerprint(told)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "about.json").is_file():
        with atomic_write(folder / "about.json") as file:
            file.write(told)
    return folder


def kept(folder: Path, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The array kept under a name; made and kept if it is not there or is damaged.

    >>> import tempfile
    >>> folder, made = Path(tempfile.mkdtemp()), []
    >>> for _ in range(2):
    ...     array = kept(
    ...         folder, "one", lambda: np.arange(2 + len(made)) if not made.append(1) else 0
    ...     )
    >>> array.tolist(), len(made)
    ([0, 1, 2], 1)
    """
    path = folder / f"{name}.npz"
    try:
        with np.load(path, allow_pickle=False) as held:
            return held["array"]
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        path.unlink(missing_ok=True)
    array = make()
    with atomic_write(path) as file:
        np.savez_compressed(file, array=array)
    return array


def forget() -> int:
    """Delete everything kept; how many bytes that was."""
    root = cache_dir() / KEPT
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    shutil.rmtree(root, ignore_errors=True)
    return size


def weights(network: nn.Module) -> str:
    """A short name for a network's parameters and buffers: equal numbers, equal name.

    >>> weights(nn.Linear(1, 1)) == weights(nn.Linear(1, 1))
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def digest(*arrays: np.ndarray) -> str:
    """A short name for some arrays: equal numbers in equal shapes, equal name.

    >>> digest(np.zeros(2)) == digest(np.zeros(2)), digest(np.zeros(2)) == digest(np.zeros((2, 1)))
    (True, False)
    """
    told = hashlib.blake2b(digest_size=16)
    for array in arrays:
        told.update(f"{array.shape} {array.dtype}".encode())
        told.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return told.hexdigest()
