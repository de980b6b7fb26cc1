"""Encoders by name: built-in networks, hubs, saved ones."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fallow.encoders import resnet as resnets
from fallow.encoders import towers
from fallow.encoders import unet as unets
from fallow.encoders import vit as vits
from fallow.encoders.base import Encoder, Preprocessing
from fallow.encoders.moments import BUILT_IN, Moments, built_in
from fallow.problems import Problem, SettingProblem, did_you_mean

_TINY = Path(__file__).parent / "tiny"


def _parse(name: str) -> tuple[str, dict[str, Any]]:
    """Base name and what the name itself says: "resnet18/32:small" is width 32, small stem."""
    match = re.fullmatch(r"([a-z]+[a-z0-9-]*)(?:/(\d+))?(?::([a-z]+))?", name)
    base = match[1] if match else name
    if match and base in resnets.LAYOUTS:
        said = {"width": int(match[2]) if match[2] else None, "stem": match[3]}
    elif match and base in unets.NETWORKS and match[3] is None:
        said = {"width": int(match[2]) if match[2] else None}
    elif match and base in vits.LAYOUTS and match[3] is None:
        said = {"patch": int(match[2]) if match[2] else None}
    else:
        own = [*resnets.LAYOUTS, *vits.LAYOUTS, *unets.NETWORKS, *towers.NETWORKS]
        known = [*own, "untrained", "tiny"]
        raise SettingProblem(
            f"no encoder is called {name!r} and no saved one is there; "
            f"{did_you_mean(base, known)} Others are hf:NAME, timm:NAME or the path of a saved one."
        )
    return base, {key: value for key, value in said.items() if value is not None}


def _check(options: dict[str, Any], known: Iterable[str], name: str) -> None:
    for option in options:
        if option not in known:
            raise SettingProblem(
                f"the encoder {name} has no option {option!r}; {did_you_mean(option, known)}"
            )


def _build(name: str, options: dict[str, Any], size: int | None) -> tuple[nn.Module, int]:
    """A randomly initialised built-in network and its native size."""
    if name in BUILT_IN:
        _check(options, [], name)
        return built_in(name), size or Moments.size
    if name in towers.NETWORKS:
        _check(options, towers.OPTIONS, name)
        return towers.NETWORKS[name](size or 224, **options), size or 224
    base, said = _parse(name)
    build: Callable[..., nn.Module]
    if base in unets.NETWORKS:
        build = unets.NETWORKS[base]
        _check(options, set(inspect.signature(build).parameters), name)
        return build(**{**said, **options}), size or 64
    if base in resnets.LAYOUTS:
        build = resnets.resnet
        small = base in ("resnet8", "resnet14") or said.get("stem") == "small"
        size = size or (32 if small else 224)
        said.setdefault("stem", "small" if size <= 64 else "imagenet")
    else:
        build = vits.vit
        patch = {**said, **options}.get("patch", 16)
        size = size or (32 if patch <= 4 else 64 if patch <= 8 else 224)
        said["size"] = size
    _check(options, set(inspect.signature(build).parameters) - {"name", "size"}, name)
    return build(base, **{**said, **options}), size


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
    their patch, as "vit-tiny/4"; "unet" and "vnet" to segment with, as "unet/16"; "clip" and
    "siglip", whose sizes are options; and "untrained", a quick one whose features are of some use.
    With weights: "tiny", "hf:NAME", "timm:NAME". `size`, `mean` and `std` change the input.

    >>> import numpy as np
    >>> encoder("resnet8/16").embed(np.zeros((2, 40, 50, 3), np.uint8)).shape
    (2, 64)
    """
    from fallow.encoders import hub
    from fallow.encoders.saving import load

    if name == "tiny":
        if not (_TINY / "model.safetensors").is_file():
            raise Problem(
                "the weights of the encoder tiny are not shipped in this version of fallow; "
                'use "untrained" or, with a network, "hf:facebook/dinov2-small".'
            )
        found = load(_TINY)
    elif name.startswith("hf:"):
        found = hub.hugging_face(name[3:], size=size, mean=mean, std=std, **options)
    elif name.startswith("timm:"):
        found = hub.timm(name[5:], **options)
    elif folder := _saved_folder(name):
        _check(options, ["size", "mean", "std"], name)
        found = load(folder)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network, side = _build(name, options, size)
        found = Encoder(
            network.eval() if name == "untrained" else network,
            name=name,
            preprocessing=Preprocessing(side, side),
            options={**options, "size": side},
            provenance={"weights": f"random, seed {seed}"},
        )
    return _with_input(found, size, mean, std)


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
    if "/" not in name and "\\" not in name and (_is_built_in(name) or not path.exists()):
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
    return _is_built_in(name) and _saved_folder(name) is None


def _is_built_in(name: str) -> bool:
    base = re.split("[/:]", name)[0]
    known = (*resnets.LAYOUTS, *vits.LAYOUTS, *unets.NETWORKS, *towers.NETWORKS)
    return base in known or base == "untrained"


def describe(found: Encoder) -> dict[str, Any]:
    """What `encoder.json` says, all that is needed to build the encoder again."""
    return {
        "name": found.name,
        "options": found.options,
        "dimension": found.dimension,
        "preprocessing": asdict(found.preprocessing),
        "provenance": found.provenance,
    }


def rebuild(description: dict[str, Any]) -> Encoder:
    """The encoder of a description, before its weights are loaded."""
    from fallow.encoders import hub

    name, options = description["name"], dict(description["options"])
    if name.startswith("hf:"):
        network: nn.Module = hub.empty_hugging_face(options)
    elif name.startswith("timm:"):
        network = hub.empty_timm(options)
    else:
        network, _ = _build(
            name, {k: v for k, v in options.items() if k != "size"}, options["size"]
        )
    preprocessing = dict(description["preprocessing"])
    for key in ("mean", "std"):
        preprocessing[key] = tuple(preprocessing[key])
    return Encoder(
        network,
        name=name,
        preprocessing=Preprocessing(**preprocessing),
        options=options,
        provenance=description["provenance"],
    )
