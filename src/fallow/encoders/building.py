"""Networks by name, from random weights; and what is needed to build an encoder again."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from torch import nn

from fallow.encoders import hub, hub_timm, tower_shapes, towers
from fallow.encoders import lite as lites
from fallow.encoders import local as mixing
from fallow.encoders import resnet as resnets
from fallow.encoders import unet as unets
from fallow.encoders import vit as vits
from fallow.encoders.base import Encoder, Preprocessing
from fallow.encoders.moments import BUILT_IN, Moments, built_in
from fallow.problems import SettingProblem, did_you_mean

_NAMED = (*resnets.LAYOUTS, *vits.LAYOUTS, *unets.NETWORKS)


def _parse(name: str) -> tuple[str, dict[str, Any]]:
    """Base name and what the name itself says: "resnet18/32:small" is width 32, small stem."""
    match = re.fullmatch(r"([a-z]+[a-z0-9-]*)(?:/(\d+))?(?::([a-z]+))?", name)
    base = match[1] if match else name
    if match and base in resnets.LAYOUTS:
        said = {"width": int(match[2]) if match[2] else None, "stem": match[3]}
    elif match and base in unets.NETWORKS and match[3] is None:
        said = {"width": int(match[2]) if match[2] else None}
    elif match and base in (*vits.LAYOUTS, *mixing.NAMES) and match[3] is None:
        said = {"patch": int(match[2]) if match[2] else None}
    else:
        known = [*_NAMED, *mixing.NAMES, *towers.NETWORKS, *lites.WEIGHTS, "untrained", "tiny"]
        raise SettingProblem(
            f"no encoder is called {name!r} and no saved one is there; "
            f"{did_you_mean(base, known)} Others are hf:NAME, timm:NAME or the path of a saved one."
        )
    return base, {key: value for key, value in said.items() if value is not None}


def check_options(options: dict[str, Any], known: Iterable[str], name: str) -> None:
    for option in options:
        if option not in known:
            raise SettingProblem(
                f"the encoder {name} has no option {option!r}; {did_you_mean(option, known)}"
            )


def build(name: str, options: dict[str, Any], size: int | None) -> tuple[nn.Module, int]:
    """A randomly initialised built-in network and its native size."""
    if name in BUILT_IN:
        check_options(options, [], name)
        return built_in(name), size or Moments.size
    if name in lites.WEIGHTS:
        check_options(options, [], name)
        return lites.Lite(name), lites.allowed(name, size)
    if name in towers.NETWORKS:
        check_options(options, tower_shapes.OPTIONS, name)
        return towers.NETWORKS[name](size or 224, **options), size or 224
    base, said = _parse(name)
    make: Callable[..., nn.Module]
    if base in unets.NETWORKS:
        make = unets.NETWORKS[base]
        check_options(options, set(inspect.signature(make).parameters), name)
        return make(**{**said, **options}), size or 64
    if base in resnets.LAYOUTS:
        make = resnets.resnet
        small = base in ("resnet8", "resnet14") or said.get("stem") == "small"
        size = size or (32 if small else 224)
        said.setdefault("stem", "small" if size <= 64 else "imagenet")
    else:
        make = mixing.local_vit if base in mixing.NAMES else vits.vit
        patch = {**said, **options}.get("patch", 16)
        size = size or (32 if patch <= 4 else 64 if patch <= 8 else 224)
        said["size"] = size
    check_options(options, set(inspect.signature(make).parameters) - {"name", "size"}, name)
    return make(base, **{**said, **options}), size


def is_built_in(name: str) -> bool:
    base = re.split("[/:]", name)[0]
    return base in (*_NAMED, *mixing.NAMES, *towers.NETWORKS, "untrained")


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
    name, options = description["name"], dict(description["options"])
    if name.startswith("hf:"):
        network: nn.Module = hub.empty_hugging_face(options)
    elif name.startswith("timm:"):
        network = hub_timm.empty_timm(options)
    else:
        network, _ = build(name, {k: v for k, v in options.items() if k != "size"}, options["size"])
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
