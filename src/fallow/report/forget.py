"""The report of `forget`: every model in a row, without a picture of what was forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fallow.report.figures import bar_chart, line_chart
from fallow.report.page import Html, Page, element, facts, table
from fallow.report.sections import opening

ACCURACIES = {
    "kept": "kept",
    "forgotten": "forgotten",
    "test": "test",
    "test_kept": "test, kept classes",
    "test_forgotten": "test, forgotten classes",
}
MEMBERSHIP = {
    "membership_success": "success",
    "membership_trivial": "constant guess",
    "membership_balanced": "balanced",
    "membership_auroc": "AUROC",
    "membership_same_class": "AUROC, same classes",
}
CURVES = {
    "unlearning": "Unlearning loss",
    "alignment": "Alignment loss",
    "unexplained_kept": "Reconstruction error of kept images",
    "unexplained_forgotten": "Reconstruction error of forgotten images",
}


def forget_page(found: Mapping[str, Any]) -> str:
    """One run of `forget` as one HTML text.

    `found` may hold: name, created, counts {name: number}, headlines, notes [sentence], rows
    [{"model": ..., measure: value}], metrics [{"step": ..., curve: value}], settings.

    >>> page = forget_page({"rows": [{"model": "LAF", "kept": 0.9, "forgotten": 0.1}]})
    >>> "Membership was not attacked" in page
    True
    """
    page = Page(str(found.get("name", "forgetting")), subtitle=str(found.get("created", "")))
    page.lead(
        opening(found.get("counts") or {}, found.get("headlines", []), found.get("notes") or [])
    )
    rows: Sequence[Mapping[str, Any]] = found.get("rows", [])
    bars = [
        bar_chart({str(row["model"]): row[key] for row in rows if row.get(key) is not None}, title)
        for key, title in (("forgotten", "Right on forgotten images"), ("kept", "Right on kept"))
        if any(row.get(key) is not None for row in rows)
    ]
    page.section(
        "Accuracy",
        _columns(rows, ACCURACIES),
        element("div", *bars, class_="charts sub") if bars else None,
        intro="Shares of the images whose label is found. The aim is the model trained again "
        "without the forgotten images, not the lowest number.",
        empty="There are no labels, so accuracies were not measured.",
    )
    page.section(
        "Membership inference",
        _columns(rows, MEMBERSHIP),
        intro="An attacker who sees only how sure the model is tells forgotten images from ones "
        "it never saw. 0.5 in balanced and AUROC: no better than guessing.",
        empty="Membership was not attacked: there are no images that the model never saw.",
    )
    distances = {f"{key}_from_retrained": title for key, title in ACCURACIES.items()}
    distances |= {"disagreement_forgotten": "other answers on forgotten", "time_ratio": "time"}
    page.section(
        "Distance to the retrained model",
        _columns(rows, distances),
        intro="Differences in accuracy, the share of forgotten images answered differently, and "
        "time over that of retraining.",
        empty="No retrained model to compare with: allow it with --retrain.",
    )
    history: Sequence[Mapping[str, float]] = found.get("metrics", [])
    charts = []
    for key, title in CURVES.items():
        seen = [line for line in history if key in line]
        if seen:
            points = [line["step"] for line in seen], [line[key] for line in seen]
            charts.append(line_chart({title: points}, title, x_label="step"))
    page.section(
        "Curves",
        element("div", *charts, class_="charts") if charts else None,
        empty="Nothing was recorded.",
    )
    page.section("Settings", facts(found["settings"]) if found.get("settings") else None,
                 empty="Everything ran with the defaults.")  # fmt: skip
    return page.html()


def _columns(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> Html | None:
    """The columns that any of the models has a value in."""
    known = [key for key in titles if any(row.get(key) is not None for row in rows)]
    if not known:
        return None
    body = [[row["model"], *(row.get(key) for key in known)] for row in rows]
    return table(["model", *(titles[key] for key in known)], body)
