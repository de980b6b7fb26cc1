"""ITIT: decoding by counts, three ways to go round, gradients, a run that describes and draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fallow
from fallow.encoders.patch_codes import PatchCodes, learnt_codes
from fallow.images.captions import Texts, captioned, with_captions
from fallow.images.samples import shapes
from fallow.methods.caption.itit import ITIT, PAIRS, PICTURES, TEXTS, Painter, load_painter
from fallow.parts.parallel import left_masked, written
from fallow.problems import Problem, SettingProblem, SourceProblem
from fallow.train import Facts, fit, make_settings

SMALL = {"size": 16, "patch": 4, "codes": 16, "batch": 8, "width": 32, "layers": 1, "decoder": 1,
         "heads": 2, "vocabulary": 540, "context": 12, "steps": 3, "epochs": 2}  # fmt: skip


def streams(count=24):
    images = shapes(2 * count, seed=0, side=24)
    ids, labels = images.column("id"), images.column("label")
    texts = {ids[k]: f"a {labels[k]}" for k in range(count)}
    known = with_captions(images, texts)
    return {
        PAIRS: captioned(known),
        PICTURES: known.where("caption is null"),
        TEXTS: Texts([f"one {label}" for label in labels]),
    }


def train(cycle="full", out=None, only=(PAIRS, PICTURES, TEXTS), **values):
    some = {name: one for name, one in streams().items() if name in only}
    settings = make_settings(ITIT.Settings, {**SMALL, "cycle": cycle, **values})
    return fit(ITIT, some, encoder=fallow.encoder("resnet8/8", seed=0), settings=settings,
               out=out, seed=0)  # fmt: skip


@pytest.mark.parametrize("length", [5, 16, 25])
@pytest.mark.parametrize("steps", [1, 4, 30])
def test_known_tokens_stay_and_counts_follow_the_schedule(length, steps):
    torch.manual_seed(0)
    ids = torch.randint(0, 7, (3, length))
    unknown = torch.rand(3, length) < 0.7
    counts = []

    def predict(ids, mask):
        counts.append(mask.sum(1))
        return torch.randn(3, length, 7)

    made = written(predict, ids, unknown, steps, temperature=1.0,
                   generator=torch.Generator().manual_seed(0))  # fmt: skip
    assert torch.equal(made[~unknown], ids[~unknown])
    first = unknown.sum(1)
    for step, count in enumerate(counts[1:], 1):
        wanted = (first * left_masked(step / steps, count=length)).floor().long()
        wanted = torch.minimum(wanted, counts[step - 1] - 1).clamp_min(1)
        assert torch.equal(count, wanted)


def test_a_book_of_patches_gives_pictures_back():
    torch.manual_seed(0)
    few = torch.rand(4, 3, 2, 2)
    choice = torch.randint(0, 4, (30, 16))
    book = PatchCodes(few.permute(0, 2, 3, 1).reshape(4, -1), 2)
    pictures = book.write(choice, 8)
    found = learnt_codes(pictures, 4, 2)
    torch.testing.assert_close(found.write(found.read(pictures), 8), pictures, atol=1e-4, rtol=0)


def test_cycles_come_late_and_only_with_what_they_need():
    run = train(begin=0.5, epochs=4)
    rounds = ["text round" in line for line in run.history]
    assert not rounds[0]
    assert rounds[-1]
    alone = train(begin=0.0, only=(PAIRS,))
    assert "text round" not in alone.history[-1]
    texts = train(begin=0.0, only=(PAIRS, TEXTS))
    assert "text round" in texts.history[-1]
    assert "picture round" not in texts.history[-1]


def test_full_cycles_reach_the_other_direction_and_half_ones_do_not():
    for cycle, reached in (("full", True), ("half", False)):
        method = train(cycle).method.train()
        ids = torch.randint(0, 16, (4, method.places))
        method.zero_grad()
        method.picture_round(ids).backward()
        words = sum(p.grad.abs().sum() for p in method.joint.writer.parameters()
                    if p.grad is not None)  # fmt: skip
        assert bool(words > 0) == reached
        method.zero_grad()
        numbers = torch.tensor([[method.tokeniser.start, 300, method.tokeniser.end, 0]])
        numbers = torch.nn.functional.pad(numbers, (0, 8), value=method.tokeniser.pad)
        method.text_round(numbers.repeat(4, 1)).backward()
        drawn = sum(p.grad.abs().sum() for p in method.joint.patch.parameters()
                    if p.grad is not None)  # fmt: skip
        assert bool(drawn > 0) == reached


def test_a_text_is_never_read_by_what_has_to_say_it():
    method = train("paired").method.eval()
    tokens = method.joint.tokens(torch.zeros(1, method.places, dtype=torch.long),
                                 torch.zeros(1, method.places, dtype=torch.bool))  # fmt: skip
    one = torch.tensor([[method.tokeniser.start, 300, 301, method.tokeniser.end]])
    other = torch.tensor([[method.tokeniser.start, 310, 311, method.tokeniser.end]])
    first = [method.said(tokens, numbers)[0][:, 0] for numbers in (one, other)]
    torch.testing.assert_close(*first)


def test_a_run_describes_and_draws_and_comes_back(tmp_path):
    run = train("full", out=tmp_path, epochs=100, begin=0.8, learning_rate=0.15)
    said = [line["to text"] for line in run.history]
    assert np.mean(said[-5:]) < 0.6 * np.mean(said[:5])
    painter = Painter(run.method)
    rows, texts = painter.of(streams()[PAIRS], beams=2)
    assert len(rows) == len(texts) == 24
    labels = streams()[PAIRS].column("label")
    right = np.mean([text == f"a {label}" for (text, _), label in zip(texts, labels, strict=True)])
    assert right > 0.3  # six shapes
    drawn = painter.pictures(["a disc", "a ring"], seed=1)
    assert drawn.shape == (2, 16, 16, 3)
    assert drawn.dtype == np.uint8
    again = load_painter(tmp_path)
    np.testing.assert_array_equal(again.pictures(["a disc", "a ring"], seed=1), drawn)


def test_the_verb_captions_what_has_none(tmp_path):
    images = shapes(40, seed=0, side=24)
    texts = {key: f"a {label}" for key, label in
             list(zip(images.column("id"), images.column("label"), strict=True))[:24]}  # fmt: skip
    result = fallow.caption(
        images, captions=texts, texts=["one disc", "one ring"] * 6, method="itit",
        settings={k: v for k, v in SMALL.items() if k != "epochs"}, epochs=1, out=tmp_path / "made",
    )  # fmt: skip
    assert result.table.num_rows == 16
    more = fallow.caption(images, method="itit", run=tmp_path / "made" / "run")
    assert more.table.num_rows == 40


def test_what_is_missing_is_one_sentence(tmp_path):
    with pytest.raises(SettingProblem, match="some pictures with captions"):
        ITIT(fallow.encoder("resnet8/8"), make_settings(ITIT.Settings, {}), Facts(4, 32))
    with pytest.raises(SourceProblem, match="holds no run of itit"):
        load_painter(tmp_path)
    with pytest.raises(Problem, match="has no column caption"):
        fallow.caption(shapes(6, side=16), method="itit")
    with pytest.raises(SettingProblem, match="no whole patches"):
        learnt_codes(torch.zeros(1, 3, 10, 10), 4, 4)
