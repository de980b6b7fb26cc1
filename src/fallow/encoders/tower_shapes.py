"""Size and habits of the towers of CLIP and SigLIP, also as a config.json of the hub says them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from fallow.problems import SettingProblem, did_you_mean


def quick_gelu(x: Tensor) -> Tensor:
    """The cheap GELU that OpenAI's weights were trained with.

    >>> quick_gelu(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8458])
    """
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "quick_gelu": quick_gelu,
    "gelu": F.gelu,
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
}

Pool = Literal["end", "first end", "last", "max"]
POOLS = ("end", "first end", "last", "max")


@dataclass(frozen=True)
class TextShape:
    """Size and habits of a text tower. Wrong habits load silently and cost accuracy.

    `pool` says whose vector stands for the text: "end", the largest number of all (which is the
    end marker in CLIP's vocabulary); "first end", the first number `end`; "last", the last
    position whatever is there; "max", the largest of every position, padding among them.
    """

    vocabulary: int
    context: int = 77
    width: int = 512
    layers: int = 12
    heads: int = 8
    hidden: int = 2048
    output: int = 512
    activation: str = "quick_gelu"
    eps: float = 1e-5
    causal: bool = True
    pool: Pool = "end"
    end: int = -1
    bias: bool = False  # of the last linear layer

    def __post_init__(self) -> None:
        _check(self)
        if self.pool not in POOLS:
            raise SettingProblem(
                f"no pool is called {self.pool!r}: {did_you_mean(self.pool, POOLS)}"
            )


@dataclass(frozen=True)
class ImageShape:
    """Size and habits of a picture tower of CLIP's (`kind` "clip") or SigLIP's making."""

    kind: str = "clip"
    size: int = 224
    patch: int = 32
    width: int = 768
    layers: int = 12
    heads: int = 12
    hidden: int = 3072
    output: int = 512
    activation: str = "quick_gelu"
    eps: float = 1e-5

    def __post_init__(self) -> None:
        _check(self)
        if self.size % self.patch:
            raise SettingProblem(
                f"a side of {self.size} pixels does not divide into patches of {self.patch}"
            )


def _check(shape: TextShape | ImageShape) -> None:
    if shape.activation not in ACTIVATIONS:
        hint = did_you_mean(shape.activation, ACTIVATIONS)
        raise SettingProblem(f"no activation is called {shape.activation!r}: {hint}")
    if shape.width % shape.heads:
        raise SettingProblem(f"a width of {shape.width} cannot be shared by {shape.heads} heads")


OPTIONS = tuple(one.name for one in fields(ImageShape) if one.name not in ("kind", "size"))


def options_of(shape: ImageShape) -> dict[str, Any]:
    """What `encoder("clip", ...)` needs to build a tower of this shape.

    >>> sorted(options_of(ImageShape()))[:3]
    ['activation', 'eps', 'heads']
    """
    return {name: value for name, value in asdict(shape).items() if name != "kind"}


_CONFIG = {  # what config.json calls the entries that both shapes have
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "hidden": "intermediate_size",
    "activation": "hidden_act",
    "eps": "layer_norm_eps",
}

# entries that a config.json of the hub may leave out
_TEXT = {
    "clip": {
        "vocab_size": 49408,
        "max_position_embeddings": 77,
        "hidden_size": 512,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "intermediate_size": 2048,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
        "bos_token_id": 49406,
        "eos_token_id": 49407,
    },
    "siglip": {
        "vocab_size": 32000,
        "max_position_embeddings": 64,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
        "bos_token_id": 49406,
        "eos_token_id": 49407,
    },
}
_IMAGE = {
    "clip": {"patch_size": 32, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5},
    "siglip": {"patch_size": 16, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6},
}
_IMAGE_BOTH = {
    "image_size": 224,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}


def shapes(config: dict[str, Any]) -> tuple[ImageShape, TextShape]:
    """The shapes of both towers by a config.json of kind "clip" or "siglip".

    >>> image, text = shapes({"model_type": "clip", "text_config": {"eos_token_id": 2}})
    >>> image.patch, text.pool, text.output
    (32, 'end', 512)
    """
    kind = config.get("model_type")
    if kind not in _TEXT:
        raise SettingProblem(
            f"a model of the kind {kind!r} has no two towers that fallow knows; known: "
            f"{', '.join(_TEXT)}."
        )
    text = {**_TEXT[kind], **(config.get("text_config") or {})}
    image = {**_IMAGE_BOTH, **_IMAGE[kind], **(config.get("vision_config") or {})}
    clip_like = kind == "clip"
    output = config.get("projection_dim", 512)
    return (
        ImageShape(
            kind=kind,
            size=image["image_size"],
            patch=image["patch_size"],
            output=output if clip_like else image["hidden_size"],
            **{ours: image[theirs] for ours, theirs in _CONFIG.items()},
        ),
        TextShape(
            vocabulary=text["vocab_size"],
            context=text["max_position_embeddings"],
            output=output if clip_like else text.get("projection_size") or text["hidden_size"],
            causal=clip_like,
            # configs from before 2023 say 2 for a number that is not in their texts
            pool=("end" if text["eos_token_id"] == 2 else "first end") if clip_like else "last",
            end=text["eos_token_id"],
            bias=not clip_like,
            **{ours: text[theirs] for ours, theirs in _CONFIG.items()},
        ),
    )
