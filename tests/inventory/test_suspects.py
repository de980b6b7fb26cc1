"""Wrong labels: ranked, counted, argued for; collections that allow no judgement."""

import numpy as np
import pytest

from fallow.inventory.spellings import merged, mixing, related, variants
from fallow.inventory.sureness import sureness
from fallow.inventory.suspects import Suspects, suspects
from fallow.inventory.verdict import interval
from fallow.vectors.space import Neighbours, neighbours


def blobs(kinds=8, each=40, spread=0.33, seed=0):
    draw = np.random.default_rng(seed)
    truth = np.arange(kinds).repeat(each)
    centres = draw.normal(size=(kinds, 24)) / np.sqrt(24)
    vectors = centres[truth] + spread * draw.normal(size=(len(truth), 24)) / np.sqrt(24) * 2
    return vectors.astype(np.float32), truth


def exchanged(vectors, truth, share, near=False, seed=0):
    """Labels of which a share is any other, or that of one of the three nearest kinds."""
    draw = np.random.default_rng(seed)
    kinds = truth.max() + 1
    means = np.stack([vectors[truth == kind].mean(0) for kind in range(kinds)])
    others = np.argsort(((means[:, None] - means) ** 2).sum(2), axis=1)[:, 1:]
    others = others[:, :3] if near else others
    wrong = draw.choice(len(truth), round(share * len(truth)), replace=False)
    codes = truth.copy()
    for row in wrong:
        codes[row] = draw.choice(others[truth[row]])
    return codes, wrong


def judged(vectors, codes, **more) -> Suspects:
    return suspects(neighbours(vectors, 15), codes, vectors, **more)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("near", [False, True])
def test_as_many_are_listed_as_are_wrong_and_these_are_right(share, near):
    vectors, truth = blobs()
    codes, wrong = exchanged(vectors, truth, share, near)
    found = judged(vectors, codes)
    assert len(wrong) / 1.5 <= len(found.rows) <= 1.5 * len(wrong)
    assert np.isin(found.rows, wrong).mean() >= 0.8
    assert (found.suggested == truth[found.rows]).mean() >= 0.8
    low, high = found.interval
    assert low <= len(wrong) <= high
    assert (np.diff(found.confidence) <= 1e-9).all()


def test_few_labels_of_a_clean_collection_are_doubted():
    vectors, truth = blobs()
    assert len(judged(vectors, truth).rows) <= 3


def test_pictures_argue_for_both_sides():
    vectors, truth = blobs()
    codes, _ = exchanged(vectors, truth, 0.05)
    found = judged(vectors, codes)
    assert len(found.rows)
    for row, other, pro, con in zip(
        found.rows, found.suggested, found.pictures, found.against, strict=True
    ):
        assert 0 < len(pro) <= 4
        assert set(codes[pro]) == {other}
        assert set(codes[con]) == {codes[row]}
        assert row not in con


def test_half_the_labels_confirm_clear_doubts_and_agreement_grows():
    vectors, truth = blobs(spread=0.2)
    codes, _ = exchanged(vectors, truth, 0.05)
    found = judged(vectors, codes)
    assert found.kept.mean() > 0.9
    assert len(found.curve) == 3
    assert found.curve[0] <= found.curve[1] + 0.02 <= found.curve[2] + 0.04


def test_thirty_of_a_hundred_broken_labels_are_found():
    vectors, truth = blobs(spread=0.2)
    codes, wrong = exchanged(vectors, truth, 0.3)
    found = judged(vectors, codes)
    assert found.judged
    assert len(wrong) / 1.5 <= len(found.rows) <= 1.5 * len(wrong)
    assert np.isin(found.rows, wrong).mean() > 0.9


def test_a_broader_kind_is_named_once_and_not_listed():
    vectors, truth = blobs(spread=0.2)
    codes = truth.copy()
    codes[np.random.default_rng(1).choice(len(truth), 30, replace=False)] = 8  # any of the kinds
    codes[5] = 3
    found = judged(vectors, codes)
    assert [code for code, _ in found.unlike] == [8]
    assert not (codes[found.rows] == 8).any()
    assert 5 in found.rows


def test_related_labels_do_not_contradict_each_other():
    vectors, truth = blobs(spread=0.2)
    codes = truth.copy()
    codes[:4] = 8  # "kind 0, kind 5" of pictures of kind 0
    codes[90] = 6
    found = judged(vectors, codes, related=[(8, 0), (8, 5)])
    assert found.rows.tolist() == [90]


def test_a_hierarchy_is_judged_by_its_finer_labels():
    vectors, truth = blobs(spread=0.2)
    codes, wrong = exchanged(vectors, truth, 0.05)
    wide = np.random.default_rng(2).permutation(np.setdiff1d(np.arange(len(truth)), wrong))[:160]
    codes[wide] = 8  # half of the pictures only carry the name of the kind above all others
    found = judged(vectors, codes, related=[(kind, 8) for kind in range(8)])
    assert found.judged
    assert found.agreement > 0.75
    assert np.isin(found.rows, wrong).mean() > 0.8
    assert not np.isin(found.rows, wide).any()
    assert found.unlike == []
    assert found.broad == [8]
    assert all(8 not in pair[:2] for pair in found.alike)


def test_the_fewer_labels_are_in_doubt_the_narrower_is_the_interval():
    sure, unsure = np.repeat([0.99, 0.01], [30, 270]), np.repeat([0.3, 0.077], [30, 270])
    low, high = interval(sure)
    assert low <= 30 <= high
    assert high - low < np.ptp(interval(unsure)) / 2
    assert interval(np.full(5, 0.5))[1] == 5


def test_a_rare_class_is_not_doubted_for_being_rare():
    vectors, truth = blobs(spread=0.15)
    keep = np.r_[np.arange(2), np.arange(40, 320)]  # two pictures of the first kind
    found = judged(vectors[keep], truth[keep])
    assert not np.isin(found.rows, [0, 1]).any()


@pytest.mark.parametrize(
    "codes",
    [np.zeros(60, np.int64), np.full(60, -1), np.arange(60), np.arange(60) // 2],
    ids=["one class", "no labels", "one picture a class", "two pictures a class"],
)
def test_labels_that_allow_no_judgement(codes):
    vectors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    found = judged(vectors, codes)
    assert len(found.rows) == 0
    assert not found.judged


def test_copies_of_one_picture_say_nothing_of_labels():
    found = judged(np.ones((40, 8), np.float32), np.arange(40) % 2)
    assert len(found.rows) == 0
    assert np.isfinite(found.wrong).all()


def test_the_same_twice():
    vectors, truth = blobs()
    codes, _ = exchanged(vectors, truth, 0.05)
    one, two = judged(vectors, codes), judged(vectors, codes)
    assert np.array_equal(one.rows, two.rows)
    assert np.array_equal(one.wrong, two.wrong)


def test_names_typed_differently_are_offered():
    names = [
        "T-Shirt",
        "t shirt",
        "tshirts",
        "Café",
        "cafe",
        "hat",
        "class 1",
        "class 2",
        "1-2",
        "12",
    ]
    codes = np.arange(len(names)).repeat(5)
    found = variants(names, codes)
    assert [one.codes for one in found] == [(0, 1, 2), (3, 4)]
    assert found[0].why == "case, blanks or signs and plural"
    assert found[0].alike  # nothing speaks against it


def test_a_wrong_letter_is_believed_where_pictures_are_mixed_only():
    vectors, truth = blobs(kinds=3, each=20, spread=0.1)
    names = ["sneaker", "sneakr", "trainer", "speaker"]
    codes = truth.copy()
    codes[truth == 1] = 3
    codes[:6] = 1
    near = neighbours(vectors, 15)
    assert [one.codes for one in variants(names, codes, near)] == [(0, 1)]
    assert mixing((0, 1), codes, near) == pytest.approx(1, abs=0.3)
    assert mixing((0, 3), codes, near) in (None, 0.0)


def test_merging_happens_in_a_copy_and_only_where_pictures_agree():
    vectors, truth = blobs(kinds=2, each=20, spread=0.1)
    (apart,) = variants(["Bank", "bank"], truth, neighbours(vectors, 15))
    assert not apart.alike
    assert np.array_equal(merged(truth, [apart]), truth)


def test_several_labels_in_one_hold_their_parts():
    assert related(["a", "b|a", "b", "c/d/e", "c/d"]) == [(0, 1), (1, 2), (3, 4)]


def test_second_opinions_are_counted():
    vectors, truth = blobs(spread=0.2)
    codes, _ = exchanged(vectors, truth, 0.05)
    near = neighbours(vectors, 15)
    found = suspects(near, codes, vectors)
    noise = np.random.default_rng(0).normal(size=(len(truth), 6))
    sure = sureness(near, truth, np.arange(0), codes, found, vectors, noise)
    assert sure.borders < 0.02
    assert sure.strangers == (0, 0)
    assert sure.doubts[0] <= sure.doubts[1] == len(found.rows)
    assert sure.seen["encoder"] > 0.85 > 0.4 > sure.seen["statistics"]
    assert sure.doubled >= sure.curve[-1]
    shuffled = np.random.default_rng(1).permutation(truth)
    vague = sureness(near, shuffled, np.arange(0), codes, found, vectors, noise)
    assert vague.borders > 0.9


def test_one_picture_has_no_second_opinion():
    near = Neighbours(np.zeros((1, 0), np.int32), np.zeros((1, 0), np.float32))
    none = Suspects(*(np.zeros(0, np.int64),) * 2, np.zeros(0), None, None)
    code = np.full(1, -1)
    sure = sureness(near, np.zeros(1), code[:0], code, none, np.ones((1, 4)), np.ones((1, 2)))
    assert sure.borders is None
    assert sure.curve == ()
