"""Published recipes carry the published numbers; wrong settings are told at once."""

from __future__ import annotations

import pytest

from fallow.problems import SettingProblem
from fallow.views import View, byol, groco, identity, moco, plain, simclr, swav, symmetric


@pytest.mark.parametrize(
    ("recipe", "area", "jitter", "blur"),
    [
        (simclr(224), (0.08, 1.0), (0.8, 0.8, 0.8, 0.2), 0.5),
        (simclr(32), (0.08, 1.0), (0.4, 0.4, 0.4, 0.1), 0.0),
        (moco(224), (0.2, 1.0), (0.4, 0.4, 0.4, 0.1), 0.5),
        (moco(32), (0.08, 1.0), (0.4, 0.4, 0.4, 0.1), 0.0),
        (byol(224), (0.08, 1.0), (0.4, 0.4, 0.2, 0.1), 1.0),
        (groco(224), (0.14, 1.0), (0.4, 0.4, 0.2, 0.1), 1.0),
        (swav(224), (0.14, 1.0), (0.8, 0.8, 0.8, 0.2), 0.5),
        (symmetric(32), (0.08, 1.0), (0.8, 0.8, 0.8, 0.2), 0.5),
    ],
)
def test_published_numbers(recipe, area, jitter, blur):
    view = recipe.views[0]
    assert (view.area, view.jitter, view.blur) == (area, jitter, blur)
    assert (view.gray, view.jitter_probability, view.sigma) == (0.2, 0.8, (0.1, 2.0))
    assert view.flip == 0.5
    assert view.aspect == (3 / 4, 4 / 3)


def test_normalisation_follows_the_size():
    assert simclr(224).std == (0.229, 0.224, 0.225)
    assert simclr(32).mean == (0.4914, 0.4822, 0.4465)


def test_multi_crop_has_globals_first_and_names_roles():
    views = swav(224).every_view
    assert [view.role for view in views] == ["global"] * 2 + ["local"] * 6
    assert views[-1].area == (0.05, 0.14)


def test_uneven_pair_is_one_run():
    assert byol(96).runs == [(0, 2, 96)]


def test_fixed_recipes_are_fixed():
    for recipe in (plain(224), plain(32), identity(16)):
        (view,) = recipe.views
        assert (view.flip, view.blur, view.gray, view.jitter) == (0, 0, 0, (0, 0, 0, 0))
        assert view.centre > 0


def test_grey_and_unflipped_variants():
    recipe = swav(224).for_grey().without_flip()
    for view in recipe.views:
        assert (view.gray, view.flip, view.jitter) == (0.0, 0.0, (0.8, 0.8, 0.0, 0.0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0},
        {"count": 0},
        {"area": (0.0, 1.0)},
        {"area": (0.5, 0.2)},
        {"aspect": (0.0, 1.0)},
        {"sigma": (2.0, 1.0)},
        {"centre": 1.5},
        {"jitter": (0.4, 0.4, 0.4, 0.7)},
        {"flip": 1.2},
        {"solarise": -0.1},
    ],
)
def test_impossible_settings(wrong):
    with pytest.raises(SettingProblem):
        View(**{"size": 32, **wrong})
