"""CLIP and SigLIP as a whole: they learn words for what is seen, go on, and say what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fallow
from fallow.encoders.dual import dual_encoder, tiny
from fallow.images.captions import captioned, captions, with_captions
from fallow.measure.words import both_ways, merged
from fallow.methods import find, slugs
from fallow.problems import Problem, SettingProblem, SourceProblem
from fallow.train import Batch, Now, make_settings
from fallow.train.method import Facts

from .captioned import PLAIN, drawn, losses, same_weights, sorted_by_words, train

METHODS = ("clip", "siglip")


class Stop(Exception):
    pass


def stop(*_):
    raise Stop


@pytest.mark.parametrize("method", METHODS)
def test_words_are_learnt_for_what_is_seen(method):
    run = train(method, drawn(96), epochs=25, batch=32, learning_rate=0.03)
    unseen = drawn(96, seed=9)
    dual = run.method.dual()
    assert losses(run)[-1] < 0.6 * losses(run)[0]
    assert sorted_by_words(dual, unseen) > 0.4  # chance is a twelfth
    found = merged(captions(unseen))
    pictures = dual.embed_images(unseen, normalise=True)
    texts = dual.embed_texts(found.texts, normalise=True)
    recall = both_ways(pictures, texts, found.pairs)
    assert recall.image_to_text.recall[5] > 0.6  # chance is about 0.35
    assert recall.text_to_image.recall[5] > 0.6


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_stopped_goes_on_as_if_it_was_not(method, tmp_path):
    whole = train(method, epochs=3)
    with pytest.raises(Stop):
        train(method, epochs=3, out=tmp_path / "run", each_epoch=stop, save_minutes=0.0)
    rest = train(method, epochs=3, out=tmp_path / "run", save_minutes=0.0)
    assert same_weights(whole, rest)
    other = with_captions(drawn(), {key: ["something"] for key in drawn().column("id")})
    with pytest.raises(Problem, match=r"\(its images differ\)"):  # by their texts
        train(method, other, epochs=3, out=tmp_path / "run", save_minutes=0.0)


def test_the_folder_of_a_run_is_a_dual_encoder_and_can_be_gone_on_with(tmp_path):
    run = train("clip", out=tmp_path / "run")
    dual = dual_encoder(tmp_path / "run")
    texts = ["a red disc", "a bar"]
    np.testing.assert_array_equal(
        dual.embed_texts(texts, normalise=True),
        run.method.dual().embed_texts(texts, normalise=True),
    )
    begun = fallow.encoder(str(tmp_path / "run"))
    further = train("clip", encoder=begun, start=str(tmp_path / "run"), learning_rate=1e-9)
    np.testing.assert_allclose(
        further.method.dual().embed_texts(texts, normalise=True),
        dual.embed_texts(texts, normalise=True),
        atol=1e-5,
    )
    with pytest.raises(SettingProblem, match="begin with the encoder of the same folder"):
        train("clip", encoder="resnet8/16", start=str(tmp_path / "run"))
    with pytest.raises(SettingProblem, match="were trained by clip"):
        train("siglip", encoder=fallow.encoder(str(tmp_path / "run")), start=str(tmp_path / "run"))


@pytest.mark.parametrize("frozen", ["pictures", "words"])
def test_a_frozen_side_stays_as_it_is(frozen):
    before, run = fallow.encoder("resnet8/8", seed=0), train("clip", frozen=frozen)
    moved = {
        "pictures": not same(before.state_dict(), run.encoder.state_dict()),
        "words": not same(train("clip", learning_rate=1e-12).method.words.text.state_dict(),
                          run.method.words.text.state_dict()),
    }  # fmt: skip
    assert not moved[frozen]
    assert moved[{"pictures": "words", "words": "pictures"}[frozen]]


def same(one, two):
    return all(torch.allclose(one[key].float(), two[key].float(), atol=1e-7) for key in one)


@pytest.mark.parametrize("pool", ["last", "max"])
def test_other_ways_to_read(pool):
    run = train("clip", pool=pool)
    assert run.method.words.text.shape.causal == (pool == "max")
    assert np.isfinite(losses(run)).all()


def build(method, count=48, **values):
    kind = find("align", method)
    torch.manual_seed(0)
    settings = make_settings(kind.Settings, PLAIN | values)
    facts = Facts(count, 20, texts=("a red disc", "a blue bar"))
    return kind(fallow.encoder("resnet8/8"), settings, facts)


def test_pictures_of_equal_texts_are_not_pushed_apart():
    method = build("siglip")
    numbers = method.words.read(["a red disc", "a red disc", "a blue bar"])
    views = [torch.randn(3, 3, 16, 16)]
    now = Now(0, 0, 0.0, 3)

    def loss(names):
        beside = {"caption": numbers, "names": torch.tensor(names)}
        torch.manual_seed(0)
        batch = Batch(views, views, torch.arange(3), torch.full((3,), -1),
                      torch.zeros(1, 3, 2, 3), beside=beside)  # fmt: skip
        return float(method.loss(batch, now).total.detach())

    # at first nearly every pair is said not to belong together: two that do are surprising
    assert loss([0, 0, 1]) > loss([0, 1, 2]) + 1


def test_batches_keep_equal_captions_apart_unless_told_otherwise():
    images = with_captions(
        drawn(), {key: f"one of {k % 12}" for k, key in enumerate(drawn().column("id"))}
    )
    for compose, repeats in (("distinct", False), ("shuffled", True)):
        method = train("clip", images, batch=12, compose=compose).method
        order = method.compose(Now(0, 0, 0.0, 4), 48, 12, seed=3)
        names = method.names[order]
        assert any(len(set(row)) < 12 for row in names.tolist()) == repeats


def test_the_scale_stays_in_bounds():
    method = build("clip")
    with torch.no_grad():
        method.words.logit_scale.fill_(9.0)
    method.after_step(Now(0, 0, 0.0, 3))
    assert method.words.scale.item() == pytest.approx(100.0)


def test_what_cannot_be_learnt_from():
    images = drawn()
    keys = images.column("id")
    with pytest.raises(SettingProblem, match="none: give a file of captions"):
        train("clip", images.select(range(48))._with(images.table.drop_columns(["caption"])))
    some = with_captions(images, {keys[0]: "a", keys[1]: "b"})
    with pytest.raises(SettingProblem, match="46 of 48 pictures have no caption"):
        train("clip", some)
    assert len(captioned(some)) == 2
    with pytest.raises(SourceProblem, match="nothing can be"):
        captioned(with_captions(images, dict.fromkeys(keys, "The same.")))


def test_presets_are_valid_settings_and_the_methods_are_found():
    assert set(METHODS) <= set(slugs("align"))
    for method in METHODS:
        kind = find("align", method)
        for values in kind.presets.values():
            make_settings(kind.Settings, values)


def test_a_dual_encoder_of_clips_form_trains():
    dual = tiny()
    run = train("clip", encoder=dual.image, size=32, frozen="nothing")
    assert run.method.words.projection.in_features == 32
