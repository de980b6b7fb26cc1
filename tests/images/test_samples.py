"""Generated collections: the same for the same seed, and with what they promise."""

import numpy as np
import pytest

from fallow.images import open, samples


@pytest.mark.parametrize(
    "make",
    [
        lambda n, seed: samples.shapes(n, seed, 32),
        lambda n, seed: samples.parts(n, seed, 48),
        lambda n, seed: samples.streets(n, seed, (48, 80)),
        lambda n, seed: samples.cells(n, seed, 48),
    ],
)
def test_a_seed_decides_everything(make):
    images = make(6, 5)
    assert images.fingerprint == make(6, 5).fingerprint
    assert images.fingerprint != make(6, 6).fingerprint
    assert make(9, 5).select(range(6)).fingerprint == images.fingerprint
    assert len(set(images.column("hash"))) == 6


def test_masks_mean_what_they_say():
    parts = samples.parts(18, 1, 96)
    for index, anomaly in enumerate(parts.column("anomaly")):
        mask = parts.mask(index)
        assert set(np.unique(mask)) <= {0, 1}
        assert bool(mask.any()) == bool(anomaly)
    streets = samples.streets(6, 1)
    assert set(np.unique(np.stack([streets.mask(at) for at in range(6)]))) == set(range(7))
    light = [float(streets[at].mean()) for at in range(6)]
    assert max(light[1::2]) < min(light[::2]) - 30
    cells = samples.cells(6, 1)
    for index, count in enumerate(cells.column("count")):
        assert np.unique(cells.mask(index)).tolist() == list(range(count + 1))


def test_bundled_pictures():
    digits = samples.digits()
    assert len(digits) == 1797
    assert digits.labels[1] == [str(at) for at in range(10)]
    pytest.importorskip("skimage")
    photographs = samples.photographs()
    assert "astronaut" in photographs.column("id").tolist()
    assert min(photographs.column("width")) >= 300


def test_a_collection_written_and_opened_is_the_same(tmp_path):
    made = samples.parts(6, 2, 48)
    images = open(samples.write(made, tmp_path / "parts"))
    assert len(images) == 6
    assert images.column("anomaly").tolist() == made.column("anomaly").tolist()
    assert all((images[at] == made[at]).all() for at in range(6))
    assert (images.mask(5) == made.mask(5)).all()


def test_the_demo_has_something_to_find(tmp_path):
    images = open(samples.demo(tmp_path / "demo", seed=1))
    assert 280 <= len(images) <= 320
    assert sorted(problem.path for problem in images.problems) == [
        "inbox/cut_short.jpg",
        "inbox/notes.jpg",
    ]
    hashes = images.column("hash")
    assert len(hashes) - len(set(hashes)) == 8
    shapes = images.where("path like 'shapes/%'")
    kinds = [samples.SHAPES[at % 8] for at in range(120)]
    wrong = [a != b for a, b in zip(kinds, shapes.column("label"), strict=True)]
    assert 2 <= sum(wrong) <= 6
    assert min(images.column("width")) < 20
    assert len(images.unlabelled) == 26
