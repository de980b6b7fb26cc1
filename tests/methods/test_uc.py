"""UC: patterns move images to another centre, alone or together, and are found by content."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fallow
from fallow.images.samples import shapes
from fallow.losses.adversarial import toward
from fallow.methods import find
from fallow.methods.protect.uc import Protector, kept_bytes, load_protector, softness
from fallow.problems import SettingProblem, SourceProblem
from fallow.train import fit, make_settings
from fallow.train.method import Facts
from fallow.views.perturb import Budget, added, random_signs

from .small_run import Stop, batch_of, now

QUICK = {
    "epochs": 2, "batch": 16, "size": 16, "precision": "32", "clusters": 3, "width": 4,
    "blocks": 1, "learning_rate": 0.02,
}  # fmt: skip


def settings_of(**values):
    return make_settings(find("protect", "uc").Settings, QUICK | values)


def build(count=24, **values):
    torch.manual_seed(0)
    encoder = fallow.encoder("resnet8/8", seed=0)
    return find("protect", "uc")(encoder, settings_of(**values), Facts(count, 24))


def train(images=None, out=None, each_epoch=None, **values):
    return fit(
        find("protect", "uc"),
        shapes(48, seed=0, side=24) if images is None else images,
        encoder=fallow.encoder("resnet8/8", seed=0),
        settings=settings_of(**values),
        out=out,
        each_epoch=each_epoch,
    )


def gradients(method, batch):
    method.zero_grad()
    method.loss(batch, now()).total.backward()
    return [each.grad.clone() for each in method.generators.parameters()]


def distance(method, pictures, patterns):
    """Mean over clusters of how far pictures with its pattern are from the target."""
    with torch.no_grad():
        found = [
            toward(method.features(added(pictures, one)), target, method.temperature)
            for one, target in zip(patterns, method.targets, strict=True)
        ]
    return float(torch.stack(found).mean())


@pytest.mark.parametrize("values", [{}, {"norm": "l2", "eps": 1.5}, {"fit_on": "cluster"}])
def test_training_carries_images_to_the_other_centre(values):
    images = shapes(48, seed=0, side=16)
    method = train(images=images, epochs=10, **values).method
    pixels = np.stack([images[row] for row in range(48)])
    pictures = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    patterns, budget = method.all_patterns(), method.budget
    after = distance(method, pictures, patterns)
    assert after < 0.95 * distance(method, pictures, torch.zeros_like(patterns))
    assert after < distance(method, pictures, random_signs(3, (16, 16), budget, 0))
    most = (
        patterns.abs().amax() if budget.norm == "linf" else patterns.flatten(1).norm(dim=1).amax()
    )
    assert float(most) <= budget.limit * (1 + 1e-5)
    assert not torch.equal(patterns[0], patterns[1])


def test_clusters_train_the_same_together_and_one_after_the_other():
    method, batch = build(), batch_of(8, views=1)
    method.train()
    torch.manual_seed(1)
    method.centres.copy_(torch.randn_like(method.centres))
    together = gradients(method, batch)
    assert method._together == 3
    for few in (1, 2):
        method._together = few
        for one, other in zip(together, gradients(method, batch), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_less_memory_means_fewer_at_once():
    method = build(memory=1e-9)
    method.loss(batch_of(8, views=1), now())
    assert method._together == 1


def test_memory_is_counted_for_each_picture():
    method = build()
    one, four = (
        kept_bytes(method.features, torch.rand(n, 3, 16, 16), method.encoder) for n in (1, 4)
    )
    assert 3.5 < four / one < 4.5


def test_patterns_are_those_of_training_mode():
    method = build()
    in_training = method.all_patterns()
    method.eval()
    torch.testing.assert_close(method.all_patterns(), in_training)
    lagging = method.generators[0].eval()(method.noise[0][None])
    assert not torch.allclose(method.budget.scaled(lagging)[0], in_training[0], atol=1e-3)


def test_options_of_the_generators_are_wired_through():
    ways = [
        {},
        {"generator_norm": "instance"},
        {"generator_norm": "none"},
        {"generator_activation": "selu"},
        {"generator_activation": "leaky"},
    ]
    patterns = []
    for values in ways:
        method = train(epochs=1, **values).method
        patterns.append(method.all_patterns())
        fresh = build(48, **values)
        moved = [
            not torch.equal(one, other)
            for one, other in zip(
                method.generators.parameters(), fresh.generators.parameters(), strict=True
            )
        ]
        assert any(moved), values
        assert float(patterns[-1].abs().max()) <= method.budget.limit * (1 + 1e-5)
    for number, one in enumerate(patterns):
        assert not any(torch.equal(one, other) for other in patterns[:number])
    with pytest.raises(SettingProblem, match="generator_norm"):
        settings_of(generator_norm="group")


def test_the_encoder_is_frozen():
    run = train()
    fresh = fallow.encoder("resnet8/8", seed=0).state_dict()
    for name, value in run.encoder.state_dict().items():
        assert torch.equal(value, fresh[name]), name


def test_same_seed_same_patterns_and_a_resumed_run_too(tmp_path):
    whole = train(save_minutes=0.0)

    def stop(*_):
        raise Stop

    with pytest.raises(Stop):
        train(out=tmp_path, each_epoch=stop, save_minutes=0.0)
    resumed = train(out=tmp_path, save_minutes=0.0)
    assert torch.equal(whole.method.all_patterns(), resumed.method.all_patterns())
    assert torch.equal(whole.method.members, resumed.method.members)


def test_pushing_to_the_own_centre_is_refused():
    with pytest.raises(SettingProblem, match="own centres"):
        build(offset=3)
    with pytest.raises(SettingProblem, match="multiple of 4"):
        settings_of(size=18)


def test_pictures_all_alike():
    same = [np.full((24, 24, 3), 90, np.uint8)] * 20
    with pytest.raises(SourceProblem, match="tells only 1 of the 20 pictures apart"):
        train(images=fallow.open(same))


def test_temperature_does_not_depend_on_the_scale():
    torch.manual_seed(0)
    centres = torch.randn(4, 30)
    targets = centres.roll(1, 0)
    for scale in (0.01, 1.0, 50.0):
        softened = softness(scale * centres, scale * targets)
        assert 0.2 < float(toward(scale * centres, scale * targets, softened)) < 3


def protector(**more):
    torch.manual_seed(0)
    encoder = fallow.encoder("untrained")
    centres = encoder.embed(shapes(3, side=24))
    patterns = Budget(16).scaled(torch.randn(3, 3, 16, 16).tanh())
    return Protector(encoder, centres, patterns, Budget(16), **more)


def test_order_of_files_does_not_matter():
    images, made = shapes(12, seed=0, side=24), protector()
    found = made.clusters(images)
    shuffled = np.random.default_rng(0).permutation(12)
    assert (made.clusters(images.select(shuffled)) == found[shuffled]).all()
    assert len(set(found.tolist())) > 1
    assert (found[:3] == [0, 1, 2]).all()


def test_what_is_known_stays_where_it_was():
    images = shapes(3, side=24)
    first = images.table.column("hash")[0].as_py()
    assert protector(known={first: 2}).clusters(images).tolist() == [2, 1, 2]


def test_a_saved_protector_is_the_same(tmp_path):
    made = protector(known={"a": 1}, resize="bilinear")
    made.save(tmp_path / "protector")
    again = load_protector(tmp_path)
    assert (again.known, again.resize, again.budget) == ({"a": 1}, "bilinear", Budget(16))
    picture = shapes(1, side=30)[0]
    assert (again.protect(picture, 1) == made.protect(picture, 1)).all()
    later = shapes(9, seed=4, side=24)
    assert (again.clusters(later) == made.clusters(later)).all()


def test_what_is_no_protector(tmp_path):
    with pytest.raises(SourceProblem, match="holds no protector"):
        load_protector(tmp_path)
    made = protector()
    made.save(tmp_path)
    (tmp_path / "protector.safetensors").write_bytes(b"cut off")
    with pytest.raises(SourceProblem, match="cannot be used"):
        load_protector(tmp_path)


def test_presets_are_settings():
    kind = find("protect", "uc")
    made = make_settings(kind.Settings, kind.presets["paper"])
    assert (made.clusters, made.eps, made.offset, made.fit_on) == (10, 16, 1, "all")
    for name in kind.Settings.__annotations__:
        assert kind.Settings.model_fields[name].description, name
