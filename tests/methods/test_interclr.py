"""InterCLR: live clusters that neither vanish nor swallow each other, and honest negatives."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

import fallow
from fallow.images.samples import shapes
from fallow.losses.margin import arc_margin, margin_nce
from fallow.methods.learn.interclr import InterCLR
from fallow.parts.memory import Clusters
from fallow.parts.negatives import anywhere, hard, semi_easy, semi_hard
from fallow.train import Facts, Now, fit, make_settings


def settings_of(**values):
    plain = {"epochs": 2, "batch": 16, "size": 16, "precision": "32", "learning_rate": 0.05}
    return make_settings(InterCLR.Settings, plain | values)


def train(seed=0, out=None, each_epoch=None, images=None, **values):
    return fit(
        InterCLR,
        images or shapes(48, seed=0, side=24),
        encoder=fallow.encoder("resnet8/8", seed=seed),
        settings=settings_of(**values),
        out=out,
        seed=seed,
        each_epoch=each_epoch,
    )


def state(run):
    return {name: value.clone() for name, value in run.method.state_dict().items()}


def equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_same_seed_gives_the_same_run_and_another_does_not():
    one, two, other = train(), train(), train(seed=1)
    assert one.steps == 6
    assert equal(state(one), state(two))
    assert not equal(state(one), state(other))
    assert {"intra", "inter", "changed"} <= set(one.history[-1])


@pytest.mark.parametrize("labels", ["online", "offline"])
def test_a_stopped_run_goes_on_with_its_memory(labels, tmp_path):
    class Stop(Exception):
        pass

    def stop(method, now):
        if now.epoch == 1:
            raise Stop

    values = {"epochs": 4, "save_minutes": 0.0, "labels": labels, "refresh_epochs": 2}
    whole = train(**values)
    with pytest.raises(Stop):
        train(out=tmp_path / "run", each_epoch=stop, **values)
    resumed = train(out=tmp_path / "run", **values)
    assert any("resuming at step 6" in note for note in resumed.notes)
    assert equal(state(whole), state(resumed))


def test_every_image_lies_in_a_cluster_and_no_cluster_is_small():
    memory = train(epochs=4, clusters=6, smallest=4).method.memory
    assert len(memory.labels) == 48
    assert memory.labels.min() >= 0
    assert memory.sizes.sum() == 48
    assert memory.sizes.min() >= 4
    torch.testing.assert_close(memory.features.norm(dim=1), torch.ones(48))


def test_offline_labels_stand_still_within_a_period():
    seen = {}

    def look(method, now):
        seen[now.epoch] = method.memory.labels.clone()

    train(epochs=6, labels="offline", refresh_epochs=3, each_epoch=look, learning_rate=0.5)
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[2], seen[3])
    assert torch.equal(seen[3], seen[5])


@pytest.mark.parametrize("sampling", ["semi-hard", "hard", "semi-easy", "random"])
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_every_way_to_draw_trains(sampling, precision):
    run = train(epochs=1, sampling=sampling, precision=precision)
    assert all(math.isfinite(line["inter"]) for line in run.history)
    assert run.history[-1]["inter"] > 0


def test_accumulated_parts_fill_the_same_slots():
    run = train(epochs=1, accumulate=2)
    assert run.steps == 3
    assert int(run.method.queue.pointer) == 48 % len(run.method.queue.keys)


def test_the_paper_preset_is_a_valid_setting():
    paper = make_settings(InterCLR.Settings, InterCLR.presets["paper"])
    assert (paper.clusters, paper.pool, paper.negatives) == (10000, 128000, 16384)
    assert paper.bank_momentum == 1.0
    assert (paper.margin, paper.inter_weight, paper.temperature) == (-0.5, 0.25, 0.2)
    small = InterCLR(fallow.encoder("resnet8/8"), paper, Facts(500, 32))
    assert len(small.memory.centroids) == 250  # no more than the images can share
    assert len(small.queue.keys) == 256


def test_equal_images_neither_hang_nor_break():
    from fallow.images import open as open_images

    pixels = shapes(1, seed=0, side=24)[0]
    run = train(images=open_images([pixels] * 32), epochs=1)
    assert run.method.memory.sizes.min() >= 1
    assert all(math.isfinite(line["loss"]) for line in run.history)


def test_the_first_step_learns_from_other_views_alone_when_asked():
    method = train(epochs=1).method
    batch = torch.nn.functional.normalize(torch.randn(4, 128), dim=1).requires_grad_()
    method.inter(batch, torch.arange(4)).backward()
    assert batch.grad.abs().sum() > 0
    late = train(epochs=1, inter_from_epoch=1).history[-1]
    assert late["loss"] == pytest.approx(late["intra"])
    now = train(epochs=1, inter_weight=0.25).history[-1]
    assert now["loss"] == pytest.approx(0.75 * now["intra"] + 0.25 * now["inter"], rel=1e-5)


def test_the_key_network_follows_and_is_not_trained():
    method = train(epochs=1).method
    frozen = [*method.key_encoder.parameters(), *method.key_head.parameters()]
    assert not any(parameter.requires_grad for parameter in frozen)
    before = frozen[0].clone()
    own = next(method.encoder.parameters())
    method.after_step(Now(0, 0, 0.0, 3))
    torch.testing.assert_close(frozen[0], 0.99 * before + 0.01 * own)


# draws


def crowd():
    """40 slots, 30 of them cluster 0 and nearest to every query; 5 empty."""
    labels = torch.tensor([0] * 30 + [1] * 5 + [-1] * 5)
    similarity = torch.linspace(1, -1, 40).repeat(8, 1)
    return similarity, torch.zeros(8, dtype=torch.long), labels


@pytest.mark.parametrize(
    "draw",
    [
        lambda *where: hard(*where, 3),
        lambda *where: semi_hard(*where, 10, 3),
        lambda *where: semi_easy(*where, 10, 3),
        lambda *where: anywhere(*where[1:], 3),
    ],
)
def test_a_pool_full_of_the_own_cluster_is_no_trap(draw):
    slots, valid = draw(*crowd())
    assert valid.all()
    assert ((slots >= 30) & (slots < 35)).all()
    assert all(len(set(row.tolist())) == 3 for row in slots)


def test_one_cluster_has_no_negatives_and_no_loss():
    similarity, own, _ = crowd()
    slots, valid = semi_hard(similarity, own, torch.zeros(40, dtype=torch.long), 10, 3)
    assert not valid.any()
    query = torch.randn(8, 4, requires_grad=True)
    bank = F.normalize(torch.randn(40, 4), dim=1)
    loss = margin_nce(query, bank[:8], bank[slots], valid=valid)
    loss.backward()
    assert loss.item() == 0
    assert not query.grad.any()


def test_semi_hard_draws_evenly_from_the_admissible_pool():
    torch.manual_seed(0)
    labels = torch.tensor([0, 1, 0, 1, 2, 2, 1, 1])
    similarity = torch.linspace(1, 0, 8).repeat(4000, 1)
    own = torch.zeros(4000, dtype=torch.long)
    slots, valid = semi_hard(similarity, own, labels, 5, 1)  # the pool leaves 1, 3, 4
    share = torch.bincount(slots.flatten(), minlength=8) / 4000
    assert valid.all()
    assert share[[0, 2, 5, 6, 7]].sum() == 0
    torch.testing.assert_close(share[[1, 3, 4]], torch.full((3,), 1 / 3), atol=0.03, rtol=0)


def test_mates_are_drawn_evenly_from_the_own_cluster():
    torch.manual_seed(0)
    memory = Clusters(8, 2, count=3)
    memory.start(torch.randn(7, 2), torch.tensor([2, 0, 2, 0, 1, 2, 0]))  # the last slot is empty
    mates = memory.mates(torch.zeros(3000, dtype=torch.long))
    assert set(mates.tolist()) == {0, 2, 5}
    assert torch.bincount(mates)[[0, 2, 5]].min() > 900
    assert memory.mates(torch.tensor([4])).tolist() == [4]


# clusters


def test_the_giant_is_split_until_all_are_large_enough():
    features = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(60, dtype=torch.long)
    labels[:2], labels[2] = 1, 2
    memory = Clusters(60, 4, count=5, smallest=3)
    memory.start(features, labels)
    assert memory.repair() == 4  # two too small, two empty
    assert memory.sizes.sum() == 60
    assert memory.sizes.min() >= 3
    for cluster in range(5):
        own = memory.features[memory.labels == cluster].mean(0)
        torch.testing.assert_close(memory.centroids[cluster], own)


def test_equal_rows_are_split_in_halves():
    memory = Clusters(10, 2, count=2)
    memory.start(torch.ones(10, 2), torch.zeros(10, dtype=torch.long))
    memory.repair()
    assert memory.sizes.tolist() == [5, 5]


def test_when_all_clusters_are_small_the_largest_stays():
    memory = Clusters(6, 2, count=3, smallest=100)
    memory.start(torch.randn(6, 2), torch.tensor([0, 0, 0, 1, 1, 2]))
    memory.repair()
    assert memory.sizes.sum() == 6
    assert memory.sizes.min() >= 1


def test_centroids_are_not_scaled_to_length_one():
    memory = Clusters(2, 2, count=1)
    memory.start(torch.eye(2), torch.tensor([0, 0]))
    assert memory.centroids.tolist() == [[0.5, 0.5]]


def test_an_empty_cluster_keeps_its_centroid():
    memory = Clusters(2, 2, count=2)
    memory.start(torch.eye(2), torch.tensor([0, 1]))
    memory.update(torch.tensor([0]), torch.tensor([[0.0, 1.0]]))
    memory.recentre()
    assert memory.labels.tolist() == [1, 1]
    assert memory.centroids.tolist() == [[1, 0], [0, 1]]


# losses


def test_a_negative_margin_loosens_the_boundary():
    torch.manual_seed(0)
    q, p, n = torch.randn(6, 8), torch.randn(6, 8), F.normalize(torch.randn(6, 9, 8), dim=2)
    for name in ("margin", "arc"):
        losses = [float(margin_nce(q, p, n, **{name: value})) for value in (-0.5, 0.0, 0.5)]
        assert losses == sorted(losses)
        assert losses[0] < losses[1] < losses[2]


def test_arc_margin_adds_to_the_angle_and_grows_with_the_cosine():
    angle = torch.linspace(0.6, 2.5, 20)
    torch.testing.assert_close(arc_margin(angle.cos(), 0.5), (angle + 0.5).cos())
    torch.testing.assert_close(arc_margin(angle.cos(), -0.5), (angle - 0.5).cos())
    cosine = torch.linspace(-1, 1, 101, requires_grad=True)
    for margin in (-0.5, 0.5):
        moved = arc_margin(cosine, margin)
        assert (moved.diff() > 0).all()
        (slope,) = torch.autograd.grad(moved.sum(), cosine)
        assert torch.isfinite(slope).all()
