"""SemiOVS: trains with and without foreign images, repeats itself, resumes, and keeps its rules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fallow
from fallow.encoders.segmenter import Segmenter
from fallow.images.classes import named_classes
from fallow.images.masks import IGNORE, read_masks, with_masks, without_masks
from fallow.images.samples import STREET_CLASSES, streets
from fallow.methods.segment import semiovs
from fallow.methods.segment.semiovs import SemiOVS
from fallow.problems import Problem, SettingProblem
from fallow.train import Now, fit, make_settings

CLASSES = len(STREET_CLASSES)
QUICK = {"classes": CLASSES, "epochs": 1, "batch": 4, "size": 32, "precision": "32", "warmup": 0.0}


def scenes(count=12, seed=0):
    """Street scenes with masks."""
    return read_masks(streets(count, seed, (40, 64)), None, list(STREET_CLASSES)).labelled


def named(foreign=True, labelled=3):
    every = scenes()
    streams = {"unlabelled": without_masks(every), "labelled": every.select(slice(labelled))}
    streams["mix"] = streams["unlabelled"]
    if foreign:
        streams["foreign"] = scenes(5, seed=1)
    return streams


def train(streams=None, seed=0, out=None, each_epoch=None, **values):
    return fit(
        SemiOVS,
        streams or named(),
        encoder=fallow.encoder("unet/4", seed=seed),
        settings=make_settings(SemiOVS.Settings, QUICK | values),
        seed=seed,
        out=out,
        each_epoch=each_epoch,
    )


def weights(run):
    state = run.method.state_dict().values()
    return torch.cat([value.detach().flatten().double() for value in state])


def losses(run, name):
    return [line[name] for line in run.history if name in line]


def test_same_seed_gives_the_same_weights():
    one, two = train(), train()
    assert one.steps == 3
    assert torch.equal(weights(one), weights(two))
    assert not torch.equal(weights(one), weights(train(seed=1)))


def test_learns_and_says_what_its_losses_are():
    run = train(epochs=20)
    assert {"supervised", "unlabelled", "foreign", "confident", "agreement"} <= set(run.history[0])
    supervised = losses(run, "supervised")
    assert np.mean(supervised[-3:]) < 0.9 * np.mean(supervised[:3])
    assert np.mean(losses(run, "foreign")[-3:]) < 0.9 * np.mean(losses(run, "foreign")[:3])


def test_without_foreign_images_it_is_unimatch():
    run = train(named(foreign=False))
    assert "foreign" not in run.history[0]
    line = run.history[0]
    assert line["loss"] == pytest.approx((line["supervised"] + line["unlabelled"]) / 2, rel=1e-5)


def test_weight_of_the_foreign_stream():
    line = train(foreign_weight=0.5).history[0]
    total = line["supervised"] + line["unlabelled"] + 0.5 * line["foreign"]
    assert line["loss"] == pytest.approx(total / 2.5, rel=1e-5)


def test_foreign_labels_matter_and_the_student_may_give_them():
    streams = named()
    wrong = {row: np.zeros((40, 64), np.uint8) for row in range(5)}
    stored, zeros = (
        train(streams),
        train(streams | {"foreign": with_masks(streams["foreign"], wrong)}),
    )
    assert stored.history[0]["foreign"] != zeros.history[0]["foreign"]
    bare = streams | {"foreign": without_masks(streams["foreign"])}
    student = train(bare, foreign_labels="student")
    assert student.history[0]["foreign"] < 0.1 * stored.history[0]["foreign"]  # sure of little
    with pytest.raises(SettingProblem, match="have no masks"):
        train(bare)


@pytest.mark.parametrize("copies", [0, 2])
def test_a_stopped_run_goes_on(tmp_path, copies):
    whole = train(epochs=3, copies=copies, copy_when="always")

    def stop(method, now):
        raise KeyboardInterrupt

    values = {"epochs": 3, "copies": copies, "copy_when": "always", "save_minutes": 0.0}
    with pytest.raises(KeyboardInterrupt):
        train(out=tmp_path / "run", each_epoch=stop, **values)
    resumed = train(out=tmp_path / "run", **values)
    assert "resuming at step 3" in resumed.notes
    assert torch.equal(weights(whole), weights(resumed))
    if copies:
        assert len(resumed.method.copies) == 2


def test_zoomed_views_with_padding():
    run = train(zoom=(0.4, 0.6))
    assert np.isfinite(losses(run, "loss")).all()
    batch = next(iter_batches(run.method, named()))
    seen = semiovs.inside_of(batch["foreign"])
    assert torch.equal(seen, batch["foreign"].masks[0] != IGNORE)
    assert 0.05 < (~seen).float().mean() < 0.9


def iter_batches(method, streams):
    from fallow.train.process import launch
    from fallow.train.session import Plan
    from fallow.train.streams import streams_of

    plan = Plan(method, streams_of(method, streams, 0, launch(), set(), print), 0, 0, 1)
    yield from plan.batches(Now(0, 0, 0.0, 3))


def built(name="unet/4", **values):
    from fallow.train.method import Facts

    settings = make_settings(SemiOVS.Settings, QUICK | values)
    facts = Facts(12, 40, streams=tuple(named()))
    torch.manual_seed(0)
    return SemiOVS(fallow.encoder(name), settings, facts)


def test_weak_and_strong_views_show_the_same_place():
    method = built()
    batch = next(iter_batches(method, named()))
    for name in ("unlabelled", "mix", "foreign"):
        geometry = batch[name].geometry
        assert len(geometry) == 3
        assert torch.equal(geometry[0], geometry[1])
        assert torch.equal(geometry[0], geometry[2])
        assert not torch.equal(batch[name].views[1], batch[name].views[2])
    assert not torch.equal(batch["mix"].index, batch["unlabelled"].index)


def test_the_second_batch_leaves_no_trace_in_running_statistics():
    """It is labelled in eval mode; only what it is pasted into may."""
    method = built("resnet14/8", box=0.0)  # it norms over batches; nothing is pasted
    batch = next(iter_batches(method, named()))
    changed = {**batch, "mix": batch["foreign"]}
    method.train()
    start = {name: value.clone() for name, value in method.state_dict().items()}
    states = []
    for one in (batch, changed):
        method.load_state_dict(start)
        torch.manual_seed(0)
        method.loss(one, Now(0, 0, 0.0, 3))
        assert method.student.training
        buffers = method.student.named_buffers()
        states.append({name: value.clone() for name, value in buffers})
    assert any("running_mean" in name for name in states[0])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_unsure_pixels_stay_in_the_denominator():
    logits = torch.zeros(1, 2, 1, 4)
    label, valid = torch.zeros(1, 1, 4, dtype=torch.long), torch.ones(1, 1, 4, dtype=torch.bool)
    sure = torch.tensor([[[0.99, 0.1, 0.1, 0.1]]])
    valid[0, 0, 3] = False
    goal = semiovs.Guess(label, sure, valid)
    (found,) = semiovs.judged([logits], [goal], 0.95)
    assert float(found) == pytest.approx(np.log(2) / 3)


def test_stored_labels_are_trusted_whole_and_pasted_ones_are_not():
    stored = torch.tensor([[[1, 1, IGNORE, 0]]])
    known = semiovs.certain(stored)
    assert known.label.tolist() == [[[1, 1, 0, 0]]]  # padding has a class, but does not count
    assert known.valid.tolist() == [[[True, True, False, True]]]
    unsure = semiovs.Guess(
        torch.zeros(1, 1, 4).long(), torch.full((1, 1, 4), 0.5), known.valid | True
    )
    box = torch.tensor([[[True, False, False, False]]])
    goal = known.pasted(unsure, box)
    weight = semiovs.confident_pixels(goal.confidence, goal.valid, 0.95)
    assert weight.tolist() == [[[0, 1, 0, 1]]]


def test_foreign_views_get_the_own_ones_before_these_are_changed():
    views = [torch.full((1, 3, 2, 2), value) for value in (0.0, 1.0, 2.0)]
    box = torch.tensor([[[True, False], [False, False]]])
    foreign, own = semiovs.pasted_views([views[0]], [views[1]], [views[2]], [box])
    assert foreign[0][0, 0].tolist() == [[1, 0], [0, 0]]
    assert own[0][0, 0].tolist() == [[2, 1], [1, 1]]
    assert views[1].eq(1).all()


def test_channels_are_dropped_whole_from_the_finest_and_the_deepest():
    torch.manual_seed(0)
    maps = [torch.ones(4, 16, side, side) for side in (8, 4, 2)]
    first, middle, last = semiovs.drop_channels(maps, 0.5)
    assert torch.equal(middle, maps[1])
    for dropped in (first, last):
        per_channel = dropped.flatten(2)
        assert (per_channel == per_channel[:, :, :1]).all()
        assert set(per_channel.unique().tolist()) == {0.0, 2.0}


def test_the_missing_channels_of_an_opinion_are_always_the_same():
    segmenter = Segmenter(fallow.encoder("unet/4"), 3).eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    opinion = semiovs.Dropped(segmenter, 0.5)
    torch.manual_seed(1)
    one = opinion(x)
    torch.manual_seed(2)
    torch.testing.assert_close(one, opinion(x))
    assert (one - segmenter(x)).abs().max() > 1e-3
    method = built()
    assert [type(each) for each in method.opinions()] == [Segmenter, semiovs.Dropped]


def test_copies_are_kept_by_agreement_without_masks():
    method = built(copies=2)
    for epoch, agreed in enumerate([0.5, 0.4, 0.7]):
        method._of_step = [torch.tensor(agreed)]
        method.after_step(Now(epoch, epoch, 0.0, 1))
        method.before_epoch(Now(epoch + 1, epoch + 1, 0.0, 1), named()["unlabelled"])
        assert len(method.copies) == [1, 1, 2][epoch]


def test_copies_are_kept_by_the_validation_score_if_somebody_measures_it():
    method = built(copies=2, copy_when="validation")
    images = named()["unlabelled"]
    method.before_epoch(Now(0, 0, 0.0, 1), images)
    with pytest.raises(SettingProblem, match="nobody measured"):
        method.before_epoch(Now(1, 1, 0.0, 1), images)
    kept = []
    for score in (0.3, 0.2, 0.4):
        method.told(score)
        method.before_epoch(Now(1, 1, 0.0, 1), images)
        kept.append(int(method.copies.added))
    assert kept == [1, 1, 2]


def test_copies_speak_once_there_are_some():
    run = train(epochs=4, copies=2, copy_when="always", copies_threshold=0.0)
    spoke = ["copies" in line for line in run.history if "loss" in line]
    assert not spoke[0]
    assert spoke[-1]
    assert not any(p.requires_grad for p in run.method.copies.parameters())


def test_hard_pixels_of_the_masks():
    plain, hard = train().history[0], train(hard_pixels=1).history[0]
    assert hard["supervised"] >= plain["supervised"] * (1 - 1e-6)


@pytest.mark.parametrize("counted", ["share", "mean"])
def test_other_ways_to_count(counted):
    assert np.isfinite(losses(train(counted=counted), "loss")).all()


def test_bf16_and_a_general_encoder():
    run = fit(
        SemiOVS,
        named(),
        encoder=fallow.encoder("resnet8/8"),
        settings=make_settings(SemiOVS.Settings, QUICK | {"precision": "bf16"}),
    )
    assert np.isfinite(losses(run, "loss")).all()


def test_streams_of_the_verb():
    classes = named_classes(list(STREET_CLASSES))
    lines = []
    images = named(foreign=False)
    images.pop("mix")
    plain = SemiOVS.streams(images, classes=classes)
    assert set(plain) == {"unlabelled", "labelled", "mix"}
    with_more = SemiOVS.streams(
        images, more=streets(4, 3, (40, 64)), classes=classes, tell=lines.append
    )
    assert len(with_more["foreign"]) == 4
    assert "the masks that came with them" in lines[-1]
    with pytest.raises(Problem, match="words for each class"):
        SemiOVS.streams(images, more=without_masks(streets(4, 3, (40, 64))), classes=classes)


def test_volumes_are_refused():
    from fallow.train.method import Facts

    settings = make_settings(SemiOVS.Settings, QUICK)
    with pytest.raises(SettingProblem, match="not on volumes"):
        SemiOVS(fallow.encoder("unet/4"), settings, Facts(4, 32, dimensions=3))


@pytest.mark.parametrize("preset", SemiOVS.presets)
def test_presets_are_valid(preset):
    settings = make_settings(SemiOVS.Settings, SemiOVS.presets[preset])
    assert settings.learning_rate * settings.batch / 256 == pytest.approx(1e-3)
    assert isinstance(built(), nn.Module)


def test_other_labels_are_another_run(tmp_path):
    streams = named()
    train(streams, out=tmp_path / "run")
    wrong = {row: np.zeros((40, 64), np.uint8) for row in range(5)}
    with pytest.raises(Problem, match="holds another run"):
        train(streams | {"foreign": with_masks(streams["foreign"], wrong)}, out=tmp_path / "run")
