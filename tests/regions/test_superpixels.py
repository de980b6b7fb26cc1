"""Superpixels beside scikit-image's, merging by colour, and what proposers promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label

from fallow.images.samples import streets
from fallow.measure import ari
from fallow.problems import SettingProblem
from fallow.regions import Superpixels, proposer
from fallow.regions.superpixels import felzenszwalb, merged, oklab, slic


@pytest.fixture(scope="module")
def street():
    return streets(2, seed=3, size=(96, 128))


def connected(regions):
    return all(label(regions == n, np.ones((3, 3)))[1] == 1 for n in np.unique(regions))


def test_the_same_groups_as_scikit_image(street):
    segmentation = pytest.importorskip("skimage.segmentation")
    for row in range(2):
        pixels = street[row]
        ours = felzenszwalb(pixels, scale=150, sigma=0.8, smallest=30)
        # there the scale is divided by 255, as colours are
        theirs = segmentation.felzenszwalb(pixels, scale=150, sigma=0.8, min_size=30)
        assert ari(ours.ravel(), theirs.ravel()) > 0.95
        assert len(np.unique(ours)) == pytest.approx(len(np.unique(theirs)), rel=0.1)


def test_regions_are_connected_numbered_and_not_small(street):
    regions = felzenszwalb(street[0], smallest=40)
    assert np.unique(regions).tolist() == list(range(regions.max() + 1))
    assert np.bincount(regions.ravel()).min() >= 40
    assert connected(regions)
    assert regions.max() > 3


def test_a_larger_scale_makes_fewer_regions(street):
    counts = [felzenszwalb(street[0], scale=s).max() + 1 for s in (20, 200, 2000)]
    assert counts[0] > counts[1] > counts[2] >= 1


def test_merging_stops_where_colours_differ(street):
    pixels = street[0]
    regions = felzenszwalb(pixels, scale=20)
    joined = merged(regions, pixels, 0.05)
    assert connected(joined)
    assert 1 < joined.max() < regions.max()
    # every region of before lies in one of after
    assert len(np.unique(np.stack([regions, joined]).reshape(2, -1), axis=1).T) == regions.max() + 1
    colours = np.stack([oklab(pixels)[joined == n].mean(0) for n in range(joined.max() + 1)])
    down, right = (joined[:-1], joined[1:]), (joined[:, :-1], joined[:, 1:])
    for a, b in (down, right):
        apart = a != b
        steps = np.linalg.norm(colours[a[apart]] - colours[b[apart]], axis=1)
        assert steps.min() > 0.05
    assert np.array_equal(merged(regions, pixels, 0.0), regions)


def test_street_objects_do_not_share_superpixels(street):
    """The majority of each superpixel explains most of the true mask."""
    regions, truth = Superpixels()(street[0]), street.mask(0)
    counts = np.zeros((regions.max() + 1, truth.max() + 1))
    np.add.at(counts, (regions.ravel(), truth.ravel()), 1)
    assert counts.max(1).sum() / truth.size > 0.75
    assert regions.max() < 400


def test_proposers_by_name():
    assert proposer("superpixels", scale=7).about == {
        "name": "superpixels", "scale": 7, "sigma": 0.8, "smallest": 60, "difference": 0.03,
    }  # fmt: skip
    own = Superpixels(sigma=0)
    assert proposer(own) is own


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("superpixel", {}, "did you mean superpixels"),
        ("superpixels", {"scal": 3}, "did you mean scale"),
        (np.zeros, {}, "name and about"),
        (3, {}, "not int"),
    ],
)
def test_a_wrong_proposer_is_a_sentence(name, options, text):
    with pytest.raises(SettingProblem, match=text):
        proposer(name, **options)


def test_compact_regions_are_connected_and_of_about_one_size(street):
    regions = slic(street[0], 120)
    assert connected(regions)
    assert np.unique(regions).tolist() == list(range(regions.max() + 1))
    sizes = np.bincount(regions.ravel())
    assert 60 < len(sizes) < 180
    assert sizes.min() >= 96 * 128 / 120 / 4 - 1
    assert sizes.max() < 6 * np.median(sizes)


def test_compact_regions_follow_colours_and_less_so_when_more_compact(street):
    truth = street.mask(0)

    def purity(compactness):
        regions = slic(street[0], 150, compactness)
        counts = np.zeros((regions.max() + 1, truth.max() + 1))
        np.add.at(counts, (regions.ravel(), truth.ravel()), 1)
        return counts.max(1).sum() / truth.size

    assert purity(0.1) > purity(100.0) + 0.02
    assert purity(0.1) > 0.85
