"""Methods that adapt a classifier: what each learns from, what none of them may see, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fallow
from fallow.encoders.classifier import Classifier, class_layers, load_classifier, save_classifier
from fallow.images.samples import shapes
from fallow.methods import find, slugs
from fallow.methods.adapt.noisy_student import answers
from fallow.methods.shared import adapting
from fallow.problems import Problem
from fallow.train import Now, fit, make_settings
from fallow.train.session import optimiser_of, rate

PLAIN = {"epochs": 1, "batch": 16, "size": 16, "precision": "32", "learning_rate": 0.1}
METHODS = ["afn", "coral", "dann", "erm", "fixmatch", "noisy_student", "pseudo", "swav"]
OF_PIXELS = {"bimix", "cma"}


def streams(count=48, sites=("x", "y")):
    """Drawn shapes of two places, and the same ones in other light from a third."""
    source = shapes(count, seed=0, side=24)
    target = shapes(count, seed=1, side=24)
    where = [sites[k // 4 % len(sites)] for k in range(count)]
    return {
        "source": source.join({"path": source.column("path"), "site": where}),
        "target": target.join({"path": target.column("path"), "site": ["z"] * count}),
    }


def train(name, images=None, seed=0, out=None, each_epoch=None, **values):
    kind = find("adapt", name)
    return fit(
        kind,
        images or streams(),
        encoder=fallow.encoder("resnet8/8", seed=seed),
        settings=make_settings(kind.Settings, PLAIN | values),
        out=out,
        seed=seed,
        each_epoch=each_epoch,
    )


def teacher(folder, names=None, encoder="resnet8/8"):
    torch.manual_seed(5)
    names = names or streams()["source"].labels[1]
    made = fallow.encoder(encoder, seed=5)
    layers = class_layers(made.dimension, len(names))
    return str(save_classifier(Classifier(made, layers, names), folder))


def now(progress=0.9):
    return Now(step=5, epoch=0, progress=progress, steps_per_epoch=10)


def test_all_of_them_are_found():
    assert set(slugs("adapt")) == {*METHODS, *OF_PIXELS}
    for name in METHODS:
        kind = find("adapt", name)
        for values in kind.presets.values():
            make_settings(kind.Settings, values)


@pytest.mark.parametrize("name", METHODS)
def test_each_trains_and_keeps_a_classifier(name, tmp_path):
    more = {"start": teacher(tmp_path / "teacher")} if name == "noisy_student" else {}
    if name == "coral":
        more = {"groups": ("site",), "groups_per_batch": 2}
    run = train(name, out=tmp_path / "run", **more)
    assert all(np.isfinite(row["loss"]) for row in run.history if "loss" in row)
    kept = load_classifier(tmp_path / "run")
    assert kept.names == streams()["source"].labels[1]


@pytest.mark.parametrize("name", ["pseudo", "coral"])
def test_labels_of_the_target_change_nothing(name):
    images = streams()
    bare = images["target"]
    bare = images | {"target": bare.join({"path": bare.column("path"), "label": ["?"] * 48})}
    ours, theirs = train(name, images), train(name, bare)
    a, b = ours.method.state_dict(), theirs.method.state_dict()
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_it_learns_what_it_is_told():
    images = streams()
    run = train("fixmatch", images, epochs=40, learning_rate=0.5, views="weak", size=24)
    found = adapting.judged(run.method.classifier, images["source"], ["site"])
    assert found["acc_avg"] > 0.6  # 0.125 by chance
    assert found["acc_wg"] <= found["acc_avg"]
    assert set(found["by_group"]) == {"site = x", "site = y"}


def test_a_run_that_was_stopped_goes_on_as_if_it_was_not(tmp_path):
    class Stop(Exception):
        pass

    def stop(method, now):
        raise Stop

    how = {"epochs": 2, "save_minutes": 0.0, "hidden": 16}
    whole = train("dann", **how)
    with pytest.raises(Stop):
        train("dann", out=tmp_path / "run", each_epoch=stop, **how)
    rest = train("dann", out=tmp_path / "run", **how)
    a, b = whole.method.state_dict(), rest.method.state_dict()
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_the_encoder_learns_slower_than_the_heads_of_dann():
    run = train("dann", groups=("site",), hidden=16, encoder_rate=0.25)
    assert run.method.places[-1].out_features == 3  # x, y and the target's z
    groups = optimiser_of(run.method).param_groups
    slow = {p for group in groups if group["rate_scale"] == 0.25 for p in group["params"]}
    assert slow == set(run.method.encoder.parameters())


def test_batches_are_made_of_groups():
    run = train("erm", groups=("site",), groups_per_batch=1)
    order = run.method.compose(now(), 48, 16, seed=0)
    sites = run.method.source_groups.numpy()[order]
    assert (sites == sites[:, :1]).all()
    assert len(np.unique(sites)) == 2 or len(order) < 4


def test_own_labels_count_more_and_more():
    method = train("pseudo", threshold=0.0).method
    images = streams()
    from fallow.train.loader import Stream

    batch = {}
    for name, recipe in method.recipe().items():
        pack = images[name].pack(side=32)
        labels = np.zeros(48, np.int64)
        batch[name] = Stream(pack, recipe, labels, 0).batch(np.arange(16), 0)
    first, half, last = (method.loss(batch, now(p)) for p in (0.0, 0.2, 0.4))
    own = first.parts["own"]
    torch.testing.assert_close(first.total, first.parts["labels"])
    torch.testing.assert_close(half.total, half.parts["labels"] + own / 2)
    torch.testing.assert_close(last.total, last.parts["labels"] + own)
    none = train("pseudo", threshold=1.0, epochs=1).method.loss(batch, now())
    assert none.parts["own"] == 0
    assert torch.isfinite(none.total)


def test_the_rate_of_self_training_falls_as_published():
    settings = make_settings(find("adapt", "fixmatch").Settings, PLAIN)
    assert rate(settings, 1.0) == pytest.approx(rate(settings, 0.0) * 11**-0.75)


def test_the_student_begins_as_its_teacher_and_learns_its_answers(tmp_path):
    folder = teacher(tmp_path / "teacher")
    seen = {}

    def look(method, now):
        seen["taught"] = method.taught

    run = train("noisy_student", start=folder, each_epoch=look, learning_rate=1e-9)
    given, kept = load_classifier(folder), run.method.classifier
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(kept.layers(torch.ones(2, 32)), given.layers(torch.ones(2, 32)),
                               rtol=1e-4, atol=1e-4)  # fmt: skip
    assert kept(x).shape == given(x).shape
    assert seen["taught"].shape == (48, 8)
    torch.testing.assert_close(seen["taught"].sum(1), torch.ones(48))
    recipe = adapting.crop(16, 1.0, 0.0)
    pack = streams()["target"].pack(side=32)
    small = answers(given.eval(), pack, recipe, torch.device("cpu"), batch=7)
    torch.testing.assert_close(small, answers(given.eval(), pack, recipe, torch.device("cpu")))


def test_holes_are_inside_strong_views_alone():
    view = torch.ones(4, 3, 16, 16)
    adapting.cut_out(view, 0.5, np.random.default_rng(0))
    assert 0 < int((view[:, 0] == 0).sum()) <= 4 * 9 * 9
    whole = torch.ones(4, 3, 16, 16)
    adapting.cut_out(whole, 0.0, np.random.default_rng(0))
    assert (whole == 1).all()


def bad(**given):
    return given


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("noisy_student", bad(), "needs a trained teacher"),
        ("erm", bad(groups=("label",)), "not to be seen"),
        ("erm", bad(groups=("site",), groups_per_batch=3), "cannot be shared|needs as many"),
        ("erm", bad(groups=("sites",)), "did you mean site"),
        ("coral", bad(groups=("site",), groups_per_batch=2, batch=2), "no spread"),
    ],
)
def test_bad_settings_are_said_in_a_sentence(name, values, says):
    with pytest.raises(Problem, match=says):
        train(name, **values)


def test_bad_images_are_said_in_a_sentence(tmp_path):
    images = streams()
    with pytest.raises(Problem, match="also needs images called target"):
        train("coral", {"source": images["source"]})
    same = images["target"].join({"path": images["target"].column("path"), "site": ["x"] * 48})
    one = images["source"].where("site = 'x'")
    with pytest.raises(Problem, match="all images are from one place"):
        train("dann", {"source": one, "target": same}, groups=("site",), batch=8)
    lonely = images["source"].where("site = 'x'")
    rare = ["w"] + ["z"] * 47
    odd = images["target"].join({"path": images["target"].column("path"), "site": rare})
    with pytest.raises(Problem, match="has one image"):
        train("coral", {"source": lonely, "target": odd}, groups=("site",), batch=8)
    with pytest.raises(Problem, match="their classes must be the same"):
        train("erm", start=teacher(tmp_path / "other", ["a", "b"]))
    with pytest.raises(Problem, match="another encoder"):
        train("erm", start=teacher(tmp_path / "wide", encoder="resnet8/16"))
