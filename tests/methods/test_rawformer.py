"""Rawformer learns another camera's colours, remembers, resumes, and says what it cannot do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fallow.encoders.critics import BatchHead, Cache, PatchBody
from fallow.encoders.translator import Shape, Translator
from fallow.methods import settings_of, settle
from fallow.methods.develop.rawformer import (
    Critic,
    Rawformer,
    Translation,
    exposure_gap,
    hidden_patches,
    load,
)
from fallow.methods.shared.camera import train
from fallow.problems import Problem, SettingProblem
from fallow.raw.sensor import Raw, sensor
from fallow.train import make_settings

QUICK = {
    "levels": (8, 16), "blocks": 1, "heads": 2, "hidden": 16, "side": 32, "patch": 8,
    "critic_width": 4, "pretrain": 2, "pretrain_batch": 2,
}  # fmt: skip


def frames(count, seed, gains=(1.0, 1.0, 1.0), **levels):
    """Mosaics of soft coloured fields."""
    draw = np.random.default_rng(seed)
    levels = {"black": 64, "white": 1023} | levels
    found = []
    for number in range(count):
        coarse = np.kron(draw.uniform(0.1, 0.6, (5, 5, 3)), np.ones((16, 16, 1))) * gains
        light = coarse[..., 1].copy()
        light[::2, ::2], light[1::2, 1::2] = coarse[::2, ::2, 0], coarse[1::2, 1::2, 2]
        counted = light * (levels["white"] - levels["black"]) + levels["black"]
        own = sensor("RGGB", neutral=[0.5, 1, 0.7], camera=f"camera {seed}", **levels)
        found.append(Raw(counted.round().astype(np.uint16), own, f"{seed}-{number}.dng"))
    return found


def made(seed=0, **more):
    settings = make_settings(Rawformer.Settings, QUICK | more)
    return Rawformer(frames(3, 0), frames(3, 1, (0.5, 1, 0.6)), settings, seed=seed)


def test_it_fills_in_and_then_learns_the_other_cameras_colours():
    first = 150
    trainee = made(
        pretrain=first, pretrain_rate=1e-2, keep=0.8, cycle=5.0, rate=2e-3, critic_rate=5e-4
    )
    losses = [trainee.step()["filling"] for _ in range(first)]
    assert np.mean(losses[-20:]) < 0.85 * np.mean(losses[:20])
    for network in (trainee.translators[1], *trainee.averages):
        learnt = trainee.translators[0].parameters()
        pairs = zip(learnt, network.parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
    train(trainee, steps=first + 80)
    translation = trainee.translation()
    ours, theirs = frames(3, 7), frames(3, 7, (0.5, 1, 0.6))

    def red(pile):
        return np.mean([one.mosaic[::2, ::2] for one in pile])

    made_red = red([translation.translated(one) for one in ours])
    assert abs(made_red - red(theirs)) < 0.6 * abs(red(ours) - red(theirs))


def test_a_step_moves_translators_critics_and_averages():
    trainee = made(pretrain=0)
    parts = {"translators": trainee.translators, "critics": trainee.critics}
    before = {k: [p.clone() for p in part.parameters()] for k, part in parts.items()}
    average = [p.clone() for p in trainee.averages.parameters()]
    values = trainee.step()
    assert {"critic there", "cycle back", "identity there", "telling theirs"} <= set(values)
    for name, part in parts.items():
        pairs = zip(part.parameters(), before[name], strict=True)
        assert any((now != then).any() for now, then in pairs), name
    moved = zip(trainee.averages.parameters(), average, strict=True)
    assert any((now != then).any() for now, then in moved)
    assert all(len(critic.real.kept) == len(critic.fake.kept) == 1 for critic in trainee.critics)
    trainee.step()
    assert all(len(critic.fake.kept) == 2 for critic in trainee.critics)


def test_translators_do_not_fill_the_memory():
    critic = Critic(4, 4, 3)
    critic.of_fake(torch.rand(1, 4, 32, 32))
    assert len(critic.fake.kept) == 0
    critic.loss(torch.rand(1, 4, 32, 32), torch.rand(1, 4, 32, 32))
    assert len(critic.fake.kept) == len(critic.real.kept) == 1
    assert not critic.fake.kept.requires_grad
    critic.fake.clear()
    assert len(critic.fake.kept) == 0


def test_a_memory_overwrites_the_oldest():
    cache = Cache(2)
    for value in range(5):
        cache.put(torch.full((1, 1, 1, 1), float(value)))
    assert sorted(cache.kept.flatten().tolist()) == [3, 4]
    again = Cache(2)
    again.load_state_dict(cache.state_dict())
    assert torch.equal(again.kept, cache.kept)
    assert int(again.next) == int(cache.next)


def test_a_run_that_was_cut_off_goes_on_exactly(tmp_path):
    whole = made()
    train(whole, steps=5)
    for steps in (3, 5):  # in the second stage, with a memory
        second = made()
        train(second, steps=steps, folder=tmp_path, identity="a")
    pairs = zip(whole.averages.parameters(), second.averages.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert torch.equal(whole.critics[0].fake.kept, second.critics[0].fake.kept)


def test_frames_come_out_in_the_other_cameras_numbers(tmp_path):
    target = frames(2, 1, black=256, white=4095)
    settings = make_settings(Rawformer.Settings, QUICK)
    trainee = Rawformer(frames(2, 0), target, settings)
    there, back = trainee.translation(), trainee.translation(1)
    frame = frames(1, 0)[0]
    found = there.translated(frame)
    assert found.size == frame.size
    assert found.sensor.white == 4095
    assert found.sensor.black.tolist() == [[256, 256], [256, 256]]
    assert found.sensor.camera == "camera 1"
    assert back.translated(target[0]).sensor.white == 1023
    there.save(tmp_path / "b.safetensors")
    again = load(tmp_path / "b.safetensors").translated(frame)
    np.testing.assert_array_equal(again.mosaic, found.mosaic)
    (tmp_path / "c.safetensors").write_bytes(b"x")
    with pytest.raises(Problem, match="no translation"):
        load(tmp_path / "c.safetensors")


def test_parts_pass_into_each_other_and_odd_sides_are_no_matter():
    class Same(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.shape = Shape(levels=(4, 8))
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, x):
            assert x.shape[-2] % 16 == x.shape[-1] % 16 == 0
            return x * self.scale

    frame = frames(1, 0)[0].cropped(0, 0, 57, 59)
    about = {"pattern": "RGGB", "black": [64] * 4, "white": 1023.0, "matrices": {}, "camera": ""}
    found = Translation(Same(), about).translated(frame, side=16, margin=8)
    np.testing.assert_array_equal(found.mosaic, frame.mosaic[:56, :58])
    np.testing.assert_allclose(found.sensor.neutral, frame.sensor.neutral, rtol=1e-3)


def test_the_published_shape_has_nine_million_numbers():
    assert round(sum(p.numel() for p in Translator(Shape()).parameters()) / 1e6, 2) == 9.14
    assert Shape().multiple == 64
    body = PatchBody(4)
    count = sum(p.numel() for p in body.parameters())
    assert round(count / 1e6, 2) == 2.76
    assert body(torch.zeros(1, 4, 256, 256)).shape == (1, 512, 31, 31)


def test_one_sample_has_company_in_a_batch_norm():
    head, features = BatchHead(4), torch.rand(1, 4, 3, 3)
    alone, beside = head(features, features[:0]), head(features, features + 5)
    assert not torch.allclose(alone, beside)


def test_hidden_patches_are_whole():
    chosen = torch.zeros(1, 2, 3, dtype=torch.bool)
    chosen[0, 1, 2] = True
    hidden = hidden_patches(torch.ones(1, 4, 8, 24), chosen)
    assert float((hidden == 0).sum()) == 4 * 4 * 8
    assert not hidden[..., 4:, 16:].any()


def test_brightness_of_piles_is_compared():
    ours = frames(2, 0)
    assert exposure_gap(ours, ours) == 1
    dark = [replace(one, mosaic=(one.mosaic - 64) // 4 + 64) for one in ours]
    assert exposure_gap(ours, dark) > 3


def test_settings_and_bad_input():
    assert settle("develop", "rawformer", {}, "paper")["blocks"] == 12
    assert settings_of("develop", "rawformer")[0] is Rawformer.Settings
    kind = Rawformer.Settings
    with pytest.raises(SettingProblem, match="multiple of 16"):
        make_settings(kind, QUICK | {"side": 40})
    with pytest.raises(SettingProblem, match="heads"):
        make_settings(kind, QUICK | {"heads": 3})
    with pytest.raises(Problem, match="smaller side"):
        made(side=64)
    with pytest.raises(Problem, match="no raw files"):
        Rawformer([], frames(1, 0), make_settings(kind, QUICK))
