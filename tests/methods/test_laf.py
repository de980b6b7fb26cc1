"""LAF: what it changes and what it must leave alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from fallow.encoders import Preprocessing
from fallow.encoders.classifier import Tapped
from fallow.methods.forget import laf
from fallow.problems import Problem, SettingProblem
from fallow.train import make_settings

QUICK = {"steps": 60, "autoencoder_steps": 100, "batch": 16}


class Small(nn.Module):
    """Batch norm and dropout on the way to an embedding of 16 numbers."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(48, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5)
        )
        self.embedding = nn.Linear(32, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.embedding(self.body(x)))


def data(per_class=40, seed=0):
    """Three classes of noisy 4 x 4 pictures."""
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(9))
    codes = torch.arange(3).repeat_interleave(per_class)
    x = centres[codes] + 0.7 * torch.randn(len(codes), 3, 4, 4, generator=draw)
    return x, codes


@pytest.fixture(scope="module")
def taught():
    torch.manual_seed(0)
    plain = Small()
    x, codes = data()
    adam = torch.optim.Adam(plain.parameters(), 1e-2)
    for _ in range(60):
        adam.zero_grad()
        nn.functional.cross_entropy(plain(x), codes).backward()
        adam.step()
    return Tapped(plain.eval(), "embedding", Preprocessing(4, 4), ["a", "b", "c"])


def pool(x):
    return laf.Pool(len(x), lambda places: x[torch.from_numpy(places)])


def pools(gone=0):
    x, codes = data()
    return pool(x[codes != gone]), pool(x[codes == gone])


def settings(**values):
    return make_settings(laf.Settings, QUICK | values)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def right(model, gone=0, seed=1):
    """Accuracy on unseen images of kept and of forgotten classes."""
    x, codes = data(seed=seed)
    with torch.no_grad():
        hit = (model(x).argmax(1) == codes).float()
    return float(hit[codes != gone].mean()), float(hit[codes == gone].mean())


def test_a_class_is_forgotten_and_the_others_are_not(taught):
    kept, gone = right(taught)
    assert min(kept, gone) > 0.85
    found = laf.erase(taught, *pools(), settings(steps=300))
    after = right(found.model)
    assert after[0] > kept - 0.1
    assert after[1] < 0.3
    assert found.explained == "kept"  # a third is to be forgotten


def test_the_model_given_and_the_head_are_left_alone(taught):
    before = state(taught)
    taught.train()
    found = laf.erase(taught, *pools(), settings(steps=5))
    assert taught.training
    taught.eval()
    after = state(taught)
    assert all(torch.equal(before[name], after[name]) for name in before)
    edited = state(found.model)
    same = {name for name in before if torch.equal(before[name], edited[name])}
    changed = {"module.body.1.weight", "module.embedding.weight", "module.body.2.weight"}
    assert changed.isdisjoint(same)
    untouched = {"module.head.weight", "module.head.bias"}
    untouched |= {f"module.body.2.{name}" for name in ("running_mean", "running_var")}
    assert untouched <= same
    assert not found.model.training
    assert all(parameter.grad is None for parameter in found.model.parameters())


def test_same_seed_same_model(taught):
    one, two, other = (
        laf.erase(taught, *pools(), settings(steps=5), seed=seed) for seed in (0, 0, 1)
    )
    assert one.history == two.history
    states = [state(each.model) for each in (one, two, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_the_loss_starts_where_nothing_has_moved(taught):
    found = laf.erase(taught, *pools(), settings(steps=1, unlearning_rate=0))
    line = found.history[0]
    assert line["alignment"] == pytest.approx(-16 * np.log(16), abs=1e-3)
    assert "unlearning" not in line
    alone = laf.erase(taught, *pools(), settings(steps=1, alignment_rate=0)).history[0]
    assert "alignment" not in alone
    assert alone["unexplained_kept"] > 0


def test_a_frozen_model_is_edited_too(taught):
    frozen = copy.deepcopy(taught).requires_grad_(False)
    found = laf.erase(frozen, *pools(), settings(steps=2))
    assert not torch.equal(
        state(frozen)["module.embedding.weight"], state(found.model)["module.embedding.weight"]
    )
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_one_image_can_be_forgotten(taught):
    x, _ = data()
    found = laf.erase(taught, pool(x[1:]), pool(x[:1]), settings(steps=3))
    assert found.explained == "all"
    assert np.isfinite(found.history[-1]["alignment"])


def test_steps_or_passes(taught):
    assert laf.erase(taught, *pools(), settings(epochs=2)).steps == 5  # 40 images, 16 a step
    assert make_settings(laf.Settings, laf.PRESETS["paper"]).epochs == 40


def test_repair_teaches_the_head_alone(taught):
    x, codes = data()
    broken = copy.deepcopy(taught)
    with torch.no_grad():
        broken.module.head.weight.mul_(-1)
    assert right(broken)[0] < 0.3
    few = laf.few_of_each(codes.numpy(), 10)
    assert len(few) == 30
    before = state(broken)
    laf.repair(
        broken, pool(x[few]), codes.numpy()[few], settings(repair_epochs=80, repair_rate=0.02)
    )
    after = state(broken)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"module.head.weight", "module.head.bias"}
    assert right(broken)[0] > 0.8


def test_a_model_without_head_cannot_be_repaired(taught):
    bare = Tapped(taught.module, "head", Preprocessing(4, 4), ["a", "b", "c"])
    with pytest.raises(Problem, match="there is no head to repair"):
        laf.repair(bare, pool(data()[0]), data()[1].numpy(), settings())


def test_a_diverging_run_stops(taught):
    x, _ = data()
    with pytest.raises(Problem, match="lower unlearning_rate"):
        laf.erase(taught, pool(x[:60] * np.nan), pool(x[60:]), settings(steps=3))


def test_a_linear_decoder_explains_negative_numbers(taught):
    errors = {
        kind: laf.erase(taught, *pools(), settings(steps=1, decoder=kind)).errors[0]
        for kind in ("sigmoid", "linear")
    }
    assert errors["linear"] < 0.7 * errors["sigmoid"]


def test_settings_are_checked():
    with pytest.raises(SettingProblem, match="did you mean temperature"):
        settings(temprature=3)
