"""Encoders from the Hugging Face hub and from timm: safetensors only, and no code from a hub."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fallow.encoders.base import IMAGENET_MEAN, IMAGENET_STD, Encoder, Preprocessing
from fallow.problems import MissingPackage, Problem, SettingProblem


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


def _shut_out_broken_torchvision() -> None:
    """A torchvision that does not load beside this torch would break imports in transformers.

    With None in its place both Python and transformers take it for not installed.
    """
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except Exception:  # whatever its compiled part raises: it cannot be used
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.modules["torchvision"] = None  # type: ignore[assignment]
        if "transformers" in sys.modules:  # it may have noted torchvision as present
            checks = importlib.import_module("transformers.utils.import_utils")
            for check in vars(checks).values():
                if hasattr(check, "cache_clear"):
                    check.cache_clear()


def _transformers() -> ModuleType:
    _shut_out_broken_torchvision()
    if importlib.util.find_spec("transformers") is None:
        raise MissingPackage("transformers", "hub")
    return importlib.import_module("transformers")


@contextlib.contextmanager
def _quiet(bars: bool) -> Iterator[None]:
    """No advice while a checkpoint is read, and progress bars only where something is fetched."""
    ours = importlib.import_module("transformers.utils.logging")
    network = logging.getLogger("huggingface_hub")
    before = ours.get_verbosity(), network.level, ours.is_progress_bar_enabled()
    ours.set_verbosity_error()
    network.setLevel(logging.ERROR)
    if not bars:
        ours.disable_progress_bar()
    try:
        yield
    finally:
        ours.set_verbosity(before[0])
        network.setLevel(before[1])
        if before[2]:
            ours.enable_progress_bar()


def _reason(name: str, error: Exception) -> Problem:
    """One sentence for what went wrong between the hub and here."""
    text = str(error)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "SafetensorError" in kinds:
        return Problem(f"the weights of {name} are damaged: delete them and download them again.")
    if "safetensors" in text or "does not appear to have a file named model" in text:
        return Problem(
            f"{name} has no weights as safetensors, the only kind fallow reads: "
            "choose a model that has model.safetensors."
        )
    if kinds & {"ReadTimeout", "RemoteProtocolError", "ReadError", "ChunkedEncodingError"} or (
        "Consistency check failed" in text
    ):
        return Problem(
            f"the download of {name} was interrupted: run it again, it continues where it stopped."
        )
    if Path(name).exists():
        return Problem(f"{name} is not a complete model of transformers: {first_line(text)}")
    return Problem(
        f"the model {name} is neither in the local cache nor could it be fetched: "
        "check its name and the network connection."
    )


def first_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given."])[0]


def from_cache_or_hub(name: str, fetch: Any) -> Any:
    """Run `fetch(local_files_only)` on the cache alone first, then with the network."""
    try:
        return fetch(True)
    except Exception as offline:
        if isinstance(offline, Problem):
            raise
        if Path(name).exists():
            raise _reason(name, offline) from offline
    try:
        return fetch(False)
    except Exception as error:
        if isinstance(error, Problem):
            raise
        raise _reason(name, error) from error


def _whole_model(name: str, class_name: str, local: bool, **options: Any) -> Any:
    """A model with all of its weights: what a checkpoint lacks would silently be random."""
    model, report = getattr(_transformers(), class_name).from_pretrained(
        name,
        local_files_only=local,
        use_safetensors=True,
        trust_remote_code=False,
        dtype=torch.float32,
        output_loading_info=True,
        **options,
    )
    if report["missing_keys"]:
        raise Problem(
            f"the weights of {name} lack {len(report['missing_keys'])} parameters, such as "
            f"{min(report['missing_keys'])}: the model would partly be random."
        )
    return model


def _model(name: str) -> tuple[nn.Module, Family]:
    transformers = _transformers()

    def fetch(local: bool) -> tuple[nn.Module, Family]:
        about, _ = transformers.PretrainedConfig.get_config_dict(name, local_files_only=local)
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
        return _whole_model(name, family.class_name, local, **options), family

    def quietly(local: bool) -> tuple[nn.Module, Family]:
        with _quiet(bars=not local):
            return fetch(local)

    return from_cache_or_hub(name, quietly)


def pretrained(name: str, class_name: str, kind: str) -> Any:
    """A model that is no encoder, of one kind (its `model_type`), from cache, folder or hub."""
    transformers = _transformers()

    def fetch(local: bool) -> Any:
        with _quiet(bars=not local):
            about, _ = transformers.PretrainedConfig.get_config_dict(name, local_files_only=local)
            if about.get("model_type") != kind:
                raise SettingProblem(
                    f"{name} is of the kind {about.get('model_type')!r}, not {kind!r}: "
                    "choose another model."
                )
            return _whole_model(name, class_name, local)

    return from_cache_or_hub(name, fetch)


def _processing(name: str) -> dict[str, Any]:
    """The image part of preprocessor_config.json, or of processor_config.json."""
    cached_file = importlib.import_module("transformers.utils").cached_file

    def fetch(local: bool) -> dict[str, Any]:
        for file, part in (
            ("preprocessor_config.json", None),
            ("processor_config.json", "image_processor"),
        ):
            path = cached_file(
                name,
                file,
                local_files_only=local,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=not local,
            )
            if path is not None:
                content = json.loads(Path(path).read_text())
                return content[part] if part else content
        raise Problem(
            f"{name} does not say how to prepare images (preprocessor_config.json): "
            "give size=, mean= and std= yourself."
        )

    return from_cache_or_hub(name, fetch)


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
    return Preprocessing(
        size=size,
        short=short,
        mean=(0.0,) * 3 if plain else tuple(processing.get("image_mean", IMAGENET_MEAN)),
        std=(1.0,) * 3 if plain else tuple(processing.get("image_std", IMAGENET_STD)),
        interpolation="bilinear" if processing.get("resample", 2) == 2 else "bicubic",
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
        preprocessing = read_preprocessing(_processing(name))
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
    transformers = _transformers()

    def fetch(local: bool) -> tuple[Any, Any]:
        with _quiet(bars=not local):
            about, _ = transformers.PretrainedConfig.get_config_dict(name, local_files_only=local)
            kind = about.get("model_type")
            if kind not in PROMPTED:
                raise SettingProblem(
                    f"{name} is of the kind {kind!r}, which fallow does not know as a segmenter "
                    f"that is told by text; known: {', '.join(PROMPTED)}."
                )
            model = _whole_model(name, PROMPTED[kind], local)
            words = transformers.AutoTokenizer.from_pretrained(
                name, local_files_only=local, trust_remote_code=False
            )
        return model.eval().requires_grad_(False), words

    model, words = from_cache_or_hub(name, fetch)
    return model, words, read_preprocessing(_processing(name))


def empty_hugging_face(options: dict[str, Any]) -> nn.Module:
    """The network of a saved encoder, before its weights are loaded."""
    transformers = _transformers()
    family = FAMILIES[options["kind"]]
    model_class = getattr(transformers, family.class_name)
    config = model_class.config_class.from_dict(options["config"])
    extra = {"add_pooling_layer": False} if options["kind"] == "vit" else {}
    return HubNetwork(model_class(config, **extra), family)
