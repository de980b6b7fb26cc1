"""GPC, GCD and SimGCD: one interface, training that resumes, and prototypes that teach."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

import fallow
from fallow.images.samples import shapes
from fallow.measure import discovery_accuracy
from fallow.methods import find, slugs
from fallow.methods.discover import even_shares, gcd, gpc
from fallow.methods.discover.gpc import GPC, concentration
from fallow.methods.discover.simgcd import SimGCD
from fallow.problems import Problem
from fallow.train import fit, make_settings

PLAIN = {"epochs": 3, "batch": 16, "size": 16, "precision": "32", "hidden": 16,
         "learning_rate": 0.05}  # fmt: skip


def halfway(count=60, seed=0):
    """Shapes of which only half of two kinds have labels."""
    images = shapes(count, seed=seed, side=24)
    kinds = images.column("label")
    old = sorted(set(kinds))[:2]
    known = [k if k in old and n % 5 < 3 else None for n, k in enumerate(kinds)]
    table = pa.table({"path": images.table.column("path"), "label": pa.array(known, pa.string())})
    return images.join(table)


def train(kind=GPC, images=None, seed=0, out=None, each_epoch=None, **values):
    return fit(
        kind,
        images or halfway(),
        encoder=fallow.encoder("resnet8/8", seed=seed),
        settings=make_settings(kind.Settings, PLAIN | values),
        out=out,
        seed=seed,
        each_epoch=each_epoch,
    )


def same(one, two):
    a, b = one.method.state_dict(), two.method.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def features(old=3, classes=6, each=40, width=24, seed=0):
    draw = np.random.default_rng(seed)
    truth = np.arange(classes).repeat(each)
    centres = draw.normal(size=(classes, width))
    seen = centres[truth] + 0.35 * draw.normal(size=(len(truth), width))
    return seen, np.where((truth < old) & (draw.random(len(truth)) < 0.5), truth, -1), truth


def test_gpc_counts_and_sorts():
    seen, known, truth = features()
    found = gpc.discover(seen, known)
    assert found.count == 6
    assert found.new == 3
    low, high = found.interval
    assert low <= 6 <= high
    free = known < 0
    assert discovery_accuracy(truth[free], found.member[free], truth[free] < 3).all > 0.95
    assert (found.member[~free] == known[~free]).all()
    assert (found.second != found.member).all()
    assert (found.chance >= found.second_chance - 1e-9).mean() > 0.9


def test_a_given_number_is_taken():
    seen, known, _ = features()
    assert gpc.discover(seen, known, GPC.Settings(classes=8)).count == 8
    assert gcd.discover(seen, known, gcd.Settings(classes=5)).count == 5
    with pytest.raises(Problem, match="3 classes are labelled"):
        gpc.discover(seen, known, GPC.Settings(classes=2))


def test_gcd_searches_between_known_and_most():
    seen, known, _ = features()
    found = gcd.discover(seen, known, gcd.Settings(most=20, searches=2, starts=5))
    assert len(found.counts) == 2
    assert all(3 <= count <= 20 for count in found.counts)
    assert found.interval[0] <= found.count <= found.interval[1]


def test_same_seed_same_answer():
    seen, known, _ = features()
    for module in (gpc, gcd):
        one, two = (module.discover(seen, known, None, 5) for _ in range(2))
        assert (one.member == two.member).all()
        assert one.counts == two.counts


def test_overlap_is_said():
    seen, known, _ = features()
    noise = np.random.default_rng(0).normal(size=seen.shape)
    assert any("overlap" in note for note in gpc.discover(noise, known).notes)
    assert not gpc.discover(seen, known).notes


def test_training_makes_prototypes_and_repeats():
    one = train()
    assert int(one.method.count) >= 2
    assert (one.method.assigned >= 0).all()
    lengths = one.method.prototypes[: int(one.method.count)].norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    assert "prototypes" in one.history[-1]
    assert same(one, train())
    assert not same(one, train(seed=1))


def test_labelled_images_keep_their_class_while_training():
    images = halfway()
    run = train(images=images)
    known = images.labels[0]
    assigned = run.method.assigned.numpy()
    assert (assigned[known >= 0] == known[known >= 0]).all()


def test_no_prototypes_while_waiting():
    run = train(epochs=2, wait=5)
    assert int(run.method.count) == 0
    assert not any("prototypes" in line for line in run.history)


@pytest.mark.parametrize(("kind", "more"), [(GPC, {}), (SimGCD, {"classes": 4})])
def test_a_stopped_run_goes_on(tmp_path, kind, more):
    whole = train(kind, **more)

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(kind, out=tmp_path / "run", each_epoch=stop, save_minutes=0.0, **more)
    resumed = train(kind, out=tmp_path / "run", save_minutes=0.0, **more)
    assert any("resuming" in note for note in resumed.notes)
    assert same(whole, resumed)


def test_simgcd_learns_and_sorts():
    images = halfway()
    run = train(SimGCD, images=images, classes=4, epochs=2)
    seen = run.encoder.embed(images)
    found = run.method.discover(seen, images.labels[0])
    known = images.labels[0]
    assert found.count <= 4
    assert (found.member[known >= 0] == known[known >= 0]).all()


def test_simgcd_begins_at_centres_known_classes_in_their_places():
    method = train(SimGCD, images=halfway(), classes=4, epochs=1).method
    centres = torch.nn.functional.normalize(torch.randn(4, method.encoder.dimension))
    middle = np.arange(method.encoder.dimension, dtype=np.float32)
    method.begin_at(middle, 3 * centres.numpy(), np.array([0, 2]))
    torch.testing.assert_close(method.classifier.weight[[0, 2, 1, 3]], centres)
    features = torch.from_numpy(middle) + 2 * centres
    scores = method.scores(features, method.centre.value)
    torch.testing.assert_close(scores[:, [0, 2, 1, 3]], centres @ centres.T)


def test_simgcd_finds_something_new_at_once_and_random_prototypes_do_not():
    images = halfway()
    old = int(images.labels[0].max()) + 1
    new = {}
    for start in ("centres", "random"):
        run = train(SimGCD, images=images, classes=4, epochs=1, start=start)
        found = run.method.discover(run.encoder.embed(images), images.labels[0])
        new[start] = int((found.member >= old).sum())
    assert new["centres"] > new["random"]


def test_simgcd_must_know_how_many():
    with pytest.raises(Problem, match="must be told how many"):
        train(SimGCD)
    with pytest.raises(Problem, match="at least the 2 labelled"):
        train(SimGCD, images=halfway(), classes=None)


def test_gpc_without_labels_says_so():
    images = shapes(32, seed=0, side=24)
    blank = pa.table({"path": images.table.column("path"),
                      "label": pa.array([None] * 32, pa.string())})  # fmt: skip
    with pytest.raises(Problem, match="labelled classes"):
        train(images=images.join(blank))


def test_only_the_last_block_learns():
    run = train(last=1, epochs=1)
    fresh = fallow.encoder("resnet8/8", seed=0)
    before, after = fresh.plain.state_dict(), run.encoder.plain.state_dict()
    kept = [name for name, _ in fresh.plain.named_parameters() if not name.startswith("layer3")]
    assert all(torch.equal(before[name], after[name]) for name in kept)
    assert not torch.equal(before["layer3.0.conv1.weight"], after["layer3.0.conv1.weight"])


def test_labelled_images_are_drawn_as_often_as_the_others():
    from fallow.train.order import weighted

    known = np.r_[np.zeros(100, int), np.full(900, -1)]
    rows = weighted(even_shares(known), 10, seed=0, epoch=0)
    assert rows.shape == (100, 10)
    assert (known[rows] >= 0).mean() == pytest.approx(0.5, abs=0.06)


def test_concentration_of_lonely_and_tight_groups():
    seen = np.array([[0.0], [0.2], [5.0], [7.0], [9.0]])
    centres = np.array([[0.1], [6.0], [9.0]])
    density = concentration(seen, centres, np.array([0, 0, 1, 1, 2]), 0.5)
    assert density.mean() == pytest.approx(0.5)
    assert density[0] < density[1]
    assert density[2] == pytest.approx(density[1], rel=1e-6)  # alone: as the loosest
    same_place = concentration(np.zeros((4, 1)), np.zeros((2, 1)), np.array([0, 0, 1, 1]), 0.5)
    assert same_place.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("slug", ["gpc", "simgcd"])
def test_settings_are_described_and_presets_hold(slug):
    kind = find("discover", slug)
    for name in kind.Settings.__annotations__:
        assert kind.Settings.model_fields[name].description, name
    for values in kind.presets.values():
        made = make_settings(kind.Settings, values)
        assert {name: getattr(made, name) for name in values} == values
    assert slug in slugs("discover")


def test_bf16():
    run = train(epochs=2, precision="bf16")
    assert np.isfinite([line["loss"] for line in run.history if "loss" in line]).all()
