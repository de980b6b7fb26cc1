"""Saved encoders: the same numbers back, public names, and clear words when damaged."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fallow.encoders import encoder, load, save
from fallow.encoders.resnet import resnet
from fallow.problems import Problem, SettingProblem

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet8/8", {"seed": 3, "mean": (0.1, 0.2, 0.3)}),
        ("resnet18/8", {"size": 48, "zero_last": True}),
        ("vit-nano/4", {"size": 16, "positions": "learned", "pool": "mean"}),
        ("untrained", {"seed": 7}),
    ],
)
def test_round_trip(tmp_path, name, options):
    before = encoder(name, **options)
    save(before, tmp_path / "run" / "encoder")
    for after in (load(tmp_path / "run" / "encoder"), encoder(str(tmp_path / "run"))):
        np.testing.assert_array_equal(after.embed(IMAGES), before.embed(IMAGES))
        assert after.preprocessing == before.preprocessing
        assert (after.name, after.options) == (before.name, before.options)
        assert after.provenance == {"weights": f"random, seed {options.get('seed', 0)}"}
    assert encoder(str(tmp_path / "run"), size=20).size == 20


def test_plain_torch_loads_it(tmp_path):
    before = encoder("resnet8/8")
    save(before, tmp_path)
    plain = resnet("resnet8", width=8, stem="small")
    plain.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(plain.conv1.weight, before.network.conv1.weight)


@pytest.mark.parametrize(("dtype", "error"), [("bf16", 0.02), ("fp16", 0.002)])
def test_half_size(tmp_path, dtype, error):
    before = encoder("untrained")
    save(before, tmp_path / "full")
    save(before, tmp_path / "half", dtype=dtype)
    sizes = [(tmp_path / f / "model.safetensors").stat().st_size for f in ("full", "half")]
    assert sizes[1] < 0.52 * sizes[0]
    stored = load_file(tmp_path / "half" / "model.safetensors")
    assert stored["bn1.running_var"].dtype == torch.float32
    after = load(tmp_path / "half")
    assert after.network.model.conv1.weight.dtype == torch.float32
    np.testing.assert_allclose(after.embed(IMAGES), before.embed(IMAGES), atol=error)
    with pytest.raises(SettingProblem, match="bf16"):
        save(before, tmp_path, dtype="bf1")


def test_damage_is_said(tmp_path):
    save(encoder("resnet8/8"), tmp_path)
    weights, about = tmp_path / "model.safetensors", tmp_path / "encoder.json"
    good = weights.read_bytes()
    for bad in (good[: len(good) // 2], b"", good[:-1] + bytes([good[-1] ^ 1])):
        weights.write_bytes(bad)
        with pytest.raises(Problem, match="damaged"):
            load(tmp_path)
    weights.unlink()
    with pytest.raises(Problem, match="cannot be read"):
        load(tmp_path)
    weights.write_bytes(good)
    description = json.loads(about.read_text())
    for wrong in ({"name": "resnet14/8"}, {"options": {"size": 32, "wings": 2}}, {"name": "x"}):
        about.write_text(json.dumps(description | wrong))
        with pytest.raises(Problem):
            load(tmp_path)
    for text in ("{", "[]", "{}"):
        about.write_text(text)
        with pytest.raises(Problem, match=r"encoder\.json"):
            load(tmp_path)
    about.unlink()
    with pytest.raises(Problem, match="cannot be read"):
        load(tmp_path)
    with pytest.raises(Problem, match="no saved encoder"):
        encoder(str(tmp_path))


def test_unwritable(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Problem, match="cannot be written"):
        save(encoder("resnet8/8"), tmp_path / "file")


def test_a_failed_write_leaves_the_old_encoder(tmp_path, monkeypatch):
    before = encoder("resnet8/8")
    save(before, tmp_path)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(Problem, match="disk full"):
        save(encoder("resnet8/8", seed=1), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["encoder.json", "model.safetensors"]
    np.testing.assert_array_equal(load(tmp_path).embed(IMAGES), before.embed(IMAGES))
