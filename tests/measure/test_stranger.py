"""A stranger's model learns what is there, and a shortcut instead where one is laid."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fallow.measure.stranger import crop_and_flip, jpeg, label_maps, trained_by_stranger
from fallow.problems import Problem


def stripes(count, seed, shift=None):
    """Upright or level stripes under noise; `shift` adds the class as brightness."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    wave = 30 * np.sign(np.sin(np.arange(16) * np.pi / 2 + 0.1))
    pictures = draw.normal(120, 20, (count, 3, 16, 16))
    pictures += np.where(labels[:, None, None, None] == 1, wave[None, :], wave[:, None])
    if shift is not None:
        pictures += shift * (2 * labels[:, None, None, None] - 1)
    return torch.from_numpy(pictures.clip(0, 255).astype(np.uint8)), labels


def learn(train, test, **more):
    return trained_by_stranger(*train, *test, classes=2, epochs=6, batch=16, width=8, **more)


def test_a_laid_shortcut_is_learnt_instead_of_the_content():
    test = stripes(60, 1)
    clean = learn(stripes(96, 0), test)
    assert clean > 0.9
    assert learn(stripes(96, 0, shift=60), test) < clean - 0.2


def test_same_seed_same_answer_and_augmentation():
    train, test = stripes(48, 0), stripes(40, 1)
    torch.manual_seed(5)
    first = learn(train, test, augment=True, seed=3)
    torch.manual_seed(6)
    assert learn(train, test, augment=True, seed=3) == first


def test_moved_pictures_hold_only_their_own_pixels():
    pictures = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 16, 16)
    assert torch.equal(crop_and_flip(pictures, torch.Generator().manual_seed(0)), pictures)


def test_label_maps_are_different_partitions():
    for classes in (2, 3, 4, 7, 50):
        maps = label_maps(classes, seed=1)
        assert maps[0].count == classes
        shared = [one.groups[:, None] == one.groups[None] for one in maps]
        for k, one in enumerate(shared):
            assert not one.all()
            assert not any((one == other).all() for other in shared[:k])
    assert len(label_maps(50)) == 4


def test_jpeg_changes_little_but_something():
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    apart = np.abs(jpeg(noise).astype(int) - noise).mean()
    assert 1 < apart < 60


def test_nothing_to_learn_from():
    with pytest.raises(Problem, match="two pictures"):
        learn((torch.zeros(1, 3, 16, 16, dtype=torch.uint8), np.array([0])), stripes(4, 0))
