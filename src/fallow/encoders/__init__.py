"""Networks that turn images into vectors, with their preprocessing, saving and export."""

from fallow.encoders.base import Encoder, Preprocessing
from fallow.encoders.export import export_onnx
from fallow.encoders.names import encoder, from_random
from fallow.encoders.saving import load, save
from fallow.encoders.whitening import whiten

__all__ = [
    "Encoder",
    "Preprocessing",
    "encoder",
    "export_onnx",
    "from_random",
    "load",
    "save",
    "whiten",
]
