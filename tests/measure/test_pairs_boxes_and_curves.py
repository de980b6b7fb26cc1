"""Bootstrap and McNemar, boxes and their precision, label ranking, response curves."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.measure.detection import boxes, matched, mean_average_precision, overlaps
from fallow.measure.labels import hits, label_ranking
from fallow.measure.paired import mcnemar, mean_range, ranked, resampled, statistic_range
from fallow.measure.response import response_curve
from fallow.problems import Problem


def test_intervals_cover_as_often_as_they_say():
    draw = np.random.default_rng(0)
    inside = 0
    for trial in range(100):
        found = mean_range(draw.normal(0.3, 1, 60), seed=trial)
        inside += found.low <= 0.3 <= found.high
    assert 0.82 <= inside / 100 <= 0.97


def test_near_duplicates_widen_the_interval():
    draw = np.random.default_rng(0)
    videos = np.repeat(np.arange(20), 30)
    values = draw.normal(0, 1, 20)[videos]  # all frames of a video answer alike
    alone, together = mean_range(values), mean_range(values, videos)
    assert together.high - together.low > 3 * (alone.high - alone.low)
    assert resampled(600, videos, draws=5).reshape(5, 20, 30).std(2).max() == 0
    with pytest.raises(Problem, match="as many groups"):
        mean_range(values, videos[1:])
    with pytest.raises(Problem, match="nothing was judged"):
        mean_range([])


def test_mcnemar_counts_changes_only():
    from scipy.stats import binomtest

    before = np.array([1] * 50 + [0] * 10 + [1] * 3)
    after = np.array([1] * 50 + [1] * 10 + [0] * 3)
    assert mcnemar(before, after) == pytest.approx(binomtest(10, 13).pvalue)
    assert mcnemar(before, before) == 1


def test_ranks_of_equals_and_of_clear_winners():
    draw = np.random.default_rng(0)
    base = draw.random(80)
    found = ranked({"a": base, "same": base, "best": base + 1})
    assert found[0].name == "best"
    assert (found[0].rank.low, found[0].rank.high) == (1, 1)
    assert {found[1].rank.value, found[2].rank.value} == {2.5}
    assert (
        statistic_range(lambda times: float("nan"), 4).low
        != statistic_range(lambda times: 1.0, 4).low
    )


def test_label_ranking_is_scikit_learns():
    from sklearn.metrics import label_ranking_average_precision_score

    draw = np.random.default_rng(0)
    scores = draw.integers(0, 4, (30, 8)) / 4  # with ties
    labels = draw.random((30, 8)) < 0.3
    expected = label_ranking_average_precision_score(labels.astype(int), scores)
    assert label_ranking(scores, labels).mean() == pytest.approx(expected)
    with pytest.raises(Problem, match="one table"):
        label_ranking(scores, labels[:, 1:])


def test_hits_of_single_and_many_labels():
    meanings = {"one": {4}, "many": set(range(9)), "two": {4, 11}}
    guesses = [[4, 20, 21], [0, 1, 2], [0, 1, 30], [4, 11, 5], [4, 5, 6]]
    truth = ["one", "many", "many", "two", "two"]
    one, every = hits(guesses, truth, meanings)
    assert one.tolist() == [True] * 5
    assert every.tolist() == [True, True, False, True, False]
    with pytest.raises(Problem, match="class whale"):
        hits([[1]], ["whale"], meanings)


def plainly(found, marked, threshold):
    """Average precision of one class, the slow way."""
    rows = []
    for k, here in enumerate(found):
        rows += [(s, k, b) for s, b in zip(here.scores, here.boxes, strict=True)]
    rows.sort(key=lambda row: -row[0])
    free = [list(range(len(one.boxes))) for one in marked]
    right = []
    for _, k, box in rows:
        best, place = -1.0, None
        for j in free[k]:
            value = overlaps(box[None], marked[k].boxes[j : j + 1])[0, 0]
            if value > best:
                best, place = value, j
        right.append(best >= threshold)
        if right[-1]:
            free[k].remove(place)
    hit = np.cumsum(right)
    precision, recall = hit / np.arange(1, len(hit) + 1), hit / sum(len(m.boxes) for m in marked)
    at = [precision[recall >= r - 1e-12].max(initial=0) for r in np.linspace(0, 1, 101)]
    return float(np.mean(at))


@pytest.mark.parametrize("threshold", [0.5, 0.75])
def test_average_precision_is_that_of_the_definition(threshold):
    draw = np.random.default_rng(1)

    def some(count, jitter=None, base=None):
        corner = draw.uniform(0, 40, (count, 2)) if base is None else base + jitter
        return np.concatenate([corner, corner + 12], 1)

    marked, found = [], []
    for _ in range(15):
        truth = some(draw.integers(0, 5))
        count = draw.integers(0, len(truth) + 1)
        near = some(count, draw.normal(0, 2, (count, 2)), truth[:count, :2])
        guess = np.concatenate([near, some(2)])
        marked.append(boxes(truth, [0] * len(truth)))
        found.append(boxes(guess, [0] * len(guess), draw.random(len(guess))))
    mine = mean_average_precision(matched(found, marked, [threshold]))
    assert mine == pytest.approx(plainly(found, marked, threshold))


def test_drawing_images_again_is_repeating_them():
    draw = np.random.default_rng(2)
    marked = [
        boxes(np.tile(draw.uniform(0, 9, (2, 2)), 2) + np.array([0, 0, 9, 9]), [0, 1])
        for _ in range(6)
    ]
    found = [boxes(one.boxes + draw.normal(0, 1, (2, 4)), [0, 1], draw.random(2)) for one in marked]
    times = np.array([2, 0, 1, 3, 0, 1])
    rows = np.repeat(np.arange(6), times)
    weighted = mean_average_precision(matched(found, marked), times)
    repeated = mean_average_precision(matched([found[k] for k in rows], [marked[k] for k in rows]))
    assert weighted == pytest.approx(repeated, abs=0.01)  # ties are broken otherwise


def test_classes_and_empty_images():
    marked = [boxes([[0, 0, 5, 5]], ["a"]), boxes([], [])]
    wrong = [boxes([[0, 0, 5, 5]], ["b"], [0.9]), boxes([], [], [])]
    assert mean_average_precision(matched(wrong, marked)) == 0
    assert np.isnan(mean_average_precision(matched(wrong, [boxes([], [])] * 2)))
    with pytest.raises(Problem, match="as many classes"):
        boxes([[0, 0, 1, 1]], [])
    with pytest.raises(Problem, match="the larger"):
        boxes([[5, 5, 1, 1]], ["a"])
    with pytest.raises(Problem, match="need scores"):
        matched(marked, marked)


def test_response_curves():
    draw = np.random.default_rng(0)
    level = draw.uniform(0, 10, 4000)
    answer = draw.random(4000) < 0.25 + 0.7 / (1 + np.exp(2 * (level - 6)))
    curve = response_curve(level, answer, chance=0.25)
    assert len(curve.levels) == 8
    assert curve.threshold == pytest.approx(6, abs=0.5)
    assert ((curve.low <= curve.mean) & (curve.mean <= curve.high)).all()
    rising = response_curve(-level, answer, chance=0.25)
    assert rising.threshold == pytest.approx(-curve.threshold, abs=0.3)
    flat = response_curve([0, 1, 2, 3] * 10, [1.0] * 40)
    assert np.isnan(flat.threshold)
    assert flat.area == 1
    with pytest.raises(Problem, match="two levels"):
        response_curve([1, 1], [0, 1])
