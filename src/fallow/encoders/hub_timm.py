"""Encoders of timm, where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from fallow.encoders.base import Encoder, Preprocessing
from fallow.encoders.hub_files import first_line, from_cache_or_hub
from fallow.problems import MissingPackage, Problem, SettingProblem


class TimmNetwork(nn.Module):
    """A model of timm, spoken to like fallow's own networks."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.dimension: int = model.num_features

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)  # B D

    def patches(self, x: Tensor, layers: Sequence[int], norm: bool = True) -> list[Tensor]:
        """Block or stage outputs as maps (B, h, w, C)."""
        count = len(self.model.feature_info)
        wanted = [range(count)[layer] for layer in layers]
        maps = self.model.forward_intermediates(
            x, indices=sorted(set(wanted)), norm=norm, output_fmt="NCHW", intermediates_only=True
        )
        by_layer = dict(zip(sorted(set(wanted)), maps, strict=True))
        return [by_layer[index].permute(0, 2, 3, 1) for index in wanted]


def _timm() -> ModuleType:
    if importlib.util.find_spec("timm") is None:
        raise MissingPackage("timm", "hub")
    return importlib.import_module("timm")


def timm(name: str, **options: Any) -> Encoder:
    """A pretrained model of timm; `options` go to its create_model.

    timm builds the network; the weights are read here, for timm would also take pickles.
    """
    package = _timm()
    try:
        model = package.create_model(name, pretrained=False, num_classes=0, **options)
    except RuntimeError as error:
        raise SettingProblem(f"timm cannot build {name}: {first_line(str(error))}") from error
    source = model.pretrained_cfg.get("hf_hub_id")
    if not source:
        raise Problem(f"timm has no weights for {name} on the hub: choose another of its models.")
    hub = importlib.import_module("huggingface_hub")
    weights = importlib.import_module("safetensors.torch")

    def fetch(local: bool) -> dict[str, Tensor]:
        path = hub.hf_hub_download(source, "model.safetensors", local_files_only=local)
        return weights.load_file(path)

    # what is left over is the classifier, which num_classes=0 leaves out
    lacking = model.load_state_dict(from_cache_or_hub(source, fetch), strict=False).missing_keys
    if lacking:
        raise Problem(f"the weights of timm:{name} lack {lacking[0]}: the model would be random.")
    settings = package.data.resolve_model_data_config(model)
    size = settings["input_size"][1]
    return Encoder(
        TimmNetwork(model),
        name=f"timm:{name}",
        preprocessing=Preprocessing(
            size,
            round(size / settings["crop_pct"]),
            tuple(settings["mean"]),
            tuple(settings["std"]),
            "bilinear" if settings["interpolation"] == "bilinear" else "bicubic",
        ),
        options={"architecture": name, **options},
        provenance={"weights": f"timm:{name}", "source": source},
    )


def empty_timm(options: dict[str, Any]) -> nn.Module:
    """The network of a saved encoder, before its weights are loaded."""
    options = dict(options)
    architecture = options.pop("architecture")
    return TimmNetwork(_timm().create_model(architecture, num_classes=0, **options))
