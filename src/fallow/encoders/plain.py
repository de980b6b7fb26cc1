"""A plain torch classifier as one of fallow's own: what its named head is given is an embedding."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fallow.encoders.base import Encoder, Preprocessing
from fallow.encoders.classifier import Classifier
from fallow.problems import SettingProblem, did_you_mean


class Before(nn.Module):
    """What a linear part of a module is given: B D.

    >>> plain = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), nn.Linear(5, 2))
    >>> Before(plain, "3")(torch.zeros(2, 3, 4, 4)).shape
    torch.Size([2, 5])
    """

    def __init__(self, module: nn.Module, head: str) -> None:
        super().__init__()
        known = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
        if head not in known:
            raise SettingProblem(
                f"the model has no linear part called {head!r} to be its head; "
                f"{did_you_mean(head, known)}"
            )
        self.module, self.head = module, head
        self.dimension = self.last.in_features

    @property
    def last(self) -> nn.Linear:
        return self.module.get_submodule(self.head)  # type: ignore[return-value]

    def forward(self, x: Tensor) -> Tensor:
        given: list[Any] = []
        handle = self.last.register_forward_pre_hook(lambda part, inputs: given.append(inputs[0]))
        try:
            self.module(x)
        finally:
            handle.remove()
        return given[-1]


def as_classifier(
    module: nn.Module, head: str, preprocessing: Preprocessing, names: Sequence[str]
) -> Classifier:
    """The module's answers, as those of a classifier whose embedding is what the head is given.

    >>> plain = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), nn.Linear(5, 2))
    >>> same = as_classifier(plain, "3", Preprocessing(4, 4), ["cat", "dog"])
    >>> x = torch.randn(2, 3, 4, 4)
    >>> bool(torch.allclose(same(x), plain(x), atol=1e-6))
    True
    """
    network = Before(module, head)
    last = network.last
    if last.out_features != len(names):
        raise SettingProblem(
            f"the head {head} has {last.out_features} outputs and there are {len(names)} names"
        )
    kind = type(module).__name__
    encoder = Encoder(network, name=f"module {kind}", preprocessing=preprocessing)
    embedding, top = (nn.Linear(last.in_features, size) for size in (last.in_features, len(names)))
    with torch.no_grad():
        embedding.weight.copy_(torch.eye(last.in_features))
        embedding.bias.zero_()
        top.weight.copy_(last.weight)
        top.bias.copy_(torch.zeros_like(top.bias) if last.bias is None else last.bias)
    return Classifier(
        encoder, nn.Sequential(OrderedDict(embedding=embedding, head=top)), list(names)
    )


def as_module(classifier: Classifier) -> nn.Module:
    """The plain module again, its head as the classifier's embedding and head together."""
    network = classifier.encoder.network
    assert isinstance(network, Before)
    embedding, top = (layer for layer in classifier.layers if isinstance(layer, nn.Linear))
    last = nn.Linear(network.dimension, top.out_features).to(top.weight.device)
    with torch.no_grad():
        last.weight.copy_(top.weight @ embedding.weight)
        last.bias.copy_(top.weight @ embedding.bias + top.bias)
    above, _, name = network.head.rpartition(".")
    setattr(network.module.get_submodule(above), name, last)
    return network.module
