"""Reports: one HTML file that opens anywhere, without a network, and keeps nothing back."""

from fallow.report.discover import discover_page
from fallow.report.distil import distil_page
from fallow.report.explore import explore_page
from fallow.report.forget import forget_page
from fallow.report.learn import compare_page, learn_page
from fallow.report.page import Page
from fallow.report.protect import protect_page
from fallow.report.spot import spot_page

__all__ = [
    "Page",
    "compare_page",
    "discover_page",
    "distil_page",
    "explore_page",
    "forget_page",
    "learn_page",
    "protect_page",
    "spot_page",
]
