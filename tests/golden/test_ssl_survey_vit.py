"""The transformer, its patches, positions and head against reference vectors."""

import pytest
import torch

from fallow.encoders.heads import dino_head
from fallow.encoders.vit import Layout, ViT, patchify, sincos_at, sincos_positions, unpatchify

from .arrays import arrays

VECTORS = arrays("ssl-survey")


def cases(group):
    """Names `group_caseX`, found from the keys."""
    names = {k.split("_in_")[0] for k in VECTORS if k.startswith(f"{group}_") and "_in_" in k}
    assert names, f"no vectors for {group}"
    return sorted(names)


def get(name):
    return torch.from_numpy(VECTORS[name])


def weights(case):
    start = f"{case}_in_w_"
    return {k[len(start) :].replace("__", "."): get(k) for k in VECTORS if k.startswith(start)}


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", cases("mae_patchify"))
def test_patchify(case):
    images, patch = get(f"{case}_in_imgs"), int(get(f"{case}_in_patch"))
    expected = get(f"{case}_out_patches")
    assert torch.equal(patchify(images, patch), expected)
    grid = (images.shape[2] // patch, images.shape[3] // patch)
    assert torch.equal(unpatchify(expected, grid, patch), images)


@pytest.mark.parametrize("case", cases("mae_sincos2d"))
def test_sincos(case):
    side, dimension = int(get(f"{case}_in_grid")), int(get(f"{case}_in_dim"))
    positions = sincos_positions(side, side, dimension)
    if int(get(f"{case}_in_cls")):
        positions = torch.cat([torch.zeros(1, dimension), positions])
    close(positions, get(f"{case}_out_pos").float())


@pytest.mark.parametrize("case", cases("mocov3_sincos2d"))
def test_sincos_of_a_column_major_grid(case):
    height, width = get(f"{case}_in_grid").tolist()
    token = torch.arange(height * width)
    points = sincos_at(token // height, token % height, int(get(f"{case}_in_dim")))
    expected = get(f"{case}_out_pos")[0].float()
    lead = len(expected) - len(points)
    close(points, expected[lead:])
    assert torch.equal(expected[:lead], torch.zeros_like(expected[:lead]))


def build(case):
    state, images = weights(case), get(f"{case}_in_x")
    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    depth = 1 + max(int(k.split(".")[1]) for k in state if k.startswith("blocks."))
    heads = get(f"{case}_out_lastattn").shape[1]
    expansion = state["blocks.0.mlp.fc1.weight"].shape[0] / width
    network = ViT(
        Layout(width, depth, heads),
        patch=patch,
        size=tuple(images.shape[2:]),
        positions="learned",
        expansion=expansion,
    )
    network.load_state_dict(state)
    return network.eval()


@pytest.mark.parametrize("case", cases("dino_vit"))
@torch.inference_mode()
def test_transformer(case):
    network, images = build(case), get(f"{case}_in_x")
    tokens = get(f"{case}_out_tokens")
    close(network.forward_tokens(images), tokens)
    close(network(images), get(f"{case}_out_cls"))
    close(network.attention(images), get(f"{case}_out_lastattn"))
    close(network(get(f"{case}_in_x_rect")), get(f"{case}_out_cls_rect"))
    close(network.block_outputs(images, [-1], norm=True)[0], tokens)
    close(network.patches(images, [-1])[0].flatten(1, 2), tokens[:, 1:])


@pytest.mark.parametrize("case", cases("dino_head"))
@torch.inference_mode()
def test_head(case):
    state = weights(case)
    dims = [state["mlp.0.weight"].shape[1], *(state[f"mlp.{i}.weight"].shape[0] for i in (0, 4))]
    head = dino_head(dims[0], len(state["last_layer.weight_v"]), hidden=dims[1], bottleneck=dims[2])
    head.load_state_dict(
        {k.replace("mlp.", "0."): v for k, v in state.items() if k.startswith("mlp.")}
        | {
            "2.parametrizations.weight.original0": state["last_layer.weight_g"],
            "2.parametrizations.weight.original1": state["last_layer.weight_v"],
        }
    )
    close(head(get(f"{case}_in_x")), get(f"{case}_out_y"))
