"""Encoders by name: built-in networks, hubs, saved ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fallow.device import best_device
from fallow.encoders import hub, hub_timm
from fallow.encoders import lite as lites
from fallow.encoders.base import Encoder, Preprocessing
from fallow.encoders.building import build, check_options, is_built_in
from fallow.encoders.saving import load
from fallow.problems import Problem, SettingProblem

UNTRAINED = "The encoder is untrained: likeness here means colour, texture and layout, not meaning."
_TINY = Path(__file__).parent / "tiny"


def encoder(
    name: str,
    *,
    seed: int = 0,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    **options: Any,
) -> Encoder:
    """An encoder by name, or a saved one by its path.

    From random, the same for the same seed: "resnet8", "resnet14", "resnet18", "resnet34" and
    "resnet50", narrower as "resnet18/32" and for small images as "resnet18:small" (what a size
    up to 64 means anyway); "vit-pico", "vit-nano", "vit-tiny", "vit-small" and "vit-base" with
    their patch, as "vit-tiny/4"; "unet" and "vnet" to segment with, as "unet/16"; and "untrained",
    a quick one whose random features are of some use.
    With weights: "tiny"; "lite" with the extra `weights`, or the larger "lite1" and "lite2" with
    extras of their names; "hf:NAME"; "timm:NAME". `size`, `mean` and `std` change the input.

    >>> import numpy as np
    >>> encoder("resnet8/16").embed(np.zeros((2, 40, 50, 3), np.uint8)).shape
    (2, 64)
    """
    if name == "tiny":
        if not (_TINY / "model.safetensors").is_file():
            raise Problem(
                "the weights of the encoder tiny are not shipped in this version of fallow; "
                'use "untrained" or, with a network, "hf:facebook/dinov2-small".'
            )
        found = load(_TINY)
    elif name in lites.WEIGHTS:
        check_options(options, [], name)
        found = lites.pretrained(name, size)
    elif name.startswith("hf:"):
        found = hub.hugging_face(name[3:], size=size, mean=mean, std=std, **options)
    elif name.startswith("timm:"):
        found = hub_timm.timm(name[5:], **options)
    elif folder := _saved_folder(name):
        check_options(options, ["size", "mean", "std"], name)
        found = load(folder)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network, side = build(name, options, size)
        found = Encoder(
            network.eval() if name == "untrained" else network,
            name=name,
            preprocessing=Preprocessing(side, side),
            options={**options, "size": side},
            provenance={"weights": f"random, seed {seed}"},
        )
    return _with_input(found, size, mean, std)


def default() -> tuple[Encoder, str]:
    """What no encoder asked for means: lite where its weights are installed, else tiny; and why.

    The environment variable FALLOW_ENCODER names another.
    No look at the images decides: lite was the better one on every kind of them, drawings and
    cells among them (docs/encoders.md).

    >>> found, why = default()
    >>> why.startswith(found.name)
    True
    """
    if named := os.environ.get("FALLOW_ENCODER"):
        return encoder(named), f"{named}: FALLOW_ENCODER says so"
    if lites.installed("lite"):
        return encoder("lite"), "lite; it knows more than tiny and takes about three times as long"
    return encoder("tiny"), 'tiny; lite knows more: pip install "fallow[weights]"'


def _with_input(
    found: Encoder,
    size: int | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Encoder:
    before = found.preprocessing
    changes: dict[str, Any] = {}
    if size is not None and size != before.size:
        # the same share of the image stays in view
        changes |= {"size": size, "short": round(before.short * size / before.size)}
    for key, value in (("mean", mean), ("std", std)):
        if value is not None:
            if len(value) != 3:
                raise SettingProblem(f"{key} is three numbers, one per colour, not {value!r}.")
            changes[key] = tuple(float(v) for v in value)
    found.preprocessing = replace(before, **changes)
    return found


def _saved_folder(name: str) -> Path | None:
    """The folder of a saved encoder: the path itself, or `encoder` in the folder of a run."""
    path = Path(name).expanduser()
    if "/" not in name and "\\" not in name and (is_built_in(name) or not path.exists()):
        return None
    for folder in (path, path / "encoder"):
        if (folder / "encoder.json").is_file():
            return folder
    if (path / "config.json").is_file():
        raise Problem(f"{name} is a model of transformers: write hf:{name} to load it.")
    if path.exists():
        raise Problem(f"{name} holds no saved encoder: an encoder.json is missing there.")
    return None


def from_random(name: str) -> bool:
    """Whether a name stands for weights that nothing was learnt with yet.

    >>> from_random("resnet18/32"), from_random("tiny"), from_random("hf:facebook/dinov2-small")
    (True, False, False)
    """
    return is_built_in(name) and _saved_folder(name) is None


def chosen_encoder(asked: Any = None) -> tuple[Any, str]:
    """The encoder asked for, or the default, and a sentence to print with its findings, if any."""
    if asked is None:
        return default()[0].to(best_device()), ""
    if not isinstance(asked, str):
        return asked, ""
    return encoder(asked).to(best_device()), UNTRAINED if from_random(asked) else ""
