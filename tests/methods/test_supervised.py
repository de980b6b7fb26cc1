"""Supervised: learns labels, keeps a classifier that loads again, and refuses a single class."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tests.methods.small_run import batch_of, losses, now, same_weights, stopped_and_resumed, train

import fallow
from fallow.encoders import Preprocessing
from fallow.encoders.classifier import Tapped, load_classifier, scores
from fallow.images.samples import shapes
from fallow.methods import find
from fallow.problems import Problem, SettingProblem
from fallow.train import make_settings
from fallow.train.method import Facts


def build(names=("a", "b", "c")):
    torch.manual_seed(0)
    kind = find("learn", "supervised")
    settings = make_settings(kind.Settings, {"size": 16})
    return kind(fallow.encoder("resnet8/8"), settings, Facts(48, 24, len(names), tuple(names)))


def test_same_seed_gives_the_same_run_and_resumes(tmp_path):
    assert same_weights(train("supervised"), train("supervised"))
    resumed = stopped_and_resumed("supervised", tmp_path)
    assert same_weights(train("supervised", save_minutes=0.0), resumed)


def test_it_learns_what_it_is_told():
    images = shapes(32, seed=0, side=24)
    run = train("supervised", images, epochs=60, learning_rate=0.5, smallest=1.0, size=32)
    seen = losses(run)
    assert seen[-1] < 0.5 * seen[0]
    found = scores(run.method.classifier, images)
    assert (found.argmax(1) == images.labels[0]).mean() > 0.7  # 0.125 by chance


def test_unlabelled_images_of_a_batch_do_not_count():
    method = build().eval()
    some, all_ = batch_of(4, views=1, labels=[0, 1, -1, -1]), batch_of(4, views=1, labels=[0] * 4)
    logits = method.layers(method.encoder(all_.views[0]))
    expected = torch.nn.functional.cross_entropy(logits[:2], torch.tensor([0, 1]))
    torch.testing.assert_close(method.loss(some, now()).total, expected)
    none = batch_of(4, views=1)
    assert method.loss(none, now()).total.item() == 0


def test_a_finished_run_holds_a_classifier(tmp_path):
    images = shapes(48, seed=0, side=24)
    run = train("supervised", images, out=tmp_path / "run")
    loaded = load_classifier(tmp_path / "run")
    assert loaded.names == images.labels[1]
    # training may have chosen another memory layout, which sums in another order
    ours, again = scores(run.method.classifier, images), scores(loaded, images)
    np.testing.assert_allclose(again, ours, rtol=1e-5)
    assert fallow.encoder(str(tmp_path / "run")).dimension == 32


def test_mixed_up_parts_and_missing_ones_are_told(tmp_path):
    train("supervised", out=tmp_path / "one")
    train("supervised", seed=1, out=tmp_path / "two")
    head = (tmp_path / "two" / "head.safetensors").read_bytes()
    (tmp_path / "one" / "head.safetensors").write_bytes(head)
    with pytest.raises(Problem, match="do not belong together"):
        load_classifier(tmp_path / "one")
    about = json.loads((tmp_path / "two" / "classifier.json").read_text())
    del about["names"]
    (tmp_path / "two" / "classifier.json").write_text(json.dumps(about))
    with pytest.raises(Problem, match="cannot be built again"):
        load_classifier(tmp_path / "two")
    with pytest.raises(Problem, match="holds no classifier"):
        load_classifier(tmp_path)
    with pytest.raises(Problem, match="there is no folder"):
        load_classifier(tmp_path / "three")


@pytest.mark.parametrize(("names", "says"), [((), "have none"), (("a",), "have 1")])
def test_one_class_is_refused(names, says):
    with pytest.raises(Problem, match=says):
        build(names)


def test_a_tapped_layer_is_checked():
    plain = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 2)
    )
    how = Preprocessing(4, 4)
    with pytest.raises(SettingProblem, match="no layer called '3'; known: 0, 1, 2"):
        Tapped(plain, "3", how, ["a", "b"])
    x = torch.zeros(5, 3, 4, 4)
    with pytest.raises(SettingProblem, match=r"layer 0 gives \(5, 4, 2, 2\) for 5 images"):
        Tapped(plain, "0", how, ["a", "b"]).embed(x)
    assert Tapped(plain, "1", how, ["a", "b"]).embed(x).shape == (5, 16)
    assert not plain[1]._forward_hooks
