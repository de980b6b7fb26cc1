"""Classifiers: an encoder with an embedding and a head over named classes, and plain modules."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fallow import __version__
from fallow.encoders import saving
from fallow.encoders.base import Encoder, Preprocessing
from fallow.files import atomic_write, fingerprint
from fallow.problems import Problem, SettingProblem, did_you_mean

WIDTH = 256  # of the embedding, or the encoder's own dimension if that is smaller


def class_layers(dimension: int, classes: int, width: int | None = None) -> nn.Sequential:
    """A linear embedding and a linear head, nothing in between.

    >>> class_layers(512, 10)
    Sequential(
      (embedding): Linear(in_features=512, out_features=256, bias=True)
      (head): Linear(in_features=256, out_features=10, bias=True)
    )
    """
    width = width or min(WIDTH, dimension)
    parts = {"embedding": nn.Linear(dimension, width), "head": nn.Linear(width, classes)}
    return nn.Sequential(OrderedDict(parts))


class Classifier(nn.Module):
    """An encoder that sorts images into named classes: `embed(x)` B W, `classifier(x)` B C.

    >>> import fallow
    >>> model = Classifier(fallow.encoder("resnet8/8"), class_layers(32, 2), ["cat", "dog"])
    >>> model(torch.zeros(3, 3, 32, 32)).shape
    torch.Size([3, 2])
    """

    def __init__(self, encoder: Encoder, layers: nn.Sequential, names: Sequence[str]) -> None:
        super().__init__()
        self.encoder = encoder
        self.layers = layers
        self.names = list(names)

    @property
    def preprocessing(self) -> Preprocessing:
        return self.encoder.preprocessing

    def embed(self, x: Tensor) -> Tensor:
        return self.layers[0](self.encoder(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[1](self.embed(x))


class Tapped(nn.Module):
    """A plain classifier and the name of the layer whose output is its embedding.

    `names` are its classes in the order of its outputs.

    >>> plain = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.Linear(5, 2))
    >>> Tapped(plain, "1", Preprocessing(4, 4), ["cat", "dog"]).embed(torch.zeros(3, 3, 4, 4)).shape
    torch.Size([3, 5])
    """

    def __init__(
        self, module: nn.Module, layer: str, preprocessing: Preprocessing, names: Sequence[str]
    ) -> None:
        super().__init__()
        known = [name for name, _ in module.named_modules() if name]
        if layer not in known:
            raise SettingProblem(
                f"the model has no layer called {layer!r}; {did_you_mean(layer, known)}"
            )
        self.module, self.layer = module, layer
        self.preprocessing, self.names = preprocessing, list(names)

    def embed(self, x: Tensor) -> Tensor:
        seen: list[Any] = []
        tap = self.module.get_submodule(self.layer)
        handle = tap.register_forward_hook(lambda *call: seen.append(call[2]))
        try:
            self.module(x)
        finally:
            handle.remove()
        if not seen or not isinstance(seen[-1], Tensor) or seen[-1].ndim != 2:
            shape = tuple(seen[-1].shape) if seen and isinstance(seen[-1], Tensor) else "nothing"
            raise SettingProblem(
                f"the layer {self.layer} gives {shape} for {len(x)} images: "
                "name one that gives a single row of numbers for each"
            )
        return seen[-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)


def scores(model: Classifier | Tapped, images: Any, batch: int = 64) -> np.ndarray:
    """Probability of every class (N, C) for images in any form an encoder embeds.

    >>> import fallow
    >>> model = Classifier(fallow.encoder("resnet8/8"), class_layers(32, 2), ["cat", "dog"])
    >>> scores(model, np.zeros((3, 40, 50, 3), np.uint8)).sum(1).round(4).tolist()
    [1.0, 1.0, 1.0]
    """
    reader = Encoder(_Probabilities(model), name="classes", preprocessing=model.preprocessing)
    return reader.embed(images, batch)


class _Probabilities(nn.Module):
    def __init__(self, model: Classifier | Tapped) -> None:
        super().__init__()
        self.inner = model
        self.dimension = len(model.names)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).softmax(1)


def save_classifier(classifier: Classifier, folder: str | Path) -> Path:
    """Write encoder/, head.safetensors and classifier.json, the last one last."""
    from safetensors.torch import save as to_bytes

    folder = saving.save(classifier.encoder, Path(folder) / "encoder").parent
    state = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in classifier.layers.state_dict().items()
    }
    weights = to_bytes(state, metadata={"format": "pt"})
    about = {
        "names": classifier.names,
        "width": classifier.layers[1].in_features,
        "weights": fingerprint(weights),
        "encoder": fingerprint((folder / "encoder" / "model.safetensors").read_bytes()),
        "fallow": __version__,
    }
    try:
        with atomic_write(folder / "head.safetensors") as file:
            file.write(weights)
        with atomic_write(folder / "classifier.json") as file:
            file.write(json.dumps(about, indent=2).encode())
    except OSError as error:
        raise Problem(f"the classifier cannot be written to {folder}: {error.strerror}.") from error
    return folder


def load_classifier(folder: str | Path) -> Classifier:
    """The classifier `save_classifier` wrote; anything missing or altered is a Problem."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    folder = Path(folder)
    if not folder.is_dir():
        raise Problem(f"there is no folder {folder}: name the run of a classifier")
    if not (folder / "classifier.json").is_file():
        raise Problem(
            f"{folder} holds no classifier: an encoder with a head is trained by "
            "fallow learn FOLDER --method supervised"
        )
    encoder = saving.load(folder / "encoder")
    try:
        about = json.loads((folder / "classifier.json").read_text())
        weights = (folder / "head.safetensors").read_bytes()
        both = (
            fingerprint((folder / "encoder" / "model.safetensors").read_bytes()),
            fingerprint(weights),
        )
        if both != (about["encoder"], about["weights"]):
            raise Problem(f"the parts of the classifier in {folder} do not belong together.")
        layers = class_layers(encoder.dimension, len(about["names"]), about["width"])
        layers.load_state_dict(from_bytes(weights))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise Problem(f"the classifier in {folder} cannot be built again: {reason}") from error
    return Classifier(encoder, layers, about["names"])


def as_classifier(
    model: Any, layer: str | None, preprocessing: Preprocessing | None, names: Sequence[str]
) -> Any:
    """A model as one that has an embedding, preprocessing and names of its classes."""
    if isinstance(model, Classifier | Tapped):
        return model
    if isinstance(model, tuple) and len(model) == 2 and isinstance(model[0], Encoder):
        encoder, head = model
        both = nn.Sequential(encoder, head)
        return Tapped(both, "0", encoder.preprocessing, names)
    if isinstance(model, Encoder):
        raise SettingProblem(
            "an encoder alone has no classes to measure: give (encoder, head), or a classifier "
            "trained by fallow learn --method supervised"
        )
    if not isinstance(model, nn.Module):
        raise SettingProblem(
            f"a model is the folder of a classifier or a torch module, not {type(model).__name__}"
        )
    if layer is None or preprocessing is None:
        raise SettingProblem(
            "a plain torch model needs the name of its embedding layer= and its preprocessing="
        )
    return Tapped(model, layer, preprocessing, names)
