"""GroCo: trains, repeats itself, resumes, and the margin says what its loss does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fallow
from fallow.images.samples import shapes
from fallow.methods.learn.groco import GroCo
from fallow.train import fit, make_settings


def train(images=None, seed=0, encoder="resnet8/8", **values):
    plain = {"epochs": 2, "batch": 16, "size": 16, "precision": "32", "hidden": 32}
    plain |= {"projection": 32, "learning_rate": 4.0}
    out = values.pop("out", None)
    return fit(
        GroCo,
        images or shapes(48, seed=0, side=24),
        encoder=fallow.encoder(encoder, seed=seed),
        settings=make_settings(GroCo.Settings, plain | values),
        out=out,
        seed=seed,
    )


def weights(run):
    return torch.cat([p.detach().flatten().double() for p in run.method.state_dict().values()])


def test_same_seed_gives_the_same_weights():
    one, two = train(), train()
    assert one.steps == 6
    assert torch.equal(weights(one), weights(two))
    assert not torch.equal(weights(one), weights(train(seed=1)))


def test_margin_and_order_improve():
    run = train(epochs=40)
    margin, order = (
        [line[name] for line in run.history if name in line] for name in ("margin", "in_order")
    )
    tenth = len(margin) // 10
    assert np.mean(margin[-tenth:]) > np.mean(margin[:tenth]) + 0.1
    assert np.mean(order[-tenth:]) > np.mean(order[:tenth]) + 0.1


@pytest.mark.parametrize("negatives", [1, 10])
def test_loss_stays_between_perfect_and_worst(negatives):
    """With the sorter this soft the loss says little; with k 10 it is 0.147 at best."""
    from fallow.losses.sorting import ordering

    low, high = torch.full((1, negatives), -1.0), torch.ones(1, 1)
    bounds = float(ordering(low, high)), float(ordering(high.repeat(1, negatives), low[:, :1]))
    run = train(negatives=negatives)
    losses = [line["loss"] for line in run.history if "loss" in line]
    assert bounds[0] < min(losses) <= max(losses) < bounds[1]
    if negatives == 10:
        assert bounds == pytest.approx((0.147, 0.264), abs=1e-3)


def test_local_views_are_anchors_but_no_positives():
    run = train(views=2, crops=3, epochs=1)
    sizes = [(view.size, view.role) for view in run.method.recipe().every_view]
    assert sizes == [(16, "global")] * 2 + [(8, "local")] * 3
    assert run.steps == 3


def test_views_take_turns_with_blur_and_solarisation():
    settings = make_settings(GroCo.Settings, {"views": 4, "crops": 6, "size": 224})
    method = GroCo.__new__(GroCo)
    torch.nn.Module.__init__(method)
    method.settings = settings
    views = method.recipe().every_view
    assert [view.blur for view in views] == [1.0, 0.1, 1.0, 0.1] + [0.5] * 6
    assert [view.solarise for view in views] == [0.0, 0.2, 0.0, 0.2] + [0.0] * 6
    assert [view.size for view in views] == [224] * 4 + [96] * 6


def test_batches_not_above_the_negatives_use_fewer():
    run = train(images=shapes(8, seed=0, side=24), batch=64)
    assert run.settings.batch == 8
    assert run.method.negatives == 7
    assert train(batch=16, accumulate=4, epochs=1).method.negatives == 3


def test_bf16_and_a_transformer():
    run = train(encoder="vit-nano", epochs=1, precision="bf16", size=32)
    assert np.isfinite([line["loss"] for line in run.history if "loss" in line]).all()


def test_a_stopped_run_goes_on(tmp_path):
    whole = train(epochs=3)

    def stop(method, now):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(
            GroCo,
            shapes(48, seed=0, side=24),
            encoder=fallow.encoder("resnet8/8"),
            settings=whole.settings.model_copy(update={"save_minutes": 0.0}),
            out=tmp_path / "run",
            each_epoch=stop,
        )
    resumed = train(epochs=3, save_minutes=0.0, out=tmp_path / "run")
    assert resumed.steps == 9
    assert "resuming at step 3" in resumed.notes
    assert torch.equal(weights(whole), weights(resumed))


@pytest.mark.parametrize("preset", GroCo.presets)
def test_presets_are_valid(preset):
    settings = make_settings(GroCo.Settings, GroCo.presets[preset])
    assert settings.learning_rate * settings.batch / 256 == 24
