"""DINO: who sees what, frozen prototypes, clipping, attention."""

from __future__ import annotations

import numpy as np
import torch

from fallow.train.optimisers import clip_each

from .distilled import batch_for, method, now, train


def watched(module, seen):
    module.register_forward_hook(lambda _, inputs, out: seen.append(tuple(inputs[0].shape)))


def test_the_teacher_sees_no_local_views():
    model, student, teacher = method("dino"), [], []
    watched(model.encoder, student)
    watched(model.teacher, teacher)
    model(batch_for(model, rows=4), now())
    assert student == [(8, 3, 16, 16), (8, 3, 8, 8)]
    assert teacher == [(8, 3, 16, 16)]


def test_without_local_views_two_are_enough():
    model = method("dino", crops=0)
    assert len(model.recipe().every_view) == 2
    assert torch.isfinite(model(batch_for(model), now()).total)


def test_the_centre_moves_only_after_the_step():
    model = method("dino")
    batch = batch_for(model)
    first = model(batch, now())
    assert torch.equal(model(batch, now()).total, first.total)  # not centred on itself
    assert not model.centre.value.any()
    model.after_step(now())
    assert model.centre.value.any()
    assert not torch.equal(model(batch, now()).total, first.total)


def test_prototypes_rest_for_an_epoch_and_keep_their_length():
    before = method("dino").head[-1].weight
    frozen = train("dino", epochs=1, freeze_epochs=1).method.head[-1]
    torch.testing.assert_close(frozen.weight, before)
    free = train("dino", epochs=1, freeze_epochs=0).method.head[-1]
    assert not torch.allclose(free.weight, before)
    torch.testing.assert_close(free.weight.norm(dim=1), torch.ones(32))


def test_local_views_are_whole_patches():
    sides = {size: method("dino", size=size).recipe().views[-1].size for size in (16, 24, 32, 64)}
    assert sides == {16: 8, 24: 12, 32: 16, 64: 28}


def test_each_gradient_is_clipped_alone():
    long, short, none = (torch.nn.Parameter(torch.zeros(3)) for _ in range(3))
    long.grad, short.grad = torch.full((3,), 100.0), torch.full((3,), 0.1)
    clip_each([long, short, none], 3.0)
    torch.testing.assert_close(long.grad.norm(), torch.tensor(3.0))
    torch.testing.assert_close(short.grad, torch.full((3,), 0.1))


def test_temperature_rises_over_its_share_of_the_budget():
    model = method("dino", first_temperature=0.02, teacher_temperature=1.0, temperature_warmup=0.5)
    batch = batch_for(model)
    entropies = [
        float(model(batch, now(progress=p)).parts["teacher_entropy"]) for p in (0, 0.25, 0.5, 0.9)
    ]
    assert entropies[0] < entropies[1] < entropies[2] == entropies[3]


def test_attention_is_shown_beside_the_image():
    images = [np.full((20, 30, 3), value, np.uint8) for value in (50, 200)]
    model = method("dino").eval()
    ((_, rows),) = model.pictures(images).items()
    assert len(rows) == 2
    assert len(rows[0]) == 2 + 4  # image, mean, four heads
    assert all(part.dtype == np.uint8 and part.shape == (96, 96, 3) for part in rows[0])
    assert (rows[1][0] == 200).all()
    assert rows[1][1].min() < 100 < rows[1][1].max()
    assert model.pictures([]) == {}
