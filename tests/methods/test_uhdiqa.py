"""Photo quality: damage is ranked, ratings are fitted and judged honestly, ARNIQA trains."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.methods.spoilt import photo, spoilt

import fallow
import fallow.images
from fallow.inventory import naturalness
from fallow.methods import find
from fallow.methods.spot import uhdiqa
from fallow.methods.spot.uhdiqa import ARNIQA, Settings, judge, look, natural_of, told
from fallow.problems import Problem, SettingProblem
from fallow.train import Batch, Now, fit, make_settings
from fallow.train.method import Facts
from fallow.views.fragments import five_crops

SMALL = make_settings(Settings, {"block": 48, "crop": 48, "most": 4})


def rated(contents=8, names=("gaussian_blur", "white_noise", "jpeg")):
    """Photos spoilt in every grade, their ratings, and which content each shows."""
    pictures, ratings, groups = [], [], []
    for content in range(contents):
        for grade in range(6):
            name = names[content % len(names)]
            one = photo(content)
            pictures.append(spoilt(one, name, grade) if grade else one)
            ratings.append(1 - grade / 5)
            groups.append(content)
    return fallow.images.open(pictures), np.array(ratings), np.array(groups)


def test_natural_photos_come_before_spoilt_ones():
    images, ratings, _ = rated()
    looked = look(images, settings=SMALL)
    clean = np.flatnonzero(ratings == 1)
    found = judge(looked, ratings, natural=natural_of(looked, clean, 48), settings=SMALL)
    niqe = found.tiers[0]
    assert (niqe.name, niqe.higher_is_better) == ("niqe", False)
    assert niqe.agreement.srcc > 0.5
    assert set(niqe.order()[: len(clean) // 2]) <= set(np.flatnonzero(ratings >= 0.8))


def test_ratings_are_fitted_and_judged_on_other_contents():
    images, ratings, groups = rated(9)
    looked = look(images, settings=SMALL)
    found = judge(looked, ratings, groups, settings=SMALL)
    names = [tier.name for tier in found.tiers]
    assert names == ["niqe", "brisque", "statistics"]
    assert found.best.agreement.srcc > 0.7
    assert found.best.agreement.rmse < found.floor.rmse
    rows = {row["tier"]: row for row in told(found)}
    assert "rmse_raw" not in rows["niqe"]  # it is on no scale of ratings
    assert rows["mean rating"]["rmse_raw"] == pytest.approx(ratings.std())
    assert any("sharpest half" in note for note in found.notes)


def test_ratings_that_mean_nothing_are_not_agreed_with():
    images, ratings, _ = rated(6)
    looked = look(images, settings=SMALL)
    lots = np.random.default_rng(0).permutation(ratings)
    assert abs(judge(looked, lots, settings=SMALL).best.agreement.srcc) < 0.5


def test_groups_are_never_torn():
    groups = np.repeat(np.arange(7), 3)
    folds = list(uhdiqa._folds(groups, 5, 0))
    assert sorted(np.concatenate(folds).tolist()) == list(range(21))
    for fold in folds:
        assert not set(groups[fold]) & set(np.delete(groups, fold))
    with pytest.raises(Problem, match="cannot be cut into 5 folds"):
        list(uhdiqa._folds(groups[:9], 5, 0))


def test_unrated_photos_get_a_score_too_and_small_ones_say_why_not():
    images, ratings, _ = rated(4)
    pictures = [images[row] for row in range(len(images))]
    pictures += [photo(50), np.zeros((20, 20, 3), np.uint8), np.full((96, 96, 3), 99, np.uint8)]
    some = np.r_[ratings, [np.nan] * 3]
    some[::3] = np.nan
    looked = look(fallow.images.open(pictures), settings=SMALL)
    found = judge(looked, some, settings=SMALL)
    values = found.best.values
    assert np.isfinite(values[:-2]).all()
    assert np.isnan(values[-2:]).all()  # too small, and flat
    assert "too small" in looked.skipped[len(pictures) - 2]
    assert set(found.best.order()[-2:]) == {len(pictures) - 2, len(pictures) - 1}


def test_bad_ratings_are_refused_or_said_to_be_few():
    images, ratings, _ = rated(6)
    looked = look(images, settings=SMALL)
    with pytest.raises(Problem, match="one level of quality"):
        judge(looked, np.full(len(ratings), 0.5), settings=SMALL)
    with pytest.raises(Problem, match="3 ratings do not fit"):
        judge(looked, [1, 2, 3], settings=SMALL)
    few = np.where(np.arange(len(ratings)) < 4, ratings, np.nan)
    found = judge(looked, few, settings=SMALL)
    assert [tier.name for tier in found.tiers] == ["niqe"]
    assert any("too few" in note for note in found.notes)


def test_the_blocks_that_decided_are_where_the_damage_is():
    pixels = photo(5)
    hurt = pixels.copy()
    hurt[96:144, 144:192] = spoilt(pixels, "gaussian_blur", 5)[96:144, 144:192]
    images = fallow.images.open([hurt, *(photo(k) for k in range(20, 30))])
    looked = look(images, settings=SMALL)
    model = natural_of(looked, range(1, 11), 48)
    (box, away), *rest = uhdiqa.worst_blocks(looked, 0, model, 2)
    assert box == (96, 144, 48, 48)
    assert away > rest[0][1]


def test_a_learned_tier_joins_and_shows_its_lowest_crops():
    images, ratings, groups = rated(6)
    encoder = fallow.encoder("resnet8/8", seed=0)
    looked = look(images, encoder, SMALL)
    assert looked.learned.shape == (len(images), 2 * encoder.dimension)
    found = judge(looked, ratings, groups, settings=SMALL)
    assert [tier.name for tier in found.tiers][-2:] == ["learned", "both"]
    crops = uhdiqa.worst_crops(images[3], encoder, found.models["learned"], SMALL)
    assert len(crops) == SMALL.shown
    assert [score for _, score in crops] == sorted(score for _, score in crops)
    mean = np.mean(
        [
            s
            for _, s in uhdiqa.worst_crops(
                images[3], encoder, found.models["learned"], SMALL.model_copy(update={"shown": 99})
            )
        ]
    )
    assert mean == pytest.approx(found.models["learned"](looked.learned[3:4])[0], rel=1e-4)
    cost = uhdiqa.multiplications(encoder, SMALL)
    twice = uhdiqa.multiplications(encoder, SMALL.model_copy(update={"most": 8}))
    assert twice == pytest.approx(2 * cost)
    assert 0 < cost < uhdiqa.BUDGET


def test_large_photos_are_held_a_part_at_a_time(monkeypatch):
    """Whatever the size, no more than a part is made of floats at once, and nothing changes."""
    large = np.tile(photo(1), (8, 4, 1))
    expected = naturalness.brisque(large), naturalness.blocks(large)
    monkeypatch.setattr(naturalness, "HELD", 1 << 13)
    monkeypatch.setattr(naturalness, "ACROSS", 1)
    most = []
    whole = naturalness.Luma.rows
    monkeypatch.setattr(
        naturalness.Luma, "rows",
        lambda self, first, last: most.append((last - first) * self.width)
        or whole(self, first, last),
    )  # fmt: skip
    found = naturalness.brisque(large), naturalness.blocks(large)
    assert max(most) < large[..., 0].size / 8
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    for one, other in zip(found[1][:2], expected[1][:2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


# --- ARNIQA ---

PLAIN = {"epochs": 2, "batch": 8, "size": 32, "precision": "32", "hidden": 32, "projection": 16}


def build(side=96, **values):
    torch.manual_seed(0)
    settings = make_settings(ARNIQA.Settings, PLAIN | values)
    return ARNIQA(fallow.encoder("resnet8/8", seed=0), settings, Facts(20, side))


def batch_of(method, photos=8, size=32):
    """Crops in the method's own colours: at full size, then at half."""
    pixels = torch.from_numpy(np.stack([photo(k, size, size) for k in range(2 * photos)]))
    groups = method.encoder.preprocessing.normalise(pixels.permute(0, 3, 1, 2))
    return Batch([groups], list(groups.split(photos)), torch.arange(photos),
                 -torch.ones(photos), torch.zeros(2, photos, 2, 3))  # fmt: skip


def test_the_two_photos_of_a_pair_are_spoilt_alike(monkeypatch):
    method = build(pristine=0.0)
    asked = []
    monkeypatch.setattr(uhdiqa, "spoilt", lambda picture, plan: asked.append(plan) or picture)
    batch = batch_of(method)
    made = method.prepare("images", batch, np.random.default_rng(0))
    plans = [tuple(plan) for plan in asked]
    assert plans[:4] == plans[4:8] == plans[8:12] == plans[12:]  # photos, and both sizes
    assert len(set(plans[:4])) == 4
    torch.testing.assert_close(made.groups[0], batch.groups[0], atol=1e-5, rtol=0)


def test_preparing_leaves_the_batch_alone_and_repeats_itself():
    method = build()
    batch = batch_of(method)
    before = batch.groups[0].clone()
    one = method.prepare("images", batch, np.random.default_rng(3))
    two = method.prepare("images", batch, np.random.default_rng(3))
    torch.testing.assert_close(batch.groups[0], before, atol=0, rtol=0)
    torch.testing.assert_close(one.groups[0], two.groups[0], atol=0, rtol=0)
    assert (one.groups[0] - before).abs().max() > 0.1
    kept = build(pristine=0.999).prepare("images", batch, np.random.default_rng(3))
    torch.testing.assert_close(kept.groups[0], before, atol=1e-5, rtol=0)


def test_half_size_crops_are_negatives_of_full_size():
    method = build()
    batch = batch_of(method)
    loss = method.loss(batch, Now(0, 0, 0.0, 1)).total
    loss.backward()
    assert torch.isfinite(loss)
    with torch.no_grad():
        full, half = method.head(method.encoder(batch.groups[0])).split(8)
        from fallow.losses import nt_xent

        ones, others = torch.cat([full[:4], half[:4]]), torch.cat([full[4:], half[4:]])
        expected = nt_xent(ones, others, 0.1)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-3)


def test_wrong_sizes_are_refused():
    with pytest.raises(SettingProblem, match="use size 24"):
        build(side=48)
    with pytest.raises(SettingProblem, match="even batch"):
        build(batch=7)


def train(out=None, each_epoch=None, photos=32, **values):
    images = fallow.images.open([photo(k, 96, 96) for k in range(photos)])
    return fit(
        ARNIQA,
        images,
        encoder=fallow.encoder("resnet8/8", seed=0),
        settings=make_settings(ARNIQA.Settings, PLAIN | {"batch": 16, **values}),
        out=out,
        seed=0,
        each_epoch=each_epoch,
    )


class Stop(Exception):
    """What a test throws into a run to end it between two epochs."""


def test_a_broken_run_goes_on_as_if_it_had_not_been(tmp_path):
    assert find("spot", "uhdiqa") is ARNIQA

    def stop(*_):
        raise Stop

    with pytest.raises(Stop):
        train(tmp_path, stop, save_minutes=0.0)
    one = train(tmp_path, save_minutes=0.0).method.state_dict()
    two = train().method.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_it_learns_to_tell_damage_apart_on_other_photos():
    held = [photo(k, 64, 64)[:32, :32] for k in range(100, 132)]
    pixels = torch.from_numpy(np.stack(held)).permute(0, 3, 1, 2)

    def judged(method):
        crops = method.encoder.preprocessing.normalise(pixels)
        batch = Batch([crops], list(crops.split(16)), torch.arange(16), -torch.ones(16),
                      torch.zeros(2, 16, 2, 3))  # fmt: skip
        spoilt = method.prepare("images", batch, np.random.default_rng(9))
        with torch.no_grad():
            return method.eval().loss(spoilt, Now(0, 0, 0.0, 1)).total.item()

    torch.manual_seed(0)
    start = judged(build())
    how = {"epochs": 30, "batch": 32, "optimiser": "adamw", "learning_rate": 0.02}
    assert judged(train(photos=64, **how).method) < start - 0.3


def test_five_crops_are_a_preset():
    paper = make_settings(Settings, uhdiqa.presets["paper"])
    assert uhdiqa.crop_boxes(300, 400, paper) == five_crops(300, 400, 224)
