"""SigLIP: each pair of a picture and a text is judged alone, whether it belongs together."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from fallow.images.captions import CAPTION
from fallow.losses.alignment import pair_sigmoid
from fallow.methods.shared.words import WordsMethod, WordsSettings
from fallow.train import Batch, Loss, Now
from fallow.train.words import NAMES


class SigLIP(WordsMethod):
    """A sigmoid for every pair, so that no text depends on the others (Zhai et al. 2023)."""

    family = "contrastive"
    predicts = "whether a text belongs to a picture, for every pair of the batch"

    class Settings(WordsSettings):
        scale: float = Field(10.0, gt=0, description="what cosines are multiplied by at first")
        bias: float = Field(
            -10.0, description="added to them at first: nearly all pairs do not belong together"
        )

    presets: ClassVar = {
        "paper": {
            "size": 224,
            "batch": 32768,
            "epochs": 32,
            "learning_rate": 1e-3 / 128,  # 1e-3 at 32768
            "warmup": 0.05,
            "weight_decay": 1e-4,
            "second_momentum": 0.95,
            "crop": 0.9,
            "output": 768,
            "text_width": 768,
            "text_layers": 12,
            "text_heads": 12,
            "pool": "last",
            "context": 64,
            "tokeniser": "clip",
            "compose": "shuffled",
        }
    }

    def at_first(self) -> dict[str, float]:
        return {"scale": self.settings.scale, "bias": self.settings.bias}

    def loss(self, batch: Batch, now: Now) -> Loss:
        words = self.words
        assert words.logit_bias is not None
        image, text = self.picture(batch.views[0]), self.text(batch.beside[CAPTION])
        total = pair_sigmoid(image, text, words.scale, words.logit_bias, names=batch.beside[NAMES])
        parts: dict[str, Tensor | float] = {
            "scale": words.scale.detach(),
            "bias": words.logit_bias.detach(),
        }
        return Loss(total, parts, embedding=image)
