"""MuSc's parts against plain loops, and the traps of small, odd and repeated sets."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fallow.methods.spot import musc
from fallow.methods.spot.musc import Settings, counts, mutual_scores, over_lookalikes
from fallow.problems import Problem, SettingProblem
from fallow.train.method import make_settings


def features(count=13, length=12, width=6, seed=0):
    torch.manual_seed(seed)
    return F.normalize(torch.randn(count, length, width) + 2 * torch.randn(width), dim=2)


def plainly(z, bank, start, stop, allowed=None, apart=True):
    """The definition, one pair at a time, in float64."""
    z, bank = z.double(), bank.double()
    rows = []
    for i, image in enumerate(z):
        nearest = []
        for j, other in enumerate(bank):
            if apart and i == j:
                continue
            distance = torch.cdist(image, other, compute_mode="donot_use_mm_for_euclid_dist")
            if allowed is not None:
                distance = distance.masked_fill(~allowed, torch.inf)
            nearest.append(distance.amin(1))
        rows.append(torch.stack(nearest).sort(0).values[start:stop].mean(0))
    return torch.stack(rows)


@pytest.mark.parametrize("interval", [(0, 0.3), (0.2, 0.6), (1, 1), (2, 5), (0, 12), (0.0, 0.01)])
@pytest.mark.parametrize("count", [2, 8, 9, 13, 17])
def test_scores_are_those_of_the_definition(interval, count):
    if not interval[0] < interval[1]:
        with pytest.raises(SettingProblem, match="rises"):
            mutual_scores(features(count), interval)
        return
    z = features(count)
    start, stop = counts(interval, count - 1)
    assert 0 <= start < stop <= count - 1
    torch.testing.assert_close(
        mutual_scores(z, interval).double(), plainly(z, z, start, stop), atol=2e-6, rtol=1e-4
    )


def test_vectors_of_any_length_and_far_from_the_origin():
    torch.manual_seed(3)
    z = 5 + torch.randn(6, 7, 4) * torch.rand(6, 7, 1)
    expected = plainly(z, z, 0, 1)
    torch.testing.assert_close(mutual_scores(z).double(), expected, atol=1e-4, rtol=1e-4)


def near(grid, window):
    y, x = torch.meshgrid(*(torch.arange(n) for n in grid), indexing="ij")
    y, x = y.flatten(), x.flatten()
    return ((y[:, None] - y).abs() <= window) & ((x[:, None] - x).abs() <= window)


@pytest.mark.parametrize("window", [0, 1, 2, 9])
@pytest.mark.parametrize("grid", [(3, 4), (4, 3), (1, 12)])
def test_a_window_leaves_out_what_lies_farther_away(window, grid):
    z = features(10)
    expected = plainly(z, z, 0, 2, near(grid, window))
    found = mutual_scores(z, window=window, grid=grid)
    torch.testing.assert_close(found.double(), expected, atol=2e-6, rtol=1e-4)
    against = musc.scores_against(z[:3], z[3:], window=window, grid=grid)
    expected = plainly(z[:3], z[3:], 0, 2, near(grid, window), apart=False)
    torch.testing.assert_close(against.double(), expected, atol=2e-6, rtol=1e-4)


def test_against_known_images():
    z, bank = features(5, seed=1), features(11, seed=2)
    start, stop = counts((0, 0.3), 11)
    expected = plainly(z, bank, start, stop, apart=False)
    found = musc.scores_against(z, bank)
    torch.testing.assert_close(found.double(), expected, atol=2e-6, rtol=1e-4)


def test_bf16_errs_little_even_where_vectors_are_nearly_alike():
    torch.manual_seed(0)
    z = F.normalize(10 + torch.randn(12, 64, 96), dim=2)  # cosines above 0.98
    exact, rough = mutual_scores(z), mutual_scores(z, bf16=True)
    assert rough.dtype == torch.float32
    assert float((exact - rough).abs().max()) < 5e-3 * float(exact.mean())


def test_repeated_images_are_at_no_distance():
    z = features(4)
    twice = torch.cat([z, z])
    for bf16 in (False, True):
        assert float(mutual_scores(twice, (0, 1), bf16=bf16).max()) < 1e-3


def test_a_planted_defect_stands_out_and_a_common_one_does_not():
    torch.manual_seed(0)
    sound = F.normalize(torch.randn(9, 4), dim=1).repeat(20, 1, 1) + 0.01 * torch.randn(20, 9, 4)
    odd = torch.tensor([3.0, -3.0, 3.0, 3.0])
    rare, common = sound.clone(), sound.clone()
    rare[:3, 4] += odd
    common[:16, 4] += odd
    scores = mutual_scores(rare)
    assert set(scores.flatten().topk(3).indices.tolist()) == {4, 13, 22}
    assert float(mutual_scores(common)[:16, 4].max()) < 0.1 * float(scores[:3, 4].min())


def test_interval_average_beats_nearest_only_when_a_defect_comes_twice():
    torch.manual_seed(0)
    z = F.normalize(torch.randn(9, 4), dim=1).repeat(20, 1, 1) + 0.01 * torch.randn(20, 9, 4)
    z[:2, 4] = torch.tensor([3.0, -3.0, 3.0, 3.0])  # a twin hides it from its nearest
    assert float(mutual_scores(z, (0, 1))[0, 4]) < 1e-3
    assert float(mutual_scores(z)[0, 4]) > 1


def test_one_image_is_a_sentence():
    with pytest.raises(Problem, match="nothing to be compared with"):
        mutual_scores(features(1))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"degrees": [2]}, "odd numbers"),
        ({"degrees": []}, "degrees"),
        ({"interval": [0.3, 0.1]}, "rises"),
        ({"tiles": "two"}, "2x3 or auto"),
        ({"tiles": 0}, "counted from 1"),
        ({"degree": [1]}, "did you mean degrees"),
        ({"window": -1}, "window"),
    ],
)
def test_settings_say_what_is_wrong(settings, text):
    with pytest.raises(SettingProblem, match=text):
        make_settings(Settings, settings)


def test_tiles_are_read_from_words():
    read = [make_settings(Settings, {"tiles": t}).tiles for t in ("2", "2x3", 3, [1, 2], "auto")]
    assert read == [(2, 2), (2, 3), (3, 3), (1, 2), "auto"]


def test_presets_are_valid():
    for values in musc.PRESETS.values():
        make_settings(Settings, values)


def test_look_alikes_share_their_scores():
    scores = torch.tensor([0.0, 1.0, 0.0, 1.0])
    vectors = torch.eye(2).repeat_interleave(2, 0)
    torch.testing.assert_close(over_lookalikes(scores, vectors, (2,)), torch.full((4,), 0.5))
    vectors = F.normalize(vectors + 0.1 * torch.randn(4, 2), dim=1)
    torch.testing.assert_close(over_lookalikes(scores, vectors, (1,)), scores)
    assert over_lookalikes(torch.ones(3), torch.eye(3)).tolist() == [0, 0, 0]
    windows = [1, 2]
    over_lookalikes(scores, vectors, windows)
    assert windows == [1, 2]


def test_more_look_alikes_than_images_are_all_of_them():
    scores, vectors = torch.tensor([0.0, 1.0]), torch.ones(2, 3)
    assert over_lookalikes(scores, vectors, (9,)).tolist() == [0.5, 0.5]
