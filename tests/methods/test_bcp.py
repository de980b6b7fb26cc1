"""BCP as a whole: what the student sees, which weights count, teacher modes, both stages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fallow
from fallow.encoders.lite import installed
from fallow.images.masks import with_masks, without_masks
from fallow.images.samples import cells
from fallow.images.volumes import Volumes
from fallow.methods import find
from fallow.methods.segment.bcp import BCP, holds_together
from fallow.methods.shared.segment import look
from fallow.train import Batch, Now, fit, make_settings
from fallow.train.method import Facts
from fallow.train.session import optimiser_of

PLAIN = {"epochs": 3, "batch": 4, "size": 32, "precision": "32", "classes": 2}


def stained(count=14, masked=4):
    """Drawn cells, the first few with a mask that tells them from the ground."""
    images = cells(count, seed=0, side=48)
    codes = {k: (images.mask(k) > 0).astype(np.uint8) for k in range(masked)}
    some = with_masks(without_masks(images), codes)
    return {"unlabelled": without_masks(some.select(range(masked, count))),
            "labelled": some.select(range(masked))}  # fmt: skip


def train(images=None, seed=0, out=None, each_epoch=None, name="unet/4", **values):
    options = {"dimensions": 3, "inputs": 1} if isinstance(images, dict) and hasattr(
        images["labelled"], "arrays") else {}  # fmt: skip
    return fit(
        BCP,
        images or stained(),
        encoder=fallow.encoder(name, seed=seed, **options),
        settings=make_settings(BCP.Settings, PLAIN | values),
        out=out,
        seed=seed,
        each_epoch=each_epoch,
    )


def build(dimensions=2, **values):
    torch.manual_seed(0)
    settings = make_settings(BCP.Settings, PLAIN | values)
    encoder = fallow.encoder("unet/4", dimensions=dimensions, inputs=3 if dimensions == 2 else 1)
    return BCP(encoder, settings, Facts(8, 32, dimensions=dimensions))


def batch(images, masks=None):
    count = len(images)
    geometry = torch.zeros(1, count, 2, 3)
    coded = [] if masks is None else [masks]
    unknown = -torch.ones(count)
    return Batch([images], [images], torch.arange(count), unknown, geometry, ["weak"], coded)


def now(progress=0.9):
    return Now(step=5, epoch=0, progress=progress, steps_per_epoch=10)


class Seen(torch.nn.Module):
    """A student that only remembers what it was shown."""

    def __init__(self, classes=2):
        super().__init__()
        self.shown, self.classes = [], classes
        self.bias = torch.nn.Parameter(torch.zeros(classes))

    def forward(self, x):
        self.shown.append(x)
        return self.bias.view(1, -1, 1, 1).expand(len(x), -1, *x.shape[2:])


def started(**values):
    method = build(**values)
    method.begin_step(now())
    method.student = Seen()
    return method


def two_streams():
    labelled = torch.stack([torch.full((3, 32, 32), float(k + 1)) for k in range(4)])
    free = -torch.stack([torch.full((3, 32, 32), float(k + 1)) for k in range(4)])
    return {"labelled": batch(labelled, torch.ones(4, 32, 32, dtype=torch.int64)),
            "unlabelled": batch(free)}  # fmt: skip


def test_the_student_sees_half_labelled_half_unlabelled_pictures_in_both_directions():
    method = started()
    method.loss(two_streams(), now())
    inward, outward = (x[:, 0] for x in method.student.shown)
    block = 21 * 21
    for row in range(2):
        assert inward[row].unique().tolist() == [-row - 1.0, row + 1.0]
        assert int((inward[row] > 0).sum()) == block  # a labelled block on unlabelled
        assert outward[row].unique().tolist() == [-row - 3.0, row + 3.0]
        assert int((outward[row] < 0).sum()) == block  # an unlabelled block on labelled
    same = (inward[0] > 0) == (outward[1] < 0)
    assert same.all()  # one mask for the batch and both directions


@pytest.mark.parametrize(("pasting", "count"), [("inward", 1), ("outward", 1), ("off", 4)])
def test_other_ways_of_pasting(pasting, count):
    method = started(pasting=pasting)
    method.loss(two_streams(), now())
    assert len(method.student.shown) == count
    if pasting == "off":
        assert all(len(x.unique()) == 2 for x in method.student.shown)  # two pure pictures


def test_true_labels_weigh_one_and_pseudo_labels_half():
    method = started(pasting="off")
    teacher = torch.zeros(2, 32, 32, dtype=torch.int64)
    method.labels = lambda images: teacher
    whole = method.loss(two_streams(), now()).total
    method = started(pasting="off", pseudo_weight=0.0)
    method.labels = lambda images: teacher
    true = method.loss(two_streams(), now()).total
    method = started(pasting="off", pseudo_weight=1.0)
    method.labels = lambda images: teacher
    equal = method.loss(two_streams(), now()).total
    assert (whole - true).item() == pytest.approx(((equal - true) / 2).item(), rel=1e-5)
    assert true > 0


def test_the_teacher_labels_in_training_mode_unless_told_otherwise():
    for mode in ("train", "eval"):
        method = build(teacher_mode=mode).train()
        norm = method.teacher.encoder.network.blocks[0][1] = torch.nn.BatchNorm2d(4)
        seen = []
        method.teacher.register_forward_hook(lambda m, *_: seen.append(m.training))  # noqa: B023
        method.labels(torch.randn(2, 3, 32, 32))
        assert seen == [mode == "train"]
        assert bool((norm.running_mean != 0).any()) == (mode == "train")
        assert method.teacher.training


def test_only_the_largest_piece_of_a_pseudo_label_is_kept():
    method = build()
    logits = torch.zeros(1, 2, 32, 32)
    logits[:, 0] = 1
    logits[:, 1, 2:8, 2:8] = logits[:, 1, 20:22, 20:22] = 5
    method.teacher = torch.nn.Identity()
    assert int(method.labels(logits).sum()) == 36
    other = build(components="all")
    other.teacher = torch.nn.Identity()
    assert int(other.labels(logits).sum()) == 40


def test_stage_one_sees_no_unlabelled_picture_and_stage_two_starts_from_it():
    method = build(pretrain=0.5)
    method.begin_step(now(0.4))
    method.student = Seen()
    method.loss(two_streams(), now(0.4))
    (mix,) = method.student.shown
    assert (mix > 0).all()
    assert mix[0, 0].unique().tolist() == [1.0, 3.0]
    method = build(pretrain=0.5)
    with torch.no_grad():
        for p in method.student.parameters():
            p.add_(1)
    method.begin_step(now(0.5))
    ours, theirs = method.student.state_dict(), method.teacher.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize(("dimensions", "averaged"), [(2, True), (3, False)])
def test_statistics_are_averaged_for_pictures_and_not_for_volumes(dimensions, averaged):
    method = build(dimensions)
    for network in (method.student, method.teacher):  # as networks have that norm over a batch
        network.norm = torch.nn.BatchNorm2d(3)
    method.started.fill_(True)
    method.student.norm.running_mean += 1
    method.after_step(now())
    assert bool((method.teacher.norm.running_mean != 0).any()) == averaged


def test_learns_and_is_deterministic():
    how = {"epochs": 30, "learning_rate": 2.0, "components": "all"}
    one, two = train(**how), train(**how)
    a, b = one.method.state_dict(), two.method.state_dict()
    assert all(torch.equal(a[key], b[key]) for key in a)
    images = cells(14, seed=0, side=48)
    right = both = 0
    for row in range(4, len(images)):
        truth = images.mask(row) > 0
        found = look(one.method, images[row])[0].argmax(0)
        found = torch.nn.functional.interpolate(found[None, None].float(), truth.shape)[0, 0] > 0.5
        right += int((found.numpy() & truth).sum())
        both += int(found.sum()) + int(truth.sum())
    assert 2 * right / both > 0.7


def test_a_run_that_was_stopped_goes_on_as_if_it_was_not(tmp_path):
    class Stop(Exception):
        pass

    def stop(method, now):
        if now.epoch == 1:
            raise Stop

    whole = train(epochs=4, pretrain=0.4)
    with pytest.raises(Stop):
        train(epochs=4, pretrain=0.4, out=tmp_path / "run", each_epoch=stop, save_minutes=0.0)
    rest = train(epochs=4, pretrain=0.4, out=tmp_path / "run", save_minutes=0.0)
    a, b = whole.method.state_dict(), rest.method.state_dict()
    assert bool(a["started"])
    assert all(torch.equal(a[key], b[key]) for key in a)


def balls(count=6, masked=2):
    """Bright balls in noise, and where they are."""
    random = np.random.default_rng(0)
    scans, masks = [], []
    z, y, x = np.mgrid[0:16, 0:24, 0:24]
    for _ in range(count):
        at, r = random.uniform(7, 10, 3), random.uniform(4, 6)
        inside = (z - at[0]) ** 2 + (y - at[1] - 3) ** 2 + (x - at[2] - 3) ** 2 < r**2
        scans.append(inside * 2.0 + random.normal(0, 0.5, inside.shape))
        masks.append(inside.astype(np.uint8))
    known = [mask if k < masked else None for k, mask in enumerate(masks)]
    whole = Volumes(scans, known)
    return {
        "unlabelled": whole.select(~whole.masked),
        "labelled": whole.select(whole.masked),
    }, masks


def test_volumes_train_and_are_segmented():
    images, masks = balls()
    run = train(images, size=32, depth=16, batch=2, epochs=12, learning_rate=8.0)
    method = run.method
    found = look(method, images["unlabelled"].normalised(0))[0]
    assert found.shape == (2, 16, 24, 24)
    truth = masks[2] > 0
    inside = found.argmax(0).numpy() > 0
    assert 2 * (inside & truth).sum() / (inside.sum() + truth.sum()) > 0.6


def test_presets_are_valid_settings():
    for values in BCP.presets.values():
        make_settings(BCP.Settings, values)
    assert find("segment", "bcp") is BCP


@pytest.mark.skipif(not installed("lite"), reason="its weights are not installed")
def test_lite_learns_at_a_tenth_of_the_rate_and_its_first_stages_not_at_all():
    settings = make_settings(BCP.Settings, {"size": 64, "epochs": 1})
    method = BCP(fallow.encoder("lite", size=64), settings, Facts(8, 64))
    groups = optimiser_of(method).param_groups
    scales = {id(one): group["rate_scale"] for group in groups for one in group["params"]}
    blocks = method.encoder.network.blocks
    assert {scales[id(one)] for one in blocks[6].parameters()} == {0.1}
    assert not any(id(one) in scales for one in blocks[2].parameters())
    assert {scales[id(one)] for one in method.student.decoder.parameters()} == {1.0}


def test_many_pieces_turn_the_component_filter_off():
    many = np.zeros((1, 20, 20), np.uint8)
    many[0, ::4, ::4] = 1
    assert not holds_together(list(many))
    random = fallow.encoder("unet/4")
    assert BCP.suited({}, list(many), random) == {"components": "all"}
    assert BCP.suited({"components": "largest"}, list(many), random) == {"components": "largest"}


def test_what_knows_pictures_learns_by_adamw_unless_a_rate_is_given():
    one = [np.eye(4, dtype=np.uint8)]
    found = BCP.suited({}, one, fallow.encoder("tiny"))
    assert (found["optimiser"], found["learning_rate"]) == ("adamw", pytest.approx(0.032))
    given = {"learning_rate": 0.1, "pretrain": 0.25}
    assert BCP.suited(given, one, fallow.encoder("tiny")) == given
    given = {"learning_rate": 0.1}
    taught = {"pretrain": 0.5, "teacher_memory": 0.125}
    assert BCP.suited(given, one, fallow.encoder("tiny")) == given | taught


def test_what_knows_pictures_is_taught_from_half_on_by_a_teacher_that_forgets_the_beginning():
    one = [np.eye(4, dtype=np.uint8)]
    found = BCP.suited({}, one, fallow.encoder("tiny"))
    assert (found["pretrain"], found["teacher_memory"]) == (0.5, 0.125)
    assert "teacher_memory" not in BCP.suited({"pretrain": 0.25}, one, fallow.encoder("tiny"))
    assert "teacher_memory" not in BCP.suited({}, one, fallow.encoder("unet/4"))


def test_the_teacher_averages_over_a_share_of_its_steps_until_that_is_what_was_published():
    def momentum(step, progress, **values):
        method = build(pretrain=0.5, **values)
        return method.momentum(Now(step=step, epoch=0, progress=progress, steps_per_epoch=10))

    assert momentum(50, 0.5) == momentum(100, 1.0) == 0.99
    assert momentum(50, 0.5, teacher_memory=0.125) == 0  # the first: it is its student
    assert momentum(100, 1.0, teacher_memory=0.125) == pytest.approx(1 - 1 / (1 + 50 / 8))
    assert momentum(4000, 1.0, teacher_memory=0.125) == 0.99
    method = build(pretrain=0.5, teacher_memory=0.125)
    method.begin_step(now(0.5))
    with torch.no_grad():
        for weight in method.student.parameters():
            weight += 1
    method.after_step(now(1.0))  # of 5 steps 2.5 were the teacher's
    gap = next(method.student.parameters()) - next(method.teacher.parameters())
    assert gap.mean().item() == pytest.approx(1 - 1 / (1 + 2.5 / 8), rel=1e-5)


def test_pictures_with_an_up_and_a_down_are_not_turned():
    scene = np.zeros((40, 40), np.uint8)
    scene[25:] = 1
    random = fallow.encoder("unet/4")
    assert BCP.suited({}, [scene] * 4, random)["turns"] == 0.0
    assert BCP.suited({"turns": 0.3}, [scene] * 4, random)["turns"] == 0.3
    assert "turns" not in BCP.suited({}, [scene, scene.T] * 2, random)
    assert "turns" not in BCP.suited({}, [np.stack([scene] * 9)] * 4, random)  # volumes
