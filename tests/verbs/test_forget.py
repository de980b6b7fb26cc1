"""`forget` on small shapes: what comes back, what is written, and a sentence for every mistake."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import fallow
from fallow.cli import app
from fallow.encoders import Encoder, Preprocessing
from fallow.encoders.classifier import Classifier, class_layers, load_classifier
from fallow.images.samples import shapes, write
from fallow.problems import Problem, SettingProblem, SourceProblem

QUICK = {"steps": 4, "autoencoder_steps": 10, "batch": 16}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of pictures, a run trained on it, and a list of one class."""
    place = tmp_path_factory.mktemp("forget")
    write(shapes(64, seed=0, side=24), place / "pictures")
    fallow.learn(
        place / "pictures",
        method="supervised",
        encoder="resnet8/8",
        epochs=2,
        settings={"batch": 16, "size": 16, "precision": "32"},
        out=place / "run",
    )
    images = fallow.open(place / "pictures")
    discs = images.where("label = 'disc'").column("path").tolist()
    (place / "discs.txt").write_text("\n".join(discs) + "\n\n")
    return place


@pytest.fixture(scope="module")
def done(place):
    return fallow.forget(
        place / "run",
        forget=place / "discs.txt",
        keep=place / "pictures",
        test=shapes(40, seed=5, side=24),
        settings=QUICK | {"repair": 2},
        retrain=True,
        out=place / "edited",
    )


def test_every_model_has_a_row(done):
    rows = {row["model"]: row for row in done.table.to_pylist()}
    assert list(rows) == ["original", "LAF", "LAF, repaired", "retrained"]
    for row in rows.values():
        for name in ("kept", "forgotten", "test", "test_kept", "test_forgotten"):
            assert 0 <= row[name] <= 1
        assert 0 <= row["membership_auroc"] <= 1
        assert 0 <= row["membership_same_class"] <= 1
    assert rows["retrained"]["forgotten"] == rows["retrained"]["test_forgotten"] == 0
    last = rows["LAF, repaired"]
    assert last["kept_from_retrained"] == pytest.approx(last["kept"] - rows["retrained"]["kept"])
    assert last["time_ratio"] == pytest.approx(last["seconds"] / rows["retrained"]["seconds"])
    assert rows["original"]["time_ratio"] is None


def test_headlines_and_notes_say_it_in_words(done):
    text = "\n".join(done.headlines)
    assert "8 images forgotten, 56 kept" in text
    assert "retrained 0.0%" in text
    assert "membership inference" in text
    assert "of retraining" in text
    assert "not certified" in done.findings["notes"][-1]


def test_what_is_saved_opens_again_and_shows_no_picture(done, place):
    edited = load_classifier(place / "edited")
    assert edited.names == done.model.names
    ours, theirs = done.model.state_dict(), edited.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert pq.read_table(place / "edited" / "table.parquet").equals(done.table)
    page = (place / "edited" / "report.html").read_text()
    assert "Distance to the retrained model" in page
    assert "data:image" not in page
    assert json.loads((place / "edited" / "forget.json").read_text())["counts"]["forgotten"] == 8


def test_the_run_is_as_it_was(done, place):
    original, edited = load_classifier(place / "run"), load_classifier(place / "edited")
    one, two = original.layers[0].weight, edited.layers[0].weight
    assert not torch.equal(one, two)
    assert done.findings["notes"][0] != "These are not exactly the images the run was trained on."
    with pytest.raises(SettingProblem, match="choose another out"):
        quick(place, out=place / "run")


def quick(place, model=None, **values):
    given = {"forget": place / "discs.txt", "keep": place / "pictures", "settings": QUICK}
    return fallow.forget(place / "run" if model is None else model, **(given | values))


def test_other_images_than_those_trained_on_are_noticed(place):
    found = quick(place, keep=fallow.open(place / "pictures").sample(60, seed=3), forget=[
        fallow.open(place / "pictures").sample(60, seed=3).column("path")[0]
    ])  # fmt: skip
    assert any("not exactly the images" in note for note in found.findings["notes"])


def test_names_tables_folders_and_copies_are_understood(place, tmp_path):
    images = fallow.open(place / "pictures")
    discs = images.where("label = 'disc'")
    (tmp_path / "list.csv").write_text("path\n" + "\n".join(discs.column("path")) + "\n")
    (tmp_path / "copies").mkdir()
    for path in discs.column("path"):
        shutil.copy(place / "pictures" / path, tmp_path / "copies")
    states = [
        quick(place, forget=forget).model.state_dict()
        for forget in (
            discs.column("path").tolist(), tmp_path / "list.csv", tmp_path / "copies", discs,
            [f"./{path}" for path in discs.column("path")],
            [images.address(row) for row in np.flatnonzero(images.column("label") == "disc")],
        )
    ]  # fmt: skip
    for state in states[1:]:
        assert all(torch.equal(state[name], states[0][name]) for name in state)


def test_exact_copies_are_not_kept(tmp_path, place):
    write(shapes(16, seed=0, side=24), tmp_path / "pictures")
    first = sorted((tmp_path / "pictures" / "images").iterdir())[0]
    (first.parent / "zz-again.png").write_bytes(first.read_bytes())
    found = quick(place, keep=tmp_path / "pictures", forget=[f"images/{first.name}"])
    assert found.findings["counts"]["kept"] == 15
    assert "1 exact copies" in found.findings["notes"][0]


def test_split_says_what_is_for_testing(place, tmp_path):
    write(shapes(48, seed=0, side=24), tmp_path / "pictures")
    lines = (tmp_path / "pictures" / "labels.csv").read_text().splitlines()
    lines = [lines[0] + ",split"] + [
        line + (",test" if number % 3 == 0 else ",train") for number, line in enumerate(lines[1:])
    ]
    (tmp_path / "pictures" / "labels.csv").write_text("\n".join(lines) + "\n")
    keep = fallow.open(tmp_path / "pictures")
    train = keep.where("split = 'train'").column("path").tolist()
    found = quick(place, keep=keep, forget=train[:4])
    assert found.findings["counts"] | {"steps": 0} == {
        "kept": 28, "forgotten": 4, "test": 16, "steps": 0
    }  # fmt: skip


def test_without_labels_it_works_and_says_what_is_not_measured(place):
    plain = [np.asarray(shapes(24, seed=0, side=24)[row]) for row in range(24)]
    images = fallow.open(plain)
    found = quick(place, keep=images, forget=images.column("path")[:5].tolist())
    assert found.table["kept"].to_pylist() == [None, None]
    text = "\n".join(found.headlines)
    assert "accuracies were not measured" in text
    assert "membership was not attacked" in text


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten())
        self.features = nn.Linear(4 * 7 * 7, 16)
        self.classes = nn.Linear(16, 8)

    def forward(self, x):
        return self.classes(self.features(self.body(x)))


def test_a_plain_module_with_a_named_layer(place, tmp_path):
    torch.manual_seed(0)
    model, how = Plain(), Preprocessing(16, 16)
    before = model.features.weight.detach().clone()
    found = quick(place, model, layer="features", preprocessing=how, out=tmp_path / "edited")
    assert isinstance(found.model, Plain)
    assert torch.equal(model.features.weight, before)
    assert not torch.equal(found.model.features.weight, before)
    assert torch.equal(found.model.classes.weight, model.classes.weight)
    from safetensors.torch import load_file

    saved = load_file(tmp_path / "edited" / "model.safetensors")
    assert torch.equal(saved["features.weight"], found.model.features.weight)
    rows = quick(place, model, layer="features", preprocessing=how, retrain=Plain()).table
    assert rows["model"].to_pylist() == ["original", "LAF", "retrained"]


def test_an_encoder_and_a_head(place):
    encoder = fallow.encoder("resnet8/8", size=16)
    found = quick(place, (encoder, nn.Linear(32, 8)))
    assert isinstance(found.model, nn.Sequential)
    assert isinstance(found.model[0], Encoder)


def mistakes(place):
    how = Preprocessing(16, 16)
    everything = fallow.open(place / "pictures")
    paths = everything.column("path").tolist()
    wrong = [paths[0].replace("images/", "imaegs/"), "b.png", "c.png", "d.png"]
    discs = everything.where("label = 'disc'")
    rings = everything.where("label = 'disc' or label = 'ring'")
    yield {"forget": wrong}, SourceProblem, r"4 images that .* \(imaegs/.*, \.\.\.\): did you mean"
    yield {"forget": ["nothing-like-it"]}, SourceProblem, "names are paths below that folder"
    yield {"forget": []}, SourceProblem, "nothing to forget"
    yield {"forget": "no-such-list.txt"}, SourceProblem, "there is no no-such-list.txt"
    yield {"forget": paths}, SourceProblem, "all 64 images .* are to be forgotten"
    yield {"forget": shapes(4, seed=9, side=24)}, SourceProblem, "is among those of"
    yield {"keep": rings, "forget": discs}, SourceProblem, "only images of one class .ring."
    yield {"model": place}, Problem, "holds no classifier"
    yield {"model": Plain()}, SettingProblem, "embedding layer= and its preprocessing="
    yield (
        {"model": Plain(), "layer": "feature", "preprocessing": how},
        SettingProblem,
        ("no layer called 'feature'; did you mean features"),
    )
    yield (
        {"model": Plain(), "layer": "body.0", "preprocessing": how},
        SettingProblem,
        ("single row of numbers"),
    )
    yield {
        "model": Plain(), "layer": "features", "preprocessing": how, "names": ["a", "b"]
    }, SettingProblem, "8 outputs and there are 2 class names"  # fmt: skip
    yield {"model": fallow.encoder("resnet8/8")}, SettingProblem, "an encoder alone"
    one = Classifier(fallow.encoder("resnet8/8"), class_layers(32, 1), ["disc"])
    yield {"model": one}, SettingProblem, "a single class"
    yield {"model": 3}, SettingProblem, "not int"
    yield {"settings": {"step": 3}}, SettingProblem, "did you mean steps"
    yield {"preset": "papr"}, SettingProblem, "did you mean paper"
    yield (
        {"model": Plain(), "layer": "features", "preprocessing": how, "retrain": True},
        (SettingProblem),
        "only the folder of a run",
    )


def test_mistakes_get_one_sentence(place):
    count = 0
    for values, kind, says in mistakes(place):
        with pytest.raises(kind, match=says) as caught:
            quick(place, **values)
        assert "\n" not in str(caught.value)
        count += 1
    assert count == 18


def test_foreign_labels_and_layers_without_parameters(place):
    pictures = [np.full((24, 24, 3), grey, np.uint8) for grey in range(4)]
    named = fallow.open(pictures, labels=["discs", "x", "y", "x"])
    with pytest.raises(SettingProblem, match=r"none of the labels .* did you mean disc"):
        quick(place, keep=named, forget=["000003"])
    flat = nn.Sequential(nn.Flatten(), nn.Linear(768, 8))
    with pytest.raises(SettingProblem, match="name a later layer"):
        quick(place, flat, layer="0", preprocessing=Preprocessing(16, 16))


def test_the_command(place, tmp_path):
    words = [
        "forget", str(place / "run"), "--forget", str(place / "discs.txt"),
        "--keep", str(place / "pictures"), "--out", str(tmp_path / "edited"),
        "--set", "steps=2", "--set", "autoencoder_steps=2",
    ]  # fmt: skip
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "8 images forgotten, 56 kept" in done.output
    assert f"report: {tmp_path / 'edited' / 'report.html'}" in done.output
    assert "note: This is measured, not certified" in done.output
    assert (tmp_path / "edited" / "report.html").is_file()
