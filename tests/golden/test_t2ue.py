"""T2UE: text-steered norms, blocks and generator, bounds, losses, retrieval, rates."""

from __future__ import annotations

import re

import numpy as np
import torch

from fallow.encoders.conditioned import TextBlock, TextGenerator, TextNorm
from fallow.losses.alignment import pair_contrast
from fallow.losses.topology import contrast_of_rows
from fallow.measure.words import both_ways
from fallow.methods.protect.t2ue import bounded, cut_down
from fallow.train.schedules import half_cosine, warm_up_cosine
from fallow.views.perturb import Budget, stretched

from .cases import close, golden

OURS = {
    "conv_mask": "mask", "conv_img": "out", "fc_gamma": "scale", "fc_beta": "shift", "fc": "begin",
    "affine0": "norm_one", "affine2": "norm_two", "c1": "one", "c2": "two", "c_sc": "skip",
    "gamma": "weight", "linear1": "0", "linear2": "2",
}  # fmt: skip


def filled(module, case, amplitude):
    """Parameters as recorded: k counts those listed, i their values."""
    names, shapes = case.inputs["param_names"].tolist(), case.inputs["param_shapes"].tolist()
    parameters = dict(module.named_parameters())
    assert len(parameters) == len(names)
    for k, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        parts = [re.sub(r"^block(\d+)$", r"blocks.\1", part) for part in name.split(".")]
        parameter = parameters[".".join(OURS.get(part, part) for part in parts)]
        assert "x".join(map(str, parameter.shape)) == shape
        values = amplitude * np.sin(0.7 * np.arange(parameter.numel()) + 1.3 * k + 0.1)
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(values.reshape(parameter.shape)))
    return module


@golden("t2ue", "cbn", without=("cbninit",))
def test_norm_steered_by_text(case):
    x, text = case.tensor("x", gradient=True), case.tensor("text", gradient=True)
    norm = filled(TextNorm(x.shape[1], text.shape[1]), case, 0.15).train()
    y = norm(x, text, case.tensor("mask"))
    close(y, case.outputs["train"], 1e-4, 1e-5)
    (y.flatten() * torch.cos(torch.arange(y.numel(), dtype=torch.float32))).sum().backward()
    close(x.grad, case.outputs["grad_x"], 1e-3, 1e-4)
    close(text.grad, case.outputs["grad_text"], 1e-3, 1e-4)
    close(norm.norm.running_mean, case.outputs["running_mean"], 1e-4, 1e-6)
    close(norm.norm.running_var, case.outputs["running_var"], 1e-4)
    with torch.no_grad():
        close(norm.eval()(x, text, case.tensor("mask")), case.outputs["eval"], 1e-4, 1e-5)


@golden("t2ue", "cbninit")
def test_at_first_it_is_plain_batch_norm(case):
    x = case.tensor("x")
    norm = TextNorm(x.shape[1], 5).train()
    mask = torch.rand(len(x), 1, *x.shape[2:])
    close(norm(x, torch.randn(len(x), 5), mask), case.outputs["y"], 1e-4, 1e-5)


@golden("t2ue", "block")
def test_block(case):
    x, text = case.tensor("x"), case.tensor("text")
    masks = "mask_logits" in case.outputs
    block = TextBlock(x.shape[1], case.outputs["y"].shape[1], text.shape[1], masks)
    y, logits = filled(block, case, 0.1).train()(x, text, case.tensor("mask"))
    close(y, case.outputs["y"], 1e-4, 1e-5)
    if masks:
        close(logits, case.outputs["mask_logits"], 1e-4, 1e-5)


@golden("t2ue", "gen")
def test_generator(case):
    noise, text = case.tensor("z"), case.tensor("text")
    sizes = case.outputs["mask_sizes"].tolist()
    generator = TextGenerator(text.shape[1], int(case.number("ngf")), blocks=len(sizes))
    filled(generator, case, 0.12).train()
    picture, masks = generator.with_masks(noise, text)
    assert list(picture.shape) == case.outputs["shape"].tolist()
    assert [mask.shape[-1] for mask in masks] == sizes
    close(masks[1], case.outputs["mask8"], 1e-4, 1e-4)
    close(picture[:, :, ::16, ::16], case.outputs["sub"], 1e-3, 1e-4)
    close(picture.mean((2, 3)), case.outputs["mean"], 1e-3, 1e-5)
    close(picture.std((2, 3), correction=0), case.outputs["std"], 1e-3, 1e-4)


@golden("t2ue", "bound")
def test_bounds(case):
    raw, size = case.tensor("raw"), tuple(case.inputs["size"].tolist())
    if str(case.inputs.get("kind", "tanh")) == "l2":
        found = Budget(case.number("eps"), "l2").clamped(raw)
    else:
        how = "clamp" if "kind" in case.inputs else "tanh"
        found = bounded(raw, case.number("eps"), how)
    close(stretched(found, size), case.outputs["delta"], 1e-5, 1e-7)


@golden("t2ue", "boundact")
def test_bound_by_tangent(case):
    found = bounded(case.tensor("raw"), case.number("eps"), "tanh")
    close(stretched(found, tuple(case.inputs["size"].tolist())), case.outputs["delta"], 1e-5, 1e-7)


@golden("t2ue", "write")
def test_written_in_8_bits(case):
    found = cut_down(case.inputs["image"], case.inputs["delta"])
    np.testing.assert_array_equal(found, case.outputs["image"])


@golden("t2ue", "nce")
def test_contrast(case):
    query, key = case.tensor("query", gradient=True), case.tensor("key", gradient=True)
    loss = contrast_of_rows(query, key, case.number("temp"))
    close(loss, case.outputs["loss"], 1e-5)
    loss.backward()
    close(query.grad, case.outputs["grad_query"], 1e-4, 1e-6)
    close(key.grad, case.outputs["grad_key"], 1e-4, 1e-6)


@golden("t2ue", "clip")
def test_both_ways(case):
    image, text = case.tensor("image", gradient=True), case.tensor("text", gradient=True)
    unit = [torch.nn.functional.normalize(x, dim=1) for x in (image, text)]
    loss = pair_contrast(*unit, float(np.exp(case.number("logit_scale"))))
    close(loss, case.outputs["loss"], 1e-6)
    loss.backward()
    close(image.grad, case.outputs["grad_image"], 1e-6, 1e-8)
    close(text.grad, case.outputs["grad_text"], 1e-6, 1e-8)


@golden("t2ue", "retr")
def test_retrieval(case):
    image, text = case.inputs["image"], case.inputs["text"]
    each = len(text) // len(image)
    pairs = np.stack([np.arange(len(text)) // each, np.arange(len(text))], 1)
    found = both_ways(image, text, pairs)
    for way, name in ((found.image_to_text, "i2t"), (found.text_to_image, "t2i")):
        recall = [100 * way.recall[k] for k in (1, 5, 10)]
        # recorded: the median of ranks from 0, rounded down, and 1
        close(np.array([*recall, np.floor(way.median), way.mean]), case.outputs[name], 1e-5)


@golden("t2ue", "lr")
def test_rate_of_the_stranger(case):
    base, warm, total = (case.number(name) for name in ("base", "warmup", "total"))
    rates = [
        warm_up_cosine(step + 1, total, base, warm)
        if step < warm
        else half_cosine(step - warm, total - warm, base)
        for step in case.inputs["steps"].tolist()
    ]
    close(np.array(rates), case.outputs["lr"], 1e-5)
