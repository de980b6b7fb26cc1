"""learn: what it scores, what it must not have seen, and what cannot be scored."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
import torch

import fallow
from fallow.encoders.lite import installed
from fallow.images.samples import shapes
from fallow.outcomes.learnt import BEFORE, WHITENED, paid
from fallow.problems import SettingProblem

QUICK = {"encoder": "resnet8/8", "epochs": 1}


def labelled(labels, split=None, count=40):
    images = shapes(count, seed=0, side=24)
    plain = fallow.open([images[row] for row in range(count)])
    columns = {"path": plain.table.column("path"), "label": pa.array(labels, pa.string())}
    if split is not None:
        columns["split"] = pa.array(split)
    return plain.join(pa.table(columns))


@pytest.fixture
def two_classes():
    return labelled(["a", "b"] * 20, ["train"] * 30 + ["test"] * 10)


def test_labels_are_asked_after_training(two_classes, tmp_path):
    made = fallow.learn(two_classes, out=tmp_path / "run", **QUICK)
    assert [row["name"] for row in made.findings["scores"]] == ["trained", "before", "raw pixels"]
    assert json.loads((tmp_path / "run" / "scores.json").read_text()) == made.findings["scores"]
    assert made.findings["counts"]["images"] == 40  # nothing is kept from training without labels


@pytest.mark.parametrize("method", ["supervised", "supcon", "hydra"])
def test_methods_that_learn_labels_do_not_see_those_they_are_asked(method, two_classes):
    made = fallow.learn(two_classes, method=method, settings={"batch": 10}, **QUICK)
    assert made.run.steps == 3  # of 30 images, not 40
    assert made.findings["scores"]


def test_without_a_split_a_method_that_learns_labels_is_not_scored():
    made = fallow.learn(labelled(["a", "b"] * 20), method="supervised", **QUICK)
    assert made.findings["scores"] == []
    assert any("not scored" in line and "split" in line for line in made.headlines)


@pytest.mark.parametrize(
    ("labels", "says"),
    [(["a"] * 20 + [None] * 20, "two classes"), ([f"{k}" for k in range(40)], "a single image")],
)
def test_labels_that_tell_nothing_do_not_spoil_the_run(labels, says, tmp_path):
    made = fallow.learn(labelled(labels), out=tmp_path / "run", **QUICK)
    assert any("not scored" in line and says in line for line in made.headlines)
    assert (tmp_path / "run" / "report.html").is_file()
    assert not (tmp_path / "run" / "scores.json").exists()


def test_a_finished_run_is_not_trained_again(two_classes, tmp_path):
    first = fallow.learn(two_classes, out=tmp_path / "run", **QUICK)
    again = fallow.learn(two_classes, out=tmp_path / "run", **QUICK)
    assert again.run.steps == first.run.steps
    assert again.findings["scores"] == first.findings["scores"]


@pytest.mark.parametrize(
    ("trained", "says"),
    [(0.8, []), (0.6, ["whiten it by these images"]), (0.5, ["whiten it by these images"])],
)
def test_it_says_where_learning_did_not_help(trained, says):
    names = {"trained": trained, BEFORE: 0.5, WHITENED: 0.6, "raw pixels": 0.9}
    rows = [{"name": name, "knn": value, "probe": value} for name, value in names.items()]
    lines = paid(rows)
    assert len(lines) == len(says)
    assert all(word in line for word, line in zip(says, lines, strict=True))
    assert not paid([])  # without labels nobody knows


@pytest.mark.skipif(not installed("lite"), reason="its weights are not installed")
def test_lite_goes_on_with_its_last_stages_and_is_looked_at_in_its_own_size(two_classes):
    made = fallow.learn(
        two_classes, encoder="lite", epochs=1, settings={"size": 32, "batch": 20, "queue": 20}
    )
    network = made.encoder.network
    assert made.run.steps == 2
    assert made.encoder.size == 160
    assert not any(one.requires_grad for one in network.blocks[4].parameters())
    assert all(one.requires_grad for one in network.blocks[5].parameters())
    first = fallow.encoder("lite").network
    assert torch.equal(network.blocks[4][0].conv_dw.weight, first.blocks[4][0].conv_dw.weight)
    assert torch.equal(network.blocks[6][0].bn1.running_var, first.blocks[6][0].bn1.running_var)
    assert not torch.equal(network.blocks[6][0].conv_pw.weight, first.blocks[6][0].conv_pw.weight)


def test_presets_are_named_when_one_is_not_known(two_classes):
    with pytest.raises(SettingProblem, match="no preset 'papr': did you mean paper"):
        fallow.learn(two_classes, method="simclr", preset="papr", epochs=1)


def test_a_probe_warns_of_labels_the_run_was_taught(two_classes, tmp_path):
    alone = labelled(["a", "b"] * 20)
    fallow.learn(two_classes, method="supervised", out=tmp_path / "taught", **QUICK)
    fallow.learn(two_classes, out=tmp_path / "bare", **QUICK)
    said = {
        (run, images is alone): " ".join(fallow.probe(tmp_path / run, images).headlines)
        for run in ("taught", "bare")
        for images in (alone, two_classes)
    }
    assert [key for key, text in said.items() if "was taught" in text] == [("taught", True)]
