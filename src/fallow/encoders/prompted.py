"""Segmenters that are told by text what to look for (CLIPSeg): scores of concepts, of classes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders.base import Preprocessing
from fallow.encoders.concepts import Concepts, synonyms
from fallow.files import fingerprint

TEMPLATES = ("a photo of a {}.", "a photograph of a {}.", "an image of a {}.", "{}.")
TOGETHER = 16  # entries decoded at once


class Prompted(nn.Module):
    """A frozen network that scores every pixel for every concept; only its words are chosen."""

    def __init__(
        self, model: nn.Module, tokenizer: Any, preprocessing: Preprocessing, name: str
    ) -> None:
        super().__init__()
        self.model: Any = model
        self.tokenizer = tokenizer
        self.preprocessing, self.name = preprocessing, name

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def identity(self) -> str:
        """Name and a fingerprint of what turns words into masks: other weights, other labels."""
        part = self.model.decoder.film_mul.weight.detach().cpu().numpy().tobytes()
        return f"{self.name} {fingerprint(part)}"

    @torch.inference_mode()
    def words(self, entries: Sequence[str], templates: Sequence[str] = TEMPLATES) -> Tensor:
        """One vector for each entry: the mean direction over its synonyms, then over templates.

        The network was made for vectors as long as its text encoder's, so the mean gets the mean
        length of those it was made from.
        """
        means = []
        for entry in entries:
            words = synonyms(entry)
            texts = [template.format(word) for template in templates for word in words]
            vectors = self._read(texts).unflatten(0, (len(templates), len(words)))  # T S D
            each = F.normalize(F.normalize(vectors, dim=2).mean(1), dim=1)  # T D
            means.append(F.normalize(each.mean(0), dim=0) * vectors.norm(dim=2).mean())
        return torch.stack(means)  # K D

    def _read(self, texts: list[str]) -> Tensor:
        clip = self.model.clip
        length = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, max_length=length, return_tensors="pt"
        ).to(self.device)
        read = clip.text_model(tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return clip.text_projection(read.pooler_output)

    @torch.inference_mode()
    def scores(self, image: np.ndarray, vectors: Tensor) -> Iterator[Tensor]:
        """Scores from 0 to 1 of every pixel of a uint8 picture, one map (H, W) for each vector."""
        how = self.preprocessing
        pixels = how.normalise(how.squash(image)[None].to(self.device))
        seen = self.model.clip.vision_model(pixels, output_hidden_states=True).hidden_states
        # the first of the hidden states is what goes into the first block
        layers = [seen[layer + 1] for layer in self.model.extract_layers]
        for some in vectors.split(TOGETHER):
            maps = [layer.expand(len(some), -1, -1) for layer in layers]
            logits = self.model.decoder(maps, some).logits.view(len(some), 1, *pixels.shape[2:])
            up = F.interpolate(logits, image.shape[:2], mode="bilinear")
            yield from up[:, 0].sigmoid()

    def classes(self, image: np.ndarray, concepts: Concepts, vectors: Tensor) -> Tensor:
        """Scores of the classes (C, H, W) from the vectors of the concepts' entries."""
        return by_class(self.scores(image, vectors), concepts.sizes)


def by_class(scores: Iterable[Tensor], sizes: Sequence[int]) -> Tensor:
    """Scores of classes (C, H, W) from those of their entries (H, W each), class after class.

    The largest counts: an object is of a class when it is any of the things the class is.

    >>> by_class(torch.tensor([0.2, 0.9, 0.5]).view(3, 1, 1), [2, 1]).flatten()
    tensor([0.9000, 0.5000])
    """
    coming, classes = iter(scores), []
    for size in sizes:
        best = next(coming)
        for _ in range(size - 1):
            best = torch.maximum(best, next(coming))
        classes.append(best)
    return torch.stack(classes)


def labelled(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The class of every pixel, the first of equal ones, and how sure it is.  C H W -> H W, H W

    >>> label, confidence = labelled(torch.tensor([0.5, 0.5]).view(2, 1, 1))
    >>> label.item(), round(confidence.item(), 2)
    (0, 0.5)
    """
    return scores.argmax(0), scores.amax(0)  # argmax names the first


def prompted(name: str | os.PathLike[str]) -> Prompted:
    """A text-prompted segmenter: a CLIPSeg of the hub ("hf:CIDAS/clipseg-rd64-refined"), or the
    folder of one."""
    from fallow.encoders import hub

    where = os.fspath(name).removeprefix("hf:")
    folder = Path(where).expanduser()
    model, tokenizer, preprocessing = hub.prompted(str(folder) if folder.exists() else where)
    return Prompted(model, tokenizer, preprocessing, f"hf:{where}")
