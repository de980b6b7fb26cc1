"""ONNX export gives the same numbers elsewhere, for any batch."""

import importlib.util

import numpy as np
import pytest
import torch

from fallow.encoders import encoder, export_onnx
from fallow.encoders.whitening import half_whitening
from fallow.problems import MissingPackage


@pytest.mark.parametrize("name", ["resnet8/8", "vit-nano/8"])
def test_onnxruntime_agrees(tmp_path, name):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    before = encoder(name, size=16).train()
    path = export_onnx(before, tmp_path / "encoder.onnx")
    assert before.training
    assert [p.name for p in tmp_path.iterdir()] == ["encoder.onnx"]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["size"] == "16"
    before.eval()
    for batch in (1, 3):
        x = torch.randn(batch, 3, 16, 16)
        with torch.inference_mode():
            expected = before(x).numpy()
        (found,) = session.run(["features"], {"images": x.numpy()})
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_missing_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"fallow\[export\]"):
        export_onnx(encoder("resnet8/8"), tmp_path / "x.onnx")


def test_the_built_in_encoder_computes_the_same_elsewhere_whitened(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    before = encoder("tiny")
    random = np.random.default_rng(0)
    before.whitening = half_whitening(random.normal(size=(60, before.dimension)))
    path = export_onnx(before, tmp_path / "encoder.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x = torch.randn(2, 3, 64, 64)
    (found,) = session.run(["features"], {"images": x.numpy()})
    expected = before(x).detach().numpy()  # with gradients, so in float32 on any processor
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
