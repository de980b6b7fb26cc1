"""Spot at a fixed price: the work grows with the pictures, and what it says is what MuSc says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fallow.encoders import encoder
from fallow.encoders.maps import sight
from fallow.images import samples
from fallow.measure import auroc
from fallow.methods.shared import crowd
from fallow.methods.shared.alike import alike
from fallow.methods.shared.crowd import Crowd, described, usual_at
from fallow.methods.shared.oddness import Bank
from fallow.methods.shared.paired import Paired, by_name
from fallow.methods.spot.musc import MuSc, Settings
from fallow.problems import SourceProblem


def judges(**settings):
    chosen = encoder("untrained")
    how = sight(chosen, size=64, side=8)
    return [kind(chosen, how, Settings(**settings)) for kind in (Crowd, MuSc)]


def seen(count: int, seed: int = 0) -> Bank:
    generator = torch.Generator().manual_seed(seed)
    maps = [torch.rand(count, 8, 8, width, generator=generator) for width in (6, 10)]
    return Bank(maps, torch.rand(count, 4, generator=generator))


def test_one_layer_in_full_width_and_all_references_is_the_published_score():
    quick, published = judges(degrees=(1,), references=None, precision="32")
    bank = seen(9)
    bank.maps = [bank.maps[0]]
    whole = MuSc(published.encoder, published.how, published.settings)
    standard = Bank([whole.kept(bank.maps[0])], bank.vectors)
    torch.testing.assert_close(
        quick.scores(bank, None), published.scores(standard, None), atol=2e-5, rtol=1e-4
    )


def test_the_work_grows_with_the_pictures_once_there_are_enough(monkeypatch):
    work = [0]
    one_by_one = crowd.nearest_to

    def counting(one, others):
        work[0] += len(one) * others.shape[0] * others.shape[1]
        return one_by_one(one, others)

    monkeypatch.setattr(crowd, "nearest_to", counting)
    quick, _ = judges(references=12)
    spent = []
    for count in (24, 48, 96):
        work[0] = 0
        quick.among(samples.parts(count, side=32), 0, lambda _: None)
        spent.append(work[0])
    assert spent == [count * 12 * 64**2 for count in (24, 48, 96)]


def test_no_picture_is_compared_with_itself():
    quick, _ = judges(degrees=(1,), references=None, interval=(0, 1))
    bank = seen(6)
    assert float(quick.scores(bank, None).min()) > 0.01
    assert float(quick.scores(bank, bank).max()) < 0.5  # asked as new ones they find themselves
    twice = Bank([torch.cat([m, m]) for m in bank.maps], torch.cat([bank.vectors] * 2))
    assert float(quick.scores(twice, None).max()) < 0.05


def test_light_and_contrast_of_a_picture_do_not_count():
    maps = torch.rand(3, 5, 5, 7)
    torch.testing.assert_close(
        described([maps], 3), described([4 * maps + 2], 3), atol=1e-4, rtol=0
    )


def test_every_picture_is_scored_once_in_order_of_its_row():
    quick, _ = judges(references=5)
    found, bank = quick.among(samples.parts(17, side=32), 3, lambda _: None)
    assert sorted(found.rows.tolist()) == list(range(17))
    assert len(bank) == 5


def features_of(images) -> torch.Tensor:
    chosen = encoder("tiny")
    quick = Crowd(chosen, sight(chosen, size=128, side=16), Settings())
    _, bank = quick.looked(images)
    return described(bank.maps, 3)


def test_sections_of_a_board_are_told_from_one_section():
    different, _ = samples.boards(8, seed=1, side=64)
    same, _ = samples.boards(8, seed=1, side=64, sections=1)
    apart, alike_ones = (alike(features_of(each), (16, 16)) for each in (different, same))
    assert apart.place > 1.3 * alike_ones.place
    assert apart.others > 1.3 * alike_ones.others
    assert alike_ones.doubt == ""


def test_references_find_what_pictures_of_different_sections_cannot():
    pictures, references = samples.boards(16, seed=2, side=96)
    chosen = encoder("tiny")
    judge = Paired(chosen, sight(chosen, size=128, side=16), Settings())
    found, met = judge.beside(pictures, references, lambda _: None)
    assert met.by_name
    assert met.laid == 16
    odd = pictures.column("anomaly").astype(int)
    alone, _ = judge.among(pictures, 0, lambda _: None)
    scores = np.empty(16)
    scores[alone.rows] = judge.image_scores(alone.patches)
    beside = auroc(odd, judge.image_scores(found.patches))
    assert beside > 0.75
    assert beside > auroc(odd, scores)


def test_references_by_likeness_where_names_do_not_say(monkeypatch):
    assert by_name(["a/1.png", "a/2.png"], ["b/1.png", "c/1.png", "b/2.png"]) is None
    pictures, references = samples.boards(6, seed=3, side=64)
    chosen = encoder("tiny")
    judge = Paired(chosen, sight(chosen, size=128, side=16), Settings())
    order = np.array([3, 1, 5, 0, 2, 4])
    monkeypatch.setattr("fallow.methods.shared.paired.by_name", lambda *_: None)
    partners = judge.partners(pictures, references.select(order))
    assert not partners.by_name
    assert (order[partners.rows] == np.arange(6)).sum() >= 5


def test_one_readable_picture_is_a_sentence():
    quick, _ = judges()
    with pytest.raises(SourceProblem, match="only one image"):
        quick.among(samples.parts(1, side=32), 0, lambda _: None)


def test_what_is_usual_at_a_place_is_taken_off_and_a_fault_stays():
    generator = np.random.default_rng(0)
    patches = (generator.random((20, 6, 6)) * 0.1).astype(np.float32)
    patches[:, 0] += 2  # an edge that is never quite the same
    patches[7, 3, 3] += 1
    quick, _ = judges(top=0.03)
    assert quick.image_scores(patches).argmax() != 7
    bank = seen(20)
    settled = quick.settled(patches, bank)
    assert quick.image_scores(settled).argmax() == 7
    assert float(settled.mean()) == pytest.approx(float(patches.mean()), abs=0.05)


def test_few_pictures_do_not_say_what_is_usual():
    assert not usual_at(np.ones((3, 2, 2), np.float32) * [[1, 5], [2, 9]]).any()


def test_new_pictures_are_judged_without_what_was_usual_among_the_old_ones():
    quick, _ = judges(references=None)
    bank, new = seen(12), seen(3, seed=1)
    before = quick.asked(bank)(new)
    quick.settled(quick.scores(bank, None).numpy(), bank)
    again = Bank.of(bank.tensors())
    torch.testing.assert_close(quick.asked(again)(new), before - bank.usual)
    assert bool(bank.usual.abs().max() > 0)
