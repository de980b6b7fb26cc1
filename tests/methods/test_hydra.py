"""Hydra: labels are needed and said so, gates make arbitrary pairs learnable, traps are closed."""

from __future__ import annotations

import math

import pytest
import torch

import fallow
from fallow.encoders.heads import PairGate
from fallow.images import open as open_images
from fallow.images.samples import shapes
from fallow.losses.gated import gated_cosine, pair_contrast
from fallow.methods.learn.hydra import Hydra
from fallow.parts.clusters import renamed
from fallow.problems import Problem
from fallow.train import Facts, fit, make_settings


def train(seed=0, out=None, each_epoch=None, images=None, **values):
    plain = {"epochs": 2, "batch": 16, "size": 16, "precision": "32"}
    return fit(
        Hydra,
        images or shapes(48, seed=0, side=24),
        encoder=fallow.encoder("resnet8/8", seed=seed),
        settings=make_settings(Hydra.Settings, plain | values),
        out=out,
        seed=seed,
        each_epoch=each_epoch,
    )


def state(run):
    return {name: value.clone() for name, value in run.method.state_dict().items()}


def equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def unlabelled(count=32):
    labelled = shapes(count, seed=0, side=24)
    return open_images([labelled[i] for i in range(count)])


def test_without_labels_it_says_what_to_do():
    with pytest.raises(Problem, match="labels=clusters"):
        train(images=unlabelled())


def test_one_class_is_refused():
    pixels = shapes(20, seed=0, side=24)
    with pytest.raises(Problem, match="at least 2 classes and found 1"):
        train(images=open_images([pixels[i] for i in range(20)], labels=["same"] * 20))


@pytest.mark.parametrize("labels", ["given", "clusters"])
def test_same_seed_gives_the_same_run_and_another_does_not(labels):
    one, two = train(labels=labels), train(labels=labels)
    assert one.steps == 6
    assert equal(state(one), state(two))
    assert not equal(state(one), state(train(labels=labels, seed=1)))


@pytest.mark.parametrize("labels", ["given", "clusters"])
def test_a_stopped_run_goes_on_with_its_clusters(labels, tmp_path):
    class Stop(Exception):
        pass

    def stop(method, now):
        if now.epoch == 1:
            raise Stop

    values = {"epochs": 4, "save_minutes": 0.0, "labels": labels, "refresh_epochs": 2}
    whole = train(**values)
    with pytest.raises(Stop):
        train(out=tmp_path / "run", each_epoch=stop, **values)
    assert equal(state(whole), state(train(out=tmp_path / "run", **values)))


def test_clusters_stand_for_classes_in_folders_without_labels():
    method = train(images=unlabelled(), labels="clusters", clusters=4).method
    assert method.classes == 4
    assert sorted(method.names.unique().tolist()) == [0, 1, 2, 3]
    relations = method.relations()
    torch.testing.assert_close(relations, relations.T)
    assert 0 < relations.min() <= relations.max() < 1


@pytest.mark.parametrize("gate", ["mean", "product", "none"])
@pytest.mark.parametrize("pairs", ["arbitrary", "identical", "distinct"])
def test_every_kind_of_pair_and_gate_trains(gate, pairs):
    run = train(epochs=1, gate=gate, pairs=pairs, precision="bf16", instance_weight=0.5)
    assert all(math.isfinite(line["loss"]) for line in run.history)
    last = run.history[-1]
    assert last["loss"] == pytest.approx((last["pair"] + 0.5 * last["instance"]) / 1.5, rel=1e-5)
    assert ("gate" in last) == (gate != "none")


def test_partners_are_what_the_setting_says():
    labels = torch.tensor([0, 1, 2, 3, 4, 5, -1, 7] * 4)
    encoder, facts = fallow.encoder("resnet8/8"), Facts(48, 24, 8)
    partners = {
        pairs: Hydra(encoder, make_settings(Hydra.Settings, {"pairs": pairs}), facts).partners(
            labels
        )
        for pairs in ("arbitrary", "identical", "distinct")
    }
    assert torch.equal(partners["identical"], labels)
    assert sorted(partners["arbitrary"].tolist()) == sorted(labels.tolist())
    assert not torch.equal(partners["arbitrary"], labels)
    known = labels >= 0
    assert (partners["distinct"][known] != labels[known]).all()
    assert (partners["distinct"][~known] == -1).all()


def test_images_of_unknown_class_change_nothing():
    torch.manual_seed(0)
    logits = torch.randn(6, 6)
    labels, others = torch.tensor([0, 1, 2, -1, 0, -1]), torch.tensor([1, 0, 2, 0, -1, -1])
    loss = pair_contrast(logits, labels, others, labels)
    rows, keys = [0, 1, 2], [0, 1, 2, 4]
    known = pair_contrast(logits[rows][:, keys], labels[rows], others[rows], labels[keys])
    assert float(loss) > 0
    torch.testing.assert_close(loss, known)


def test_a_batch_without_positives_or_negatives_is_zero_with_finite_gradients():
    zeros = torch.zeros(4, dtype=torch.long)
    for labels, others, keys in (
        (zeros, zeros + 5, zeros),  # nobody's partner is there
        (zeros, zeros, zeros),  # everybody is a positive
        (zeros - 1, zeros - 1, zeros - 1),  # nothing is known
    ):
        logits = torch.randn(4, 4, requires_grad=True)
        loss = pair_contrast(logits, labels, others, keys)
        loss.backward()
        assert loss.item() == 0
        assert not logits.grad.any()


def test_small_and_closed_gates_stay_exact_in_float32():
    torch.manual_seed(0)
    query, key, gate = torch.randn(4, 8), torch.randn(5, 8), torch.rand(4, 8)
    expected = gated_cosine(query.double(), key.double(), gate.double()).float()
    torch.testing.assert_close(gated_cosine(query, key, gate * 1e-22), expected)
    gate[2] = 0
    leaves = [x.requires_grad_() for x in (query, key, gate)]
    cosine = gated_cosine(*leaves)
    assert not cosine[2].any()
    cosine.sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in leaves)


def test_the_key_is_gated_by_the_query():
    query, key = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 5.0]])
    cosine = gated_cosine(query, key, torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    assert cosine[0].item() == pytest.approx(1)
    assert cosine[1].item() == pytest.approx(1 / math.sqrt(26))


def test_no_tensor_of_all_pairs_and_dimensions_is_made():
    query, key, gate = (torch.rand(64, 256) for _ in range(3))
    largest = 0

    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            largest = max(largest, out.numel() if isinstance(out, torch.Tensor) else 0)
            return out

    with Largest():
        gated_cosine(query, key, gate)
    assert 0 < largest <= 64 * 256


@pytest.mark.parametrize("gated", [True, False])
def test_arbitrary_pairs_are_learnable_only_under_gates(gated):
    """Free vectors stand for the encoder: without gates, all classes are to be equal at once."""
    torch.manual_seed(0)
    labels = torch.arange(6).repeat(8)
    z = torch.randn(48, 32, requires_grad=True)
    gate = PairGate(6, 32, 32, 64)
    optimiser = torch.optim.Adam([z, *gate.parameters()], 0.03)
    for _ in range(150):
        others = labels[torch.randperm(48)]
        opened = gate(labels, others) if gated else torch.ones(48, 32)
        loss = pair_contrast(gated_cosine(z, z, opened) / 0.1, labels, others, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert (loss.item() < 1.5) if gated else (loss.item() > 2.5)


def test_clusters_keep_their_names():
    before = torch.tensor([2, 2, 0, 0, 1, 1, -1]).numpy()
    found = torch.tensor([0, 0, 1, 1, 2, 1, 2]).numpy()
    assert renamed(found, before, 3).tolist() == [2, 2, 0, 0, 1, 0, 1]


def test_the_paper_preset_is_a_valid_setting():
    paper = make_settings(Hydra.Settings, Hydra.presets["paper"])
    assert (paper.labels, paper.pairs, paper.gate) == ("given", "arbitrary", "mean")
    assert paper.learning_rate * paper.batch / 256 == pytest.approx(0.2)
