"""LightISP: planes, anchor, views, losses, networks, critics, and a whole balanced step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fallow.encoders.critics import TokenCritic
from fallow.encoders.isp import Attentive, Planes
from fallow.losses.adversarial import more_real, steepness
from fallow.losses.pictures import (
    blurred,
    colours_apart,
    features_apart,
    lightness,
    roughness,
    soft_window,
)
from fallow.measure.fidelity import psnr
from fallow.methods.develop.lightisp import (
    View,
    anchor,
    balanced_step,
    critic_loss,
    grey,
    network_losses,
    resized,
)
from fallow.methods.shared.pipeline import ORDER, PATTERN, spread
from fallow.raw.levels import normalised
from fallow.raw.mosaic import planes
from fallow.raw.sixteen import eight_truncated

from .arrays import arrays, matching
from .cases import close

A = arrays("lightisp")
TIGHT = {"rtol": 1e-5, "atol": 1e-5}
BLACK, WHITE, SPREAD_BLACK = [[58, 60], [61, 62]], 1023, 63  # of the original's sensor
VGG_MEAN = torch.tensor([123.68, 116.779, 103.939])[:, None, None]


def tensor(key):
    return torch.from_numpy(A[key].copy())


def numbered(stem):
    return sorted({m[1] for m in matching(A, rf"({stem}\d*)_in_raw")})


def weights(prefix):
    return [tensor(m[0]) for m in matching(A, rf"{prefix}_w_.+")]


def filled(network, values):
    """The recorded weights, in the order in which the layers are used."""
    state = network.state_dict()
    assert [one.shape for one in state.values()] == [one.shape for one in values]
    network.load_state_dict(dict(zip(state, values, strict=True)))
    return network


def token_critic(prefix):
    values = weights(prefix)
    return filled(TokenCritic(values[0].shape[1], [one.shape[0] for one in values[:-2:2]]), values)


def frozen(key):
    """The small convolution that stands for VGG-19, on pictures of 0...255 without their mean."""
    taps = tensor(key)
    return lambda x: F.relu(F.conv2d(x * 255 - VGG_MEAN, taps, padding=1))


@pytest.mark.parametrize("name", numbered("pack"))
def test_planes(name):
    light = normalised(A[f"{name}_in_raw"], BLACK, WHITE)
    close(planes(light, PATTERN, ORDER), A[f"{name}_out"], **TIGHT)


@pytest.mark.parametrize("name", numbered("split3_"))
def test_planes_with_holes(name):
    light = normalised(A[f"{name}_in_raw"], SPREAD_BLACK, SPREAD_BLACK + WHITE)
    close(spread(torch.from_numpy(light)), A[f"{name}_out"], **TIGHT)


def test_anchor():
    strided = matching(A, r"anchor_out_stride(\d+)")[0]
    step = int(strided[1])
    plain = anchor(A["anchor_in_raw"].astype(np.float64), PATTERN, white=65535)
    side = A[strided[0]].shape[-1] * step
    found = resized(torch.from_numpy(plain).permute(2, 0, 1)[None], side)[0]
    close(found[:, ::step, ::step], A[strided[0]], rtol=1e-4, atol=1e-5)
    close(
        torch.stack([found.min(), found.max(), found.mean()]),
        A["anchor_out_minmaxmean"],
        rtol=1e-4,
    )


@pytest.mark.parametrize("match", matching(A, r"gauss_kernel(\d+)_nsig(\d+)"), ids=lambda m: m[0])
def test_windows(match):
    close(soft_window(int(match[1]), float(match[2])), A[match[0]], **TIGHT)


def test_views():
    close(blurred(tensor("view_in_real"), soft_window()), A["view_out_color_real"], **TIGHT)
    close(grey(tensor("view_in_fake")), A["view_out_gray_fake"], **TIGHT)


def test_roughness():
    x = tensor("tv_in").requires_grad_()
    loss = roughness(x)
    loss.backward()
    close(loss, A["tv_out_loss"])
    close(x.grad, A["tv_out_grad"], **TIGHT)


def test_colours_apart():
    made, wanted = (
        tensor(f"color_in_{side}_tile").repeat(1, 1, 16, 16) for side in ("gen", "target")
    )
    close(colours_apart(made, wanted, soft_window()), A["color_out_loss"])


def test_lightness():
    close(lightness(tensor("lum_in")), A["lum_out"], **TIGHT)


def test_content():
    see = frozen("content_in_featconv")
    made = tensor("content_in_gen").requires_grad_()
    loss = features_apart(see(lightness(made)), see(lightness(tensor("content_in_target"))))
    loss.backward()
    close(loss, A["content_out_loss"])
    close(made.grad, A["content_out_grad"], rtol=1e-4, atol=1e-5)


def test_critic_of_tokens():
    critic = token_critic("gan_disc")
    real, fake = tensor("gan_in_real_tokens"), tensor("gan_in_fake_tokens").requires_grad_()
    loss = critic_loss(critic, real, fake)
    loss.backward()
    close(loss, A["gan_out_d_loss"])
    recorded = [A[m[0]] for m in matching(A, r"gan_out_d_grad_.+")]
    for parameter, expected in zip(critic.parameters(), recorded, strict=True):
        close(parameter.grad, expected, **TIGHT)
    seen = real.clone().requires_grad_()
    close(steepness(critic(seen), seen), A["gan_out_r1_real"], **TIGHT)
    assert fake.grad is None  # the critic's loss moves nothing but the critic
    pulled = more_real(critic(fake), critic(real))
    pulled.backward()
    close(pulled, A["gan_out_g_loss"])
    close(fake.grad, A["gan_out_g_grad_fake"], **TIGHT)


def test_steepness():
    x, w = tensor("gp4_in_x").requires_grad_(), tensor("gp4_in_w")
    close(steepness((x * w).pow(3).sum((1, 2, 3)), x), A["gp4_out"], rtol=1e-4)


def planes_of(prefix):
    values = weights(prefix)
    return filled(Planes([one.shape[0] for one in values[:-2:2]]), values)


@pytest.mark.parametrize("name", [m[1] for m in matching(A, r"(efficient|robust)_out")])
def test_networks_of_planes(name):
    close(planes_of(name)(tensor("net_in")), A[f"{name}_out"], **TIGHT)


@pytest.mark.parametrize("name", [m[1] for m in matching(A, r"(rmfa\d*)_out")])
def test_network_with_attention(name):
    values = weights(name)
    per_block = len(Attentive(16, 1).blocks[0].state_dict())
    blocks = (len(values) - 6) // per_block
    made = filled(Attentive(values[0].shape[0], blocks), values)
    close(made(tensor(f"{name}_in")), A[f"{name}_out"], **TIGHT)


def test_a_balanced_step():
    network = planes_of("step_before")
    names = [m[1] for m in matching(A, r"step_(d\d+)_w_layers\.0\.weight")]
    tokens = lambda x: x.flatten(2).transpose(1, 2)  # noqa: E731
    views = {name: View(tokens, token_critic(f"step_{name}")) for name in names}
    optimiser = torch.optim.Adam(network.parameters(), 5e-4, (0.5, 0.9))
    losses = network_losses(
        network(tensor("step_in_raw")),
        tensor("step_in_target"),
        tensor("step_in_anchor"),
        views,
        frozen("step_in_featconv"),
    )
    assert list(losses) == [*names, "content", "smooth"]
    scales = balanced_step(network, optimiser, losses)
    suffix = "_".join([*names, "content", "tv"])
    found = torch.stack(list(losses.values()))
    close(found, A[f"step_out_losses_{suffix}"].astype(np.float32), rtol=1e-4)
    close(np.array(list(scales.values())), A[f"step_out_weights_{suffix}"], rtol=1e-4)
    for parameter, expected in zip(network.parameters(), weights("step_after"), strict=True):
        close(parameter, expected, rtol=1e-5, atol=2e-6)


def test_measures():
    close(psnr(A["psnr_in_a"], A["psnr_in_b"], 1.0), A["psnr_out_db"])
    shown = eight_truncated(np.moveaxis(A["trunc8_in"], 0, 2))
    close(shown, A["trunc8_out"], rtol=0, atol=0)


def test_every_key_is_known():
    known = (
        "pack", "split3_", "anchor_", "gauss_", "view_", "tv_", "color_", "lum_", "content_",
        "gan_", "gp4_", "net_in", "efficient_", "robust_", "rmfa", "step_", "psnr_", "trunc8_",
    )  # fmt: skip
    assert not [key for key in A if not key.startswith(known)]
