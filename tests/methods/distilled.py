"""Tiny runs of the methods in which a student follows its teacher."""

from __future__ import annotations

import torch

import fallow
from fallow.images.samples import shapes
from fallow.methods import find
from fallow.train import fit, make_settings
from fallow.train.method import Batch, Facts, Now

TINY = {
    "batch": 16,
    "size": 16,
    "precision": "32",
    "hidden": 32,
    "epochs": 2,
}
SMALLER = {
    "dino": {"prototypes": 32, "bottleneck": 16, "crops": 2},
    "ibot": {"prototypes": 32, "bottleneck": 16, "crops": 2},
    "msn": {"prototypes": 32, "projection": 16, "crops": 2},
    "mocov3": {"projection": 16},
}


def settings(slug, **values):
    return make_settings(find("learn", slug).Settings, TINY | SMALLER[slug] | values)


def encoder(name="vit-nano/4", seed=0):
    return fallow.encoder(name, seed=seed, size=16)


def method(slug, name="vit-nano/4", **values):
    torch.manual_seed(0)
    return find("learn", slug)(encoder(name), settings(slug, **values), Facts(48, 24)).train()


def train(slug, name="vit-nano/8", *, out=None, images=48, seed=0, kind=None, **values):
    return fit(
        kind or find("learn", slug),
        shapes(images, seed=0, side=24),
        encoder=encoder(name, seed),
        settings=settings(slug, **values),
        out=out,
        seed=seed,
    )


def batch_for(method, rows=4, seed=0):
    """Random pixels in the shape the method's recipe asks for."""
    generator = torch.Generator().manual_seed(seed)
    recipe = method.recipe()
    groups = [
        torch.randn((last - first) * rows, 3, size, size, generator=generator)
        for first, last, size in recipe.runs
    ]
    views = [view for group in groups for view in group.split(rows)]
    index = torch.arange(rows)
    geometry = torch.zeros(len(views), rows, 2, 3)
    roles = [view.role for view in recipe.every_view]
    return Batch(groups, views, index, torch.full((rows,), -1), geometry, roles)


def now(step=0, progress=0.0):
    return Now(step, step // 3, progress, 3)


def weights(run):
    return {name: value.clone() for name, value in run.method.state_dict().items()}


def same(one, two):
    return all(torch.equal(value, two[name]) for name, value in one.items())
