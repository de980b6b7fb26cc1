"""What DINO, iBOT, MSN and MoCo v3 have in common: training, resuming, teachers, collapse."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import fallow
from fallow.methods import find
from fallow.parts.teacher import Centre, follow, twin
from fallow.problems import Problem, SettingProblem
from fallow.train import Loss
from fallow.train.loop import Interrupted
from fallow.train.watch import Watch

from .distilled import batch_for, method, now, same, settings, train, weights

ALL = ("dino", "ibot", "msn", "mocov3")
RESIDUAL = ("dino", "mocov3")


@pytest.mark.parametrize("slug", ALL)
def test_the_same_seed_gives_the_same_run(slug):
    one, two = train(slug), train(slug)
    assert one.steps == 6
    assert same(weights(one), weights(two))
    assert not same(weights(one), weights(train(slug, seed=1)))
    assert all(math.isfinite(line["loss"]) for line in one.history)


@pytest.mark.parametrize("slug", RESIDUAL)
def test_residual_networks_are_trained_too(slug):
    run = train(slug, "resnet8/8")
    start = fallow.encoder("resnet8/8", size=16).state_dict()
    after = run.encoder.state_dict()
    assert all(not torch.equal(after[name], start[name]) for name in start if "conv" in name)
    assert run.method.pictures([]) == {}


@pytest.mark.parametrize("slug", ["ibot", "msn"])
def test_methods_of_patches_say_so(slug):
    with pytest.raises(SettingProblem, match="vit-nano/4"):
        train(slug, "resnet8/8")


@pytest.mark.parametrize("slug", ALL)
def test_a_stopped_run_goes_on_as_if_it_had_not_been(slug, tmp_path):
    whole = train(slug)
    kind = find("learn", slug)

    class Stopped(kind):
        def after_step(self, now):
            super().after_step(now)
            if now.step == 3:
                raise Interrupted("stopped")

    Stopped.__name__ = kind.__name__
    with pytest.raises(Interrupted):
        train(slug, kind=Stopped, out=tmp_path, save_minutes=0.0)
    resumed = train(slug, out=tmp_path, save_minutes=0.0)
    assert any("resuming at step 3" in note for note in resumed.notes)
    assert same(weights(whole), weights(resumed))


@pytest.mark.parametrize("slug", ALL)
def test_no_gradient_reaches_the_teacher_and_every_learnt_tensor_gets_one(slug):
    model = method(slug)
    model(batch_for(model), now()).total.backward()
    for name, parameter in model.named_parameters():
        teacher = name.startswith("teacher")
        assert parameter.requires_grad is (not teacher and not fixed(slug, name))
        assert (parameter.grad is not None) is parameter.requires_grad, name


def fixed(slug, name):
    return name.endswith("original0") or (slug == "mocov3" and "patch_embed" in name)


@pytest.mark.parametrize("slug", ALL)
def test_the_teacher_follows_ever_more_slowly(slug):
    model = method(slug, teacher_momentum=0.9)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("teacher"):
                parameter += 1.0
    moves = []
    for progress in (0.0, 0.5, 1.0):
        model(batch_for(model), now(progress=progress))
        before = weights_of(model, "teacher")
        model.after_step(now(progress=progress))
        after = weights_of(model, "teacher")
        moves.append(max(float((a - b).abs().max()) for a, b in zip(after, before, strict=True)))
    assert moves[0] == pytest.approx(0.1, rel=1e-3)  # a tenth of the way at first
    assert moves[0] > moves[1] > 0
    assert moves[2] == 0  # and not at all in the end


def weights_of(model, start):
    return [
        value.detach().clone() for name, value in model.named_parameters() if name.startswith(start)
    ]


@pytest.mark.parametrize("slug", ALL)
def test_half_precision_gives_nearly_the_same_loss_in_float32(slug):
    model = method(slug)
    batch = batch_for(model)
    torch.manual_seed(3)
    exact = model(batch, now()).total.detach()
    torch.manual_seed(3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(batch, now()).total.detach()
    assert rough.dtype == torch.float32
    assert float(rough) == pytest.approx(float(exact), rel=0.1)


@pytest.mark.parametrize("slug", ["dino", "ibot", "msn"])
def test_a_teacher_that_says_nothing_gives_the_trivial_loss(slug):
    model = method(slug)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "head" in name and name.endswith("bias"):
                parameter.fill_(1.0)  # a direction of its own, so that rows can have length 1
            elif "head" in name and not name.endswith(("original0", "original1")):
                parameter.zero_()
        if slug == "msn":
            model.prototypes.fill_(1.0)
        else:
            for network in (model.head, last(model)):
                network[-1].parametrizations.weight.original1.fill_(1.0)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.eval()
    loss = model(batch_for(model, rows=8), now(progress=0.5))
    assert float(loss.total.detach()) == pytest.approx(loss.trivial, rel=1e-4)
    assert float(loss.parts["teacher_entropy"]) == pytest.approx(1.0, abs=1e-4)
    assert loss.advice
    assert model(batch_for(model), now(progress=0.1)).advice is None
    talking = method(slug)(batch_for(model, rows=8), now(progress=0.5))
    assert talking.parts["teacher_entropy"] < 0.95
    assert talking.advice is None


def last(model):
    return model.teacher[1] if isinstance(model.teacher, nn.Sequential) else model.teacher_head


def test_a_run_that_sits_at_the_trivial_loss_stops_with_advice():
    watch = Watch(patience=5)
    fine = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))

    def see(value, advice):
        return watch.see(
            Loss(torch.zeros(()), embedding=fine, trivial=8.3178, advice=advice), value
        )

    for _ in range(40):
        see(8.3178, None)  # too early to give up: a warning, once
    assert len(watch.warnings) == 1
    with pytest.raises(Problem, match="lower teacher_temperature"):
        see(8.3178, "lower teacher_temperature")
    for _ in range(60):
        see(6.0, None)
    assert see(6.0, "lower teacher_temperature") is None


def test_a_uniform_run_stops_early(monkeypatch):
    monkeypatch.setattr(Watch.__init__, "__defaults__", (2, 0.95))
    # this soft, all answers are all prototypes alike
    soft = dict.fromkeys(("temperature", "teacher_temperature", "first_temperature"), 1e4)
    with pytest.raises(Problem, match=r"trivial value 3\.47 .*lower teacher_temperature"):
        train("dino", epochs=8, **soft)


def test_the_centre_is_the_mean_of_all_that_was_seen():
    scores = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    at_once, in_parts = Centre(5, 0.9), Centre(5, 0.9)
    at_once.see(scores)
    for part in scores.split(4):
        in_parts.see(part)
        assert not in_parts.value.any()
    at_once.move()
    in_parts.move()
    torch.testing.assert_close(at_once.value, 0.1 * scores.mean(0))
    torch.testing.assert_close(in_parts.value, at_once.value)


def test_a_teacher_leaves_nothing_out():
    student = fallow.encoder("vit-nano/4", size=16, drop_path=0.5)
    teacher = twin(student).train()
    x = torch.randn(8, 3, 16, 16)
    torch.testing.assert_close(teacher(x), teacher(x))
    assert not torch.allclose(student.train()(x), student(x))
    follow(teacher, student, 0.0)
    torch.testing.assert_close(teacher(x), student.eval()(x))


@pytest.mark.parametrize("slug", ALL)
def test_every_preset_and_default_is_a_valid_setting(slug):
    kind = find("learn", slug)
    assert "paper" in kind.presets
    for values in kind.presets.values():
        assert settings(slug, **values).size == 224
    own = set(kind.Settings.model_fields) - set(kind.Settings.__mro__[1].model_fields)
    assert own
    assert kind.family
    assert kind.predicts
