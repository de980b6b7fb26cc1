"""Masked prediction against reference vectors: masks, targets, losses, gradients, predictor.

Covers mae_random_masking, mae_loss, simmim_loss, simmim_mask_example, data2vec_loss,
ijepa_apply_masks, ijepa_repeat_interleave, ijepa_predictor, ijepa_block_size and
ijepa_masks_example.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from fallow.encoders.predictor import PatchPredictor
from fallow.encoders.vit import patchify, sincos_positions
from fallow.losses.masked import (
    average_layers,
    masked_absolute,
    masked_square,
    plain_norm,
    smooth_absolute,
    standardise,
)
from fallow.parts.masking import (
    as_mask,
    block_size,
    hidden_squares,
    kept_as_published,
    multi_block,
    multi_block_as_published,
    repeat_batches,
    split_by,
    squares,
    take,
    take_blocks,
)

from .cases import close, golden

RTOL = 1e-5


@golden("ssl-survey", "mae_random_masking")
def test_random_masking(case):
    tokens, noise = case.tensor("x"), case.tensor("noise")
    length = noise.shape[1]
    split = split_by(noise, kept_as_published(length, case.number("ratio")))
    assert torch.equal(take(tokens, split.keep), torch.from_numpy(case.outputs["x_masked"]))
    mask = as_mask(split.hide, length)
    assert np.array_equal(mask.numpy(), case.outputs["mask"] != 0)
    restore = torch.cat([split.keep, split.hide], 1).argsort(1)
    assert np.array_equal(restore.numpy(), case.outputs["ids_restore"])


@golden("ssl-survey", "mae_loss")
def test_rebuilt_patches(case):
    prediction = case.tensor("pred", gradient=True)
    target = patchify(case.tensor("imgs"), int(case.number("patch")))
    if case.number("norm_pix"):
        target = standardise(target)
    loss = masked_square(prediction, target, case.tensor("mask"))
    loss.backward()
    close(loss, np.float32(case.outputs["loss"]), RTOL)
    close(prediction.grad, case.outputs["grad_pred"], RTOL)


@golden("ssl-survey", "mae_loss")
def test_only_what_is_hidden_needs_to_be_predicted(case):
    # as the method does it: hidden patches are gathered first, where images hide equally many
    mask = case.tensor("mask").bool()
    if len(set(mask.sum(1).tolist())) != 1:
        return
    hidden = mask.int().argsort(dim=1, descending=True, stable=True)[:, : int(mask[0].sum())]
    target = patchify(case.tensor("imgs"), int(case.number("patch")))
    target = take(target, hidden)
    if case.number("norm_pix"):
        target = standardise(target)
    prediction = take(case.tensor("pred"), hidden)
    loss = masked_square(prediction, target, torch.ones_like(hidden))
    close(loss, np.float32(case.outputs["loss"]), RTOL)


@golden("ssl-survey", "simmim_loss")
def test_pixels_under_a_mask(case):
    rebuilt = case.tensor("rec", gradient=True)
    images, mask = case.tensor("x"), case.tensor("mask")
    assert images.shape[2] == mask.shape[1] * int(case.number("patch"))
    loss = masked_absolute(rebuilt, images, mask)
    loss.backward()
    close(loss, np.float32(case.outputs["loss"]), RTOL)
    close(rebuilt.grad, case.outputs["grad_rec"], RTOL)


@golden("ssl-survey", "simmim_mask_example")
def test_squares(case):
    side = int(case.number("mask_patch")) // int(case.number("model_patch"))
    grid = (int(case.number("input")) // int(case.number("model_patch")),) * 2
    count, hidden = hidden_squares(grid, side, case.number("ratio"))
    order = np.random.RandomState(int(case.number("numpy_seed"))).permutation(count)
    mask = squares(torch.from_numpy(order)[None], hidden, grid, side).unflatten(1, grid)[0]
    assert np.array_equal(mask.numpy(), case.outputs["mask"] != 0)


@golden("ssl-survey", "data2vec_loss")
def test_averaged_layers_of_a_teacher(case):
    layers = case.tensor("layers")
    targets = average_layers(
        [layers[layer] for layer in case.inputs["target_layers"]],
        norm_each=bool(case.number("layer_norm_each")),
        norm_mean=bool(case.number("post_layer_norm")),
    )
    prediction = case.tensor("pred", gradient=True)
    loss = smooth_absolute(
        prediction, targets[case.tensor("mask").bool()], beta=case.number("beta")
    )
    loss.backward()
    close(loss, case.outputs["loss"], RTOL)
    close(prediction.grad, case.outputs["grad_pred"], RTOL)


@golden("ssl-survey", "ijepa_apply_masks")
def test_tokens_of_blocks(case):
    taken = take_blocks(case.tensor("x"), case.tensor("masks").long())
    assert np.array_equal(taken.numpy(), case.outputs["x"])


@golden("ssl-survey", "ijepa_repeat_interleave")
def test_repeated_batches(case):
    rows = repeat_batches(case.tensor("x"), int(case.number("B")), int(case.number("repeat")))
    assert np.array_equal(rows.numpy(), case.outputs["x"])


def predictor_of(case):
    """The recorded predictor's weights in ours; names differ by their prefix."""
    state = {
        key.removeprefix("w_").replace("__", ".").replace("predictor_", ""): case.tensor(key)
        for key in case.inputs
        if key.startswith("w_")
    }
    positions = state.pop("pos_embed").double()
    width, dimension = state["embed.weight"].shape
    predictor = PatchPredictor(
        dimension,
        len(state["proj.weight"]),
        (1, positions.shape[1]),
        width=width,
        depth=1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks.")),
        heads=int(case.number("heads")),
        expansion=len(state["blocks.0.mlp.fc1.weight"]) / width,
    ).double()
    predictor.load_state_dict({key: value.double() for key, value in state.items()})
    predictor.positions = positions
    for module in predictor.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-5  # recorded with torch's own, where the published models have 1e-6
    return predictor


@golden("ssl-survey", "ijepa_predictor")
def test_predicted_blocks(case):
    predictor = predictor_of(case)
    context, blocks = case.tensor("enc_mask").long(), case.tensor("pred_masks").long()
    contexts, batch = context.shape[:2]
    seen = case.tensor("context").double()
    targets = take_blocks(plain_norm(case.tensor("target_tokens").double()), blocks)
    targets = repeat_batches(targets, batch, contexts)
    wanted = repeat_batches(blocks.flatten(0, 1), batch, contexts)
    predicted = predictor(
        seen.repeat(len(blocks), 1, 1), context.flatten(0, 1).repeat(len(blocks), 1), wanted
    )
    close(predicted, case.outputs["pred"], RTOL)
    close(targets, case.outputs["targets"], RTOL)
    close(smooth_absolute(predicted, targets), case.outputs["loss"], RTOL)


@golden("ssl-survey", "ijepa_predictor")
def test_positions_of_the_predictor(case):
    recorded = case.inputs["w_predictor_pos_embed"][0]
    side = math.isqrt(len(recorded))
    if side * side == len(recorded):
        close(sincos_positions(side, side, recorded.shape[1]), recorded, RTOL)


@golden("ssl-survey", "ijepa_block_size")
def test_sizes_of_blocks(case):
    grid = tuple(case.inputs["grid"].tolist())
    for place, seed in enumerate(case.inputs["seeds"]):
        generator = torch.Generator().manual_seed(int(seed))
        one, two = (torch.rand(1, generator=generator).item() for _ in range(2))
        size = block_size(grid, (0.15, 0.2), (0.75, 1.5), one, one)
        assert size == tuple(case.outputs["pred_hw"][place])
        assert block_size(grid, (0.85, 1.0), (1.0, 1.0), two, two) == tuple(
            case.outputs["enc_hw"][place]
        )


def check_blocks(grid, context, targets):
    """What holds for I-JEPA's blocks however they are drawn."""
    for index in (context, targets):
        assert index.min() >= 0
        assert index.max() < grid[0] * grid[1]
        assert (np.diff(index, axis=2) > 0).all()
    sizes = set()
    for block in targets.reshape(-1, targets.shape[2]):
        rows, columns = block // grid[1], block % grid[1]
        size = (np.ptp(rows) + 1, np.ptp(columns) + 1)
        assert size[0] * size[1] == len(block)  # a full rectangle
        sizes.add(size)
    assert len(sizes) == 1  # one size for the whole batch
    for image in range(context.shape[1]):
        hidden = set(targets[:, image].ravel().tolist())
        assert not hidden & set(context[:, image].ravel().tolist())


@golden("ssl-survey", "ijepa_masks_example")
def test_blocks_keep_to_the_rules(case):
    grid = tuple(case.inputs["grid"].tolist())
    recorded = case.outputs["pred"], case.outputs["enc"]
    check_blocks(grid, recorded[1], recorded[0])
    count, batch = recorded[0].shape[:2]
    for seed in range(20):
        for draw in (multi_block, multi_block_as_published):
            made = draw(grid, batch, np.random.default_rng(seed), targets=count, least=1)
            check_blocks(grid, made.context.numpy(), made.targets.numpy())
            assert made.targets.shape[:2] == (count, batch)
