"""UNPG: what it adds to a margin softmax, images without a label, a short real run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fallow
from fallow.images.samples import shapes
from fallow.losses import negative_pairs
from fallow.losses.margin import pair_similarities, unified
from fallow.losses.negative_pairs import negative_mass, within_whiskers
from fallow.methods import find
from fallow.problems import Problem
from fallow.train import Batch, Facts, Now, fit, make_settings

NOW = Now(step=0, epoch=0, progress=0.0, steps_per_epoch=1)


def method(**values):
    torch.manual_seed(0)
    kind = find("learn", "unpg")
    settings = make_settings(kind.Settings, {"size": 16, "projection": 16, **values})
    facts = Facts(count=8, side=16, classes=3, names=("a", "b", "c"))
    return kind(fallow.encoder("resnet8/8", seed=0), settings, facts)


def batch(labels):
    torch.manual_seed(1)
    pictures = torch.randn(len(labels), 3, 16, 16)
    index = torch.arange(len(labels))
    return Batch([pictures], [pictures], index, torch.tensor(labels), torch.zeros(1, 0, 2, 3))


def test_all_negative_pairs_weigh_on_every_row():
    features = torch.eye(4)[[0, 0, 1, 2]].requires_grad_()
    margined, labels = torch.zeros(4, 3), torch.tensor([0, 0, 1, 2])
    assert len(pair_similarities(features, labels)[1]) == 5
    mass, share = negative_mass(features, labels, 2.0)
    assert share == 1
    together = unified(margined, labels, mass, 2.0)
    # eight equal entries: three classes and five pairs
    assert together.item() == pytest.approx(np.log(8))
    together.backward()
    assert (features.grad.abs().sum(1) > 0).all()


@pytest.mark.parametrize("reach", [None, 1.0])
def test_block_by_block_the_pairs_weigh_the_same(monkeypatch, reach):
    monkeypatch.setattr(negative_pairs, "HELD", 60)  # three rows at a time
    torch.manual_seed(3)
    features = torch.randn(20, 6, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, -1] * 4)
    x, y = (features.clone().requires_grad_() for _ in range(2))
    mass, share = negative_mass(x, labels, 8.0, reach)
    pairs = pair_similarities(y, labels)[1]
    kept = pairs if reach is None else pairs[within_whiskers(pairs, reach)]
    expected = (8.0 * kept).logsumexp(0)
    torch.testing.assert_close(mass, expected)
    assert share == pytest.approx(len(kept) / len(pairs))
    mass.backward()
    expected.backward()
    torch.testing.assert_close(x.grad, y.grad)


def test_one_class_has_no_negative_pairs_and_costs_what_the_margin_does():
    ours, plain = method(), method(pairs="none")
    one = batch([0, 0, 0, 0])
    torch.testing.assert_close(ours(one, NOW).total, plain(one, NOW).total)
    assert len(within_whiskers(torch.ones(0))) == 0


def test_equal_similarities_are_all_kept_and_without_spread_only_the_quartile():
    assert within_whiskers(torch.full((6,), 0.3)).all()
    assert within_whiskers(torch.tensor([0.1, 0.3, 0.3, 0.3, 0.3, 0.9])).sum() == 4


def test_filter_leaves_out_pairs_of_one_identity_under_two_names():
    torch.manual_seed(0)
    features = torch.randn(40, 32)
    features[1] = features[0]
    labels = torch.arange(40)
    negatives = pair_similarities(features, labels)[1]
    assert negatives.max() > 0.999
    assert negatives[within_whiskers(negatives)].max() < 0.7


@pytest.mark.parametrize("margin", ["arcface", "cosface", "magface"])
def test_images_without_a_label_take_no_part(margin):
    some = method(margin=margin).eval()
    one, other = batch([0, 1, 2, 0, -1, -1]), batch([0, 1, 2, 0, -1, -1])
    other.views[0][4:] += 1
    torch.testing.assert_close(some(one, NOW).total, some(other, NOW).total)
    other.views[0][3:] += 1
    assert some(one, NOW).total != some(other, NOW).total
    none = method(margin=margin)(batch([-1, -1, -1, -1]), NOW)
    assert none.total.item() == 0
    none.total.backward()


def test_larger_margin_costs_more():
    losses = [method(width=width)(batch([0, 1, 2, 0]), NOW).total.item() for width in (0.0, 0.5)]
    assert losses[1] > losses[0]


def test_it_needs_two_classes():
    kind = find("learn", "unpg")
    facts = Facts(count=8, side=16, classes=1, names=("a",))
    with pytest.raises(Problem, match="at least two classes"):
        kind(fallow.encoder("resnet8/8"), make_settings(kind.Settings, {}), facts)


def test_a_short_run_learns_to_tell_shapes_apart():
    run = fit(
        find("learn", "unpg"),
        shapes(120, seed=0, side=24),
        encoder=fallow.encoder("resnet8/8", seed=0),
        settings=make_settings(
            find("learn", "unpg").Settings,
            {"epochs": 12, "batch": 40, "size": 24, "precision": "32", "scale": 16.0,
             "width": 0.1, "projection": 32},
        ),
        seed=0,
    )  # fmt: skip
    right = [line["right"] for line in run.history]
    assert np.mean(right[-3:]) > np.mean(right[:3]) + 0.2
    assert 0.9 < np.mean([line["kept pairs"] for line in run.history]) <= 1
