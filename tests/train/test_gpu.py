"""On a GPU: what the processor computes, and every trained method; skipped without one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import fallow
from fallow.images.masks import with_masks, without_masks
from fallow.images.samples import cells, shapes
from fallow.methods import find, slugs
from fallow.methods.shared.segment import look
from fallow.train import fit, launch, make_settings
from fallow.views import draw, render, simclr
from fallow.views.device import render_torch
from fallow.views.render import pack_arrays

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

PLAIN = {"batch": 16, "precision": "32", "compile": "off"}


def learnt(slug, accelerator, *, epochs=1, out=None, seed=0, each_epoch=None, **values):
    kind = find("learn", slug)
    name = "vit-nano/4" if kind.needs_transformer else "resnet8/8"
    return fit(
        kind,
        shapes(48, seed=0, side=24),
        encoder=fallow.encoder(name, seed=seed, size=16),
        settings=make_settings(kind.Settings, PLAIN | {"size": 16, "epochs": epochs} | values),
        out=out,
        seed=seed,
        fabric=launch(1, accelerator),
        each_epoch=each_epoch,
    )


def segmented(slug, accelerator, **values):
    kind = find("segment", slug)
    images = cells(12, seed=0, side=48)
    some = with_masks(without_masks(images), {k: images.mask(k) > 0 for k in range(4)})
    streams = {"unlabelled": without_masks(some), "labelled": some.select(range(4))}
    if slug == "semiovs":
        streams |= {"mix": streams["unlabelled"], "foreign": streams["labelled"]}
    settings = PLAIN | {"size": 32, "batch": 4, "epochs": 1, "classes": 2} | values
    return fit(
        kind,
        streams,
        encoder=fallow.encoder("unet/4", seed=0),
        settings=make_settings(kind.Settings, settings),
        fabric=launch(1, accelerator),
    )


def losses(run):
    return [line["loss"] for line in run.history if "loss" in line]


def test_views_are_those_of_the_processor():
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (40 + k, 60 - k, 3), np.uint8) for k in range(9)]
    pack = pack_arrays(pictures)
    seen = render(pack, np.arange(9), simclr(32), seed=0).groups[0]
    drawn = draw(simclr(32), pack.heights, pack.widths, pack.rows, seed=0)
    made = render_torch([torch.from_numpy(one).cuda() for one in pictures], drawn, simclr(32))
    assert made.groups[0].is_cuda
    assert float((made.groups[0].cpu() - seen).abs().max()) < 0.02


@pytest.mark.parametrize("name", ["tiny", "vit-nano/8", "resnet8/16"])
def test_vectors_are_those_of_the_processor(name):
    images = shapes(20, seed=0, side=40)
    encoder = fallow.encoder(name, seed=0)
    here = encoder.embed(images)
    there = encoder.cuda().embed(images)
    assert np.abs(here - there).max() < 0.01 * np.abs(here).max()


@pytest.mark.parametrize("slug", slugs("learn"))
def test_a_method_begins_with_the_loss_of_the_processor(slug):
    here, there = (losses(learnt(slug, accelerator)) for accelerator in ("cpu", "cuda"))
    assert len(here) == len(there) > 0
    assert all(math.isfinite(loss) for loss in there)
    # what is masked, dropped or queued is drawn by the device
    assert there[0] == pytest.approx(here[0], rel=0.15)


@pytest.mark.parametrize("slug", ["simclr", "moco", "supcon", "groco"])
def test_where_nothing_is_drawn_on_the_device_the_first_loss_is_the_same(slug):
    here, there = (losses(learnt(slug, accelerator)) for accelerator in ("cpu", "cuda"))
    assert there[0] == pytest.approx(here[0], rel=0.01)


@pytest.mark.parametrize("slug", slugs("segment"))
def test_a_segmenter_begins_with_the_loss_of_the_processor(slug):
    here, there = (losses(segmented(slug, accelerator)) for accelerator in ("cpu", "cuda"))
    assert all(math.isfinite(loss) for loss in there)
    assert there[0] == pytest.approx(here[0], rel=0.15)


class Stop(Exception):
    """Ends a run between two epochs."""


def state(run):
    return run.method.state_dict()


def same_weights(one, two):
    return all(torch.equal(value, state(two)[name]) for name, value in state(one).items())


@pytest.mark.parametrize("slug", ["moco", "swav", "interclr", "ijepa"])
def test_a_run_that_was_broken_off_goes_on_as_if_it_had_not_been(tmp_path, slug):
    def stop(*_):
        raise Stop

    whole = learnt(slug, "cuda", epochs=2)
    with pytest.raises(Stop):
        learnt(slug, "cuda", epochs=2, out=tmp_path, each_epoch=stop, save_minutes=0.0)
    resumed = learnt(slug, "cuda", epochs=2, out=tmp_path, save_minutes=0.0)
    assert any("resuming" in note for note in resumed.notes)
    assert same_weights(resumed, whole)


@pytest.mark.parametrize("slug", slugs("segment"))
def test_the_same_seed_gives_the_same_segmenter(slug):
    assert same_weights(segmented(slug, "cuda"), segmented(slug, "cuda"))


@pytest.mark.parametrize("slug", slugs("segment"))
def test_a_segmenter_looks_at_pictures_of_any_size(slug):
    run = segmented(slug, "cuda")
    for picture in cells(2, seed=1, side=70), cells(2, seed=1, side=40):
        seen = look(run.method, picture[0])[0]
        assert seen.device.type == "cpu"
        assert torch.allclose(seen.sum(0), torch.ones(seen.shape[1:]), atol=1e-4)


def test_verbs_compute_where_it_is_fast(tmp_path):
    images = shapes(24, seed=0, side=40)
    result = fallow.learn(images, epochs=1, encoder="resnet8/8", settings={"batch": 8},
                          out=tmp_path / "run")  # fmt: skip
    assert result.encoder.device.type == "cuda"
    assert fallow.embed(images).table.num_rows == 24
    assert fallow.probe(tmp_path / "run", images).table.num_rows == 2
    assert fallow.spot(images, out=tmp_path / "odd").table.num_rows == 24


def test_the_fastest_way_to_compute_is_found(tmp_path):
    run = learnt("simclr", "cuda", epochs=2, precision="auto")
    assert any("fastest" in note for note in run.notes)
    assert all(math.isfinite(loss) for loss in losses(run))
