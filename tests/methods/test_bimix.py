"""Bi-Mix as a whole: what is pasted where, what weighs how much, judges, arms, bad input."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from fallow.encoders.headed import encoder_of
from fallow.encoders.segmenter import load_segmenter
from fallow.images.masks import with_masks, without_masks
from fallow.losses.coarse import IGNORE
from fallow.methods import find
from fallow.methods.adapt.bimix import BiMix
from fallow.methods.shared.carrying import load_relighting
from fallow.problems import Problem
from fallow.train import Batch, fit, make_settings
from fallow.train.method import Facts

from .carried import by_day, day_and_night, overlap

PLAIN = {"epochs": 2, "size": 32, "side": 32, "batch": 2, "precision": "32", "width": 4,
         "moving": [1]}  # fmt: skip


@pytest.fixture(scope="module")
def town():
    day, pairs, truth = day_and_night(6)
    return by_day(day, steps=30), day, pairs, truth


def train(town, out=None, each_epoch=None, source=None, **values):
    model, day, pairs, _ = town
    model = copy.deepcopy(model)
    run = fit(
        BiMix.beginning_with(model),
        {"target": pairs, "source": source if source is not None else day},
        encoder=encoder_of(model),
        settings=make_settings(BiMix.Settings, PLAIN | values),
        out=out,
        each_epoch=each_epoch,
    )
    return run, model


def built(town, **values):
    model = copy.deepcopy(town[0])
    kind = BiMix.beginning_with(model)
    return kind(model.encoder, make_settings(BiMix.Settings, PLAIN | values), Facts(6, 48))


def labelled(truth):
    size = truth.shape[-1]
    pixels = torch.ones(len(truth), 3, size, size)
    geometry = torch.zeros(1, len(truth), 2, 3)
    index = torch.arange(len(truth))
    return Batch([pixels], [pixels], index, index, geometry, ["weak"], [truth])


def test_objects_with_their_labels_are_pasted_and_what_is_ignored_is_not(town):
    method = built(town)
    truth = torch.zeros(2, 8, 8, dtype=torch.long)
    truth[0, :, 4:] = IGNORE
    truth[1, :, 4:] = 1
    night, guess = -torch.ones(2, 3, 8, 8), torch.ones(2, 8, 8, dtype=torch.long)
    mixed, target, where, weights = method.mixture(
        labelled(truth), night, guess, torch.zeros(2, 2, 8, 8)
    )
    assert not where[0, :, 4:].any()
    assert where[0, :, :4].all()  # the only class there is
    assert int(where[1].sum()) == 32
    assert torch.equal(mixed[:, 0] > 0, where)
    assert (target[where] == truth[where]).all()
    assert (target[~where] == 1).all()
    assert (weights[where] == 1).all()
    assert (weights[~where] == 0).all()  # nobody is sure of two equal logits


def test_the_authors_paste_what_is_ignored_as_well(town):
    method = built(town, faithful=True)
    truth = torch.full((1, 8, 8), IGNORE)
    found = method.mixture(labelled(truth), torch.zeros(1, 3, 8, 8), truth, torch.zeros(1, 2, 8, 8))
    assert found[2].all()
    assert (found[1] == IGNORE).all()


def test_labels_of_what_moves_or_was_pasted_do_not_count_as_still(town):
    method = built(town)
    logits = torch.randn(1, 2, 8, 8)
    guess = torch.zeros(1, 8, 8, dtype=torch.long)
    where = torch.ones(1, 8, 8, dtype=torch.bool)
    assert float(method.still(logits, guess, where)) == 0
    assert float(method.still(logits, guess + 1, ~where)) == 0  # class 1 moves
    assert float(method.still(logits, guess, ~where)) > 0


@pytest.mark.parametrize(
    "arm",
    [
        {},
        {"faithful": True, "moving": [0, 1]},
        {"relight": False},
        {"class_mix": False},
        {"class_mix": False, "object_mix": False, "relight": False, "still_weight": 0.0},
    ],
)
def test_arms_train_and_stay_finite(town, arm):
    run, model = train(town, epochs=1, **arm)
    assert math.isfinite(run.history[-1]["loss"])
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    assert ("mixture" in run.history[-1]) == arm.get("class_mix", True)
    assert ("night_light" in run.history[-1]) == arm.get("relight", True)


def test_judges_learn_beside_and_their_weights_are_their_own(town):
    method = built(town)
    before = copy.deepcopy(method.judges.state_dict())
    run, _ = train(town, epochs=1)
    after = run.method.judges.state_dict()
    assert not any(weights.requires_grad for weights in run.method.judges.parameters())
    assert int(after["night.count"]) == run.steps
    assert set(before) == set(after)


def test_it_keeps_what_it_knew_and_the_labels_are_learnt(town):
    model, _, pairs, truth = town
    run, after = train(town, epochs=8, moving=[])
    used = run.method.predictor()
    used.encoder = after.encoder
    losses = [row["labels"] for row in run.history]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    assert overlap(used.eval(), pairs, truth) > overlap(model, pairs, truth) - 0.05


def test_a_run_that_was_stopped_goes_on_as_if_it_was_not(town, tmp_path):
    class Stop(Exception):
        pass

    def stop(method, now):
        if now.epoch == 0:
            raise Stop

    whole, _ = train(town)
    with pytest.raises(Stop):
        train(town, out=tmp_path / "run", each_epoch=stop, save_minutes=0.0)
    rest, _ = train(town, out=tmp_path / "run", save_minutes=0.0)
    one, two = whole.method.state_dict(), rest.method.state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_it_is_saved_with_its_relighting(town, tmp_path):
    run, _ = train(town, epochs=1, out=tmp_path / "run")
    model, about = load_segmenter(tmp_path / "run")
    used = load_relighting(model, tmp_path / "run").eval()
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(used(x), run.method.predictor().eval()(x), atol=1e-5)
    assert about == {"side": 32}


def test_bad_input_is_said_in_one_sentence(town):
    day = town[1]
    other = with_masks(without_masks(day), {k: np.full((48, 48), 4, np.uint8) for k in range(6)})
    with pytest.raises(Problem, match="their classes must be the same"):
        train(town, source=other)
    with pytest.raises(Problem, match="has none: name their folder"):
        train(town, source=without_masks(day))
    with pytest.raises(Problem, match="class 7 cannot move"):
        train(town, moving=[7])
    with pytest.raises(Problem, match="give one for each"):
        train(town, frequencies=[0.5])


def test_presets_are_valid_settings():
    assert find("adapt", "bimix") is BiMix
    for values in BiMix.presets.values():
        make_settings(BiMix.Settings, values)
