"""A short training on small drawn shapes, and one batch to ask a method about."""

from __future__ import annotations

import torch

import fallow
from fallow.images.samples import shapes
from fallow.methods import find
from fallow.train import Batch, Now, fit, make_settings
from fallow.train.method import Facts

PLAIN = {"epochs": 2, "batch": 16, "size": 16, "precision": "32", "learning_rate": 0.05}


def train(method, images=None, seed=0, out=None, each_epoch=None, **values):
    kind = find("learn", method)
    return fit(
        kind,
        shapes(48, seed=0, side=24) if images is None else images,
        encoder=fallow.encoder("resnet8/8", seed=seed),
        settings=make_settings(kind.Settings, PLAIN | values),
        out=out,
        seed=seed,
        each_epoch=each_epoch,
    )


def build(method, classes=0, count=48, **values):
    torch.manual_seed(0)
    kind = find("learn", method)
    settings = make_settings(kind.Settings, PLAIN | values)
    return kind(fallow.encoder("resnet8/8", seed=0), settings, Facts(count, 24, classes))


def batch_of(count, views=2, size=16, labels=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(views * count, 3, size, size, generator=generator)
    labels = -torch.ones(count, dtype=torch.long) if labels is None else torch.tensor(labels)
    index = torch.arange(count)
    return Batch(
        [pixels], list(pixels.split(count)), index, labels, torch.zeros(views, count, 2, 3)
    )


def now(step=0):
    return Now(step=step, epoch=0, progress=0.0, steps_per_epoch=10)


def losses(run):
    return [line["loss"] for line in run.history if "loss" in line]


def same_weights(one, two):
    one, two = one.method.state_dict(), two.method.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


class Stop(Exception):
    """What a test throws into a run to end it between two epochs."""


def stopped_and_resumed(method, out, **values):
    """A run that is broken off after its first epoch and then taken up again."""

    def stop(*_):
        raise Stop

    try:
        train(method, out=out, each_epoch=stop, save_minutes=0.0, **values)
    except Stop:
        return train(method, out=out, save_minutes=0.0, **values)
    raise AssertionError("the run did not reach the end of its first epoch")
