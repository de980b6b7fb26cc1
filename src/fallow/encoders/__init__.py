"""Networks that turn images into vectors, with their preprocessing, saving and export."""

from fallow.encoders.base import Encoder, Preprocessing, whiten
from fallow.encoders.export import export_onnx
from fallow.encoders.names import chosen_encoder, default, encoder, from_random
from fallow.encoders.saving import load, save

__all__ = [
    "Encoder",
    "Preprocessing",
    "chosen_encoder",
    "default",
    "encoder",
    "export_onnx",
    "from_random",
    "load",
    "save",
    "whiten",
]
