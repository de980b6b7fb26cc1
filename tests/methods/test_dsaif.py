"""DSAIF: who sees which filter, what is turned back, who teaches whom; it trains and resumes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fallow
from fallow.images.masks import with_masks, without_masks
from fallow.images.samples import cells
from fallow.methods import find
from fallow.methods.segment.dsaif import DSAIF, mutual, turn
from fallow.train import Batch, Now, fit, make_settings
from fallow.train.method import Facts
from fallow.views.structure import structure_view, unit_range

PLAIN = {"classes": 2, "epochs": 2, "batch": 4, "size": 32, "precision": "32"}


STD = np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)


def collection(known=4, count=12):
    images = cells(count, seed=0, side=48)
    codes = {row: (images.mask(row) > 0).astype(np.uint8) for row in range(known)}
    labelled = with_masks(images.select(np.arange(known)), codes)
    return {"unlabelled": without_masks(images), "labelled": labelled}


def train(seed=0, out=None, each_epoch=None, **values):
    return fit(
        DSAIF,
        collection(),
        encoder=fallow.encoder("unet/4", seed=seed),
        settings=make_settings(DSAIF.Settings, PLAIN | values),
        out=out,
        seed=seed,
        each_epoch=each_epoch,
    )


def build(**values):
    torch.manual_seed(0)
    settings = make_settings(DSAIF.Settings, PLAIN | values)
    return DSAIF(fallow.encoder("unet/8", seed=0), settings, Facts(12, 48, 0))


def batch_of(count=64, size=16, seed=0, volume=False):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 1, size, size, size) if volume else (count, 3, size, size)
    view = torch.randn(shape, generator=generator)
    masks = torch.randint(2, (count, *shape[2:]), generator=generator)
    return Batch(
        [view], [view], torch.arange(count), -torch.ones(count, dtype=torch.long),
        torch.zeros(1, count, 2, 3), ["weak"], [masks],
    )  # fmt: skip


def now(progress=0.0):
    return Now(step=0, epoch=0, progress=progress, steps_per_epoch=10)


def weights(run):
    return torch.cat([p.detach().flatten().double() for p in run.method.state_dict().values()])


def test_it_is_found_by_its_module():
    assert find("segment", "dsaif") is DSAIF


def test_half_of_the_images_are_filtered_and_a_coin_says_which_way():
    batch, method = batch_of(), build(bent=0.0, area=3)
    before = batch.views[0].clone()
    made = method.prepare("unlabelled", batch, np.random.default_rng(0))
    one, other = made.views
    assert torch.equal(batch.views[0], before)
    assert torch.equal(made.groups[0], torch.cat([one, other]))
    changed = (one != other).flatten(1).any(1)
    assert 20 <= changed.sum() <= 44
    assert torch.equal(one[~changed], before[~changed])
    lower = (one <= before + 0.05).flatten(1).all(1)  # a level of 8 bits is about 0.03 here
    first_is_max, expected = [], {}
    for row in changed.nonzero().squeeze(1).tolist():
        light = (before[row].numpy() * STD).mean(0)
        unit, low, far = unit_range(light)
        for tree in ("max", "min"):
            change = structure_view(unit, tree, area=3) * far + low - light
            expected[tree] = before[row].numpy() + change / STD
        bright_first = bool(lower[row])
        first_is_max.append(bright_first)
        trees = ("max", "min") if bright_first else ("min", "max")
        for view, tree in zip((one, other), trees, strict=True):
            np.testing.assert_allclose(view[row].numpy(), expected[tree], atol=1e-5)
    assert 0.25 < np.mean(first_is_max) < 0.75


def test_the_area_follows_the_view_unless_given():
    assert [build(size=size).area for size in (32, 64, 224)] == [1, 4, 50]
    assert build(area=7).area == 7


def test_shares_of_filtered_images():
    batch = batch_of(16)
    for share, changed in ((0.0, 0), (1.0, 16)):
        one, other = build(filtered=share).prepare("x", batch, np.random.default_rng(0)).views
        assert (one != other).flatten(1).any(1).sum() == changed


def test_the_same_draw_gives_the_same_views():
    method = build(keep=0.5, area=2)
    made = [method.prepare("x", batch_of(), np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert torch.equal(made[0].groups[0], made[1].groups[0])
    assert not torch.equal(made[0].groups[0], made[2].groups[0])


def test_pictures_keep_their_colours():
    """What is added to a pixel is the same amount of red, green and blue."""
    batch, method = batch_of(8), build(filtered=1.0)
    before = batch.views[0].repeat(2, 1, 1, 1).numpy() * STD
    after = method.prepare("x", batch, np.random.default_rng(0)).groups[0].numpy() * STD
    np.testing.assert_allclose(
        after - after.mean(1, keepdims=True), before - before.mean(1, keepdims=True), atol=1e-5
    )
    assert np.abs(after - before).max() > 0.1


def test_only_filtered_pictures_are_turned():
    method = build(turned=1.0)
    one = torch.randn(400, 3, 8, 8)
    other = one.clone()
    other[:200] += 1
    turns = method.quarters(one, other)
    assert (turns[200:] == 0).all()
    assert np.bincount(turns[:200].numpy(), minlength=4).min() > 25
    assert (build(turned=0.0).quarters(one, other) == 0).all()


@pytest.mark.parametrize("shape", [(6, 2, 5, 5), (6, 2, 3, 5, 5)])
def test_turns_are_undone(shape):
    x, quarters = torch.randn(shape), torch.tensor([0, 1, 2, 3, 3, 0])
    turned = turn(x, quarters)
    torch.testing.assert_close(turned[1], x[1].rot90(1, (-2, -1)))
    assert torch.equal(turned[0], x[0])
    assert torch.equal(turn(turned, -quarters), x)


def test_each_network_learns_from_the_other_and_from_the_labels():
    torch.manual_seed(1)
    logits = [torch.randn(2, 3, 4, 4, requires_grad=True) for _ in range(4)]
    target = torch.randint(3, (2, 4, 4))
    total, parts = mutual(logits[:2], logits[2:], target, 0.5)
    entropy = torch.nn.functional.cross_entropy
    labels = sum(entropy(known, target) / 2 for known in logits[:2])
    dice = (parts["dice1"] + parts["dice2"]) / 2
    across = entropy(logits[2], logits[3].argmax(1)) + entropy(logits[3], logits[2].argmax(1))
    torch.testing.assert_close(total, labels + dice + 0.5 * across)
    total.backward()
    assert all(one.grad.abs().sum() > 0 for one in logits)
    silent, _ = mutual(logits[:2], logits[2:], target, 0.0)
    torch.testing.assert_close(silent, labels + dice)


def test_pixels_to_be_ignored_teach_nothing():
    logits = [torch.randn(1, 2, 4, 4, requires_grad=True) for _ in range(4)]
    target = torch.randint(2, (1, 4, 4))
    target[:, :2] = 255
    mutual(logits[:2], logits[2:], target, 1.0)[0].backward()
    assert (logits[0].grad[:, :, :2] == 0).all()
    assert (logits[0].grad[:, :, 2:] != 0).any()


def test_trust_grows_along_the_ramp():
    method = build(filtered=0.0)
    batch = {name: method.prepare(name, batch_of(2), np.random.default_rng(0))
             for name in ("labelled", "unlabelled")}  # fmt: skip
    parts = [method.loss(batch, now(progress)).parts for progress in (0.0, 0.2, 0.4, 1.0)]
    found = [float(one["weight"]) for one in parts]
    np.testing.assert_allclose(found, [np.exp(-5), np.exp(-1.25), 1.0, 1.0], rtol=1e-6)


def test_the_two_networks_begin_apart():
    method = build()
    first, second = method.opinions()
    assert method.predictor() is first
    x = torch.randn(1, 3, 32, 32)
    assert not torch.allclose(first(x), second(x))


def test_it_learns_repeats_itself_and_resumes(tmp_path):
    one = train()
    assert one.steps == 6
    assert torch.equal(weights(one), weights(train()))
    assert not torch.equal(weights(one), weights(train(seed=1)))

    def stop(method, now):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(out=tmp_path / "run", save_minutes=0.0, each_epoch=stop)
    resumed = train(out=tmp_path / "run", save_minutes=0.0)
    assert "resuming at step 3" in resumed.notes
    assert torch.equal(weights(one), weights(resumed))


def test_labels_are_learnt():
    run = train(epochs=40, learning_rate=8.0)
    dice = [line["dice1"] for line in run.history if "dice1" in line]
    assert np.mean(dice[-10:]) < 0.75 * np.mean(dice[:2])


def test_volumes_are_filtered_whole():
    values = PLAIN | {"filtered": 1.0, "bent": 0.0, "area": 5}
    network = fallow.encoder("vnet/4", dimensions=3, inputs=1)
    method = DSAIF(network, make_settings(DSAIF.Settings, values), Facts(3, 48, dimensions=3))
    batch = batch_of(3, 12, volume=True)
    one, other = method.prepare("x", batch, np.random.default_rng(0)).views
    assert one.shape == batch.views[0].shape
    unit, low, far = unit_range(batch.views[0][0, 0].numpy())
    seen = {tree: structure_view(unit, tree, area=5) * far + low for tree in ("max", "min")}
    found = {round(float(view[0, 0].mean()), 3) for view in (one, other)}
    assert found == {round(float(view.mean()), 3) for view in seen.values()}


@pytest.mark.parametrize("preset", DSAIF.presets)
def test_presets_are_valid(preset):
    settings = make_settings(DSAIF.Settings, {"classes": 2} | DSAIF.presets[preset])
    assert settings.area == 50
