"""`stress`: patches that stay in their square, learnt against an encoder, audited, with consent."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fallow
from fallow.images.samples import shapes
from fallow.methods.shared.withstanding import Bench, Head, located, pruned
from fallow.methods.stress.advclip import (
    Bounds,
    Generator,
    Settings,
    descended,
    generated,
    objective,
    plain,
)
from fallow.parts.patch import lower_right, pasted
from fallow.problems import Problem, SettingProblem, SourceProblem

BOUNDS = Bounds.of((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def look(x):
    """An encoder that weighs places: a corner counts."""
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(3 * 32 * 32, 12, generator=draw)
    return torch.tanh(x.flatten(1) @ weight / 40)


def pictures(count=24):
    draw = torch.Generator().manual_seed(1)
    return BOUNDS.spread(torch.rand(count, 3, 32, 32, generator=draw) * 1.4 - 0.7)


@pytest.mark.parametrize("size", [16, 32, 64, 100, 224, 256])
def test_the_generator_makes_pictures_of_any_size(size):
    assert Generator(4, size, width=8)(torch.randn(4, 100, 1, 1)).shape == (1, 3, size, size)


@pytest.mark.parametrize("search", [generated, descended])
def test_a_learnt_patch_moves_vectors_further_than_noise_and_stays_a_picture(search):
    s = Settings(area=0.1, epochs=3, batch=8, width=8, steps=30)
    seen = pictures()
    found = search(look, seen, BOUNDS, s, seed=0)
    pixels = (found.patch - BOUNDS.low) / (BOUNDS.high - BOUNDS.low) * 255
    torch.testing.assert_close(pixels, pixels.round(), atol=1e-3, rtol=0)
    assert pixels.min() > -0.01
    assert pixels.max() < 255.01
    noise = plain(32, BOUNDS, s, seed=0)["random"]
    after, chance = (
        float(objective(look(seen), look(pasted(seen, one.patch, one.square)), None).total(s))
        for one in (found, noise)
    )
    assert after < chance


def test_a_patch_changes_nothing_outside_its_square():
    square = lower_right(32, 0.1)
    changed = pasted(pictures(2), torch.full((3, 32, 32), 9.0), square) != pictures(2)
    changed[:, :, square.rows, square.columns] = False
    assert not changed.any()
    with pytest.raises(SettingProblem, match="does not fit"):
        lower_right(224, 0.95)


def test_few_rows_have_no_neighbourhoods():
    with pytest.raises(Problem, match="4 or more"):
        objective(torch.randn(3, 5), torch.randn(3, 5), None)
    with pytest.raises(Problem, match="too few for a batch"):
        generated(look, pictures(3), BOUNDS, Settings(batch=8))


def test_a_patch_that_alone_matters_is_found_by_covering():
    square = lower_right(32, 0.1)

    def corner(x):
        return x[:, :, square.rows, square.columns].flatten(1) + 1e-3

    codes = np.zeros(6, int)
    bench = Bench(pictures(6), pictures(6), codes, codes, ["a"])
    patch = BOUNDS.spread(torch.ones(3, 32, 32))
    grey = (BOUNDS.low + BOUNDS.high) / 2
    assert located(corner, bench, (patch, square), grey) == 1.0


def test_pruning_zeroes_the_smallest_weights_of_a_copy():
    network = torch.nn.Sequential(torch.nn.Linear(10, 10), torch.nn.ReLU())
    before = network[0].weight.clone()
    made = pruned(network, 0.3)
    assert torch.equal(network[0].weight, before)
    gone = made[0].weight == 0
    assert gone.sum() == 30
    assert before[gone].abs().max() <= before[~gone].abs().min()


def test_a_closed_form_head_learns():
    draw = np.random.default_rng(0)
    codes = np.arange(60) % 3
    vectors = torch.from_numpy(np.eye(3)[codes] * 3 + draw.normal(0, 0.5, (60, 3)))
    assert (Head(vectors, codes, 3)(vectors) == codes).mean() > 0.95


def test_with_consent_learnt_patches_are_written_and_without_none(tmp_path):
    encoder = fallow.encoder("resnet8/8", seed=0)
    small = {"epochs": 1, "batch": 8, "width": 8, "steps": 3}
    images = shapes(60, seed=0, side=24)
    owned = fallow.stress(
        encoder, images, settings=small, i_own_this_model=True, out=tmp_path / "owned"
    )
    assert owned.table.column("patch").to_pylist()[-2:] == ["generator", "direct"]
    written = {path.name for path in (tmp_path / "owned" / "patches").iterdir()}
    assert {"generator.png", "direct.png", "grey.png"} <= written
    assert "nothing here shows that it is safe" in (tmp_path / "owned/report.html").read_text()
    plainly = fallow.stress(encoder, images, settings=small, out=tmp_path / "plain")
    assert "generator" not in plainly.table.column("patch").to_pylist()
    assert not (tmp_path / "plain" / "patches" / "generator.png").exists()
    assert any("i_own_this_model" in note for note in plainly.notes)
    assert all(not parameter.requires_grad for parameter in encoder.parameters())


def test_a_model_that_reads_is_attacked_through_its_texts_whatever_its_encoder_is(tmp_path):
    images = shapes(60, seed=0, side=24)
    texts = dict(zip(images.column("id"), images.column("label"), strict=True))
    small = {"batch": 8, "size": 16, "text_width": 32, "text_heads": 2, "vocabulary": 600}
    run = tmp_path / "run"
    fallow.align(images, captions=texts, encoder="resnet8/8", epochs=1, settings=small, out=run)
    told = {"epochs": 1, "batch": 8, "width": 8, "steps": 3}
    found = fallow.stress(run, images, captions=texts, settings=told, i_own_this_model=True)
    assert found.table.column("patch").to_pylist()[-2:] == ["generator", "direct"]


def test_what_cannot_be_tested_is_one_sentence():
    encoder = fallow.encoder("resnet8/8", seed=0)
    images = shapes(40, seed=0, side=24)
    one = images.where(f"label = '{images.column('label')[0]}'")
    with pytest.raises(SourceProblem, match="1 classes: labels of two or more"):
        fallow.stress(encoder, one)
    with pytest.raises(SettingProblem, match="images=3 are too few"):
        fallow.stress(encoder, images, images=3)
