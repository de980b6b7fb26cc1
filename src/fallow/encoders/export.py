"""Networks for other runtimes: ONNX with a dynamic batch, or more that is free."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fallow.encoders.base import Encoder
from fallow.files import atomic_write
from fallow.problems import MissingPackage, Problem


def export_onnx(encoder: Encoder, path: str | Path) -> Path:
    """Write an encoder as ONNX: `images` (batch, 3, size, size), normalised, to `features`.

    The model's metadata hold name, size, mean and std.
    """
    size = encoder.size
    example = torch.zeros(2, 3, size, size, device=encoder.device)
    about = {"name": encoder.name, "size": size, "mean": encoder.mean, "std": encoder.std}
    free = {0: torch.export.Dim("batch")}
    return write_onnx(encoder, example, path, ("images", "features"), free, about)


def write_onnx(
    network: nn.Module,
    example: torch.Tensor,
    path: str | Path,
    names: tuple[str, str],
    free: Mapping[int, Any],
    about: Mapping[str, Any],
) -> Path:
    """Write any network of one input and one output, both named, as ONNX.

    `free` are the axes of any length, with torch's dimensions; `about` goes into the metadata.
    """
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise MissingPackage(package, "export")
    training = [module for module in network.modules() if module.training]
    network.eval()
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # about the exporter's own parts
            program = torch.onnx.export(
                network,
                (example,),
                input_names=[names[0]],
                output_names=[names[1]],
                dynamic_shapes=(dict(free),),
                dynamo=True,
                verbose=False,
            )
    finally:
        exporter.setLevel(level)
        for module in training:
            module.training = True
    assert program is not None
    model = program.model_proto
    shape = model.graph.input[0].type.tensor_type.shape
    if not all(shape.dim[axis].dim_param for axis in free):
        name = about.get("name", "this kind")
        raise Problem(f"the network of {name} fixes the batch: it cannot be exported.")
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
