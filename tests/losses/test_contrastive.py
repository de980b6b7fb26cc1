"""Contrastive losses: limits, invariances, precision."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from fallow.losses import (
    barlow,
    byol,
    in_batch,
    info_nce,
    negative_cosine,
    nt_xent,
    nt_xent_views,
    supcon,
    symmetric_in_batch,
)


def pair(batch=6, dimension=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, batch, dimension, generator=generator, dtype=torch.float64).unbind()


def plain_nt_xent(z1, z2, temperature):
    """Row by row, as the formula is written."""
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    terms = []
    for i in range(len(z)):
        partner = (i + len(z1)) % len(z)
        others = [z[i] @ z[j] / temperature for j in range(len(z)) if j != i]
        own = z[i] @ z[partner] / temperature
        terms.append(torch.stack(others).logsumexp(0) - own)
    return torch.stack(terms).mean()


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
def test_nt_xent_is_the_formula(temperature):
    z1, z2 = pair()
    expected = plain_nt_xent(z1, z2, temperature)
    torch.testing.assert_close(nt_xent(z1, z2, temperature), expected)


def test_nt_xent_limits():
    z1, z2 = pair()
    # at a huge temperature all 2B - 1 candidates are alike
    assert nt_xent(z1, z2, 1e6).item() == pytest.approx(math.log(2 * len(z1) - 1), rel=1e-5)
    assert nt_xent(z1[:1], z2[:1], 0.01).item() == 0
    assert nt_xent_views(torch.stack([z1[:1], z2[:1]]), 0.01).item() == 0


def test_single_images_send_no_gradient():
    z = torch.randn(2, 1, 4, requires_grad=True)
    nt_xent_views(z, 0.1).backward()
    assert not z.grad.any()


def test_nt_xent_views_with_two_views_is_nt_xent():
    z1, z2 = pair()
    torch.testing.assert_close(nt_xent_views(torch.stack([z1, z2]), 0.1), nt_xent(z1, z2, 0.1))


def test_sharp_temperature_in_half_precision_stays_finite():
    z1, z2 = (z.bfloat16().requires_grad_() for z in pair())
    loss = nt_xent(z1, z2, 0.01)
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert torch.isfinite(z1.grad).all()


def test_autocast_does_not_round_the_logits():
    z1, z2 = (z.float() for z in pair(32, 64))
    expected = nt_xent(z1, z2, 0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert nt_xent(z1, z2, 0.05).item() == expected.item()


def test_info_nce_ignores_key_and_queue_gradients():
    query, key = (z.requires_grad_() for z in pair())
    queue = F.normalize(pair(seed=1)[0], dim=1).requires_grad_()
    loss = info_nce(query, key, queue, 0.2)
    loss.backward()
    assert query.grad.abs().sum() > 0
    assert key.grad is None
    assert queue.grad is None
    logits = torch.cat([(F.normalize(query) * F.normalize(key)).sum(1, True), F.normalize(query)
                        @ queue.T], 1) / 0.2  # fmt: skip
    torch.testing.assert_close(loss, -logits.log_softmax(1)[:, 0].mean())


def test_in_batch_carries_twice_the_temperature():
    q, k = pair()
    logits = F.normalize(q) @ F.normalize(k).T / 0.3
    expected = 0.6 * F.cross_entropy(logits, torch.arange(len(q)))
    torch.testing.assert_close(in_batch(q, k, 0.3), expected)
    both = symmetric_in_batch(q, k, q, k, 0.3)
    torch.testing.assert_close(both, in_batch(q, k, 0.3) + in_batch(k, q, 0.3))


def test_supcon_is_nt_xent_when_every_image_is_its_own_class():
    z1, z2 = pair()
    labels = torch.arange(len(z1)).repeat(2)
    torch.testing.assert_close(supcon(torch.cat([z1, z2]), labels, 0.1), nt_xent(z1, z2, 0.1))


def test_supcon_leaves_out_lonely_rows():
    z = torch.cat(pair())
    labels = torch.arange(len(z))
    assert supcon(z, labels).item() == 0
    labels[1] = labels[0]
    similar = F.normalize(z, dim=1) @ F.normalize(z, dim=1).T / 0.1
    similar.fill_diagonal_(-torch.inf)
    expected = -(similar.log_softmax(1)[0, 1] + similar.log_softmax(1)[1, 0]) / 2
    torch.testing.assert_close(supcon(z, labels, 0.1), expected)


def test_byol_and_negative_cosine():
    p, z = (t.requires_grad_() for t in pair())
    cosine = F.cosine_similarity(p, z).mean()
    torch.testing.assert_close(negative_cosine(p, z), -cosine)
    torch.testing.assert_close(byol(p, z), 2 - 2 * cosine)
    byol(p, z).backward()
    assert z.grad is None


def test_barlow_counts_diagonal_and_rest():
    z1, z2 = pair(64, 5)
    a, b = ((z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt() for z in (z1, z2))
    c = a.T @ b / 64
    expected = ((c.diagonal() - 1) ** 2).sum() + 0.01 * (c - c.diagonal().diag()).square().sum()
    torch.testing.assert_close(barlow(z1, z2, 0.01), expected)
