"""Claims: intervals and verdicts against numbers worked out by hand."""

import json

import pytest
from claims.__main__ import main, slugs
from claims.record import entry, interval, verdict, write

# Student's t, one side 5 %, from printed tables
T2, T4 = 2.91999, 2.13185


def made(seeds):
    return entry(
        "a beats b", "a", "b", data={"fingerprint": "f"}, budget={}, seeds=seeds, settings={"k": 1}
    )


def test_interval_is_the_paired_t_interval():
    assert interval([1, 2, 3]) == pytest.approx((2 - T2 / 3**0.5, 2 + T2 / 3**0.5), abs=1e-4)
    low, high = interval([0, 0, 1, 1, 3])  # mean 1, variance 1.5
    assert (low, high) == pytest.approx((1 - T4 * 0.3**0.5, 1 + T4 * 0.3**0.5), abs=1e-4)


@pytest.mark.parametrize(
    ("seeds", "word"),
    [
        ([(0.52, 0.50), (0.53, 0.50), (0.54, 0.50)], "shown"),  # +0.03, sd 0.01
        ([(0.50, 0.52), (0.50, 0.53), (0.50, 0.54)], "contradicted"),
        ([(0.51, 0.50), (0.50, 0.50), (0.54, 0.50)], "tie"),  # +0.0167, sd 0.0208: reach 0.035
        ([(0.5, 0.5)] * 3, "tie"),
    ],
)
def test_verdict_follows_from_the_pairs(seeds, word):
    assert made(seeds).verdict == word


def test_only_the_difference_within_a_seed_counts():
    steady = [(0.42, 0.40), (0.62, 0.60), (0.83, 0.80)]  # seeds far apart, differences close
    assert made(steady).verdict == "shown"
    assert made(steady).mean_difference == pytest.approx(0.07 / 3)


def test_bounds_that_touch_zero_are_a_tie():
    assert verdict((0.0, 1.0)) == verdict((-1.0, 0.0)) == "tie"


def test_two_seeds_are_not_enough():
    with pytest.raises(ValueError, match="at least 3"):
        made([(1.0, 0.0), (1.0, 0.0)])


def test_written_form(tmp_path, capsys):
    target = write("x", [made([(0.52, 0.50), (0.53, 0.50), (0.54, 0.50)])], tmp_path)
    (read,) = json.loads(target.read_text())
    assert {"claim", "method", "baseline", "data", "budget", "settings"} < set(read)
    assert read["seeds"] == [[0.52, 0.50], [0.53, 0.50], [0.54, 0.50]]
    assert read["verdict"] == "shown"
    assert read["interval_90"][0] == pytest.approx(0.03 - T2 * 0.01 / 3**0.5, abs=1e-6)
    assert read["machine"]["cores"] >= 1
    assert read["commit"]
    assert "shown: a beats b" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_mistyped_claim_is_one_sentence(capsys, tmp_path):
    assert "swav" in slugs()
    assert main(["swaw", "--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err.strip() == "no claim swaw: did you mean swav?"


def test_missing_data_is_one_sentence(capsys, tmp_path):
    assert main(["swav", "--data", str(tmp_path)]) == 2
    assert "cifar10_subset.zip is missing" in capsys.readouterr().err
