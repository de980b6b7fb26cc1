"""Dual encoders: against transformers, on disk, and what is wrong with a folder in one sentence."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

import fallow
from fallow.encoders.base import Encoder
from fallow.encoders.dual import DualEncoder, Words, dual_encoder, new_words, save, tiny
from fallow.encoders.tokeniser import END, START, BytePairs, clip_tokeniser, encode, learnt
from fallow.images.samples import shapes
from fallow.problems import Problem, SettingProblem

TEXTS = ["a red disc", "two blue rings on a table", ""]
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 40, 56, 3), dtype=np.uint8)


def test_both_sides_share_a_space_and_length_is_asked_for():
    dual = tiny()
    plain = dual.embed_images(PICTURES, normalise=False)
    unit = dual.embed_images(PICTURES, normalise=True)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        plain / np.linalg.norm(plain, axis=1, keepdims=True), unit, atol=1e-5
    )
    texts = dual.embed_texts(TEXTS, normalise=True, batch=2)
    assert texts.shape == (3, dual.dimension)
    np.testing.assert_allclose(texts, dual.embed_texts(TEXTS, normalise=True), atol=1e-5)
    judged = dual.words.probabilities(torch.from_numpy(unit), torch.from_numpy(texts))
    np.testing.assert_allclose(judged.detach().sum(1), 1, rtol=1e-5)
    with pytest.raises(SettingProblem, match="list of texts"):
        dual.embed_texts("a red disc", normalise=True)


def test_embedding_leaves_training_as_it_was_and_unreadable_pictures_are_nan(tmp_path):
    dual = tiny().train()
    images = shapes(3, side=16)
    dual.embed_texts(TEXTS, normalise=True)
    dual.embed_images(images, normalise=True)
    assert dual.words.text.training
    assert dual.image.training


def test_any_encoder_can_have_words(tmp_path):
    image = fallow.encoder("resnet8/8")
    words = new_words(
        image.dimension, learnt(TEXTS * 2, 540), output=12, width=16, layers=1, heads=2, bias=-10.0
    )
    dual = DualEncoder(image.eval(), words.eval())
    again = dual_encoder(save(dual, tmp_path / "dual"))
    for ours, theirs in (
        (dual.embed_texts(TEXTS, normalise=False), again.embed_texts(TEXTS, normalise=False)),
        (dual.embed_images(PICTURES, normalise=True), again.embed_images(PICTURES, normalise=True)),
    ):
        assert (ours == theirs).all()
    assert again.words.logit_bias.item() == -10.0
    images, texts = (torch.nn.functional.normalize(torch.randn(2, 12), dim=1) for _ in range(2))
    assert (again.words.probabilities(images, texts) < 0.9).all()  # each pair for itself
    (tmp_path / "dual/words/words.safetensors").write_bytes(b"other")
    with pytest.raises(Problem, match="damaged"):
        dual_encoder(tmp_path / "dual")


def test_the_padding_of_causal_texts_costs_nothing_and_changes_nothing():
    words = clip_tokeniser()
    text = new_words(None, words, output=8, width=16, layers=2, heads=2).eval().text
    numbers = encode(words, TEXTS, 77)
    lengths = []
    text.text_model.register_forward_hook(lambda m, given, out: lengths.append(given[0].shape[1]))
    found = text(numbers)
    assert lengths == [8]  # the longest text with its markers
    whole = text.text_model(numbers)[torch.arange(3), numbers.argmax(1)]
    torch.testing.assert_close(found, text.text_projection(whole), rtol=1e-4, atol=1e-6)


def test_the_largest_of_all_positions_counts_padding():
    words = clip_tokeniser()
    torch.manual_seed(0)
    text = new_words(None, words, output=8, width=16, layers=1, heads=2, pool="max").eval().text
    short, padded = encode(words, ["a dog"], 4), encode(words, ["a dog"], 8)
    assert not torch.allclose(text(short), text(padded))


def test_an_encoder_of_clips_shape_is_one_of_fallows():
    found = fallow.encoder(
        "clip", size=32, patch=8, width=16, layers=2, heads=2, hidden=32, output=6
    )
    assert found.embed(PICTURES).shape == (3, 6)
    maps = found.patches(torch.zeros(1, 3, 32, 48), [0, -1])  # another grid than its own
    assert [one.shape for one in maps] == [(1, 4, 6, 16)] * 2
    with pytest.raises(SettingProblem, match="no option"):
        fallow.encoder("clip", depth=2)


transformers = pytest.importorskip("transformers")


def hub_folder(folder, kind):
    both = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 32}  # fmt: skip
    text = {**both, "vocab_size": 514, "max_position_embeddings": 16, "bos_token_id": 512,
            "eos_token_id": 513}  # fmt: skip
    vision = {**both, "image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    if kind == "clip":
        config = transformers.CLIPConfig(
            text_config={**text, "hidden_act": "gelu"}, vision_config=vision, projection_dim=12
        )
        model = transformers.CLIPModel(config)
    else:
        config = transformers.SiglipConfig(text_config=text, vision_config=vision)
        model = transformers.SiglipModel(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(0, 0.3)
    model.save_pretrained(folder)
    BytePairs([]).save(folder)
    (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": END}))
    return model.eval()


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_models_of_transformers_are_read_without_it(kind, tmp_path):
    model = hub_folder(tmp_path, kind)
    dual = dual_encoder(f"hf:{tmp_path}")
    x = torch.randn(2, 3, 32, 32)
    numbers = dual.words.read(["a dog", "cats"])
    with torch.inference_mode():
        theirs = model(input_ids=numbers, pixel_values=x)
        ours = [dual.image_vectors(x), dual.words(numbers)]
        ours = [torch.nn.functional.normalize(one, dim=1) for one in ours]
        torch.testing.assert_close(ours[0], theirs.image_embeds, rtol=1e-4, atol=2e-5)
        torch.testing.assert_close(ours[1], theirs.text_embeds, rtol=1e-4, atol=2e-5)
        logits = dual.words.logits(*ours)
        torch.testing.assert_close(logits, theirs.logits_per_image, rtol=1e-4, atol=2e-4)
    assert (dual.words.logit_bias is not None) == (kind == "siglip")
    assert dual.image.preprocessing.way == {"clip": "shrink", "siglip": "whole"}[kind]
    again = dual_encoder(save(dual, tmp_path / "saved"))  # and kept as fallow keeps them
    assert isinstance(again.image, Encoder)
    assert isinstance(again.words, Words)
    np.testing.assert_array_equal(
        again.embed_texts(["a dog"], normalise=True), dual.embed_texts(["a dog"], normalise=True)
    )


def test_what_is_wrong_with_a_folder(tmp_path, monkeypatch):
    good = tmp_path / "good"
    hub_folder(good, "clip")

    def broken(name, change):
        folder = tmp_path / name
        shutil.copytree(good, folder)
        change(folder)
        with pytest.raises(Problem) as error:
            dual_encoder(str(folder))
        return str(error.value)

    config = json.loads((good / "config.json").read_text())

    def write(**values):
        return lambda folder: (folder / "config.json").write_text(json.dumps({**config, **values}))

    assert "safetensors" in broken("none", lambda f: (f / "model.safetensors").unlink())
    assert "damaged" in broken("torn", lambda f: (f / "model.safetensors").write_bytes(b"x" * 99))
    assert "kind 'vit'" in broken("kind", write(model_type="vit"))
    deeper = {**config["text_config"], "num_hidden_layers": 3}
    assert "lack" in broken("lacking", write(text_config=deeper))
    assert "do not fit" in broken("other", write(projection_dim=13))
    assert "JSON" in broken("json", lambda f: (f / "config.json").write_text("{"))
    assert "tokeniser" in broken("words", lambda f: (f / "vocab.json").unlink())
    (tmp_path / "empty").mkdir()
    with pytest.raises(Problem, match="holds no dual encoder"):
        dual_encoder(tmp_path / "empty")
    with pytest.raises(Problem, match="no dual encoder nowhere"):
        dual_encoder("nowhere")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Problem, match="neither in the local cache"):
        dual_encoder("hf:nobody/has-this")
    assert START in clip_tokeniser().numbers
