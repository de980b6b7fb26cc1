"""Run reports show what was measured and say what was not."""

from __future__ import annotations

import json
import re
from html import unescape

import report_sample
from report_sample import Outline

from fallow.report import compare_page, learn_page


def charts(page: str) -> dict[str, list[dict]]:
    found = re.findall(r"<figcaption>(.*?)</figcaption>.*?</figure>", page, re.S)
    series = re.findall(r'data-series="(.*?)"', page)
    titles = [title for title in found if "accuracy" not in title or title == "k-NN accuracy"]
    return dict(zip(titles, (json.loads(unescape(text)) for text in series), strict=False))


def test_curves_come_in_a_sensible_order_with_their_values() -> None:
    run = report_sample.run()
    page = learn_page(run)
    drawn = charts(page)
    assert list(drawn)[:3] == [
        "Loss",
        "Loss against its trivial value (1 = nothing learnt)",
        "Spread of the embeddings (0 = collapsed)",
    ]
    knn = drawn["k-NN accuracy"][0]
    measured = [row for row in run["metrics"] if "knn" in row]
    assert len(knn["y"]) == len(measured) == 6
    assert abs(knn["y"][-1] - measured[-1]["knn"]) < 1e-3
    assert abs(knn["x"][-1] - measured[-1]["minutes"]) < 1e-2


def test_pictures_settings_and_warnings_are_there() -> None:
    run = report_sample.run(seed=1)
    page = learn_page(run)
    text = "".join(Outline(page).words)
    assert run["chosen"][0] in text
    assert run["warnings"][0] in text
    assert "temperature" in text
    assert page.count('role="img" aria-label="Cluster 1, ') == 8
    assert page.count("nearest 4") == 5
    assert "raw pixels" in text


def test_an_empty_run_says_what_is_missing() -> None:
    text = "".join(Outline(learn_page({"name": "none"})).words)
    for line in (
        "No warnings during the run.",
        "The run ended before its first measurement.",
        "No labels, so no scores",
        "No clusters were drawn",
        "No neighbours were drawn",
    ):
        assert line in text


def test_compare_names_runs_and_shows_only_differing_settings() -> None:
    runs = [report_sample.run("simclr"), report_sample.run("swav", 1), report_sample.run("swav", 2)]
    page = compare_page(runs)
    text = "".join(Outline(page).words)
    assert "3 runs: simclr, swav, swav (3)" in text
    assert [curve["name"] for curve in charts(page)["k-NN accuracy"]] == [
        "simclr", "swav", "swav (3)"
    ]  # fmt: skip
    differing = re.search(r'<section id="settings-that-differ".*?</section>', page, re.S).group(0)
    assert "temperature" in differing
    assert "batch" not in differing


def test_comparing_nothing() -> None:
    assert "None of the runs has measured anything yet." in compare_page([{"name": "a"}])
