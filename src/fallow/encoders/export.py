"""Encoders for other runtimes: ONNX with a dynamic batch."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from pathlib import Path

import torch

from fallow.encoders.base import Encoder
from fallow.files import atomic_write
from fallow.problems import MissingPackage, Problem


def export_onnx(encoder: Encoder, path: str | Path) -> Path:
    """Write an encoder as ONNX: `images` (batch, 3, size, size), normalised, to `features`.

    The model's metadata hold name, size, mean and std.
    """
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise MissingPackage(package, "export")
    size = encoder.size
    example = torch.zeros(2, 3, size, size, device=encoder.device)
    training = [module for module in encoder.modules() if module.training]
    encoder.eval()
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # about the exporter's own parts
            program = torch.onnx.export(
                encoder,
                (example,),
                input_names=["images"],
                output_names=["features"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                verbose=False,
            )
    finally:
        exporter.setLevel(level)
        for module in training:
            module.training = True
    assert program is not None
    model = program.model_proto
    if not model.graph.input[0].type.tensor_type.shape.dim[0].dim_param:
        raise Problem(f"the network of {encoder.name} fixes the batch: it cannot be exported.")
    about = {"name": encoder.name, "size": size, "mean": encoder.mean, "std": encoder.std}
    for key, value in about.items():
        text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        model.metadata_props.add(key=key, value=text)
    path = Path(path)
    try:
        with atomic_write(path) as file:
            file.write(model.SerializeToString())
    except OSError as error:
        raise Problem(f"the model cannot be written to {path}: {error.strerror}.") from error
    return path
