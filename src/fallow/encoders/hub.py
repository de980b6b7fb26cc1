"""Encoders of the Hugging Face hub, spoken to like fallow's own, and segmenters told by text."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from fallow.encoders.base import IMAGENET_MEAN, IMAGENET_STD, Encoder, Preprocessing
from fallow.encoders.hub_files import by_config, processing, transformers, whole_model
from fallow.problems import SettingProblem


class Family(NamedTuple):
    """Which class of transformers loads a kind of model, and where its image vector is."""

    class_name: str
    vector: str  # an output's name, or "cls" or "mean" of the last hidden state
    norm: str | None = None  # the final norm of a transformer with one grid of patches


# model_type of config.json -> family
FAMILIES = {
    "vit": Family("ViTModel", "cls", "layernorm"),
    "dinov2": Family("Dinov2Model", "cls", "layernorm"),
    "dinov2_with_registers": Family("Dinov2WithRegistersModel", "cls", "layernorm"),
    "clip": Family("CLIPVisionModelWithProjection", "image_embeds", "post_layernorm"),
    "clip_vision_model": Family("CLIPVisionModel", "pooler_output", "post_layernorm"),
    "siglip": Family("SiglipVisionModel", "pooler_output", "post_layernorm"),
    "siglip_vision_model": Family("SiglipVisionModel", "pooler_output", "post_layernorm"),
    "convnext": Family("ConvNextModel", "pooler_output"),
    "swin": Family("SwinModel", "pooler_output"),
    "segformer": Family("SegformerModel", "mean"),
}


def _outermost(model: nn.Module, name: str) -> nn.Module:
    found = [n for n, _ in model.named_modules() if n.rsplit(".", 1)[-1] == name]
    return model.get_submodule(min(found, key=lambda n: n.count(".")))


def _blocks(model: nn.Module, depth: int) -> nn.ModuleList:
    lists = [
        (name.count("."), module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth
    ]
    return min(lists, key=lambda pair: pair[0])[1]


class HubNetwork(nn.Module):
    """A model of transformers, spoken to like fallow's own networks."""

    def __init__(self, model: Any, family: Family) -> None:
        super().__init__()
        self.model = model
        self.family = family
        self.config: Any = model.config
        takes = inspect.signature(model.forward).parameters
        self.can_resize = "interpolate_pos_encoding" in takes
        self.dimension: int
        if family.vector == "image_embeds":
            self.dimension = self.config.projection_dim
        elif family.norm is None:
            self.dimension = self._widths()[-1]
        else:
            self.dimension = self.config.hidden_size

    def _widths(self) -> list[int]:
        config = self.config
        if hasattr(config, "hidden_sizes"):
            return list(config.hidden_sizes)
        return [config.embed_dim * 2**stage for stage in range(len(config.depths))]

    def _run(self, x: Tensor, **options: Any) -> Any:
        if self.can_resize:
            options["interpolate_pos_encoding"] = tuple(x.shape[2:]) != self._native()
        return self.model(pixel_values=x, **options)

    def _native(self) -> tuple[int, int]:
        side = self.config.image_size
        return (side, side) if isinstance(side, int) else tuple(side)

    def forward(self, x: Tensor) -> Tensor:
        return self._vector(self._run(x))  # B D

    def _vector(self, output: Any) -> Tensor:
        if self.family.vector == "cls":
            return output.last_hidden_state[:, 0]
        if self.family.vector == "mean":
            return output.last_hidden_state.mean((2, 3))
        return output[self.family.vector]

    def patches(self, x: Tensor, layers: Sequence[int], norm: bool = True) -> list[Tensor]:
        """Block outputs as maps (B, h, w, C); of a pyramid (ConvNeXt, Swin, SegFormer) its stages.

        A pyramid's stages come as transformers gives them; they have no common final norm.
        """
        return self.look(x, layers, norm)[1]

    def look(
        self, x: Tensor, layers: Sequence[int], norm: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """The image vectors and the maps of chosen layers, from one run."""
        if self.family.norm is None:
            output = self._run(x, output_hidden_states=True)
            return self._vector(output), self._stages(output, layers)
        blocks = _blocks(self.model, self.config.num_hidden_layers)
        seen: dict[int, Tensor] = {}

        def keep(index: int) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                seen[index] = output[0] if isinstance(output, tuple) else output

            return hook

        wanted = [range(len(blocks))[layer] for layer in layers]
        with contextlib.ExitStack() as stack:
            for index in set(wanted):
                stack.callback(blocks[index].register_forward_hook(keep(index)).remove)
            output = self._run(x)
        last = _outermost(self.model, self.family.norm)
        side = self.config.patch_size
        grid = (x.shape[2] // side, x.shape[3] // side)
        tokens = [last(seen[index]) if norm else seen[index] for index in wanted]
        maps = [t[:, t.shape[1] - grid[0] * grid[1] :].unflatten(1, grid) for t in tokens]
        return self._vector(output), maps

    def _stages(self, output: Any, layers: Sequence[int]) -> list[Tensor]:
        maps = getattr(output, "reshaped_hidden_states", None) or output.hidden_states
        maps = maps[-len(self.config.depths) :]
        return [maps[layer].permute(0, 2, 3, 1) for layer in layers]


def _model(name: str) -> tuple[nn.Module, Family]:
    def read(about: dict[str, Any], local: bool) -> tuple[nn.Module, Family]:
        kind = about.get("model_type")
        if kind not in FAMILIES:
            raise SettingProblem(
                f"{name} is of the kind {kind!r}, which fallow does not know as an encoder; "
                f"known: {', '.join(FAMILIES)}."
            )
        family = FAMILIES[kind]
        if "CLIPVisionModelWithProjection" in (about.get("architectures") or []):
            family = FAMILIES["clip"]
        options = {"add_pooling_layer": False} if kind == "vit" else {}
        return whole_model(name, family.class_name, local, **options), family

    return by_config(name, read)


def _side(value: Any) -> int:
    if isinstance(value, dict):
        return int(value["shortest_edge"] if "shortest_edge" in value else value["height"])
    return int(value)


def read_preprocessing(processing: dict[str, Any]) -> Preprocessing:
    """What a preprocessor_config.json asks for, in fallow's terms.

    >>> read_preprocessing({"size": {"shortest_edge": 256}, "crop_size": 224, "resample": 3}).short
    256
    """
    short = _side(processing["size"])
    if processing.get("do_center_crop", "crop_size" in processing):
        size = _side(processing["crop_size"])
    else:
        size = short
    if "crop_pct" in processing and size < 384:  # ConvNeXt resizes to more and cuts the centre
        short = int(size / processing["crop_pct"])
    plain = not processing.get("do_normalize", True)
    squashed = str(processing.get("image_processor_type", "")).startswith("Siglip")
    return Preprocessing(
        size=size,
        short=short,
        mean=(0.0,) * 3 if plain else tuple(processing.get("image_mean", IMAGENET_MEAN)),
        std=(1.0,) * 3 if plain else tuple(processing.get("image_std", IMAGENET_STD)),
        interpolation="bilinear" if processing.get("resample", 2) == 2 else "bicubic",
        way="whole" if squashed else "cut",
    )


def hugging_face(
    name: str,
    *,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    **options: Any,
) -> Encoder:
    """An image model of the hub, of the local cache, or of a folder."""
    if options:
        raise SettingProblem(
            f"the encoder hf:{name} has no option {min(options)!r}; known: size, mean, std"
        )
    model, family = _model(name)
    if size and mean and std:
        preprocessing = Preprocessing(size, size, tuple(mean), tuple(std), "bicubic")
    else:
        preprocessing = read_preprocessing(processing(name))
    kind = next(kind for kind, known in FAMILIES.items() if known == family)
    config: Any = model.config
    return Encoder(
        HubNetwork(model, family),
        name=f"hf:{name}",
        preprocessing=preprocessing,
        options={"kind": kind, "config": config.to_dict()},
        provenance={"weights": f"hf:{name}", "revision": getattr(config, "_commit_hash", None)},
    )


# model_type of config.json -> class of transformers that segments what words name
PROMPTED = {"clipseg": "CLIPSegForImageSegmentation"}


def prompted(name: str) -> tuple[Any, Any, Preprocessing]:
    """Network, tokenizer and preprocessing of a segmenter that is told by text what to look for."""

    def read(about: dict[str, Any], local: bool) -> tuple[Any, Any]:
        kind = about.get("model_type")
        if kind not in PROMPTED:
            raise SettingProblem(
                f"{name} is of the kind {kind!r}, which fallow does not know as a segmenter "
                f"that is told by text; known: {', '.join(PROMPTED)}."
            )
        model = whole_model(name, PROMPTED[kind], local)
        words = transformers().AutoTokenizer.from_pretrained(
            name, local_files_only=local, trust_remote_code=False
        )
        return model.eval().requires_grad_(False), words

    model, words = by_config(name, read)
    return model, words, read_preprocessing(processing(name))


def empty_hugging_face(options: dict[str, Any]) -> nn.Module:
    """The network of a saved encoder, before its weights are loaded."""
    family = FAMILIES[options["kind"]]
    model_class = getattr(transformers(), family.class_name)
    config = model_class.config_class.from_dict(options["config"])
    extra = {"add_pooling_layer": False} if options["kind"] == "vit" else {}
    return HubNetwork(model_class(config, **extra), family)
