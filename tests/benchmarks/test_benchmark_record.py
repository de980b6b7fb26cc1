"""Benchmarks: ratios of pairs, targets, and the written form."""

import json
import sys

import pytest
from benchmarks.__main__ import main
from benchmarks.explore import whole
from benchmarks.record import alternate, commit, line, rate, table, verdict, write

from benchmarks import peer as peers
from fallow.problems import Problem


def test_ratio_is_the_median_of_pairs_not_the_ratio_of_medians():
    one = line("w", "p", "1", [(10, 1), (30, 10), (40, 20)], 3)  # ratios 10, 3, 2
    assert (one.ratio, one.fallow, one.peer_value) == (3, 30, 10)
    assert verdict(one) == "met"
    assert verdict(line("w", "p", "1", [(2.9, 1)], 3)) == "not met"


def test_pairs_alternate_who_goes_first():
    seen = []
    pairs = alternate(lambda: seen.append("f") or 2.0, lambda: seen.append("p") or 1.0, 3)
    assert "".join(seen) == "fppffp"
    assert pairs == [(2.0, 1.0)] * 3


def test_calls_that_are_counted_know_their_number():
    seen = []
    assert rate(lambda call: seen.append(call) or 4, 1e-3) > 0
    assert seen == list(range(len(seen)))


def test_written_form(tmp_path, capsys):
    lines = [line("views", "p", "1.2", [(10.0, 5.0)], 1.5, 100.0), line("x", "-", "", [(1, 1)], 2)]
    read = json.loads(write("v", lines, tmp_path).read_text())
    keys = [
        "work",
        "peer",
        "peer_version",
        "ratio",
        "target",
        "pairs",
        "fallow",
        "peer_value",
        "peak_memory_mb",
    ]
    assert list(read[0]) == [*keys, "machine", "commit"]
    assert read[0]["ratio"] == 2.0
    assert read[0]["pairs"] == [[10.0, 5.0]]
    assert read[1]["peak_memory_mb"] is None
    out = capsys.readouterr().out
    assert out.startswith(table(lines))
    assert "1.5 met" in out
    assert "2 not met" in out


def test_commit_is_a_hash_or_unknown():
    assert commit() == "unknown" or len(commit().removesuffix("+changes")) == 40


def test_a_peer_answers_and_its_prints_do_not_disturb(tmp_path, monkeypatch):
    (tmp_path / "serve.py").write_text((peers.SCRIPTS / "serve.py").read_text())
    (tmp_path / "echo.py").write_text(
        "from serve import serve\n"
        "def double(n):\n    print('noise')\n    return {'n': 2 * n}\n"
        "serve('7', {'double': double})\n"
    )
    monkeypatch.setattr(peers, "SCRIPTS", tmp_path)
    with peers.Peer(sys.executable, "echo.py") as peer:
        assert peer.version == "7"
        assert peer.ask(do="double", n=21) == {"n": 42}
        with pytest.raises(Problem, match=r"echo\.py stopped"):
            peer.ask(do="nothing of the kind")


def test_a_whole_process_is_timed_and_its_end_checked(tmp_path):
    seconds, megabytes = whole([sys.executable, "-c", "bytearray(64 * 2**20)"], str(tmp_path))
    assert 0 < seconds < 30
    assert megabytes > 64
    with pytest.raises(Problem, match="ended with 3: last words"):
        whole([sys.executable, "-c", "import sys; print('last words'); sys.exit(3)"], str(tmp_path))


def test_missing_data_is_one_sentence(capsys, tmp_path):
    assert main(["views", "--data", str(tmp_path), "--peers", "python"]) == 2
    assert "cifar10_subset.zip is missing" in capsys.readouterr().err
