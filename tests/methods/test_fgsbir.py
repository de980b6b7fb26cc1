"""FG-SBIR: what it trains on, stages and rates, certainty, rewards, a short run, resuming."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional as F

import fallow
from fallow.images.sketch_forms import STROKES
from fallow.images.sketches import to_five
from fallow.methods.match import fgsbir
from fallow.methods.match.fgsbir import FGSBIR, certainty, other
from fallow.train import Batch, Now, fit, make_settings
from fallow.train.method import Facts

PLAIN = {
    "epochs": 3, "batch": 4, "size": 32, "points": 12, "layers": (8, 8), "code": 4, "memory": 8,
    "mixtures": 2, "attention": 8, "each": 1, "refresh": 2, "cells": 4, "length": 6,
}  # fmt: skip


def drawn_photos(count=12, seed=0):
    """Photos of rectangles, and the rectangles' outlines as sketches."""
    draw = np.random.default_rng(seed)
    pixels, strokes = [], []
    for _ in range(count):
        left, top = draw.integers(2, 12, 2)
        width, height = draw.integers(6, 18, 2)
        photo = np.full((32, 32, 3), 230, np.uint8)
        photo[top : top + height, left : left + width] = draw.integers(0, 160, 3)
        pixels.append(photo)
        x, y = (left, left + width), (top, top + height)
        corners = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1]), (x[0], y[0])]
        strokes.append([[[float(a), float(b)] for a, b in corners]])
    images = fallow.open(pixels)
    images.table = images.table.append_column(STROKES, pa.array(strokes))
    return images


def train(out=None, seed=0, each_epoch=None, **values):
    images = drawn_photos()
    return fit(
        FGSBIR,
        {"unlabelled": images, "labelled": images.select(np.arange(8))},
        encoder=fallow.encoder("resnet8/8", seed=seed),
        settings=make_settings(FGSBIR.Settings, PLAIN | values),
        out=out,
        seed=seed,
        each_epoch=each_epoch,
    )


def build(**values):
    torch.manual_seed(0)
    settings = make_settings(FGSBIR.Settings, PLAIN | values)
    method = FGSBIR(fallow.encoder("resnet8/8"), settings, Facts(8, 32))
    method._known = [np.array([[1.0, -1.0, 0.0]])]
    method.meet({}, {"unlabelled": range(8)})
    return method


def batches(count=4, size=32, points=12):
    steps = np.stack([to_five(np.array([[3.0, 0, 0], [0, 4.0, 1]]), points)] * count)
    five = torch.from_numpy(steps).float()
    geometry = torch.eye(2, 3).expand(1, count, 2, 3)
    photo = torch.randn(count, 3, size, size)
    beside = {"five": five, "sketch": torch.zeros(count, size, size, dtype=torch.uint8)}
    beside["photo"] = torch.arange(count)
    known, bare = (
        Batch([photo], [photo], torch.arange(count), -torch.ones(count), geometry, beside=held)
        for held in (beside, {})
    )
    return {"labelled": known, "unlabelled": bare}


def at(progress, step=0):
    return Now(step, 0, progress, 10)


def test_stages_follow_each_other_and_begin_the_rate_again():
    method = build(draw=0.5, find=0.25, each=1, joint_rate=0.5)
    planned = lambda progress: 1 - progress  # noqa: E731
    assert [method.stage(at(p)) for p in (0.0, 0.5, 0.75)] == ["draw", "find", "both"]
    assert method.rate(at(0.0), planned) == method.rate(at(0.5), planned) == 1.0
    assert method.rate(at(0.75, step=0), planned) == 1.0
    assert method.rate(at(0.75, step=1), planned) == 0.5  # the generator's step
    paper = build(published_rate=True)
    assert paper.rate(at(0.0, step=1000), planned) == fgsbir.drawing_rate(1000)


def test_only_the_generator_learns_to_draw_and_only_finding_moves_the_encoder():
    method = build()
    method.loss(batches(), at(0.0)).total.backward()
    assert any(p.grad is not None for p in method.generator.parameters())
    assert all(p.grad is None for p in method.encoder.parameters())
    method.zero_grad(set_to_none=True)
    method.loss(batches(), at(0.5)).total.backward()
    assert all(p.grad is None for p in method.generator.parameters())
    assert any(p.grad is not None for p in method.encoder.parameters())


def test_together_the_judge_learns_and_the_teacher_does_not():
    method = build()
    now = at(0.9, step=0)
    method.begin_step(now)
    assert method.taught
    loss = method.loss(batches(), now)
    loss.total.backward()
    assert any(p.grad is not None for p in method.judge.parameters())
    assert all(p.grad is None for p in method.teacher.parameters())
    assert 0 < float(loss.parts["certainty"]) < 1
    assert (method.drawn_at[:4] == 0).all()
    assert (method.drawn_at[4:] == -1).all()


def test_photos_are_drawn_again_when_their_drawing_is_old():
    method = build(refresh=5)
    for step, expected in ((0, 0), (4, 0), (5, 5)):
        method.imagined(batches()["unlabelled"], at(0.9, step))
        assert int(method.drawn_at[0]) == expected


def test_rewards_reach_the_generator_alone():
    method = build(each=1)
    now = at(0.9, step=1)
    method.begin_step(now)
    method.loss(batches(), now).total.backward()
    assert any(p.grad is not None for p in method.generator.parameters())
    for part in (method.encoder, method.judge):
        assert all(p.grad is None for p in part.parameters())


def test_the_judge_learns_that_a_sketch_of_another_photo_is_none_of_this_one():
    """Real sketches laid on other photos, and nothing else: only they can teach it."""
    method = build()
    now = at(0.9)
    method.begin_step(now)
    scores = iter([torch.zeros(4), torch.zeros(4), torch.full((4,), 3.0), torch.zeros(4)])
    method.judge.forward = lambda photo, sketch, near: next(scores)
    judged = method.loss(batches(), now).parts["judge"]
    # told apart by chance, ln 2 each, but for strangers that it takes for real
    assert float(judged) == pytest.approx(3 * np.log(2) + np.log1p(np.exp(3.0)), abs=1e-5)


def test_before_it_has_learnt_the_judge_believes_what_lies_nearer_than_strangers_do():
    method = build()
    near = torch.tensor([0.0, 1.64, 4.0])
    scores = method.judge(torch.rand(3, 3, 32, 32), torch.rand(3, 32, 32), near)
    assert scores.tolist() == pytest.approx([-1.64, 0.0, 2.36], abs=1e-6)
    draw = torch.Generator().manual_seed(0)
    ours = F.normalize(torch.randn(8, 16, generator=draw), dim=1)
    theirs = F.normalize(ours + 0.1 * torch.randn(8, 16, generator=draw), dim=1)
    own, strange = fgsbir.near(ours, theirs), fgsbir.near(ours, theirs.roll(1, 0))
    assert float(own.min()) > 2 > float(strange.max())
    assert fgsbir.near(ours[:1], theirs[:1]).shape == (1,)  # a batch of one has no strangers


def test_a_norm_of_the_encoder_measures_nothing_of_sketches():
    method = build()
    before = {name: one.clone() for name, one in method.encoder.named_buffers()}
    method.loss(batches(), at(0.5))
    assert all(torch.equal(one, before[name]) for name, one in method.encoder.named_buffers())


def test_certainty_has_no_gradient_and_others_are_never_oneself():
    scores = torch.zeros(3, requires_grad=True)
    assert not certainty(scores).requires_grad
    rows = torch.arange(5)
    for seed in range(9):
        torch.manual_seed(seed)
        assert (other(rows) != rows).all()


def test_it_learns_to_draw_what_people_draw():
    run = train(epochs=20, draw=0.99, find=0.01, learning_rate=0.5)
    losses = [line["loss"] for line in run.history if "loss" in line]
    assert np.mean(losses[-10:]) < np.mean(losses[:5]) - 0.5


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    values = {"draw": 0.2, "find": 0.2, "save_minutes": 0.0}
    with pytest.raises(Stop):
        train(tmp_path / "run", each_epoch=stop, **values)
    resumed, whole = train(tmp_path / "run", **values), train(**values)
    ours, theirs = resumed.method.state_dict(), whole.method.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (tmp_path / "run" / "generator.safetensors").is_file()
