"""T2UE: patterns that texts decide, learnt against a dual encoder, written without pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import fallow
from fallow.encoders import dual
from fallow.encoders.conditioned import TextGenerator
from fallow.images.captions import with_captions
from fallow.images.samples import shapes
from fallow.methods.protect.t2ue import T2UE, PatternWriter, bounded, load_writer, protected
from fallow.outcomes.pairs import said
from fallow.problems import SettingProblem, SourceProblem
from fallow.train import fit, make_settings
from fallow.views.perturb import Budget


def captioned(count=48):
    images = shapes(count, seed=0, side=24)
    labels = zip(images.column("id"), images.column("label"), strict=True)
    texts = {key: f"a picture of a {label}" for key, label in labels}
    return images, texts


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A dual encoder that knows shapes a little."""
    images, texts = captioned(60)
    place = tmp_path_factory.mktemp("words")
    small = {"batch": 16, "size": 16, "text_width": 32, "text_heads": 2, "vocabulary": 600,
             "learning_rate": 0.01}  # fmt: skip
    fallow.align(images, captions=texts, encoder="resnet8/8", epochs=12, settings=small, out=place)
    return place


def writer(blocks=3):
    torch.manual_seed(0)
    tiny = dual.tiny()
    generator = TextGenerator(tiny.words.dimension, 4, blocks).eval()
    for block in generator.blocks:  # as training leaves it: the text has a say
        torch.nn.init.constant_(block.weight, 0.5)
        for norm in (block.norm_one, block.norm_two):
            torch.nn.init.normal_(norm.scale[2].weight)
            torch.nn.init.normal_(norm.shift[2].weight)
    return PatternWriter(tiny.words, generator, Budget(8), "tanh")


def test_a_text_decides_its_pattern_and_always_the_same():
    made = writer().patterns(["a dog", "a red car", "a dog"])
    assert made.shape == (3, 3, 16, 16)
    torch.testing.assert_close(made[0], made[2])
    assert (made[0] - made[1]).abs().max() > 1e-3
    assert made.abs().max() <= 8 / 255 + 1e-6


def test_before_training_no_text_matters():
    torch.manual_seed(0)
    generator = TextGenerator(12, 4, 3).eval()
    noise = torch.randn(1, 100)
    one, two = (generator(noise, text) for text in torch.randn(2, 1, 12))
    torch.testing.assert_close(one, two)


def test_clamped_patterns_have_no_gradient_where_scaled_ones_do():
    for how, learns in (("clamp", False), ("scale", True), ("tanh", True)):
        raw = torch.full((1, 3, 2, 2), 0.9, requires_grad=True)
        bounded(raw, 8, how).sum().backward()
        assert bool(raw.grad.abs().max() > 0) == learns


def test_a_writer_comes_back_as_it_was(tmp_path):
    one = writer()
    one.save(tmp_path)
    again = load_writer(tmp_path)
    torch.testing.assert_close(again.patterns(["a dog"]), one.patterns(["a dog"]))
    with pytest.raises(SourceProblem, match="holds no writer"):
        load_writer(tmp_path / "elsewhere")


def test_copies_keep_the_budget_in_whole_steps():
    draw = np.random.default_rng(0)
    pixels = draw.integers(20, 230, (20, 30, 3), np.uint8)
    copy = protected(pixels, writer().patterns(["a dog"])[0], Budget(8))
    away = np.abs(copy.astype(int) - pixels)
    assert 0 < away.max() <= 8


def test_training_makes_pairs_easier_to_match(words):
    images, texts = captioned()
    surrogate = dual.dual_encoder(words)
    before = {name: value.clone() for name, value in surrogate.image.state_dict().items()}
    settings = {"start": str(words), "size": 16, "epochs": 16, "batch": 16, "width": 4, "blocks": 3,
                "eps": 48, "learning_rate": 0.05, "precision": "32"}  # fmt: skip
    run = fit(T2UE, with_captions(images, texts), encoder=surrogate.image,
              settings=make_settings(T2UE.Settings, settings), seed=0)  # fmt: skip
    losses = [line["loss"] for line in run.history]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    for name, value in run.method.encoder.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_verb_writes_copies_and_says_what_was_measured(words, tmp_path):
    images, texts = captioned(30)
    result = fallow.protect(
        images, captions=texts, method="t2ue", encoder=str(words), out=tmp_path / "copies",
        epochs=1, verify=True, verify_epochs=1, settings={"width": 4, "blocks": 3, "batch": 8},
    )  # fmt: skip
    assert result.table.num_rows == 30
    copy = np.asarray(Image.open(tmp_path / "copies" / "shapes_0003.png").convert("RGB"))
    away = np.abs(copy.astype(int) - images[3])
    assert 0 < away.max() <= 8
    rows = [row["learnt from"] for row in result.findings["pairs"]["rows"]]
    shares = [f"{share}% protected" for share in (20, 40, 60, 80, 100)]
    assert rows == ["clean", "random signs", *shares]
    assert any("not a guarantee" in note for note in result.findings["notes"])
    assert (tmp_path / "copies-private" / "run" / "writer" / "writer.json").is_file()


def test_what_is_missing_is_one_sentence(tmp_path):
    images, texts = captioned(12)
    with pytest.raises(SettingProblem, match="name one with encoder"):
        fallow.protect(images, captions=texts, method="t2ue", out=tmp_path / "a")
    with pytest.raises(SettingProblem, match="uc, or t2ue with captions"):
        fallow.protect(images, captions=texts, out=tmp_path / "b")
    with pytest.raises(SourceProblem, match="holds no caption"):
        fallow.protect(
            images, captions={images.column("id")[0]: ""}, method="t2ue", out=tmp_path / "c"
        )


def test_a_test_that_says_nothing_says_so():
    rows = [
        {"learnt from": name, "picture finds text": 0.1} for name in ("clean", "100% protected")
    ]
    assert "says nothing" in said({"rows": rows, "asked": 50, "chance": 0.1})[1]
