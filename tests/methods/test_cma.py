"""CMA as a whole: what is frozen, what is compared, what nobody may need, and that it goes on."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

import fallow
from fallow.encoders import Preprocessing
from fallow.encoders.headed import Headed, encoder_of
from fallow.encoders.segmenter import save_segmenter
from fallow.images import open as open_images
from fallow.images.pairs import paired
from fallow.methods import find
from fallow.methods.adapt.cma import CMA
from fallow.parts.correspondence import everywhere
from fallow.problems import MissingPackage, Problem
from fallow.train import Now, fit, make_settings
from fallow.train.method import Facts

from .carried import by_day, darkened, day_and_night, overlap, scenes

PLAIN = {"epochs": 2, "size": 32, "side": 32, "batch": 2, "precision": "32", "dimension": 8,
         "grid": 4, "scales": [1.0], "queue": 64, "retries": 1}  # fmt: skip


@pytest.fixture(scope="module")
def town():
    day, pairs, truth = day_and_night(6)
    return by_day(day, steps=30), pairs, truth


def train(model, pairs, out=None, each_epoch=None, **values):
    model = copy.deepcopy(model)
    run = fit(
        CMA.beginning_with(model),
        {"target": pairs},
        encoder=encoder_of(model),
        settings=make_settings(CMA.Settings, PLAIN | values),
        out=out,
        each_epoch=each_epoch,
    )
    return run, model


def test_decoder_stays_and_encoder_learns(town):
    model, pairs, _ = town
    run, after = train(model, pairs, alone=0.0)
    assert find("adapt", "cma") is CMA
    for name, value in model.decoder.state_dict().items():
        assert torch.equal(value, after.decoder.state_dict()[name])
    assert not after.decoder.training
    weights = (net.encoder.network.blocks[0][0].weight for net in (model, after))
    assert not torch.equal(*weights)
    last = run.history[-1]
    assert 0 < last["labelled"] < 1
    assert 0 < last["compared"] <= 1
    assert int(run.method.queue.pointer) == (run.steps * 2 * 16) % len(run.method.queue.keys)


@pytest.mark.parametrize("matcher", ["features", "still"])
def test_other_ways_to_match(town, matcher):
    model, pairs, _ = town
    run, _ = train(model, pairs, matcher=matcher, epochs=1, queue_of="reference", weighted=False)
    assert math.isfinite(run.history[-1]["loss"])


def test_where_nothing_matches_only_labels_teach(town):
    model, pairs, _ = town
    fog = open_images([np.full((48, 48, 3), 128 + k, np.uint8) for k in range(6)])
    run, after = train(model, paired(pairs, fog, np.arange(6)), least=0.99)
    assert run.history[-1]["contrast"] == run.history[-1]["compared"] == 0
    assert all(torch.isfinite(value).all() for value in after.state_dict().values())


def test_labels_alone_where_no_contrast_is_wanted(town):
    model, pairs, truth = town
    run, after = train(model, pairs, contrast_weight=0.0, epochs=8)
    assert "contrast" not in run.history[-1]
    assert overlap(after, pairs, truth) > overlap(model, pairs, truth) - 0.1


def test_a_run_that_was_stopped_goes_on_as_if_it_was_not(town, tmp_path):
    class Stop(Exception):
        pass

    def stop(method, now):
        if now.epoch == 0:
            raise Stop

    model, pairs, _ = town
    whole, _ = train(model, pairs, alone=0.0)
    with pytest.raises(Stop):
        train(model, pairs, out=tmp_path / "run", each_epoch=stop, save_minutes=0.0, alone=0.0)
    rest, _ = train(model, pairs, out=tmp_path / "run", save_minutes=0.0, alone=0.0)
    one, two = whole.method.state_dict(), rest.method.state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_from_a_folder_and_from_a_plain_module(town, tmp_path):
    model, pairs, _ = town
    save_segmenter(model, tmp_path / "day", {"side": 32})
    settings = make_settings(CMA.Settings, PLAIN | {"start": str(tmp_path / "day"), "epochs": 1})
    run = fit(CMA, {"target": pairs}, encoder=fallow.encoder("unet/4", seed=9), settings=settings)
    decoder = run.method.model.decoder.state_dict()
    assert all(torch.equal(decoder[k], v) for k, v in model.decoder.state_dict().items())
    plain = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, 2, 1), torch.nn.BatchNorm2d(6), torch.nn.Conv2d(6, 2, 1)
    )
    headed = Headed(plain, "2", Preprocessing(32, 32), ["ground", "cell"])
    _, after = train(headed, pairs, epochs=1, alone=0.0)
    assert torch.equal(after.module[2].weight, plain[2].weight)
    assert not torch.equal(after.module[0].weight, plain[0].weight)


def test_the_slow_copy_is_first_the_network_then_the_mean(town):
    model, settings = town[0], make_settings(CMA.Settings, PLAIN)
    method = CMA.beginning_with(copy.deepcopy(model))(model.encoder, settings, Facts(6, 48))
    weight = method.projector[0].weight
    first = weight.detach().clone()
    method.begin_step(Now(0, 0, 0.0, 3))
    with torch.no_grad():
        weight += 1
    method.begin_step(Now(1, 0, 0.1, 3))
    assert torch.allclose(method.slow["projector"][0].weight, first + 0.5, atol=1e-6)


def test_known_flow_of_features_is_found():
    torch.manual_seed(0)
    maps = torch.randn(1, 24, 12, 14)
    found = everywhere(maps, maps.roll((2, -3), dims=(2, 3)), block=32)
    inner = found.flow[0, :, 3:-3, 3:-3].round()
    assert (inner[0] == -3).all()
    assert (inner[1] == 2).all()
    whole = everywhere(maps, maps.roll((2, -3), dims=(2, 3)), block=10_000)
    assert torch.allclose(found.flow, whole.flow, atol=1e-4)  # blocks change nothing


def test_known_flow_of_pixels_is_found_between_day_and_night():
    from fallow.views.flow import dense_flow

    pixels, _ = scenes(1, side=64)
    flow, doubt = dense_flow(darkened(pixels[0], shift=3), pixels[0])
    sure = doubt < np.log(0.5)
    sure[:, -4:] = False
    assert sure.mean() > 0.2
    assert abs(np.median(flow[0][sure]) - 3) < 0.5
    assert abs(np.median(flow[1][sure])) < 0.5


def test_bad_input_is_said_in_one_sentence(town, tmp_path):
    model, pairs, _ = town
    with pytest.raises(Problem, match="reference of the same place"):
        train(model, open_images([np.zeros((48, 48, 3), np.uint8)] * 3))
    with pytest.raises(Problem, match="have no reference"):
        paired(pairs, pairs.references, np.array([0, 1, -1, 3, 4, 5]))
    with pytest.raises(Problem, match="cut them to one shape"):
        paired(pairs, open_images([np.zeros((48, 96, 3), np.uint8)]), np.zeros(6, int))
    with pytest.raises(Problem, match="set start"):
        fit(CMA, {"target": pairs}, encoder=fallow.encoder("unet/4"),
            settings=make_settings(CMA.Settings, PLAIN))  # fmt: skip
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3), torch.nn.Conv2d(6, 2, 1))
    with pytest.raises(Problem, match="no part called"):
        Headed(plain, "head", Preprocessing(32, 32), ["a", "b"])
    with pytest.raises(Problem, match="a logit of each of its 3"):
        Headed(plain, "1", Preprocessing(8, 8), list("abc")).see(torch.zeros(1, 3, 8, 8))


def test_flow_needs_its_package_and_says_so(town, monkeypatch):
    monkeypatch.setattr("fallow.methods.adapt.cma.has_flow", lambda: False)
    with pytest.raises(MissingPackage, match="fallow\\[flow\\]"):
        train(*town[:2])


def test_presets_are_valid_settings():
    for values in CMA.presets.values():
        make_settings(CMA.Settings, values)
