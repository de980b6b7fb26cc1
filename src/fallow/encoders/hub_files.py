"""Models and files of a hub, the local cache first: safetensors only, and no code from a hub."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from fallow.problems import MissingPackage, Problem, SettingProblem


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


def transformers() -> ModuleType:
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


def whole_model(name: str, class_name: str, local: bool, **options: Any) -> Any:
    """A model with all of its weights: what a checkpoint lacks would silently be random."""
    model, report = getattr(transformers(), class_name).from_pretrained(
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


def by_config(name: str, read: Callable[[dict[str, Any], bool], Any]) -> Any:
    """What `read` makes of a model's config, from the cache alone first; without advice."""
    config = transformers().PretrainedConfig

    def fetch(local: bool) -> Any:
        with _quiet(bars=not local):
            about, _ = config.get_config_dict(name, local_files_only=local)
            return read(about, local)

    return from_cache_or_hub(name, fetch)


def pretrained(name: str, class_name: str, kind: str) -> Any:
    """A model that is no encoder, of one kind (its `model_type`), from cache, folder or hub."""

    def read(about: dict[str, Any], local: bool) -> Any:
        if about.get("model_type") != kind:
            raise SettingProblem(
                f"{name} is of the kind {about.get('model_type')!r}, not {kind!r}: "
                "choose another model."
            )
        return whole_model(name, class_name, local)

    return by_config(name, read)


def processing(name: str) -> dict[str, Any]:
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


def folder_of(name: str, needed: str, patterns: Sequence[str]) -> Path:
    """The folder of a model's files: one on disk, or the hub's copy in the local cache.

    What is in the cache is used as it is if the file `needed` is there; else it is fetched.
    """
    if (folder := Path(name).expanduser()).exists():
        return folder
    if importlib.util.find_spec("huggingface_hub") is None:
        raise MissingPackage("huggingface-hub", "hub")
    hub = importlib.import_module("huggingface_hub")

    def fetch(local: bool) -> Path:
        found = Path(
            hub.snapshot_download(name, allow_patterns=list(patterns), local_files_only=local)
        )
        if not list(found.glob(needed)):
            raise FileNotFoundError(f"{name} does not appear to have a file named {needed}")
        return found

    return from_cache_or_hub(name, fetch)
