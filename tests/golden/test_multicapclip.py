"""MultiCapCLIP: smoothed words, phrases as prompts, related sentences, noise."""

from __future__ import annotations

import numpy as np
import torch

from fallow.losses.language import next_words
from fallow.methods.caption.multicapclip import Prompts, noisy
from fallow.parts.concepts import related

from .arrays import arrays
from .cases import close, golden


@golden("multicapclip", "smooth")
def test_smoothed_words(case):
    for reduction in ("mean", "sum"):
        logits = case.tensor("logits", gradient=True)
        loss = next_words(logits, case.tensor("labels"), case.number("eps"), reduction)
        close(loss, case.outputs[f"loss_{reduction}"], 1e-5)
        loss.backward()
        close(logits.grad, case.outputs[f"grad_{reduction}"], 1e-4, 1e-6)


@golden("multicapclip", "smooth")
def test_other_smoothing_is_another(case):
    """PyTorch's own, recorded for contrast."""
    logits, labels, eps = case.tensor("logits"), case.tensor("labels"), case.number("eps")
    theirs = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=eps)
    close(theirs, case.outputs["loss_torch_label_smoothing"], 1e-5)
    assert bool(eps) != bool(torch.isclose(theirs, next_words(logits, labels, eps)))


@golden("multicapclip", "concept")
def test_prompts(case):
    bank, vectors = case.tensor("bank"), case.tensor("embeds")
    width = len(case.inputs["proj_bias"])
    prompts = Prompts(bank.shape[1], width).eval()
    layers = {"proj": prompts.memory, "proj_ln": prompts.memory_norm,
              "prefix": prompts.prefix, "prefix_ln": prompts.prefix_norm}  # fmt: skip
    with torch.no_grad():
        for name, layer in layers.items():
            layer.weight.copy_(case.tensor(f"{name}_weight"))
            layer.bias.copy_(case.tensor(f"{name}_bias"))
        found = prompts(vectors, bank, int(case.number("K")), bool(case.inputs["exclude"]))
    np.testing.assert_array_equal(found.indices, case.outputs["indices"])
    close(found.prompts, case.outputs["prompts"], 1e-5, 1e-5)
    close(found.memory, case.outputs["cross_attention_memory"], 1e-4, 1e-5)
    close(found.prefix, case.outputs["prefix"], 1e-4, 1e-5)


@golden("multicapclip", "related")
def test_related_sentences(case):
    texts = case.inputs["captions"].tolist()
    found = related(case.inputs["embeds"], texts, int(case.number("topk")))
    np.testing.assert_array_equal(found, case.outputs["ids"])


def test_noise():
    held = arrays("multicapclip")
    vectors = torch.from_numpy(held["noise_in_embeds"])
    normal = torch.from_numpy(held["noise_in_standard_normal"])
    close(noisy(vectors, normal, 0.0), held["noise_out_eval"], 1e-5, 1e-5)
    stds = [key for key in held if key.endswith("_in_std")]
    assert stds
    for key in stds:
        found = noisy(vectors, normal, float(held[key]))
        close(found, held[key.replace("_in_std", "_out")], 1e-5, 1e-5)
