"""FYI and its hosts: copies, distances of gradients, network, DM, DC, MTT, transforms, loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fallow.encoders.convnet import ConvNet, unflat
from fallow.losses.matching import (
    grouped_means,
    layerwise_cosine,
    mean_distance,
    whole_cosine,
    whole_square,
)
from fallow.methods.distil.dc import gradients, loops
from fallow.methods.distil.fyi import mirrored, twice
from fallow.methods.distil.mtt import two_passes, unrolled
from fallow.views import siamese
from fallow.views.siamese import Draw, Numbers, draw

from .cases import close, golden

NETWORK = 1e-4
# gradients near zero differ by rounding in the size of the terms they are sums of
NEAR = 1e-6


def shapes(case):
    return [tuple(map(int, text.split("x"))) for text in case.inputs["param_shapes"].tolist()]


def network(case, fill=True):
    """A network of the recorded shapes, in its own order of parameters."""
    wanted, x = shapes(case), case.inputs.get("x", case.inputs.get("syn"))
    first, last = wanted[0], wanted[-2]
    depth = sum(len(shape) == 4 for shape in wanted)
    assert x.shape[2] == x.shape[3]
    made = ConvNet(last[0], width=first[0], depth=depth, size=x.shape[2], channels=first[1])
    named = list(made.named_parameters())
    assert [name for name, _ in named] == case.inputs["param_names"].tolist()
    assert [tuple(value.shape) for _, value in named] == wanted
    if fill:
        with torch.no_grad():
            for k, (_, value) in enumerate(named):
                i = np.arange(value.numel())
                filled = 0.2 * np.sin(0.7 * i + 1.3 * k + 0.1)
                value.copy_(torch.from_numpy(filled.astype(np.float32)).view_as(value))
    return made


@golden("fyi", "flipcat")
def test_copies(case):
    close(mirrored(case.tensor("x")), case.outputs["x"], rtol=0, atol=0)
    assert twice(case.tensor("y"), "mirror").tolist() == case.outputs["y"].tolist()


def distance(case, measure):
    count = sum(name.startswith("syn") for name in case.inputs)
    ours = [case.tensor(f"syn{k}", True) for k in range(count)]
    theirs = [case.tensor(f"real{k}") for k in range(count)]
    loss = measure(ours, theirs)
    close(loss, case.outputs["loss"], rtol=1e-5)
    found = torch.autograd.grad(loss, ours, allow_unused=True)
    for k, (one, x) in enumerate(zip(found, ours, strict=True)):
        one = torch.zeros_like(x) if one is None else one
        close(one, case.outputs[f"grad{k}"], atol=NEAR)
    assert len(case.outputs) == count + 1


@golden("fyi", "matchours")
def test_layerwise_cosine(case):
    distance(case, layerwise_cosine)


@golden("fyi", "matchmse")
def test_whole_square(case):
    distance(case, whole_square)


@golden("fyi", "matchcos")
def test_whole_cosine(case):
    distance(case, whole_cosine)


@golden("fyi", "net")
def test_network(case):
    net, x = network(case), case.tensor("x")
    assert net.features[0].out_channels == int(case.number("width"))
    assert net.depth == int(case.number("depth"))
    close(net(x), case.outputs["logits"], rtol=NETWORK, atol=1e-5)
    close(net.embed(x), case.outputs["embed"], rtol=NETWORK, atol=1e-5)


def matched(case, copies):
    net, real, x = network(case), case.tensor("real"), case.tensor("syn", True)
    targets = net.means(real, torch.zeros(len(real), dtype=torch.long), 1)
    close(targets[0], net.embed(real).mean(0).detach(), atol=1e-5)
    loss = mean_distance(grouped_means(net.embed(copies(x)), 1), targets)
    loss.backward()
    close(loss, case.outputs["loss"], rtol=1e-5)
    close(x.grad, case.outputs["grad_syn"], rtol=NETWORK, atol=NEAR)


@golden("fyi", "dm")
def test_distribution_matching(case):
    matched(case, lambda x: x)


@golden("fyi", "dmfyi")
def test_distribution_matching_with_mirrors(case):
    matched(case, mirrored)


def graded(case, copies):
    net, x, code = network(case), case.tensor("syn", True), int(case.number("label"))
    theirs = gradients(net, case.tensor("real"), code)
    loss = layerwise_cosine(gradients(net, copies(x), code, graph=True), theirs)
    (found,) = torch.autograd.grad(loss, x)
    close(loss, case.outputs["loss"], rtol=1e-5)
    close(found, case.outputs["grad_syn"], rtol=NETWORK, atol=NETWORK * float(found.abs().max()))


@golden("fyi", "dc")
def test_gradient_matching(case):
    graded(case, lambda x: x)


@golden("fyi", "dcfyi")
def test_gradient_matching_with_mirrors(case):
    graded(case, mirrored)


def walked(case, walk, copies):
    net, x, labels = network(case, fill=False), case.tensor("syn", True), case.tensor("labels")
    batches, rate = case.tensor("batches"), torch.tensor(case.number("lr"))
    start, target = case.tensor("start"), case.tensor("target")
    assert sum(value.numel() for value in unflat(start, net).values()) == len(start)

    def feed(number):
        rows = batches[number]
        again = labels[rows] if copies == "none" else twice(labels[rows], copies)
        return (x[rows] if copies == "none" else mirrored(x[rows])), again

    found = walk(net, start, target, feed, len(batches), x, rate)
    close(found.loss, case.outputs["loss"], rtol=1e-5)
    close(found.end, case.outputs["final_params"], rtol=NETWORK, atol=1e-6)
    largest = float(np.abs(case.outputs["grad_syn"]).max())
    close(found.pixels, case.outputs["grad_syn"], rtol=NETWORK, atol=NETWORK * largest)
    close(found.rate, case.outputs["grad_lr"], rtol=NETWORK)
    return found


@golden("fyi", "mttplain")
def test_whole_walk(case):
    walked(case, unrolled, "none")


@golden("fyi", "mttflip")
def test_whole_walk_with_mirrors(case):
    walked(case, unrolled, "mirror")


@golden("fyi", "mttcm")
def test_walk_in_two_passes(case):
    walked(case, two_passes, "mirror")


# --- transforms: the originals re-seed the global generator before each draw ---


class Reseeded(Numbers):
    """Numbers as the originals draw them: one for each image, of which the first is used."""

    def __init__(self, seed, images):
        self.seed, self.images = seed, images

    def reset(self):
        torch.manual_seed(self.seed)
        self.seed += 1

    def uniform(self):
        self.reset()
        return torch.rand(self.images)[:1]

    def integers(self, low, high):
        self.reset()
        return torch.randint(low, high, (self.images, 1, 1))[:1, 0, 0]

    def one_of(self, count):
        self.reset()
        return int(torch.randint(0, count, (1,)))


@pytest.fixture(autouse=True)
def _own_seed():
    with torch.random.fork_rng(devices=[]):
        yield


def transformed(case, name):
    x, numbers = case.tensor("x"), None
    numbers = Reseeded(int(case.number("seed")), len(x))
    drawn = Draw((siamese.one(name, numbers, tuple(x.shape[2:])),))
    close(drawn(x), case.outputs["siamese"], rtol=1e-5, atol=1e-5)
    if "seed_after" in case.outputs:
        assert numbers.seed == int(case.outputs["seed_after"])


@golden("fyi", "augscale")
def test_scale(case):
    transformed(case, "scale")


@golden("fyi", "augrotate")
def test_rotate(case):
    transformed(case, "rotate")


@golden("fyi", "augflip")
def test_flip(case):
    transformed(case, "flip")


@golden("fyi", "augbrightness")
def test_brightness(case):
    transformed(case, "brightness")


@golden("fyi", "augsaturation")
def test_saturation(case):
    transformed(case, "saturation")


@golden("fyi", "augcontrast")
def test_contrast(case):
    transformed(case, "contrast")


@golden("fyi", "augcrop")
def test_crop(case):
    transformed(case, "crop")


@golden("fyi", "augcutout")
def test_cutout(case):
    transformed(case, "cutout")


@golden("fyi", "scalefixed")
def test_given_scale(case):
    x, factors = case.tensor("x"), [torch.tensor([case.number(name)]) for name in ("sx", "sy")]
    close(siamese.scale(x, *factors), case.outputs["y"], rtol=1e-5, atol=1e-5)


VARIANTS = {
    "flip_always": {"flip": "always", "corners": True},
    "original": {"flip": "drawn", "corners": False},
}


@golden("fyi", "dsa")
def test_one_draw_of_the_list(case):
    x = case.tensor("x")
    assert case.outputs
    for name, expected in case.outputs.items():
        numbers = Reseeded(int(case.number("seed")), len(x))
        drawn = draw(numbers, tuple(x.shape[2:]), **VARIANTS[name])
        close(drawn(x), expected, rtol=1e-5, atol=1e-5)


@golden("fyi", "loops")
def test_loops(case):
    found = [loops(count) for count in case.inputs["ipc"].tolist()]
    assert found == [tuple(each) for each in case.outputs["outer_inner"].tolist()]
