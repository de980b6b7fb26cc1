"""Measures, hash and statistics of single pictures."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from fallow.inventory.duplicates import RADIUS, distance
from fallow.inventory.statistics import DIMENSION, MEASURES, describe


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    skimage = pytest.importorskip("skimage.data")
    return Image.fromarray(skimage.astronaut()).resize((256, 256), Image.Resampling.LANCZOS)


def measure(picture: Image.Image, name: str) -> float:
    return float(describe(np.asarray(picture)).measures[MEASURES.index(name)])


def hash_distance(first: Image.Image, second: Image.Image) -> int:
    hashes = np.array([describe(np.asarray(first)).hash], np.uint64)
    return int(distance(hashes, np.uint64(describe(np.asarray(second)).hash))[0])


def recompressed(picture: Image.Image, grade: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=grade)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def test_tone_agrees_with_plain_numpy(photograph):
    pixels = np.asarray(photograph).astype(np.float64)
    luma = pixels @ [0.299, 0.587, 0.114]
    assert measure(photograph, "brightness") == pytest.approx(luma.mean() / 255, abs=1e-4)
    assert measure(photograph, "contrast") == pytest.approx(luma.std() / 255, abs=1e-4)
    counts = np.bincount((luma + 0.5).astype(int).ravel(), minlength=256) / luma.size
    entropy = -(counts[counts > 0] * np.log2(counts[counts > 0])).sum()
    assert measure(photograph, "entropy") == pytest.approx(entropy, abs=0.01)
    inner = luma[1:-1, 1:-1]
    lap = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * inner
    assert measure(photograph, "sharpness") == pytest.approx(lap.var(), rel=1e-3)


def test_focus_falls_with_blur_and_ignores_contrast(photograph):
    sharp = measure(photograph, "focus")
    soft = measure(photograph.filter(ImageFilter.GaussianBlur(2)), "focus")
    faint = measure(Image.fromarray((np.asarray(photograph) // 3 + 80).astype(np.uint8)), "focus")
    assert soft < 0.6 * sharp
    assert faint == pytest.approx(sharp, rel=0.1)


def test_focus_sees_motion_along_one_axis(photograph):
    pixels = np.asarray(photograph).astype(np.float32)
    moved = np.mean([np.roll(pixels, shift, axis=1) for shift in range(9)], axis=0)
    assert measure(Image.fromarray(moved.astype(np.uint8)), "focus") < 0.5 * measure(
        photograph, "focus"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture.resize((97, 97), Image.Resampling.LANCZOS),
        lambda picture: picture.resize((500, 400), Image.Resampling.BICUBIC),
        lambda picture: recompressed(picture, 25),
        lambda picture: picture.point(lambda value: min(255, int(value * 1.12))),
        lambda picture: picture.convert("L").convert("RGB"),
    ],
    ids=["smaller", "larger", "recompressed", "brighter", "grey"],
)
def test_hash_survives_what_copies_go_through(photograph, change):
    assert hash_distance(photograph, change(photograph)) <= RADIUS // 2


def test_hash_tells_pictures_apart(photograph):
    skimage = pytest.importorskip("skimage.data")
    others = [skimage.chelsea(), skimage.coffee(), skimage.rocket()]
    assert min(hash_distance(photograph, Image.fromarray(other)) for other in others) > 2 * RADIUS


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 2), (5, 300), (64, 64)])
def test_any_shape_gives_finite_numbers(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    described = describe(pixels)
    assert described.statistics.shape == (DIMENSION,)
    assert np.isfinite(described.statistics).all()
    assert np.isfinite(described.measures).all()


def test_flat_pictures_have_no_contrast():
    for value in (0, 127, 255):
        measures = describe(np.full((30, 30, 3), value, np.uint8)).measures
        assert measures[MEASURES.index("contrast")] == pytest.approx(0, abs=1e-3)
        assert measures[MEASURES.index("brightness")] == pytest.approx(value / 255, abs=1e-3)


def test_a_sharp_subject_before_soft_ground_is_sharp(photograph):
    soft = photograph.filter(ImageFilter.GaussianBlur(4))
    mixed = soft.copy()
    mixed.paste(photograph.crop((80, 40, 190, 160)), (80, 40))
    assert measure(mixed, "focus") > 2 * measure(soft, "focus")
