"""Heads: layers, norms and biases of each paper."""

import pytest
import torch
from torch import nn

from fallow.encoders import heads
from fallow.problems import SettingProblem


def kinds(head):
    return [type(layer).__name__ for layer in head]


def linears(head):
    return [
        (layer.in_features, layer.out_features, layer.bias is not None)
        for layer in head.modules()
        if isinstance(layer, nn.Linear)
    ]


def test_simclr():
    head = heads.simclr_head(32)
    assert linears(head) == [(32, 32, False), (32, 32, False), (32, 128, False)]
    assert kinds(head) == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    assert head[1].bias is not None
    assert head[-1].bias is None
    assert head[-1].weight.requires_grad
    x = torch.randn(8, 32)
    torch.testing.assert_close(head(x).mean(0), torch.zeros(128), atol=1e-5, rtol=0)
    assert head.eval()(x).shape == (8, 128)
    assert linears(heads.simclr_head(32, 64, layers=2)) == [(32, 64, False), (64, 128, False)]


def test_moco():
    head = heads.moco_head(32)
    assert kinds(head) == ["Linear", "ReLU", "Linear"]
    assert linears(head) == [(32, 32, True), (32, 128, True)]


def test_moco3():
    head = heads.moco3_head(32, 40)
    assert linears(head) == [(32, 40, False), (40, 40, False), (40, 256, False)]
    assert not head[-1].affine
    predictor = heads.moco3_predictor(16, 24)
    assert linears(predictor) == [(16, 24, False), (24, 16, False)]
    assert not predictor[-1].affine
    assert kinds(heads.moco3_predictor(16, 24, last_norm=None))[-1] == "Linear"


def test_swav():
    head = heads.swav_head(32)
    assert kinds(head) == ["Linear", "BatchNorm1d", "ReLU", "Linear", "UnitLength"]
    assert linears(head) == [(32, 2048, True), (2048, 128, True)]


def test_groco():
    head = heads.groco_head(32)
    assert linears(head) == [(32, 32, False), (32, 32, False), (32, 2048, True)]
    assert not head[-2].bias.requires_grad
    assert head[-2].weight.requires_grad
    assert not head[-1].affine


def test_byol_hydra_amcl():
    assert kinds(heads.byol_head(8)) == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert linears(heads.byol_head(8)) == [(8, 4096, True), (4096, 256, True)]
    assert linears(heads.byol_predictor(6, 7)) == [(6, 7, True), (7, 6, True)]
    assert kinds(heads.hydra_head(8))[-1] == "LayerNorm"
    assert linears(heads.amcl_head(8)) == [(8, 512, True), (512, 128, True)]


def test_prototypes_stay_unit_unless_they_have_a_gain():
    layer = heads.prototypes(6, 4)
    trained = [p for p in layer.parameters() if p.requires_grad]
    assert [tuple(p.shape) for p in trained] == [(4, 6)]
    optimiser = torch.optim.SGD(trained, lr=1.0)
    layer(torch.randn(5, 6)).square().sum().backward()
    optimiser.step()
    torch.testing.assert_close(layer.weight.norm(dim=1), torch.ones(4))
    assert sum(p.requires_grad for p in heads.prototypes(6, 4, gain=True).parameters()) == 2


def test_several_heads():
    many = heads.MultiHead(heads.amcl_head(8, output=4) for _ in range(3))
    outputs = many(torch.randn(2, 8))
    assert len(many) == len(outputs) == 3
    assert not torch.equal(outputs[0], outputs[1])


def test_split_batch_norm_sees_each_split_alone():
    x = torch.randn(8, 3, 2, 2)
    split = heads.SplitBatchNorm(3, splits=4)
    y = split(x)
    for s in range(4):
        torch.testing.assert_close(y[s::4], nn.BatchNorm2d(3)(x[s::4]))
    plain = nn.BatchNorm2d(3)
    plain.load_state_dict(split.state_dict())
    torch.testing.assert_close(split.eval()(x), plain.eval()(x))
    assert int(split.num_batches_tracked) == 1
    with pytest.raises(SettingProblem, match="4 equal splits"):
        split.train()(x[:6])


def test_unknown_norm():
    with pytest.raises(SettingProblem, match="did you mean batch"):
        heads.mlp([4, 4, 4], norm="bach")
