"""Which guessed pixels count, and hard pixels."""

import pytest
import torch
from torch.nn import functional as F

from fallow.losses.confident import (
    confident_pixels,
    hard_pixels,
    mean_confidence,
    share_confident,
)


@pytest.fixture
def sure():
    return torch.tensor([[[0.5, 0.95], [0.96, 0.99]], [[0.1, 0.2], [0.3, 0.96]]])


def test_the_threshold_itself_counts_and_padding_does_not(sure):
    valid = torch.ones_like(sure, dtype=torch.bool)
    valid[0, 1, 1] = False
    weight = confident_pixels(sure, valid, 0.95)
    assert weight.tolist() == [[[0, 1], [1, 0]], [[0, 0], [0, 1]]]


def test_share_and_mean_are_each_images_own(sure):
    valid = torch.ones_like(sure, dtype=torch.bool)
    valid[0, 0, 0] = False
    share = share_confident(sure, valid, 0.95)
    assert share.shape == sure.shape
    assert share[:, 0, 0].tolist() == pytest.approx([1.0, 0.25])
    mean = mean_confidence(sure, valid, 0.95)
    assert mean[:, 1, 1].tolist() == pytest.approx([2.9 / 3, 1.56 / 4])


def test_an_image_of_padding_counts_nothing(sure):
    nothing = torch.zeros_like(sure, dtype=torch.bool)
    for weight in (confident_pixels, share_confident, mean_confidence):
        assert not weight(sure, nothing, 0.5).any()


def test_hard_pixels_by_threshold_by_number_and_all():
    own = torch.tensor([0.2, 0.4, 0.6, 0.8])
    logits = torch.stack([torch.log(1 - own), torch.log(own)]).view(1, 2, 1, 4)
    target = torch.ones(1, 1, 4, dtype=torch.long)
    each = -torch.log(own)
    assert float(hard_pixels(logits, target, 0.5, 1)) == pytest.approx(float(each[:2].mean()))
    assert float(hard_pixels(logits, target, 0.5, 3)) == pytest.approx(float(each[:3].mean()))
    assert float(hard_pixels(logits, target, 0.5, 9)) == pytest.approx(float(each.mean()))
    target[0, 0, 0] = 255
    assert float(hard_pixels(logits, target, 0.5, 1)) == pytest.approx(float(each[1]))
    assert float(hard_pixels(logits, torch.full_like(target, 255), 0.5, 1)) == 0


def test_all_pixels_hard_is_cross_entropy():
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    target = torch.randint(0, 3, (2, 4, 4), generator=torch.Generator().manual_seed(1))
    found = hard_pixels(logits, target, 1.0, 1)
    torch.testing.assert_close(found, F.cross_entropy(logits, target))
