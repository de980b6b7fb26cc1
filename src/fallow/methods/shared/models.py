"""A model somebody has, in whatever form: saved by fallow, in memory, or a plain torch module."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fallow.encoders import Encoder, Preprocessing
from fallow.encoders.classifier import Classifier, load_classifier
from fallow.encoders.headed import Headed, encoder_of
from fallow.encoders.plain import as_classifier
from fallow.encoders.segmenter import Segmenter, load_segmenter
from fallow.methods.shared.carrying import load_relighting
from fallow.problems import SettingProblem, SourceProblem

BELOW = ("", "segmenter", "adapted", "run")  # where runs of fallow keep their models


@dataclass
class Given:
    """A model of one's own copy, and what is known of it."""

    model: Any  # Segmenter, Headed or Classifier
    used: nn.Module  # what gives the logits: the model, or more around it
    encoder: Encoder
    names: list[str]
    values: list[int] = field(default_factory=list)  # of its classes, in masks
    side: int = 224  # the short side it looks at
    plain: bool = False  # it was a plain torch module

    @property
    def segments(self) -> bool:
        return not isinstance(self.model, Classifier)

    def copied(self) -> Given:
        """The same once more, to be changed."""
        both = copy.deepcopy({"model": self.model, "used": self.used, "encoder": self.encoder})
        return Given(names=self.names, values=self.values, side=self.side, plain=self.plain, **both)


def given_model(
    model: Any,
    head: str | None = None,
    names: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
) -> Given:
    """The model as a copy; `head`, `names` and `preprocessing` say of a module what it cannot.

    >>> from fallow.encoders import encoder
    >>> given_model(Segmenter(encoder("unet/4"), 2)).names
    ['class 0', 'class 1']
    """
    if isinstance(model, str | PathLike):
        return _saved(Path(model), names)
    if isinstance(model, Segmenter | Headed):
        own = copy.deepcopy(model).eval()
        said = own.names if isinstance(own, Headed) else names
        encoder = encoder_of(own)
        return _segmenter(own, encoder, said, None, encoder.preprocessing.short)
    if isinstance(model, Classifier):
        return _classifier(copy.deepcopy(model).eval())
    if isinstance(model, Encoder):
        raise SettingProblem(
            "an encoder decides nothing: give a segmenter, a classifier or a module"
        )
    if isinstance(model, nn.Module):
        return _plain(copy.deepcopy(model).eval(), head, names, preprocessing)
    raise SettingProblem(
        f"a {type(model).__name__} is no model: give the folder of a segmenter or classifier of "
        "fallow, or a torch module"
    )


def _saved(folder: Path, names: Sequence[str] | None) -> Given:
    if not folder.is_dir():
        raise SourceProblem(f"there is no folder {folder}: name the folder of a saved model")
    for place in (folder / part for part in BELOW):
        if (place / "segmenter.json").is_file():
            model, about = load_segmenter(place)
            about = about or {}
            found = _segmenter(
                model, model.encoder, about.get("names") or names, about.get("values"),
                about.get("side") or model.encoder.size,
            )  # fmt: skip
            found.used = load_relighting(model, place).eval()
            return found
        if (place / "classifier.json").is_file():
            return _classifier(load_classifier(place).eval())
    if any((place / "encoder.json").is_file() for place in (folder, folder / "encoder")):
        raise SourceProblem(
            f"{folder} holds an encoder without a decoder or a head: adapt what fallow segment or "
            "fallow learn --method supervised leaves behind"
        )
    raise SourceProblem(f"{folder} holds no segmenter and no classifier of fallow")


def _classifier(model: Classifier) -> Given:
    return Given(model, model, model.encoder, model.names, side=model.encoder.size)


def _segmenter(
    model: Segmenter | Headed, encoder: Encoder, names: Any, values: Any, side: int
) -> Given:
    said = list(names) if names else [f"class {code}" for code in range(model.classes)]
    if len(said) != model.classes:
        raise SettingProblem(f"the model has {model.classes} classes and {len(said)} names")
    codes = list(values) if values else list(range(model.classes))
    plain = isinstance(model, Headed)
    return Given(model, model, encoder, said, codes, int(side), plain)


def _plain(
    module: nn.Module,
    head: str | None,
    names: Sequence[str] | None,
    preprocessing: Preprocessing | None,
) -> Given:
    if head is None or not names:
        raise SettingProblem(
            "of a plain module, say which part is its head (head='classifier') and what its "
            "classes are called (names=[...])"
        )
    how = preprocessing or Preprocessing(size=224, short=224)
    with torch.no_grad():
        try:
            said = module(torch.zeros(1, 3, how.size, how.size))
        except Exception as error:
            raise SettingProblem(
                f"the module does not take pictures of {how.size} pixels ({error}): give its "
                "preprocessing"
            ) from error
    if isinstance(said, torch.Tensor) and said.ndim == 2:
        own = as_classifier(module, head, how, names)
        return Given(own, own, own.encoder, own.names, side=how.size, plain=True)
    headed = Headed(module, head, how, names)
    with torch.no_grad():
        headed(
            torch.zeros(1, 3, how.size, how.size)
        )  # a sentence now, not in the midst of training
    return _segmenter(headed, encoder_of(headed), names, None, how.short)
