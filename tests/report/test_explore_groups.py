"""Groups in the report: coarse ones first, finer ones inside, an honest word on borders."""

from fallow.report.explore_groups import UNCLEAR, UNSTEADY, Pieces, groups_section
from fallow.report.page import Page, element


def section(clear: bool, finer: int) -> str:
    inside = [
        {"group": k, "size": 5, "apart": ["blue"], "representatives": [k], "inside": []}
        for k in range(finer)
    ]
    groups = [
        {"group": k, "size": 50 - k, "apart": ["dark"] * (k == 0), "representatives": [k],
         "labels": {"cat": 25}, "steady": 0.9 - 0.6 * k, "inside": inside * (k == 0)}
        for k in range(2)
    ]  # fmt: skip
    page = Page("x")
    pieces = Pieces(
        lambda index, side: element("i", f"picture {index} of {side}"),
        lambda rows, title: element("button", title),
        lambda number: "red",
        {0: [0], 1: [1]},
    )
    groups_section(page, {"groups": groups, "clear_groups": clear}, pieces)
    return str(page.html())


def test_coarse_groups_hold_finer_ones_and_say_what_sets_them_apart():
    html = section(True, 3)
    assert "Group 1: dark" in html
    assert "5 images · blue" in html
    assert html.index("picture 0 of 96") < html.index("picture 2 of 64") < html.index("Group 2")
    assert UNCLEAR not in html


def test_a_group_that_does_not_form_again_says_so():
    html = section(True, 0)
    assert html.count(UNSTEADY) == 1
    assert html.index("Group 2") < html.index(UNSTEADY)


def test_many_finer_groups_are_folded_and_unclear_borders_are_said():
    html = section(False, 9)
    assert "Show 3 more finer groups" in html
    assert UNCLEAR in html
