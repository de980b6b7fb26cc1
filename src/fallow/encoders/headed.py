"""A plain torch module that gives every pixel a class, and the name of the part that decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders.base import Encoder, Preprocessing
from fallow.encoders.segmenter import Segmenter
from fallow.problems import SettingProblem, did_you_mean


class Headed(nn.Module):
    """A module from pictures to logits; what its head is given are its features.

    `names` are its classes in the order of its outputs.

    >>> import torch
    >>> plain = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.ReLU(), nn.Conv2d(5, 2, 1))
    >>> features, logits = Headed(plain, "2", Preprocessing(8, 8), ["road", "sky"]).see(
    ...     torch.zeros(1, 3, 8, 8)
    ... )
    >>> features[0].shape, logits.shape
    (torch.Size([1, 5, 4, 4]), torch.Size([1, 2, 8, 8]))
    """

    dimensions = 2

    def __init__(
        self, module: nn.Module, head: str, preprocessing: Preprocessing, names: Sequence[str]
    ) -> None:
        super().__init__()
        known = [name for name, _ in module.named_modules() if name]
        if head not in known:
            raise SettingProblem(
                f"the model has no part called {head!r} to be its head; {did_you_mean(head, known)}"
            )
        self.module, self.head = module, head
        self.preprocessing, self.names = preprocessing, list(names)

    @property
    def classes(self) -> int:
        return len(self.names)

    @property
    def decoder(self) -> nn.Module:
        return self.module.get_submodule(self.head)

    def see(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """What the head is given (B C h w each), and logits B K *S at the picture's size."""
        given: list[Any] = []
        handle = self.decoder.register_forward_pre_hook(lambda part, inputs: given.append(inputs))
        try:
            logits = self.module(x)
        finally:
            handle.remove()
        features = _maps(given[-1]) if given else []
        if not features:
            raise SettingProblem(
                f"the part {self.head} is given no maps of features: name the decoder of the model"
            )
        if not isinstance(logits, Tensor) or logits.ndim != 4 or logits.shape[1] != self.classes:
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise SettingProblem(
                f"the model gives {shape} for pictures of {tuple(x.shape)}: it must give a logit "
                f"of each of its {self.classes} classes for every pixel"
            )
        if logits.shape[2:] != x.shape[2:]:
            logits = F.interpolate(logits, x.shape[2:], mode="bilinear", align_corners=False)
        return features, logits

    def forward(self, x: Tensor) -> Tensor:
        return self.see(x)[1]


Segmenting = Segmenter | Headed


def seen(model: Segmenting, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """Features and logits of a segmenter of either kind."""
    if isinstance(model, Headed):
        return model.see(x)
    features = model.features(x)
    return features, model.decode(features, x.shape[2:])


def encoder_of(model: Segmenting) -> Encoder:
    """The encoder of a segmenter; a plain module is one itself, so that it can be trained."""
    if isinstance(model, Segmenter):
        return model.encoder
    kind = type(model.module).__name__
    return Encoder(model, name=f"module {kind}", preprocessing=model.preprocessing)


def _maps(inputs: Any) -> list[Tensor]:
    """All maps among the inputs of a module, however they are nested."""
    if isinstance(inputs, Tensor):
        return [inputs] if inputs.ndim == 4 else []
    if isinstance(inputs, dict):
        inputs = list(inputs.values())
    if isinstance(inputs, list | tuple):
        return [one for each in inputs for one in _maps(each)]
    return []
