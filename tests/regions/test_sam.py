"""Segment Anything: a tiny model made here, and the sifting of masks on logits that are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from fallow.problems import Problem, SettingProblem
from fallow.regions import proposer
from fallow.regions.sam import Generator, boxes_of, distinct, mend, stability

transformers = pytest.importorskip("transformers")


def tiny(seed=0):
    torch.manual_seed(seed)
    config = transformers.SamConfig(
        vision_config={
            "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64,
            "patch_size": 16, "output_channels": 16, "num_pos_feats": 8, "window_size": 2,
            "global_attn_indexes": [1], "mlp_dim": 32,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 16,
                               "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 16, "num_attention_heads": 2,
                             "iou_head_hidden_dim": 16},
    )  # fmt: skip
    return transformers.SamModel(config)


def picture(seed=0, size=(48, 80)):
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)


def test_a_model_from_a_folder_cuts_an_image(tmp_path):
    tiny().save_pretrained(tmp_path / "sam")
    made = proposer(
        f"sam:{tmp_path / 'sam'}", points=4, quality=-1e9, stability=0.0, crops=1, leftover=50
    )
    regions = made(picture())
    assert regions.shape == (48, 80)
    assert np.unique(regions).tolist() == list(range(regions.max() + 1))
    np.testing.assert_array_equal(regions, made(picture()))
    assert made.about["points"] == 4
    assert made.about["leftover"] == 50
    other = Generator(tiny(1), points=4)
    assert other.about["weights"] != made.about["weights"]


def test_the_model_sees_what_its_own_processor_would_show_it():
    """Points land on the same places, and pixels are prepared alike."""
    model = tiny()
    made = Generator(model, points=3)
    seen, scale = made._prepared(picture())
    assert seen.shape == (1, 3, 64, 64)
    assert scale == pytest.approx(64 / 80)
    assert (seen[0, :, 39:] == 0).all()  # 48 * 0.8 = 38.4 rows of image, then padding
    assert seen[0, :, :38].abs().sum() > 0


def test_a_model_that_is_no_sam_is_a_sentence(tmp_path):
    config = transformers.ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
                                    intermediate_size=8, image_size=16, patch_size=8)  # fmt: skip
    transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    with pytest.raises(SettingProblem, match="not 'sam'"):
        proposer(f"sam:{tmp_path / 'vit'}")
    tiny().save_pretrained(tmp_path / "sam")
    with pytest.raises(SettingProblem, match="did you mean points"):
        proposer(f"sam:{tmp_path / 'sam'}", point=3)


def test_a_model_that_is_nowhere_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Problem, match="model"):
        proposer(f"sam:{tmp_path / 'nowhere'}")


class Known(nn.Module):
    """A model that finds the disc a point lies in, and nothing where there is none.

    Its three answers: the disc, a shaky one, and one it does not believe in.
    """

    def __init__(self, size, discs):
        super().__init__()
        self.config = SimpleNamespace(vision_config=SimpleNamespace(image_size=128))
        self.weight = nn.Parameter(torch.zeros(1))
        self.discs, self.size, self.asked = discs, size, []

    def get_image_embeddings(self, seen):
        self.seen = seen
        return seen

    def forward(self, image_embeddings, input_points, multimask_output):
        assert multimask_output
        points = input_points[0, :, 0]  # n 2
        self.asked.append(points)
        y, x = torch.meshgrid(*(torch.arange(64) * 2 + 1.0,) * 2, indexing="ij")
        logits = torch.full((len(points), 3, 64, 64), -20.0)
        quality = torch.full((len(points), 3), 0.1)
        for row, (px, py) in enumerate(points.tolist()):
            for cx, cy, radius in self.discs:
                away = radius - ((x - cx) ** 2 + (y - cy) ** 2).sqrt()
                if (px - cx) ** 2 + (py - cy) ** 2 < radius**2:
                    logits[row, 0] = 8 * away
                    logits[row, 1] = 0.02 * away  # its edge is anywhere
                    logits[row, 2] = 4 * (away + 9)
                    quality[row] = torch.tensor([0.95, 0.95, 0.5])
        return SimpleNamespace(pred_masks=logits[None], iou_scores=quality[None])


def disc(size, cx, cy, radius):
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    return (x - cx) ** 2 + (y - cy) ** 2 < radius**2


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_each_disc_is_found_once_and_only_the_steady_mask_of_it():
    size = (128, 128)
    model = Known(size, [(30, 40, 18), (90, 88, 25)])
    found = Generator(model, points=12, crops=0)(np.zeros((*size, 3), np.uint8))
    assert len(found) == 2
    for truth in (disc(size, 30, 40, 18), disc(size, 90, 88, 25)):
        assert max(iou(mask, truth) for mask in found) > 0.95


def test_masks_come_back_at_the_size_of_an_image_that_is_not_square():
    # 256 x 128 pixels are seen at half size: the disc is at (40, 30) there
    model = Known((128, 256), [(40, 30, 12)])
    found = Generator(model, points=16, crops=0)(np.zeros((128, 256, 3), np.uint8))
    assert found.shape == (1, 128, 256)
    assert iou(found[0], disc((128, 256), 80, 60, 24)) > 0.93
    points = torch.cat(model.asked)
    assert points[:, 0].max() > 120
    assert points[:, 1].max() < 64  # none in the padding


def test_crops_overlap_cover_the_image_and_ask_fewer_points():
    made = Generator(tiny(), points=8, crops=2)
    crops = list(made._crops(90, 120))
    assert [points for _, points in crops] == [8] + [4] * 4 + [2] * 16
    for layer in (crops[1:5], crops[5:]):
        covered = np.zeros((90, 120), int)
        for (left, top, right, bottom), _ in layer:
            assert 0 <= left < right <= 120
            assert 0 <= top < bottom <= 90
            covered[top:bottom, left:right] += 1
        assert covered.min() >= 1
        assert covered.max() > 1


def test_what_a_crop_cuts_off_is_left_out_and_what_it_holds_moves_to_its_place():
    """Every crop shows the same disc in its middle: four places in the image, none at a border."""
    model = Known((128, 128), [(64, 64, 20)])
    made = Generator(model, points=16, crops=1)
    found = made(np.zeros((256, 256, 3), np.uint8))
    assert len(found) == 5  # the image's own and one for each crop
    middles = sorted(tuple(np.argwhere(mask).mean(0).round().astype(int)) for mask in found)
    assert len(set(middles)) == 5
    edge = Known((128, 128), [(127, 64, 20)])  # cut by the right border of whatever is seen
    found = Generator(edge, points=16, crops=1)(np.zeros((256, 256, 3), np.uint8))
    # the left crops' border lies inside the image: only the right ones and the image remain
    assert all(np.argwhere(mask)[:, 1].max() == 255 for mask in found)
    assert 1 <= len(found) <= 3


def test_steadiness_by_hand():
    logits = torch.tensor([[[3.0, 3.0, 0.5, -0.5, -3.0]], [[-9.0] * 5]])
    assert stability(logits, 1.0).tolist() == [0.5, 0.0]


def test_boxes_hold_their_masks():
    random = np.random.default_rng(0)
    masks = torch.from_numpy(random.random((6, 9, 11)) > 0.93)
    masks[0, 4, 5] = True
    masks = masks[masks.flatten(1).any(1)]
    for mask, (left, top, right, bottom) in zip(masks, boxes_of(masks).tolist(), strict=True):
        places = mask.nonzero()
        assert places.amin(0).tolist() == [top, left]
        assert (places.amax(0) + 1).tolist() == [bottom, right]


def test_the_better_of_two_alike_stays():
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 6]])
    assert distinct(boxes, torch.tensor([1.0, 2.0, 3.0]), 0.7).tolist() == [2, 0]
    assert distinct(boxes[:0], torch.zeros(0), 0.7).tolist() == []


def test_holes_and_islands_are_mended():
    mask = np.zeros((20, 20), bool)
    mask[2:12, 2:12] = True
    mask[5, 5] = False  # a hole
    mask[15, 15] = True  # an island
    mended = mend(mask, 10)
    assert mended[5, 5]
    assert not mended[15, 15]
    assert mended.sum() == 100
    lonely = np.zeros((9, 9), bool)
    lonely[3, 3] = True
    assert mend(lonely, 10).sum() == 1  # the largest island stays
    np.testing.assert_array_equal(mend(mask, 0), mask)
