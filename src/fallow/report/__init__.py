"""Reports: one HTML file that opens anywhere, without a network, and keeps nothing back."""

from fallow.report.discover import discover_page
from fallow.report.explore import explore_page
from fallow.report.learn import compare_page, learn_page
from fallow.report.page import Page
from fallow.report.spot import spot_page

__all__ = ["Page", "compare_page", "discover_page", "explore_page", "learn_page", "spot_page"]
