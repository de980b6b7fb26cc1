"""The predictor tells places apart, on any grid, and says something of wanted places only."""

from __future__ import annotations

import torch

from fallow.encoders.predictor import PatchPredictor


def predictor(grid=(3, 5)):
    torch.manual_seed(0)
    made = PatchPredictor(8, 6, grid, width=16, depth=2, heads=2)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.double()


def test_outputs_follow_the_order_asked_for_and_not_the_order_seen():
    made, seen = predictor(), torch.randn(2, 4, 8).double()
    where = torch.tensor([[0, 3, 7, 14], [1, 2, 3, 4]])
    wanted = torch.tensor([[5, 6, 9], [0, 13, 7]])
    out = made(seen, where, wanted)
    assert out.shape == (2, 3, 6)
    torch.testing.assert_close(made(seen, where, wanted.flip(1)), out.flip(1))
    torch.testing.assert_close(made(seen.flip(1), where.flip(1), wanted), out)
    assert not torch.allclose(made(seen, where.flip(1), wanted), out)


def test_leading_tokens_have_no_place_but_are_heard():
    made, seen = predictor(), torch.randn(1, 3, 8).double()
    where, wanted = torch.tensor([[2, 4]]), torch.tensor([[1]])
    out = made(seen, where, wanted)
    other = seen.clone()
    other[:, 0] += 1
    assert not torch.allclose(made(other, where, wanted), out)
    assert "positions" not in made.state_dict()
