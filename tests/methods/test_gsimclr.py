"""G-SimCLR, and distinct batches in any contrastive method: composed, counted, resumed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fallow
from fallow.images.samples import shapes
from fallow.methods import find
from fallow.problems import SettingProblem
from fallow.train import Now, fit, make_settings
from fallow.train.order import distinct, repeats

NOW = Now(step=0, epoch=0, progress=0.0, steps_per_epoch=1)


def settings_for(slug, **values):
    plain = {"epochs": 2, "batch": 8, "size": 16, "precision": "32", "learning_rate": 0.5}
    if slug == "gsimclr":
        plain |= {"detail": 16, "filters": 4, "rounds": 2}
    return make_settings(find("learn", slug).Settings, plain | values)


def train(slug="gsimclr", images=None, seed=0, each_epoch=None, kind=None, out=None, **values):
    kind = kind or find("learn", slug)

    class Watched(kind):
        """Keeps what every step says of itself; the journal keeps only some steps."""

        def before_training(self, pack, seed):
            super().before_training(pack, seed)
            self.said = []  # trials of the fastest precision came before

        def forward(self, batch, now):
            found = super().forward(batch, now)
            if hasattr(self, "said"):
                self.said.append({name: float(part) for name, part in found.parts.items()})
            return found

    return fit(
        Watched,
        images or shapes(50, seed=0, side=24),
        encoder=fallow.encoder("resnet8/8", seed=seed),
        settings=settings_for(slug, **values),
        out=out,
        seed=seed,
        each_epoch=each_epoch,
    )


def weights(run):
    return torch.cat([p.detach().flatten().double() for p in run.method.state_dict().values()])


def logged(run, name):
    assert any(line.keys() >= run.method.said[0].keys() for line in run.history)
    return [parts[name] for parts in run.method.said if name in parts]


def test_same_seed_gives_the_same_weights():
    one, two = train(), train()
    assert one.steps == 12
    assert torch.equal(weights(one), weights(two))
    assert not torch.equal(weights(one), weights(train(seed=1)))


@pytest.mark.parametrize("slug", ["simclr", "gsimclr", "groco"])
def test_every_contrastive_method_composes_distinct_batches(slug):
    values = {"hidden": 16, "projection": 16}
    run = train(slug, compose="distinct", **values)
    classes = run.method.pseudo_classes.numpy()
    assert classes.min() == 0
    assert len(np.unique(classes)) == 8
    expected = distinct(classes, 8, seed=0, epoch=1)
    assert np.array_equal(run.method.compose(Now(6, 1, 0.5, 6), 50, 8, 0), expected)
    # what is logged is what those batches hold
    assert logged(run, "repeats")[6:] == repeats(classes, expected).tolist()
    assert len(logged(run, "false_negatives")) == run.steps


def test_shuffled_batches_need_no_pseudo_classes():
    run = train("simclr")
    assert not any("pseudo" in name for name in run.method.state_dict())
    assert not logged(run, "repeats")
    assert len(logged(run, "false_negatives")) == run.steps


def test_without_labels_nothing_is_said_of_false_negatives():
    images = shapes(24, seed=0, side=24)
    plain = fallow.open([images[i] for i in range(24)])
    run = train("simclr", images=plain, epochs=1)
    assert not logged(run, "false_negatives")


def test_classes_that_are_the_labels_leave_no_false_negatives():
    """The mechanism, at its best: 8 equal classes, batches of 8."""
    base = find("learn", "gsimclr")
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 255, (64, 16, 16, 3)).astype(np.uint8)
    labels = np.array([f"class {number % 8}" for number in range(64)])
    images = fallow.open(pixels, labels=labels)

    class Oracle(base):
        def name_classes(self, pack, seed, **how):
            return images.labels[0][pack.rows]

    guided = logged(train(images=images, kind=Oracle), "false_negatives")
    random = logged(train("simclr", images=images), "false_negatives")
    assert guided == [0.0] * 16
    assert 0.05 < np.mean(random) < 0.2


def test_a_stopped_run_repeats_its_classes(tmp_path):
    whole = train(epochs=3)
    asked = []

    class Counted(find("learn", "gsimclr")):
        def name_classes(self, pack, seed, **how):
            asked.append(len(pack))
            return super().name_classes(pack, seed, **how)

    stopped = []

    def stop(method, now):
        stopped.append(now.step)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(epochs=3, save_minutes=0.0, out=tmp_path / "run", each_epoch=stop, kind=Counted)
    resumed = train(epochs=3, save_minutes=0.0, out=tmp_path / "run", kind=Counted)
    assert stopped == [5]
    assert asked == [50], "the classes were made twice"
    assert "resuming at step 6" in resumed.notes
    assert torch.equal(weights(whole), weights(resumed))


def test_more_pseudo_classes_than_images_in_a_batch():
    run = train(pseudo_classes=20)
    assert len(np.unique(run.method.pseudo_classes)) == 20


def test_tiny_folder_and_equal_images():
    assert train(images=shapes(5, seed=0, side=24)).steps == 2
    same = fallow.open(np.full((16, 16, 16, 3), 90, np.uint8))
    run = train(images=same, epochs=1)
    assert run.method.pseudo_classes.unique().numel() >= 1


def test_before_training_batches_are_just_shuffled():
    method = find("learn", "gsimclr")(
        fallow.encoder("resnet8/8"), settings_for("gsimclr"), fallow.train.Facts(50, 24)
    )
    rows = method.compose(NOW, 50, 8, 0)
    assert rows.shape == (6, 8)
    assert len(np.unique(rows)) == 48


def test_settings_speak_plainly():
    with pytest.raises(SettingProblem, match="compose"):
        settings_for("simclr", compose="distinkt")
    with pytest.raises(SettingProblem, match="compose"):
        settings_for("swav", compose="distinct")
    paper = find("learn", "gsimclr").presets["paper"]
    settings = make_settings(find("learn", "gsimclr").Settings, paper)
    assert settings.learning_rate * settings.batch / 256 == pytest.approx(0.1)
    assert settings.compose == "distinct"
