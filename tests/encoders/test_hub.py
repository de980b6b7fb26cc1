"""Models of transformers, made tiny and random in a folder, against transformers itself."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from fallow.encoders import encoder, hub, load, save
from fallow.problems import Problem, SettingProblem

transformers = pytest.importorskip("transformers")

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
TOKENS = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 50,
    "max_position_embeddings": 8,
}
# name: class, configuration, width of the vector, sides and widths of the maps
MODELS = {
    "vit": ("ViTModel", TOKENS, 16),
    "dinov2": ("Dinov2Model", {**TOKENS, "mlp_ratio": 2}, 16),
    "dinov2_with_registers": ("Dinov2WithRegistersModel", {**TOKENS, "mlp_ratio": 2}, 16),
    "clip": (
        "CLIPModel",
        {
            "vision_config": {**TOKENS, "projection_dim": 12},
            "text_config": TEXT,
            "projection_dim": 12,
        },
        12,
    ),
    "clip_vision_model": ("CLIPVisionModel", TOKENS, 16),
    "siglip": ("SiglipModel", {"vision_config": TOKENS, "text_config": TEXT}, 16),
    "siglip_vision_model": ("SiglipVisionModel", TOKENS, 16),
    "convnext": (
        "ConvNextModel",
        {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "image_size": 32},
        16,
    ),
    "swin": (
        "SwinModel",
        {
            "embed_dim": 8,
            "depths": [1, 1],
            "num_heads": [2, 2],
            "window_size": 4,
            "image_size": 32,
            "patch_size": 4,
        },
        16,
    ),
    "segformer": (
        "SegformerModel",
        {
            "hidden_sizes": [8, 16],
            "depths": [1, 1],
            "num_encoder_blocks": 2,
            "num_attention_heads": [1, 2],
            "sr_ratios": [2, 1],
            "patch_sizes": [7, 3],
            "strides": [4, 2],
            "mlp_ratios": [2, 2],
        },
        16,
    ),
}
PREPROCESSING = {
    "size": {"shortest_edge": 32},
    "crop_size": {"height": 32, "width": 32},
    "do_center_crop": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.3, 0.4],
    "resample": 3,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    def make(name):
        kind, options, _ = MODELS[name]
        torch.manual_seed(0)
        model_class = getattr(transformers, kind)
        folder = tmp_path_factory.mktemp(name)
        model_class(model_class.config_class(**options)).save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING))
        return folder

    return {name: make(name) for name in MODELS}


def reference(name, folder, x):
    """The vector and the patch map as transformers itself gives them."""
    model = getattr(transformers, MODELS[name][0]).from_pretrained(folder).eval()
    if name == "clip":
        vision = model.vision_model(x)
        return model.visual_projection(vision.pooler_output), vision.last_hidden_state
    if name == "siglip":
        vision = model.vision_model(x)
        return vision.pooler_output, vision.last_hidden_state
    output = model(x)
    if name.startswith(("vit", "dinov2")):
        return output.last_hidden_state[:, 0], output.last_hidden_state
    if name == "segformer":
        return output.last_hidden_state.mean((2, 3)), output.last_hidden_state
    return output.pooler_output, output.last_hidden_state


@pytest.mark.parametrize("name", MODELS)
def test_agrees_with_transformers(folders, name, tmp_path):
    found = encoder(f"hf:{folders[name]}")
    assert found.dimension == MODELS[name][2]
    assert (found.size, found.mean, found.std) == (32, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    x = torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 255 - torch.tensor(found.mean).view(3, 1, 1)
    x = x / torch.tensor(found.std).view(3, 1, 1)
    with torch.inference_mode():
        vector, hidden = reference(name, folders[name], x)
        np.testing.assert_allclose(found.embed(IMAGES), vector.numpy(), atol=1e-5)
        found.eval()
        last = found.patches(x)
        if name.startswith("clip"):  # transformers norms the class token only
            last = found.patches(x, [-1], norm=False)[0]
        if name in ("convnext", "segformer"):
            torch.testing.assert_close(last, hidden.permute(0, 2, 3, 1))
        elif name == "swin":
            assert last.shape == (2, 4, 4, 16)
        else:
            torch.testing.assert_close(last.flatten(1, 2), hidden[:, -16:])
        several = found.patches(x, [0, -1], norm=False)
        assert len(several) == 2
        assert several[0].shape[1] >= several[1].shape[1]
        assert found.patches(found.prepare(IMAGES), [0])[0].isfinite().all()
    # saved, and built again without the folder
    again = load(save(found, tmp_path / "saved"))
    np.testing.assert_array_equal(again.embed(IMAGES), found.embed(IMAGES))


@pytest.mark.parametrize("name", ["vit", "dinov2", "clip", "siglip"])
def test_other_sizes(folders, name):
    found = encoder(f"hf:{folders[name]}", size=48).eval()
    assert found.embed(IMAGES).shape == (2, found.dimension)
    with torch.inference_mode():
        assert found.patches(torch.zeros(1, 3, 48, 32)).shape == (1, 6, 4, 16)


def test_stage_maps_are_those_of_each_stage(folders):
    with torch.inference_mode():
        for name, sides in (("convnext", [8, 4]), ("swin", [4, 4]), ("segformer", [8, 4])):
            maps = encoder(f"hf:{folders[name]}").eval().patches(torch.zeros(1, 3, 32, 32), [0, 1])
            assert [m.shape[1] for m in maps] == sides, name


@pytest.mark.parametrize(
    ("asked", "size", "short", "interpolation"),
    [
        ({"size": 224, "resample": 2}, 224, 224, "bilinear"),
        ({"size": {"height": 32, "width": 32}, "resample": 3}, 32, 32, "bicubic"),
        ({"size": {"shortest_edge": 256}, "crop_size": {"height": 224}}, 224, 256, "bilinear"),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, 224, 256, "bilinear"),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, 384, 384, "bilinear"),
    ],
)
def test_preprocessing(asked, size, short, interpolation):
    found = hub.read_preprocessing(asked)
    assert (found.size, found.short, found.interpolation) == (size, short, interpolation)


def copy(folder, target):
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_incomplete_folders(folders, tmp_path):
    def attempt(name, change, match):
        folder = copy(folders["vit"], tmp_path / name)
        change(folder)
        with pytest.raises(Problem, match=match) as caught:
            encoder(f"hf:{folder}")
        assert "\n" not in str(caught.value)

    def pickled(folder):
        (folder / "model.safetensors").unlink()
        torch.save({}, folder / "pytorch_model.bin")

    def cut(folder):
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])

    def strange(folder):
        (folder / "config.json").write_text('{"model_type": "bert"}')

    def lacking(folder):
        from safetensors.torch import load_file, save_file

        state = load_file(folder / "model.safetensors")
        state.pop("layernorm.weight")
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})

    attempt("pickled", pickled, "safetensors")
    attempt("cut", cut, "damaged")
    attempt("strange", strange, "'bert'")
    attempt("lacking", lacking, "lack 1 parameters")
    attempt("unprepared", lambda f: (f / "preprocessor_config.json").unlink(), "how to prepare")
    attempt("empty", lambda f: (f / "config.json").unlink(), "vit|not a complete model")
    bare = copy(folders["vit"], tmp_path / "bare")
    (bare / "preprocessor_config.json").unlink()
    given = encoder(f"hf:{bare}", size=32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    assert given.embed(IMAGES).shape == (2, 16)
    with pytest.raises(Problem, match="hf:"):
        encoder(str(bare))
    with pytest.raises(SettingProblem, match="width"):
        encoder(f"hf:{bare}", width=3)


def test_broken_torchvision_is_shut_out(folders, tmp_path):
    broken = tmp_path / "torchvision"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise RuntimeError('operator nms does not exist')")
    program = (
        "import sys, numpy as np\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "from fallow.encoders import encoder\n"
        "images = np.zeros((1, 32, 32, 3), np.uint8)\n"
        f"print(encoder('hf:{folders['clip']}').embed(images).shape)\n"
        f"print(encoder('hf:{folders['siglip']}').embed(images).shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.splitlines() == ["(1, 12)", "(1, 16)"], done.stderr
