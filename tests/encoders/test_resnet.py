"""Residual networks: sizes, names, stages, initialisation."""

import pytest
import torch

from fallow.encoders.resnet import BasicBlock, resnet
from fallow.problems import SettingProblem


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("resnet18", 11_176_512), ("resnet34", 21_284_672), ("resnet50", 23_508_032)],
)
def test_parameter_count(name, parameters):
    with torch.device("meta"):
        network = resnet(name)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_names_and_shapes_are_the_usual_ones():
    with torch.device("meta"):
        state = {k: tuple(v.shape) for k, v in resnet("resnet50").state_dict().items()}
    assert len(state) == 318
    assert state["conv1.weight"] == (64, 3, 7, 7)
    assert state["bn1.running_mean"] == (64,)
    assert state["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert state["layer1.0.downsample.1.bias"] == (256,)
    assert state["layer2.0.conv2.weight"] == (128, 128, 3, 3)
    assert state["layer4.2.bn3.num_batches_tracked"] == ()


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_matches_torchvision(name):
    models = pytest.importorskip("torchvision.models", exc_type=ImportError)
    peer = getattr(models, name)().eval()
    ours = resnet(name).eval()
    state = {k: v for k, v in peer.state_dict().items() if not k.startswith("fc.")}
    ours.load_state_dict(state)
    peer.fc = torch.nn.Identity()
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(x), peer(x))


@pytest.mark.parametrize(("stem", "sides"), [("small", [32, 16, 8, 4]), ("imagenet", [8, 4, 2, 1])])
def test_stages(stem, sides):
    network = resnet("resnet18", width=8, stem=stem).eval()
    x = torch.randn(2, 3, 32, 32)
    maps = network.stages(x)
    assert [tuple(m.shape) for m in maps] == [
        (2, 8 * 2**i, side, side) for i, side in enumerate(sides)
    ]
    torch.testing.assert_close(network(x), maps[-1].mean((2, 3)))
    first, last = network.patches(x, [0, -1])
    torch.testing.assert_close(first, maps[0].permute(0, 2, 3, 1))
    torch.testing.assert_close(last, maps[3].permute(0, 2, 3, 1))


@pytest.mark.parametrize(("name", "blocks"), [("resnet8", 3), ("resnet14", 6)])
def test_small_networks(name, blocks):
    network = resnet(name, width=8, stem="small")
    assert sum(isinstance(m, BasicBlock) for m in network.modules()) == blocks
    assert network(torch.randn(2, 3, 16, 16)).shape == (2, 32)


def test_zero_last_makes_branches_silent():
    network = resnet("resnet14", width=8, stem="small", zero_last=True)
    x = torch.randn(2, 8, 6, 6)
    second = network.layer1[1]
    torch.testing.assert_close(second(x), x.relu())
    assert resnet("resnet14", width=8).layer1[1].bn2.weight.min() == 1


def test_initialisation_is_fan_out():
    weight = resnet("resnet18", stem="small").layer3[1].conv1.weight
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)


def test_unknown_stem():
    with pytest.raises(SettingProblem, match="stem"):
        resnet("resnet18", stem="tiny")


def test_narrow_networks_survive_channels_last():
    # torch's own strided 1x1 convolution crashes here in its backward pass
    network = resnet("resnet8", width=8, stem="small")
    x = torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last)
    network(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
