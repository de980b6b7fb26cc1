"""Hosts of distillation: what one step does, with and without FYI, and the traps of tiny sets."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fallow.encoders.convnet import ConvNet, flat
from fallow.methods.distil import find_host, hosts
from fallow.methods.distil.dc import gradients, loops
from fallow.methods.distil.fyi import asymmetry, judged, named, with_copies
from fallow.methods.distil.mtt import two_passes, unrolled
from fallow.methods.shared.tiny import Real, Space, refine
from fallow.problems import Problem, SettingProblem
from fallow.train.method import make_settings

SMALL = {"width": 8, "depth": 2, "real": 8}
QUICK = {
    "dm": {},
    "dc": {"matches": 2, "epochs": 2},
    "dsa": {"matches": 2, "epochs": 2},
    "mtt": {"experts": 1, "expert_epochs": 3, "expert_batch": 16, "ahead": 1, "walk": 3},
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def real(classes=3, each=12, size=8, seed=0):
    """Classes are bright stripes at different heights, with noise."""
    labels = torch.arange(classes).repeat_interleave(each)
    pixels = torch.randint(0, 90, (len(labels), 3, size, size), generator=seeded(seed))
    for row, code in enumerate(labels.tolist()):
        pixels[row, :, code * 2 : code * 2 + 2] += 150
    return Real.of(pixels.to(torch.uint8), labels, [f"c{k}" for k in range(classes)])


def host(name, per_class=2, seed=0, images=None, **values):
    kind = find_host(name)
    settings = make_settings(kind.Settings, SMALL | QUICK[name] | values)
    return kind(real() if images is None else images, per_class, settings, seed=seed)


@pytest.mark.parametrize("name", sorted(QUICK))
@pytest.mark.parametrize("copies", ["none", "random", "mirror"])
def test_every_host_takes_the_switch(name, copies):
    made = host(name, copies=copies)
    start = made.pixels.detach().clone()
    done = refine(made, steps=2)
    assert done.pixels.shape == start.shape == (6, 3, 8, 8)
    assert torch.isfinite(done.pixels).all()
    moved = (done.pixels - start).abs().amax((1, 2, 3))
    assert (moved > 0).all()  # every image of every class
    assert done.labels.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("name", sorted(QUICK))
def test_the_same_seed_gives_the_same_pixels(name):
    one, two, other = (refine(host(name, seed=seed), steps=2).pixels for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", sorted(QUICK))
def test_presets_are_settings_and_settings_are_described(name):
    kind = find_host(name)
    for values in kind.presets.values():
        made = make_settings(kind.Settings, values)
        assert {key: getattr(made, key) for key in values} == values
    for key, field in kind.Settings.model_fields.items():
        if key != "expert_batch":
            assert field.description, key
    assert kind.__doc__


def test_a_mistyped_host_is_corrected():
    assert set(hosts()) == set(QUICK)
    with pytest.raises(SettingProblem, match="did you mean dsa"):
        find_host("dsaa")


def test_all_classes_at_once_are_the_published_loop():
    """One step of DM, written out class by class from the same draws."""
    made, twin = (host("dm", precision="32", flip="drawn") for _ in range(2))
    made.net.fresh(seeded(5))
    twin.net.fresh(seeded(5))
    loss = made.loss()
    loss.backward()
    drawn = [twin.real.some(code, 8, twin.generator) for code in range(3)]
    x = twin.copies(twin.pixels.unflatten(0, (3, -1)))
    total = torch.zeros(())
    for code, rows in enumerate(drawn):
        transform = twin.draw()
        theirs = twin.net.embed(transform(twin.real.take(rows))).mean(0)
        total = total + (twin.net.embed(transform(x[code])).mean(0) - theirs).square().sum()
    total.backward()
    torch.testing.assert_close(loss, total, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(made.pixels.grad, twin.pixels.grad, rtol=1e-3, atol=1e-6)


def test_dm_takes_a_new_network_every_step():
    made = host("dm")
    seen = []
    for _ in range(3):
        made.step()
        seen.append(flat(made.net.parameters()))
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_mirror_copies_share_the_transform_and_send_their_gradient_back():
    made = host("dm", copies="mirror", augment=False, precision="32")
    made.net.fresh(seeded(0))
    loss = made.loss()
    (grad,) = torch.autograd.grad(loss, made.pixels)
    # swapping all images for their mirrors swaps the halves of what is compared: the same loss
    with torch.no_grad():
        made.pixels.copy_(made.pixels.flip(-1))
    again = host("dm", copies="mirror", augment=False, precision="32")
    with torch.no_grad():
        again.pixels.copy_(made.pixels)
    again.net.fresh(seeded(0))
    loss_again = again.loss()
    (grad_again,) = torch.autograd.grad(loss_again, again.pixels)
    torch.testing.assert_close(loss_again, loss, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(grad_again, grad.flip(-1), rtol=1e-4, atol=1e-7)


def test_random_copies_are_as_many_but_not_pairs():
    x = torch.arange(400.0).view(100, 1, 1, 4)
    twice = with_copies(x, "random", seeded())
    turned = (twice.flatten(1)[:, 0] > twice.flatten(1)[:, 1]).float()
    assert len(twice) == 200
    assert 0.35 < float(turned.mean()) < 0.65
    assert (turned[:100] == turned[100:]).any()


def test_asymmetry_falls_without_fyi_and_not_with_it():
    """One image per class of data that is symmetric as a whole: the published mechanism."""
    random = np.random.default_rng(0)
    labels = torch.arange(2).repeat_interleave(60)
    pixels = torch.randint(0, 60, (120, 3, 8, 8), generator=seeded())
    for row, code in enumerate(labels.tolist()):
        side = slice(0, 3) if random.random() < 0.5 else slice(5, 8)
        pixels[row, :, 4 * code : 4 * code + 4, side] += 180
    images = Real.of(pixels.to(torch.uint8), labels, ["low", "high"])
    index = {
        copies: float(
            asymmetry(
                refine(
                    host("dm", 1, images=images, copies=copies, augment=False, rate=2.0, real=60),
                    steps=80,
                ).pixels
            ).mean()
        )
        for copies in ("none", "mirror")
    }
    assert index["mirror"] > 1.3 * index["none"]


def test_dc_leaves_no_gradient_in_the_network():
    made = host("dc")
    made.net.fresh(seeded(0))
    made.match()
    assert all(parameter.grad is None for parameter in made.net.parameters())


def test_dc_trains_the_network_between_matches():
    made = host("dc", matches=1)
    made.net.fresh(seeded(0))
    before = flat(made.net.parameters())
    made.follow()
    assert not torch.equal(before, flat(made.net.parameters()))
    assert loops(1) == (1, 1)
    assert loops(2) == (2, 250)
    assert loops(600) == (600, 1)


def test_gradients_of_a_class():
    net = ConvNet(3, width=4, depth=1, size=4)
    x = torch.randn(5, 3, 4, 4)
    loss = F.cross_entropy(net(x), torch.full((5,), 2))
    expected = torch.autograd.grad(loss, list(net.parameters()))
    for one, two in zip(gradients(net, x, 2), expected, strict=True):
        torch.testing.assert_close(one, two)


def walk(form, steps, rate=0.05, pixels=None):
    net = ConvNet(3, width=4, depth=1, size=4).fresh(seeded(0))
    start = flat(net.parameters())
    target = start + 0.1 * torch.randn(len(start), generator=seeded(1))
    x = torch.randn(6, 3, 4, 4, generator=seeded(2)).requires_grad_()
    labels = torch.arange(3).repeat(2)
    return form(net, start, target, lambda k: (x * (1 + 0.1 * k), labels), steps, x,
                torch.tensor(rate))  # fmt: skip


def test_two_passes_have_the_loss_of_the_whole_walk_and_nearly_its_gradient():
    errors = []
    for steps in (1, 3, 12):
        exact, cheap = walk(unrolled, steps), walk(two_passes, steps)
        torch.testing.assert_close(cheap.loss, exact.loss, rtol=1e-5, atol=0)
        torch.testing.assert_close(cheap.end, exact.end)
        errors.append(float((cheap.pixels - exact.pixels).norm() / exact.pixels.norm()))
    assert errors[0] < 1e-5  # one step: nothing comes later
    assert errors[1] < 0.1
    assert errors[1] < errors[2] < 0.4  # it grows with the walk


def test_the_gradient_of_the_whole_walk_is_that_of_differences():
    net = ConvNet(2, width=2, depth=1, size=4).double().fresh(seeded(0))
    start = flat(net.parameters())
    target = start + 0.1 * torch.randn(len(start), generator=seeded(1), dtype=torch.float64)
    labels = torch.tensor([0, 1])

    def loss(x):
        return unrolled(net, start, target, lambda k: (x, labels), 3, x, rate)

    rate = torch.tensor(0.1, dtype=torch.float64)
    x = torch.randn(2, 3, 4, 4, generator=seeded(2), dtype=torch.float64).requires_grad_()
    found = loss(x)
    step = torch.zeros_like(x)
    step[0, 1, 2, 3] = 1e-5
    ahead, behind = (loss((x + s).detach().requires_grad_()).loss for s in (step, -step))
    assert float((ahead - behind) / 2e-5) == pytest.approx(
        float(found.pixels[0, 1, 2, 3]), rel=1e-4
    )


def test_both_passes_see_the_same_images():
    made = host("mtt", copies="random", batch=4)
    feed = made.feed()
    for number in range(3):
        one, two = feed(number)[0], feed(number)[0]
        assert torch.equal(one, two)
        assert len(one) == 4


def test_half_of_an_odd_batch_is_at_least_one_image():
    made = host("mtt", per_class=1, batch=1)
    assert [len(made.feed()(k)[0]) for k in range(3)] == [2, 2, 2]


def test_mtt_learns_its_step_size():
    made = host("mtt", rate_of_rate=1e-3)
    refine(made, steps=2)
    assert made.recipe()["rate"] != pytest.approx(0.01, abs=1e-9)


def test_what_cannot_be_distilled_is_said():
    with pytest.raises(Problem, match="class c0 has 12 images to distil from, fewer than"):
        host("dm", per_class=13)
    with pytest.raises(Problem, match="too small for 4 halvings: set depth=3"):
        host("dm", depth=4)
    with pytest.raises(Problem, match="use a smaller rate"):
        refine(host("dm", rate=1e30), steps=30)
    with pytest.raises(SettingProblem, match="steps or minutes"):
        host("dm", steps=3, minutes=1)


def test_minutes_end_a_run(monkeypatch):
    clock = count(step=0.1)  # every look at it takes a tenth of a second
    slow = SimpleNamespace(monotonic=lambda: next(clock))
    monkeypatch.setattr("fallow.methods.shared.tiny.time", slow)
    done = refine(host("dm"), minutes=0.02)
    assert 1.2 <= done.seconds < 1.6
    assert 1 < done.steps < 13


def test_whitened_pixels_come_back():
    pixels = real(each=40).pixels
    space = Space.of(pixels, whiten=True)
    back = space.leave(space.enter(pixels)).astype(int)
    assert np.abs(back - pixels.permute(0, 2, 3, 1).numpy()).max() <= 1
    x = space.enter(pixels).flatten(1)
    assert x.var(0).mean() < 1


# --- data that must not be mirrored ---


def test_lost_skill_warns_and_a_small_loss_does_not():
    random = np.random.default_rng(0)
    truth = random.integers(0, 5, 500)
    right = np.where(random.random(500) < 0.8, truth, (truth + 1) % 5)
    half = np.where(random.random(500) < 0.5, right, (truth + 2) % 5)
    most = np.where(random.random(500) < 0.95, right, (truth + 2) % 5)
    names = list("abcde")
    found = judged(right, half, truth, names)
    assert found.keeps is False
    assert "is taken for" in found.sentence
    assert judged(right, most, truth, ["one", "two", "three", "four", "five"]).keeps is True


def test_a_network_that_knows_nothing_tests_nothing():
    random = np.random.default_rng(0)
    truth, guess = random.integers(0, 4, 200), random.integers(0, 4, 200)
    found = judged(guess, guess[::-1], truth, ["ant", "bee", "cat", "dog"])
    assert found.keeps is None
    assert "could not be tested" in found.sentence
    assert judged(guess, guess[::-1], truth, ["1", "2", "3", "4"]).keeps is False


@pytest.mark.parametrize(
    ("names", "keeps"),
    [
        (["0", "1"], False),
        (["left_lung", "right_lung"], False),
        (["turn-left", "stop"], False),
        (["bright", "copyright"], None),
        (["cat", "leftover"], None),
        ([], None),
    ],
)
def test_names_that_give_it_away(names, keeps):
    assert named(names).keeps is keeps
