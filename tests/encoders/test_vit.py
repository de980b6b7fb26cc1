"""Vision transformers: visible patches, masks, positions, block outputs."""

import pytest
import torch

from fallow.encoders.vit import LAYOUTS, Layout, ViT, sincos_positions, vit
from fallow.problems import SettingProblem


def small(**options):
    torch.manual_seed(0)
    return ViT(Layout(16, 3, 2), **{"patch": 4, "size": 16, **options}).eval()


IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("positions", ["sincos", "learned"])
def test_kept_patches_only(positions):
    network = small(positions=positions)
    everything = torch.arange(16).expand(2, -1)
    torch.testing.assert_close(
        network.forward_tokens(IMAGES, keep=everything), network.forward_tokens(IMAGES)
    )
    keep = torch.tensor([[3, 0, 9], [1, 2, 15]])
    tokens = network.forward_tokens(IMAGES, keep=keep)
    assert tokens.shape == (2, 4, 16)
    # what is not kept has no influence
    altered = IMAGES.clone()
    altered[0, :, 4:8, 0:4] += 5  # patch 4 of the first image
    torch.testing.assert_close(network.forward_tokens(altered, keep=keep), tokens)
    altered[0, :, 0:4, 0:4] += 5  # patch 0 is kept
    assert (network.forward_tokens(altered, keep=keep)[0] - tokens[0]).abs().max() > 1e-3
    # tokens follow the order of keep
    swapped = network.forward_tokens(IMAGES, keep=keep[:, [1, 0, 2]])
    torch.testing.assert_close(swapped[:, [0, 2, 1, 3]], tokens)


def test_masked_patches_are_replaced_but_keep_their_place():
    network = small()
    mask = torch.zeros(2, 16, dtype=torch.bool)
    mask[0, 5] = True
    token = torch.full((16,), 0.5)
    entering = network.embed_patches(IMAGES, mask=mask, mask_token=token)
    torch.testing.assert_close(entering[0, 6], token + network.pos_embed[0, 6])
    plain = network.embed_patches(IMAGES)
    torch.testing.assert_close(entering[1], plain[1])
    assert network.forward_tokens(IMAGES, mask=mask, mask_token=token).shape == (2, 17, 16)
    with pytest.raises(SettingProblem, match="mask_token"):
        network.forward_tokens(IMAGES, mask=mask)


def test_sincos_positions_are_exact_on_every_grid():
    network = small()
    wide = network.positions_for((2, 6))
    torch.testing.assert_close(wide[0, 1:], sincos_positions(2, 6, 16))
    assert wide[0, 0].abs().max() == 0
    assert "pos_embed" in network.state_dict()
    assert "pos_embed" not in dict(network.named_parameters())


def test_learned_positions_are_resampled():
    network = small(positions="learned")
    row = torch.arange(4.0)[:, None].expand(4, 4).flatten()
    with torch.no_grad():
        network.pos_embed[0, 1:] = row[:, None]
    assert network.positions_for((4, 4)) is network.pos_embed
    larger = network.positions_for((8, 6))[0, 1:, 0].view(8, 6)
    assert larger.shape == (8, 6)
    torch.testing.assert_close(larger[:, 0], larger[:, 5])
    assert (larger.diff(dim=0) > 0).sum() >= 30
    assert network(torch.randn(1, 3, 32, 24)).shape == (1, 16)


def test_block_outputs_with_and_without_final_norm():
    network = small()
    with torch.no_grad():
        network.norm.weight.fill_(2.0)
    raw = network.block_outputs(IMAGES, [0, -1])
    normed = network.block_outputs(IMAGES, [0, -1], norm=True)
    for before, after in zip(raw, normed, strict=True):
        torch.testing.assert_close(network.norm(before), after)
    torch.testing.assert_close(normed[1], network.forward_tokens(IMAGES))
    assert network.patches(IMAGES[..., :8], [1])[0].shape == (2, 4, 2, 16)


def test_attention_sums_to_one_and_mixes_as_the_fused_kernel_does():
    network = small()
    attention = network.attention(IMAGES)
    assert attention.shape == (2, 2, 17, 17)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 2, 17))
    last = network.blocks[-1]
    entering = last.norm1(network.block_outputs(IMAGES, [1])[0])
    value = last.attn._split(entering)[2]
    mixed = last.attn.proj((attention @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(mixed, last.attn(entering))


def test_without_class_token():
    network = small(class_token=False, pool="mean")
    tokens = network.forward_tokens(IMAGES)
    assert tokens.shape == (2, 16, 16)
    torch.testing.assert_close(network(IMAGES), tokens.mean(1))
    with pytest.raises(SettingProblem, match="pool"):
        small(class_token=False)


def test_drop_path_acts_in_training_only():
    network = small(drop_path=0.9)
    torch.testing.assert_close(network(IMAGES), network(IMAGES))
    network.train()
    assert (network(IMAGES) - network(IMAGES)).abs().max() > 1e-4
    drop = network.blocks[-1].drop_path.train()
    kept = drop(torch.ones(4000, 1))
    assert kept.unique().tolist() == pytest.approx([0.0, 10.0])
    assert kept.mean().item() == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize(
    ("name", "millions"), [("vit-tiny", 5.5), ("vit-small", 21.7), ("vit-base", 85.8)]
)
def test_known_sizes(name, millions):
    with torch.device("meta"):
        network = vit(name, positions="learned")
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)
    assert set(LAYOUTS) >= {"vit-nano", name}


def test_size_must_divide():
    with pytest.raises(SettingProblem, match="multiple of 4"):
        small()(torch.zeros(1, 3, 18, 16))
