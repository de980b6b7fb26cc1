"""CLIPSep: targets, queries, noise-invariant loss, spectra, rates, measures of separation."""

from __future__ import annotations

import re

import numpy as np
import torch

from fallow.measure.separation import separated_images, separated_sources
from fallow.methods.separate.clipsep import Query, noise_invariant_loss, plain_loss, targets
from fallow.sounds.spectra import bent, bent_rows, sound, spectrum, straight, straight_rows
from fallow.train.schedules import linear_fall

from .arrays import arrays
from .cases import close, golden


def heads(case):
    query = case.tensor("query0")
    maps = case.tensor("feat_sound").shape[1]
    module = Query(query.shape[1], maps)
    with torch.no_grad():
        module.ask.weight.copy_(case.tensor("query_weight"))
        module.ask.bias.copy_(case.tensor("query_bias"))
        module.scale.copy_(case.tensor("scale"))
        module.bias.copy_(case.tensor("bias"))
        for k, layer in enumerate(module.noises):
            if f"noise_weight{k}" in case.inputs:
                layer.weight.copy_(case.tensor(f"noise_weight{k}"))
                layer.bias.copy_(case.tensor(f"noise_bias{k}"))
    return module


def asked(case, with_noise):
    """Loss of recorded maps and queries, with or without noise heads; maps and heads have grads."""
    module, maps = heads(case), case.tensor("feat_sound", gradient=True)
    found = targets(
        case.tensor("mag_mix"), [case.tensor("mag0"), case.tensor("mag1")], maps.shape[2]
    )
    queries = [module.ask(case.tensor(f"query{k}")) for k in (0, 1)]
    logits = [module.logit(one, maps) for one in queries]
    noises = module.noise_logits(queries, maps)
    if with_noise:
        weight, share, margin_weight, margin = case.inputs["reg2_coef_eps_reg_coef_eps"].tolist()
        loss = noise_invariant_loss(logits, noises, found, weight, share, margin_weight, margin)
    else:
        loss = plain_loss(logits, found)
    loss.backward()
    return module, maps, found, logits, noises, loss


@golden("clipsep", "nit")
def test_noise_invariant_training(case):
    module, maps, found, logits, noises, loss = asked(case, with_noise=True)
    close(loss, case.outputs["loss_nit"], 1e-5)
    close(maps.grad, case.outputs["grad_feat_nit"], 1e-4)
    close(module.ask.weight.grad, case.outputs["grad_query_weight_nit"], 1e-4)
    for k, layer in enumerate(module.noises):
        close(layer.weight.grad, case.outputs[f"grad_noise_weight{k}"], 1e-4)
    close(module.scale.grad, case.outputs["grad_scale"], 1e-4)
    for k in (0, 1):
        np.testing.assert_array_equal(found.masks[k], case.outputs[f"gt_mask{k}"])
    close(found.weight.mean(3), case.outputs["weight_rowmean"], 1e-4, 1e-5)
    close(found.mixture.mean(3), case.outputs["warped_mag_mix_rowmean"], 1e-4, 1e-5)
    close(logits[0], case.outputs["logit0"], 1e-4, 1e-5)
    mean = sum(torch.sigmoid(one).mean() for one in logits)
    close(mean, case.outputs["mean_act"], 1e-5)
    mean = sum(torch.sigmoid(one).mean() for one in noises)
    close(mean, case.outputs["mean_noise_act"], 1e-5)


@golden("clipsep", "nit")
def test_without_noise_heads(case):
    module, maps, _, _, _, loss = asked(case, with_noise=False)
    close(loss, case.outputs["loss_nonoise"], 1e-5)
    close(maps.grad, case.outputs["grad_feat_nonoise"], 1e-4)
    close(module.ask.weight.grad, case.outputs["grad_query_weight_nonoise"], 1e-4)


@golden("clipsep", "clipsep")
def test_plain_loss(case):
    module, _, found, _, _, loss = asked(case, with_noise=False)
    close(loss, case.outputs["loss"], 1e-5)
    close(module.ask.weight.grad, case.outputs["grad_query_weight"], 1e-4)
    close(found.mixture.log().mean(3), case.outputs["log_input_rowmean"], 1e-4, 1e-4)


def test_bent_rows():
    held = arrays("clipsep")
    values = torch.from_numpy(held["warp_in"])
    made = bent(values, held["warp_out"].shape[2])
    close(made, held["warp_out"], 1e-4, 1e-5)
    back = straight(made, values.shape[2])
    close(back, held["warp_then_unwarp_out"], 1e-4, 1e-5)
    ways = {"warpgrid": bent_rows, "unwarpgrid": straight_rows}
    for key, expected in held.items():
        if match := re.fullmatch(r"(warpgrid|unwarpgrid)_(\d+)_y_of_column0", key):
            close(ways[match[1]](int(match[2])), expected, 1e-5, 1e-6)


def test_spectra_and_back():
    held = arrays("clipsep")
    size, hop = held["stft_params_nfft_hop"].tolist()
    one, two = (torch.from_numpy(held[f"stft_in_{name}"])[None] for name in "ab")
    for name, samples in (("a", one), ("b", two)):
        if f"stft_out_re_{name}" in held:
            found = spectrum(samples, size, hop)[0]
            close(found.real, held[f"stft_out_re_{name}"], 1e-4, 1e-5)
            close(found.imag, held[f"stft_out_im_{name}"], 1e-4, 1e-5)
    mixture = spectrum(one + two, size, hop)
    close(sound(mixture, size, hop)[0], held["istft_out_mix"], 1e-4, 1e-5)
    mask = spectrum(one, size, hop).abs() > 0.5 * mixture.abs()
    close(sound(mixture * mask, size, hop)[0], held["istft_out_ibm"], 1e-4, 1e-5)


@golden("clipsep", "lr")
def test_rate(case):
    found = [linear_fall(step) for step in case.inputs["step"].tolist()]
    close(np.array(found), case.outputs["multiplier"], 1e-6)


def test_decibels():
    held = arrays("clipsep")
    references, estimates = held["sdr_in_reference"], held["sdr_in_estimate"]
    found = separated_images(references, estimates)
    for name in ("sdr", "isr", "sir", "sar"):
        np.testing.assert_allclose(getattr(found, name), held[f"museval_out_{name}"], atol=1e-3)
    mixture = np.broadcast_to(references.sum(0), references.shape)
    found = separated_images(references, mixture)
    np.testing.assert_allclose(found.sdr, held["museval_out_sdr_of_mixture"], atol=1e-3)
    found = separated_sources(references, estimates)
    for name in ("sdr", "sir", "sar"):
        np.testing.assert_allclose(getattr(found, name), held[f"mireval_out_{name}"], atol=1e-3)
