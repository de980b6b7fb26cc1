"""LightISP learns a look from unrelated photos, is kept whole, and says what it cannot do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fallow.encoders.isp import NETWORKS, network
from fallow.methods import settings_of, settle
from fallow.methods.develop import lightisp
from fallow.methods.develop.lightisp import LightISP
from fallow.methods.shared.camera import in_phase, padded, tiles, train
from fallow.methods.shared.pipeline import ISP, load, must_fit
from fallow.problems import Problem, SettingProblem
from fallow.raw.develop import Look, developed
from fallow.raw.sensor import Raw, sensor
from fallow.raw.unprocess import plain_sensor, unprocessed
from fallow.train import make_settings

QUICK = {
    "side": 64,
    "batch": 2,
    "colour_side": 32,
    "hidden": 16,
    "features": "resnet8/8",
    "every": 1,
    "begin": 0,
}


def scenes(count, seed):
    """Smooth coloured pictures with some edges.  H W 3"""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        coarse = draw.uniform(30, 225, (6, 8, 3))
        picture = np.kron(coarse, np.ones((16, 16, 1)))
        found.append((picture + draw.normal(0, 3, picture.shape)).clip(0, 255).astype(np.uint8))
    return found


@pytest.fixture(scope="module")
def raws():
    return [unprocessed(one, plain_sensor()) for one in scenes(3, 0)]


def made(raws, seed=0, **more):
    settings = make_settings(LightISP.Settings, QUICK | more)
    return LightISP(raws, scenes(3, 1), settings, seed=seed)


def test_a_short_run_moves_towards_content(raws):
    trainee = made(raws, texture=0, colour=0, smooth=0, rate=5e-3, batch=4)
    before = np.mean([trainee.step()["content"] for _ in range(3)])
    train(trainee, steps=40)
    after = np.mean([trainee.step()["content"] for _ in range(3)])
    assert after < 0.8 * before


def test_it_begins_as_a_plain_rendering(raws):
    trainee = made(raws, begin=60, batch=4)
    critics = [one.clone() for one in trainee.views["colour"].critic.parameters()]
    first = trainee.step()
    assert set(first) == {"plain"}
    train(trainee, steps=60)
    x, anchors, _ = trainee.crops()
    assert float((trainee.network(x).detach() - anchors).abs().mean()) < 0.6 * first["plain"]
    now = trainee.views["colour"].critic.parameters()
    assert all(torch.equal(a, b) for a, b in zip(critics, now, strict=True))
    assert "critic colour" in trainee.step()


def test_critics_really_train(raws):
    trainee = made(raws)
    before = {
        name: [one.clone() for one in view.critic.parameters()]
        for name, view in trainee.views.items()
    }
    values = trainee.step()
    assert {f"critic {name}" for name in before} <= set(values)
    for name, view in trainee.views.items():
        last = [*zip(view.critic.parameters(), before[name], strict=True)]
        weights = [(now, then) for now, then in last if now.ndim > 1]
        assert all((now != then).any() for now, then in weights), name


def test_each_loss_pulls_with_the_same_strength(raws):
    trainee = made(raws)
    x, anchors, real = trainee.crops()
    fake = trainee.network(x)
    losses = lightisp.network_losses(fake, real, anchors, trainee.views, trainee.content)
    lengths = []
    for loss in losses.values():
        found = torch.autograd.grad(loss, [*trainee.network.parameters()], retain_graph=True)
        lengths.append(float(torch.cat([one.flatten() for one in found]).norm()))
    scales = lightisp.balanced_step(trainee.network, trainee.optimiser, losses)
    np.testing.assert_allclose(np.multiply(lengths, [*scales.values()]), 1, rtol=1e-3)


def test_views_can_be_left_out(raws):
    assert set(made(raws, colour=0).views) == {"texture fine", "texture coarse"}
    assert set(made(raws, texture=0).views) == {"colour"}
    plain = made(raws, texture=0, colour=0, pull="plain")
    assert set(plain.step()) == {"content", "smooth"}


def test_a_run_that_was_cut_off_goes_on_exactly(raws, tmp_path):
    whole = made(raws)
    train(whole, steps=4)
    train(made(raws), steps=2, folder=tmp_path, identity="a")
    second = made(raws)
    train(second, steps=4, folder=tmp_path, identity="a")
    for one, other in zip(whole.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(Problem, match="a run on other files"):
        train(made(raws), steps=4, folder=tmp_path, identity="b")


@pytest.mark.parametrize("name", ["efficient", "robust", "tiny"])
def test_tiles_change_nothing_where_nothing_looks_far(raws, name, tmp_path):
    torch.manual_seed(0)
    isp = ISP(
        network(name).eval(), {"pattern": "RGGB", "black": [64] * 4, "white": 1023, "network": name}
    )
    whole, cut = isp.developed(raws[0], 512), isp.developed(raws[0], 32)
    assert whole.shape == (96, 128, 3)
    if name != "tiny":
        assert np.abs(whole.astype(int) - cut).max() <= 1
    isp.save(tmp_path / "isp.safetensors")
    np.testing.assert_array_equal(load(tmp_path / "isp.safetensors").developed(raws[0]), whole)


@pytest.mark.parametrize("name", ["efficient", "tiny"])
def test_onnx_takes_any_size(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    isp = ISP(network(name).eval(), {"network": name})
    isp.export(tmp_path / "isp.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "isp.onnx"))
    for shape in ((1, 20, 12), (3, 16, 24)):
        x = torch.rand(shape[0], isp.network.planes, *shape[1:])
        (found,) = session.run(None, {"planes": x.numpy()})
        np.testing.assert_allclose(found, isp.network(x).detach().numpy(), atol=1e-5)


def test_other_patterns_are_brought_into_phase(raws):
    isp = ISP(network("robust").eval(), {"pattern": "RGGB"})
    odd = raws[0].cropped(1, 0, 94, 127)
    assert isp.developed(odd).shape == (92, 126, 3)
    again = in_phase(odd, "RGGB")
    np.testing.assert_array_equal(again.mosaic, raws[0].mosaic[2:94, 0:126])


def test_tiles_cover_everything_once():
    seen = np.zeros((50, 70), int)
    for tile in tiles(50, 70, 16, 5, 4):
        part = np.ones((50, 70), int)[tile.rows, tile.columns]
        seen[tile.kept] += part[tile.inner]
    assert (seen == 1).all()
    x = torch.arange(3.0)[None, None, None]
    assert padded(x, 8)[0, 0, 0].tolist() == [0, 1, 2, 1, 0, 1, 2, 1]


def test_settings_and_bad_input(raws):
    assert settle("develop", "lightisp", {"batch": 2}, "paper")["every"] == 10
    assert settings_of("develop", "lightisp")[0] is LightISP.Settings
    with pytest.raises(SettingProblem, match="steps or minutes"):
        make_settings(LightISP.Settings, {"steps": 1, "minutes": 1})
    with pytest.raises(Problem, match="no raw files"):
        made([])
    with pytest.raises(Problem, match="smaller side"):
        made(raws, side=256)
    with pytest.raises(Problem, match="no photo"):
        LightISP(raws, [], make_settings(LightISP.Settings, QUICK))
    black = Raw(np.full((96, 128), 64, np.uint16), sensor("RGGB", 64, 1023), "night.dng")
    with pytest.raises(Problem, match="black"):
        made([black])
    with pytest.raises(Problem, match="no maps"):
        made(raws, features="vit-pico/8")
    other = Raw(raws[0].mosaic, sensor("RGGB", 0, 4095, [1, 1, 1]), "b.dng")
    with pytest.raises(Problem, match="another sensor"):
        must_fit(ISP(network("robust"), {"black": [64] * 4, "white": 1023}), other)
    with pytest.raises(SettingProblem, match="did you mean"):
        network("robast")
    assert set(NETWORKS) >= {"efficient", "robust"}


def test_a_file_that_is_no_pipeline(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"no")
    with pytest.raises(Problem, match="no camera pipeline"):
        load(tmp_path / "a.safetensors")


def test_the_same_seed_gives_the_same_network(raws):
    one, other = made(raws, seed=3), made(raws, seed=3)
    assert one.step() == other.step()
    assert made(raws, seed=4).step() != one.step()


def test_it_can_stand_beside_the_plain_rendering(raws):
    shown = developed(raws[0], Look(matrix="camera"))
    assert shown.shape == made(raws).isp().developed(raws[0]).shape
