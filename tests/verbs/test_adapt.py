"""`adapt` from a saved model and bare pictures to an adapted one and honest advice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from tests.methods.carried import by_day, darkened, scenes

import fallow
from fallow.cli import main
from fallow.encoders import Preprocessing
from fallow.encoders.classifier import Classifier, class_layers, load_classifier, save_classifier
from fallow.encoders.segmenter import load_segmenter, save_segmenter
from fallow.images.samples import shapes
from fallow.problems import Problem

QUICK = {"side": 32, "size": 32, "batch": 2, "precision": "32", "dimension": 8, "grid": 4,
         "scales": [1.0], "queue": 64}  # fmt: skip
BARE = {key: QUICK[key] for key in ("side", "size", "batch", "precision")}


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """Folders of a street by day with masks, by night with masks apart, and a model of the day."""
    from tests.methods.carried import day_and_night

    place = tmp_path_factory.mktemp("town")
    pixels, codes = scenes(6, 40)
    for name in ("day", "night", "day_masks", "night_masks"):
        (place / name).mkdir()
    for k, (one, code) in enumerate(zip(pixels, codes, strict=True)):
        Image.fromarray(one).save(place / "day" / f"{k}.png")
        Image.fromarray(darkened(one, k)).save(place / "night" / f"{k}.png")
        Image.fromarray(code * 255).save(place / "day_masks" / f"{k}.png")
        Image.fromarray(np.roll(code, -2, 1) * 255).save(place / "night_masks" / f"{k}.png")
    model = by_day(day_and_night(6, 40)[0], steps=40)
    about = {"names": ["ground", "cell"], "values": [0, 255], "side": 32}
    save_segmenter(model, place / "model" / "segmenter", about)
    return place


def test_without_labels_or_source(town, tmp_path):
    before = {path: path.read_bytes() for path in town.rglob("*") if path.is_file()}
    found = fallow.adapt(
        town / "model", town / "night", references=town / "day", epochs=1, settings=QUICK,
        out=tmp_path / "out",
    )  # fmt: skip
    assert found.table.num_rows == 6
    assert found.findings["advice"]["kind"] == "an estimate without labels"
    names = {row["check"] for row in found.findings["checks"]}
    assert {"agreement with itself", "undecided pixels", "condition told from features"} <= names
    assert any("by name" in note for note in found.notes)
    for when in ("before", "after"):
        for k in range(6):
            with Image.open(tmp_path / "out" / "masks" / when / f"{k}.png") as mask:
                assert mask.size == (40, 40)
                assert set(np.unique(np.array(mask))) <= {0, 255}
            assert (tmp_path / "out" / "overlays" / when / f"{k}.jpg").exists()
    kept, about = load_segmenter(tmp_path / "out" / "adapted")
    assert about == {"names": ["ground", "cell"], "values": [0, 255], "side": 32}
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(kept(x), found.model(x), atol=1e-5)
    page = (tmp_path / "out" / "report.html").read_text()
    assert found.findings["advice"]["say"].capitalize() in page
    assert before == {path: path.read_bytes() for path in before}


def test_with_labels_and_a_source(town, tmp_path):
    found = fallow.adapt(
        town / "model", town / "night", source=town / "day", answers=town / "day_masks",
        labels=town / "night_masks", epochs=1, settings=BARE | {"width": 4}, out=tmp_path / "out",
    )  # fmt: skip
    assert found.findings["method"] == "bimix"
    assert found.findings["advice"]["kind"] == "measured with labels"
    with pytest.raises(Problem, match="adapt the one it was made from"):
        fallow.adapt(tmp_path / "out", town / "night", references=town / "day")
    measures = found.findings["measures"]
    assert measures["pictures"] == 6
    assert all(0 <= value <= 1 for value in measures["mIoU"])
    first = found.findings["checks"][0]
    if first["says"] != "better":
        assert found.keep_old


def test_labels_of_the_target_change_nothing_that_is_learnt(town):
    how = {"references": town / "day", "epochs": 1, "settings": QUICK}
    one = fallow.adapt(town / "model", town / "night", **how)
    assert one.folder is None
    two = fallow.adapt(town / "model", town / "night", labels=town / "night_masks", **how)
    ours, theirs = one.model.state_dict(), two.model.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_from_the_shell(town, tmp_path, capsys, monkeypatch):
    words = ["fallow", "adapt", str(town / "model"), "--to", str(town / "night"), "--references",
             str(town / "day"), "--pairs", "order", "--epochs", "1",
             "--out", str(tmp_path / "out")]  # fmt: skip
    words += [word for pair in BARE.items() for word in ("--set", "{}={}".format(*pair))]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as done:
        main()
    said = capsys.readouterr().out
    assert done.value.code == 0
    assert "the adapted model" in said or "keep the old model" in said
    assert (tmp_path / "out" / "report.html").exists()


def classified(count=24):
    source, target = shapes(count, seed=0, side=16), shapes(count, seed=1, side=16)
    torch.manual_seed(0)
    encoder = fallow.encoder("resnet8/8")
    names = source.labels[1]
    return Classifier(encoder, class_layers(encoder.dimension, len(names)), names), source, target


@pytest.mark.parametrize("method", [None, "noisy-student", "swav"])
def test_classifiers(tmp_path, method):
    model, source, target = classified()
    save_classifier(model, tmp_path / "old")
    found = fallow.adapt(
        tmp_path / "old", target, method=method, source=source, epochs=1,
        settings={"size": 16, "batch": 8, "precision": "32"}, out=tmp_path / "out",
    )  # fmt: skip
    assert found.findings["method"] == {None: "coral"}.get(method, (method or "").replace("-", "_"))
    assert load_classifier(tmp_path / "out" / "adapted").names == model.names
    assert "accuracy" in found.findings["measures"]  # these pictures came with labels
    assert found.table.num_rows == 24


def test_plain_modules_of_both_kinds(town, tmp_path):
    _, source, target = classified()
    names = source.labels[1]
    plain = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(8, len(names)),
    )  # fmt: skip
    own = {key: value.clone() for key, value in plain.state_dict().items()}
    found = fallow.adapt(
        plain, target, source=source, head="4", names=names, epochs=1,
        preprocessing=Preprocessing(16, 16), out=tmp_path / "out",
        settings={"size": 16, "batch": 8, "precision": "32"},
    )  # fmt: skip
    assert all(torch.equal(plain.state_dict()[key], own[key]) for key in own)
    assert set(found.model.state_dict()) == set(own)
    assert (tmp_path / "out" / "adapted" / "model.safetensors").exists()
    pixels = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.Conv2d(8, 2, 1))
    found = fallow.adapt(
        pixels, town / "night", references=town / "day", head="1", names=["ground", "cell"],
        preprocessing=Preprocessing(32, 32), epochs=1, settings=QUICK,
    )  # fmt: skip
    assert torch.equal(found.model.module[1].weight, pixels[1].weight)


def test_bad_input_is_said_in_one_sentence(town, tmp_path):
    def fails(text, *given, **how):
        with pytest.raises(Problem, match=text):
            fallow.adapt(*given, **{"epochs": 1, "settings": QUICK} | how)

    model, night, day = town / "model", town / "night", town / "day"
    fails("name a folder of them with references", model, night)
    fails("holds no segmenter and no classifier", day, night, references=day)
    fallow.encoders.save(fallow.encoder("resnet8/8"), tmp_path / "bare")
    fails("without a decoder or a head", tmp_path / "bare", night, references=day)
    fails("adapts classifiers and the model is a segmenter", model, night, method="dann")
    fails("one condition only", model, night, source=night, answers=town / "night_masks",
          settings=BARE)  # fmt: skip
    fails("must be the same", model, night, source=day, answers=town / "day_masks",
          classes={"a": 0, "b": 255}, settings=BARE)  # fmt: skip
    fails("cannot be matched by", model, night, references=day, pairs="weather")
    fails("do not say where they were taken", model, night, references=day, pairs="position")
    classifier, source, target = classified()
    quick = {"size": 16, "batch": 8}
    fails("needs labelled pictures", classifier, target, settings=quick)
    fails("adapts segmenters and the model", classifier, target, method="cma", references=day)
    other = source.join({"path": source.column("path"), "label": ["x", "y"] * 12})
    fails("same classes", classifier, target, source=other, settings=quick)
    fails("say which part is its head", torch.nn.Linear(2, 2), night)
