"""CLIP: a picture must find its own text among all texts of the batch, and a text its picture."""

from __future__ import annotations

import math
from typing import ClassVar

from fallow.images.captions import CAPTION
from fallow.losses.alignment import pair_contrast
from fallow.methods.shared.words import WordsMethod
from fallow.train import Batch, Loss, Now
from fallow.train.words import NAMES


class CLIP(WordsMethod):
    """Contrast pictures and their captions, both ways (Radford et al. 2021).

    Pictures whose captions are equal belong to each other's texts, too.
    """

    family = "contrastive"
    predicts = "which text of the batch belongs to a picture, and which picture to a text"

    presets: ClassVar = {
        "paper": {
            "size": 224,
            "batch": 32768,
            "epochs": 32,
            "learning_rate": 5e-4 / 128,  # 5e-4 at 32768
            "warmup": 0.005,
            "weight_decay": 0.2,
            "clip": None,
            "crop": 0.9,
            "output": 512,
            "text_width": 512,
            "text_layers": 12,
            "text_heads": 8,
            "context": 77,
            "tokeniser": "clip",
            "compose": "shuffled",
        }
    }

    def loss(self, batch: Batch, now: Now) -> Loss:
        image, text = self.picture(batch.views[0]), self.text(batch.beside[CAPTION])
        total = pair_contrast(image, text, self.words.scale, names=batch.beside[NAMES])
        return Loss(
            total,
            {"scale": self.words.scale.detach()},
            embedding=image,
            trivial=math.log(len(batch) * now.world),
        )
