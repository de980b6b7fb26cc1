"""Both towers of CLIP and SigLIP with recorded weights; preprocessing; the tokeniser."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors.torch import save_file

from fallow.encoders.base import Preprocessing
from fallow.encoders.dual import CLIP_COLOURS, from_hub
from fallow.encoders.tokeniser import END, START, clip_tokeniser, encode
from fallow.images.decode import to_uint8
from fallow.losses.alignment import pair_sigmoid

from .arrays import arrays
from .cases import close, golden

NEAR = {"rtol": 0.0, "atol": 2e-5}


def recorded(name):
    """All arrays of a file whose key starts with a name and an underscore, without that."""
    found = arrays("_vl-shared").items()
    return {key[len(name) + 1 :]: value for key, value in found if key.startswith(f"{name}_")}


def hub_folder(folder, case, kind):
    """The recorded model as the hub would have it."""
    found = recorded(case.name)
    weights = {key[2:]: torch.from_numpy(value.copy()) for key, value in found.items()
               if key.startswith("w_")}  # fmt: skip
    save_file(weights, folder / "model.safetensors")
    width, layers, heads, hidden, size, patch, vocabulary, context, *rest = found["cfg"].tolist()
    both = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": hidden,
    }
    text = {**both, "vocab_size": vocabulary, "max_position_embeddings": context}
    config = {"model_type": kind, "vision_config": {**both, "image_size": size,
                                                    "patch_size": patch}}  # fmt: skip
    if rest:
        config["projection_dim"], text["eos_token_id"] = rest
    (folder / "config.json").write_text(json.dumps({**config, "text_config": text}))
    words = {piece: number for number, piece in enumerate(["a</w>", START, END])}
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return from_hub(str(folder))


def both_sides(dual, case):
    with torch.inference_mode():
        image = dual.image_vectors(case.tensor("pixel_values"))
        text = dual.words(case.tensor("input_ids"))
    return (torch.nn.functional.normalize(side, dim=1) for side in (image, text))


@golden("_vl-shared", "clip_hf")
def test_clip(case, tmp_path):
    dual = hub_folder(tmp_path, case, "clip")
    image, text = both_sides(dual, case)
    close(image, case.outputs["image_embeds"], **NEAR)
    close(text, case.outputs["text_embeds"], **NEAR)
    close(dual.words.logits(image, text), case.outputs["logits_per_image"], rtol=1e-5, atol=2e-4)
    tokens = dual.image.network.tokens(case.tensor("pixel_values"))
    close(tokens, case.outputs["vision_tokens"], **NEAR)


@golden("_vl-shared", "siglip_hf")
def test_siglip(case, tmp_path):
    dual = hub_folder(tmp_path, case, "siglip")
    image, text = both_sides(dual, case)
    close(image, case.outputs["image_embeds"], **NEAR)
    close(text, case.outputs["text_embeds"], **NEAR)
    close(dual.words.logits(image, text), case.outputs["logits_per_image"], rtol=1e-5, atol=2e-4)
    loss = pair_sigmoid(image, text, dual.words.scale, dual.words.logit_bias)
    close(loss, case.outputs["loss"], rtol=1e-5, atol=2e-5)


def pictures():
    found = {}
    for key, value in recorded("prep").items():
        if match := re.fullmatch(r"(\w+?)_(in|mode|(clip|siglip)\d+)", key):
            found.setdefault(match[1], {})[match[2]] = value
    return [pytest.param(value, id=name) for name, value in found.items()]


@pytest.mark.parametrize("picture", pictures())
def test_preprocessing(picture):
    pixels = to_uint8(picture["in"])
    checked = 0
    for name, expected in picture.items():
        if not (match := re.fullmatch(r"(clip|siglip)(\d+)", name)):
            continue
        side = int(match[2])
        colours, way = (
            (CLIP_COLOURS, "shrink") if match[1] == "clip" else ([(0.5,) * 3] * 2, "whole")
        )
        how = Preprocessing(side, side, *colours, "bicubic", way)
        close(how.normalise(how.fit(pixels)[None])[0], expected, rtol=0.0, atol=1e-5)
        checked += 1
    assert checked == 2


def test_tokens():
    found = recorded("tok")
    texts = [str(text) for text in found.pop("in_texts")]
    assert found
    for name, expected in found.items():
        length = int(re.match(r"out_ids(\d+)", name)[1])
        assert encode(clip_tokeniser(), texts, length).tolist() == expected.tolist()
