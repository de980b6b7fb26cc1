"""Thresholds that flag bad pictures, and none of a good collection."""

import numpy as np

from fallow.inventory.quality import low, quality
from fallow.inventory.statistics import MEASURES


def collection(count: int = 200, seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    good = {name: draw.normal(0.5, 0.05, count) for name in MEASURES}
    good["focus"] = np.exp(draw.normal(np.log(0.25), 0.15, count))
    good["darkest"] = draw.uniform(0, 0.2, count)
    good["brightest"] = draw.uniform(0.8, 1, count)
    good["contrast"] = draw.normal(0.2, 0.02, count)
    good["width"] = draw.integers(600, 700, count)
    good["height"] = draw.integers(400, 500, count)
    return good


def test_a_good_collection_has_no_flags():
    for seed in range(20):
        assert {name: len(rows) for name, rows in quality(collection(seed=seed)).items()} == {
            "blurry": 0,
            "dark": 0,
            "bright": 0,
            "low_resolution": 0,
            "odd_aspect": 0,
            "blank": 0,
        }


def test_each_trouble_is_found_worst_first():
    measures = collection()
    measures["focus"][[3, 4]] = 0.07, 0.05
    measures["brightness"][5], measures["brightest"][5] = 0.03, 0.12
    measures["brightness"][6], measures["darkest"][6] = 0.97, 0.9
    measures["width"][7], measures["height"][7] = 60, 40
    measures["width"][8] = 3000
    measures["contrast"][9] = 0.001
    found = {name: rows.tolist() for name, rows in quality(measures).items()}
    assert found == {
        "blurry": [4, 3],
        "dark": [5],
        "bright": [6],
        "low_resolution": [7],
        "odd_aspect": [8],
        "blank": [9],
    }


def test_a_small_but_even_collection_is_not_low_resolution():
    measures = collection()
    measures["width"][:] = measures["height"][:] = 32
    assert len(quality(measures)["low_resolution"]) == 0


def test_an_empty_list_is_fine():
    assert low(np.zeros(0), 0.1, 0.2).tolist() == []
