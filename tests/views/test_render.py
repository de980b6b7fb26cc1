"""Rendered pixels: against Pillow, against plain arithmetic, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from skimage.data import astronaut

from fallow.problems import SettingProblem, SourceProblem
from fallow.views import (
    Recipe,
    View,
    byol,
    colour_matrix,
    compose,
    draw,
    groco,
    identity,
    moco,
    pack_arrays,
    plain,
    render,
    render_drawn,
    simclr,
    swav,
    turning,
)
from fallow.views.colour import ORDERS
from fallow.views.colour import compose as compose_colour

PHOTO = astronaut()
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def levels(tensor):
    """3 S S in [0, 1] as S S 3 grey levels."""
    return tensor.permute(1, 2, 0).numpy().astype(np.float64) * 255


def recoloured(picture, **chain):
    """What render makes of one picture with the given factors, unresized."""
    size = len(picture)
    pack = pack_arrays([picture])
    drawn = draw(identity(size), pack.heights, pack.widths, [0], seed=0)
    names = ("brightness", "contrast", "saturation", "hue")
    drawn.factors[0, 0] = [chain.get(n, d) for n, d in zip(names, (1, 1, 1, 0), strict=True)]
    drawn.grey[0, 0] = chain.get("grey", False)
    order = int(np.flatnonzero((chain.get("order", (0, 1, 2, 3)) == ORDERS).all(1))[0])
    compose_colour(
        drawn.factors[0, 0], order, drawn.grey[0, 0], drawn.mixing[0, 0], drawn.pull[0, 0]
    )
    drawn.sigma[0, 0] = chain.get("sigma", 0.0)
    drawn.solarise[0, 0] = chain.get("solarise", False)
    return levels(render_drawn(pack, [0], drawn, identity(size)).views[0][0])


@pytest.mark.parametrize("size", [32, 96, 224, 700])
def test_crops_match_pillow(size):
    pack = pack_arrays([PHOTO])
    recipe = Recipe((View(size),), **PLAIN)
    flips = set()
    for epoch in range(6):
        result = render(pack, [0], recipe, seed=0, epoch=epoch)
        (a, _, x0), (_, d, y0) = result.geometry[0, 0].tolist()
        left, top = min(x0, x0 + (size - 1) * a) + 0.5 - abs(a) / 2, y0 + 0.5 - d / 2
        box = (left, top, left + size * abs(a), top + size * d)
        expected = Image.fromarray(PHOTO).resize((size, size), Image.Resampling.BILINEAR, box=box)
        expected = np.asarray(ImageOps.mirror(expected) if a < 0 else expected, np.float64)
        flips.add(a < 0)
        assert np.abs(levels(result.views[0][0]) - expected).max() < 1.5
    assert flips == {True, False}


def test_evaluation_view_is_resize_and_centre_crop():
    pack = pack_arrays([PHOTO[:400]])
    got = levels(render(pack, [0], Recipe(plain(224).views, **PLAIN), seed=0).views[0][0])
    side = 400 * 7 / 8
    box = (256 - side / 2, 200 - side / 2, 256 + side / 2, 200 + side / 2)
    expected = Image.fromarray(PHOTO[:400]).resize((224, 224), Image.Resampling.BILINEAR, box=box)
    assert np.abs(got - np.asarray(expected, np.float64)).max() < 1.5


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_identity_returns_the_image(size):
    picture = PHOTO[100 : 100 + size, 200 : 200 + size]
    result = render(pack_arrays([picture]), [0], identity(size), seed=0)
    assert np.array_equal(np.rint(levels(result.views[0][0])), picture)
    assert np.abs(levels(result.views[0][0]) - picture).max() < 1e-4
    assert result.geometry[0, 0].tolist() == [[1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.7])
@pytest.mark.parametrize(
    ("name", "enhance"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
def test_single_colour_operations_match_pillow(name, enhance, factor):
    picture = PHOTO[:256, 100:356]
    expected = np.asarray(enhance(Image.fromarray(picture)).enhance(factor), np.float64)
    assert np.abs(recoloured(picture, **{name: factor}) - expected).max() < 2.1


def test_grey_matches_pillow():
    picture = PHOTO[:128, :128]
    grey = np.asarray(Image.fromarray(picture).convert("L"), np.float64)
    assert np.abs(recoloured(picture, grey=True) - grey[:, :, None]).max() < 1.01


def test_hue_keeps_greys_and_turns_primaries():
    third = np.array([[[0, 0, 255], [90, 90, 90]]] * 2, np.uint8)
    turned = recoloured(third, hue=1 / 3)
    assert np.allclose(turned[0, 0], [255, 0, 0], atol=1e-3)  # blue goes round to red
    assert np.allclose(turned[0, 1], 90, atol=1e-3)


def test_chain_in_any_order_equals_step_by_step_arithmetic():
    rng = np.random.default_rng(0)
    picture = rng.integers(100, 140, (16, 16, 3), np.uint8)  # mild: nothing reaches the clamp
    values = {"brightness": 1.1, "contrast": 0.7, "saturation": 1.3, "hue": 0.05}
    luma = np.array([0.299, 0.587, 0.114])
    turn = colour_matrix(np.zeros(3), hue=0.05)[:, :3]
    results = []
    for order in ORDERS.tolist():
        pixels = picture.astype(np.float64)
        for step in order:
            if step == 0:
                pixels = pixels * 1.1
            elif step == 1:
                pixels = 0.7 * pixels + 0.3 * (pixels @ luma).mean()
            elif step == 2:
                pixels = 1.3 * pixels - 0.3 * (pixels @ luma)[..., None]
            else:
                pixels = pixels @ turn.T
        got = recoloured(picture, **values, order=tuple(order))
        assert np.abs(got - pixels).max() < 2e-3
        results.append(got)
    assert np.abs(results[0] - results[-1]).max() > 0.1  # order does matter


def test_colours_are_clamped():
    bright = recoloured(PHOTO[:64, :64], brightness=1.8)
    assert bright.max() == pytest.approx(255, abs=1e-3)
    assert bright.min() >= 0


def test_solarise_inverts_from_the_middle():
    ramp = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    expected = np.asarray(ImageOps.solarize(Image.fromarray(ramp), 128))
    assert np.abs(recoloured(ramp, solarise=True) - expected).max() < 1e-3


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 1.4, 2.0, 5.0])
def test_blur_is_a_gaussian(sigma):
    from scipy.ndimage import gaussian_filter

    picture = PHOTO[:160, 100:260]
    got = recoloured(picture, sigma=sigma)
    exact = gaussian_filter(picture.astype(np.float64), (sigma, sigma, 0), mode="nearest")
    assert np.abs(got - exact).max() < 1.5
    assert np.abs(got - exact).mean() < 0.1
    pillow = np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(sigma)), float)
    assert np.abs(got - pillow).mean() < 1.0


@pytest.mark.parametrize("turned", [False, True])
def test_shrinking_does_not_alias(turned):
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    pack = pack_arrays([board])
    recipe = Recipe((View(32, centre=0.7, flip=0.0, rotate=45.0 if turned else 0.0),), **PLAIN)
    values = levels(render(pack, [0], recipe, seed=2).views[0][0])
    assert np.abs(values - 127.5).max() < 2.0


def test_rotated_view_agrees_with_pillow():
    size = 128
    pack = pack_arrays([PHOTO[:size, 150 : 150 + size]])
    drawn = draw(identity(size), pack.heights, pack.widths, [0], seed=0)
    matrix = turning(20.0, size)
    drawn.geometry[0, 0] = compose(torch.from_numpy(drawn.geometry[0, 0]), matrix).numpy()
    got = levels(render_drawn(pack, [0], drawn, identity(size)).views[0][0])
    (a, b, c), (d, e, f) = matrix.tolist()
    to_edges = (a, b, c + 0.5 - (a + b) / 2, d, e, f + 0.5 - (d + e) / 2)
    expected = Image.fromarray(pack[0]).transform(
        (size, size), Image.Transform.AFFINE, to_edges, Image.Resampling.BILINEAR
    )
    difference = np.abs(got - np.asarray(expected, np.float64))
    assert np.median(difference) < 1
    assert difference[20:-20, 20:-20].max() < 8  # Pillow's affine steps in fixed point
    assert np.abs(got[0, 0]).max() == 0  # the corner shows what is outside: black


def test_general_path_equals_fast_path_when_enlarging():
    pack = pack_arrays([PHOTO[:64, 200:264]])
    drawn = draw(identity(100), pack.heights, pack.widths, [0], seed=0)
    fast = render_drawn(pack, [0], drawn, identity(100)).views[0].clone()
    drawn.geometry[0, 0, 0, 1] = 1e-12  # no longer upright, by a hair
    general = render_drawn(pack, [0], drawn, identity(100)).views[0]
    assert (fast - general).abs().max() < 1e-5


PICTURES = [
    PHOTO[:h, :w] for h, w in [(200, 300), (31, 47), (1, 1), (1, 90), (90, 1), (5, 400), (128, 128)]
]


@pytest.mark.parametrize("recipe", [simclr(96), simclr(32), swav(32), byol(65), groco(64)])
def test_same_pixels_in_any_batch_order_and_number_of_threads(recipe):
    pack = pack_arrays(PICTURES)
    everything = np.arange(len(PICTURES))
    whole = render(pack, everything, recipe, seed=1, epoch=4, threads=1)
    shuffled = np.array([4, 0, 6, 2, 3])
    part = render(pack, shuffled, recipe, seed=1, epoch=4, threads=3)
    for one, other in zip(whole.views, part.views, strict=True):
        assert torch.isfinite(one).all()
        assert torch.equal(one[shuffled], other)
    again = render(pack, shuffled, recipe, seed=1, epoch=5, threads=3, out=part)
    assert again.groups[0].data_ptr() == part.groups[0].data_ptr()
    assert not torch.equal(whole.views[0][shuffled], again.views[0])


def test_chance_follows_the_image_not_its_place_in_the_pack():
    one, other = pack_arrays(PICTURES), pack_arrays(PICTURES[::-1])
    other.rows[:] = other.rows[::-1].copy()
    a = render(one, [0, 1], moco(64), seed=0).views[1]
    b = render(other, [6, 5], moco(64), seed=0).views[1]
    assert torch.equal(a, b)


def test_layout_of_the_result():
    result = render(pack_arrays(PICTURES), [0, 1, 6], swav(64), seed=0)
    assert [tuple(group.shape) for group in result.groups] == [(6, 3, 64, 64), (18, 3, 27, 27)]
    assert all(g.is_contiguous(memory_format=torch.channels_last) for g in result.groups)
    assert len(result.views) == 8
    assert result.views[3].data_ptr() == result.groups[1][3:].data_ptr()
    assert result.geometry.shape == (8, 3, 2, 3)
    assert result.roles == ["global"] * 2 + ["local"] * 6


def test_normalisation():
    recipe = Recipe((View(8, flip=0.0),), (0.1, 0.2, 0.3), (0.5, 0.25, 0.2))
    grey = np.full((9, 9, 3), 102, np.uint8)
    values = render(pack_arrays([grey]), [0], recipe, seed=0).views[0][0]
    expected = torch.tensor([(0.4 - 0.1) / 0.5, (0.4 - 0.2) / 0.25, (0.4 - 0.3) / 0.2])
    assert (values - expected.view(3, 1, 1)).abs().max() < 1e-5


def test_flat_pictures_stay_flat_at_every_size():
    """Weights of every filter add up to one, borders included."""
    pack = pack_arrays([np.full((h, w, 3), 200, np.uint8) for h, w in [(3, 5), (257, 130), (1, 1)]])
    recipe = Recipe((View(37, blur=1.0, sigma=(0.1, 4.0)), View(224, area=(0.05, 1.0))), **PLAIN)
    for view in render(pack, [0, 1, 2], recipe, seed=0).views:
        assert (view * 255 - 200).abs().max() < 1e-3


def test_memory_is_reused_only_when_nobody_holds_it():
    pack = pack_arrays(PICTURES)
    first = render(pack, [0, 1], simclr(32), seed=0)
    kept, address = first.views[1].clone(), first.groups[0].data_ptr()
    alive = first.views[1]
    del first
    second = render(pack, [2, 3], simclr(32), seed=0)
    assert second.groups[0].data_ptr() != address
    assert torch.equal(alive, kept)
    del alive
    third = render(pack, [2, 3], simclr(32), seed=0)
    assert third.groups[0].data_ptr() == address


def test_empty_batch():
    result = render(pack_arrays(PICTURES), [], simclr(32), seed=0)
    assert result.groups[0].shape == (0, 3, 32, 32)


def test_memory_map_renders_like_an_array(tmp_path):
    pack = pack_arrays(PICTURES)
    (tmp_path / "pixels").write_bytes(pack.pixels.tobytes())
    mapped = type(pack)(
        np.memmap(tmp_path / "pixels", np.uint8, "r"),
        pack.offsets,
        pack.heights,
        pack.widths,
        pack.rows,
    )
    one, other = (render(p, [0, 5], simclr(32), seed=0).views[0] for p in (pack, mapped))
    assert torch.equal(one, other)


def test_wrong_input_is_told():
    pack = pack_arrays(PICTURES)
    with pytest.raises(SettingProblem, match="0 to 6"):
        render(pack, [0, 7], simclr(32), seed=0)
    with pytest.raises(SettingProblem, match="this batch needs"):
        render(pack, [0], simclr(32), seed=0, out=render(pack, [0, 1], simclr(32), seed=0))
    with pytest.raises(SourceProblem, match="float64"):
        pack_arrays([np.zeros((4, 4, 3))])
    with pytest.raises(SourceProblem, match="no pixels"):
        pack_arrays([np.zeros((0, 4, 3), np.uint8)])
