"""MAE, SimMIM, data2vec and I-JEPA: they train, resume, and hide what they say they hide."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fallow
from fallow.encoders.vit import patchify
from fallow.images.samples import shapes
from fallow.losses.masked import standardise
from fallow.methods import find, slugs
from fallow.parts.masking import take
from fallow.parts.teacher import twin
from fallow.problems import SettingProblem
from fallow.train import Batch, Facts, Now, fit, make_settings

METHODS = ["mae", "simmim", "data2vec", "ijepa"]
TEACHERS = ["data2vec", "ijepa"]
SMALL = {
    "mae": {"decoder_width": 32, "decoder_depth": 1},
    "ijepa": {"predictor_width": 32, "predictor_depth": 1, "least_context": 2},
}


def settings_for(method, **values):
    plain = {"epochs": 2, "batch": 16, "size": 16, "precision": "32"}
    return make_settings(find("learn", method).Settings, plain | SMALL.get(method, {}) | values)


def nano(seed=0, size=16, patch=4):
    return fallow.encoder(f"vit-nano/{patch}", seed=seed, size=size)


def train(method, *, images=None, seed=0, out=None, kind=None, **values):
    return fit(
        kind or find("learn", method),
        images or shapes(32, seed=0, side=24),
        encoder=nano(seed),
        settings=settings_for(method, **values),
        out=out,
        seed=seed,
    )


def build(method, size=16, **values):
    return find("learn", method)(
        nano(size=size), settings_for(method, size=size, **values), Facts(8, 24)
    )


def batch_of(images):
    nothing = torch.empty(0)
    return Batch([images], [images], torch.arange(len(images)), nothing, nothing)


def weights(run):
    return torch.cat([p.detach().flatten().double() for p in run.method.state_dict().values()])


NOW = Now(0, 0, 0.0, 1)


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_gives_the_same_weights_and_another_seed_does_not(method):
    one = train(method)
    assert one.steps == 4
    assert torch.equal(weights(one), weights(train(method)))
    assert not torch.equal(weights(one), weights(train(method, seed=1)))


@pytest.mark.parametrize("method", METHODS)
def test_loss_falls_on_images_it_has_seen(method):
    run = train(method, epochs=12, learning_rate=0.01, batch=32)
    losses = [line["loss"] for line in run.history]
    assert np.mean(losses[-3:]) < 0.95 * losses[0]
    assert run.warnings == []


@pytest.mark.parametrize("method", METHODS)
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(method, tmp_path):
    kind = find("learn", method)

    class Stops(kind):
        def after_step(self, now):
            super().after_step(now)
            if now.step == 2:
                raise KeyboardInterrupt

    Stops.__name__ = kind.__name__  # the folder must take it for the same method
    with pytest.raises(KeyboardInterrupt):
        train(method, kind=Stops, out=tmp_path / "run", save_minutes=0.0)
    resumed = train(method, out=tmp_path / "run", save_minutes=0.0)
    assert any("resuming at step 2" in note for note in resumed.notes)
    assert torch.equal(weights(resumed), weights(train(method)))


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_encoder_reads_the_mean_patch(method, tmp_path):
    run = train(method, out=tmp_path / "run", epochs=1)
    pixels = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), np.uint8)
    again = fallow.encoder(str(tmp_path / "run"))
    assert again.network.pool == "mean"
    np.testing.assert_allclose(again.embed(pixels), run.encoder.embed(pixels), rtol=1e-5)
    tokens = run.encoder.network.forward_tokens(run.encoder.prepare(pixels))
    np.testing.assert_allclose(
        tokens[:, 1:].mean(1).detach(), run.encoder.embed(pixels), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("method", METHODS)
def test_an_encoder_without_patches_is_refused(method):
    with pytest.raises(SettingProblem, match="vit-nano/4, not resnet8/8"):
        find("learn", method)(fallow.encoder("resnet8/8"), settings_for(method), Facts(8, 24))


@pytest.mark.parametrize("method", METHODS)
def test_an_encoder_without_class_token_will_do(method):
    encoder = fallow.encoder("vit-nano/4", size=16, class_token=False, pool="mean")
    made = find("learn", method)(encoder, settings_for(method), Facts(8, 24))
    assert torch.isfinite(made(batch_of(torch.randn(4, 3, 16, 16)), NOW).total)


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_gives_a_whole_loss(method):
    made, images = build(method), torch.randn(4, 3, 16, 16)
    torch.manual_seed(0)
    exact = made(batch_of(images), NOW).total
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = made(batch_of(images), NOW).total
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(float(exact.detach()), rel=0.03)


@pytest.mark.parametrize("method", METHODS)
def test_everything_that_learns_gets_a_gradient(method):
    # data-parallel training waits for each of them
    made = build(method)
    made(batch_of(torch.randn(4, 3, 16, 16)), NOW).total.backward()
    without = [n for n, p in made.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


@pytest.mark.parametrize("method", TEACHERS)
def test_the_teacher_follows_without_gradients(method):
    made = build(method, teacher_momentum=0.75)
    before = twin(made.teacher)
    with torch.no_grad():
        made.encoder.network.blocks[0].mlp.fc1.bias += 1.0
    made.after_step(NOW)
    moved = made.teacher.blocks[0].mlp.fc1.bias - before.blocks[0].mlp.fc1.bias
    torch.testing.assert_close(moved, torch.full_like(moved, 0.25))
    assert not any(p.requires_grad for p in made.teacher.parameters())
    assert any(name.startswith("teacher.") for name in made.state_dict())


def test_the_momentum_of_ijepa_rises_in_a_line_to_one():
    made = build("ijepa", teacher_momentum=0.5)
    with torch.no_grad():
        made.encoder.network.cls_token += 1.0
    start = made.teacher.cls_token.clone()
    made.after_step(Now(0, 0, 1.0, 1))
    assert torch.equal(made.teacher.cls_token, start)
    made.after_step(Now(0, 0, 0.5, 1))
    torch.testing.assert_close(made.teacher.cls_token - start, torch.full_like(start, 0.25))


def tokens_of(module, run):
    """How many tokens entered a transformer block in each call."""
    seen = []
    hook = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[:2]))
    run()
    hook.remove()
    return [tuple(shape) for shape in seen]


def test_mae_encodes_only_what_is_visible():
    made, images = build("mae", size=32), torch.randn(3, 3, 32, 32)
    seen = tokens_of(made.encoder.network.blocks[0], lambda: made(batch_of(images), NOW))
    assert seen == [(3, 1 + 16)]
    seen = tokens_of(made.decoder.blocks[0], lambda: made(batch_of(images), NOW))
    assert seen == [(3, 1 + 64)]


def test_ijepa_encodes_only_the_context():
    made, images = build("ijepa", size=32), torch.randn(3, 3, 32, 32)
    (count, tokens), *more = tokens_of(
        made.encoder.network.blocks[0], lambda: made(batch_of(images), NOW)
    )
    assert count == 3
    assert tokens < 1 + 49
    assert more == []
    seen = tokens_of(made.teacher.blocks[0], lambda: made(batch_of(images), NOW))
    assert seen == [(3, 1 + 64)]


def test_ijepa_with_two_contexts_and_with_published_blocks():
    images = torch.randn(3, 3, 32, 32)
    for values in ({"contexts": 2}, {"blocks": "published"}):
        made = build("ijepa", size=32, **values)
        rows = tokens_of(made.predictor.blocks[0], lambda made=made: made(batch_of(images), NOW))
        assert rows[0][0] == 3 * 4 * values.get("contexts", 1)


@pytest.mark.parametrize("method", ["mae", "simmim"])
def test_hidden_pixels_do_not_reach_the_prediction(method):
    made, images = build(method), torch.randn(2, 3, 16, 16)
    noise = torch.rand(2, 16 if method == "mae" else made.squares[0])

    def predict(x):
        if method == "mae":
            prediction, _, split = made.predict(x, noise)
            mask = torch.zeros(2, 16, dtype=torch.bool).scatter_(1, split.hide, True)
            return prediction, mask
        mask = made.mask(noise.argsort(1))
        return made.predict(x, mask)[0], mask

    prediction, mask = predict(images)
    pixels = mask.view(2, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    changed, _ = predict(torch.where(pixels, 9.0, images))
    torch.testing.assert_close(changed, prediction)
    changed, _ = predict(torch.where(pixels, images, 9.0))
    assert not torch.allclose(changed, prediction)


@pytest.mark.parametrize("method", ["mae", "simmim"])
def test_pictures_keep_what_was_seen(method):
    made = build(method)
    images = [shapes(4, seed=2, side=16)[i] for i in range(4)]
    (rows,) = made.pictures(images).values()
    assert len(rows) == 4
    for original, seen, rebuilt in rows:
        assert original.shape == (16, 16, 3)
        assert original.dtype == np.uint8
        visible = (original == seen).all(2)
        assert 0.1 < visible.mean() < 0.9
        assert (original[visible] == rebuilt[visible]).all()
    assert rows[0][0].tolist() == images[0].tolist()


def test_a_perfect_prediction_of_standardised_pixels_shows_the_image():
    made = build("mae")
    images = [shapes(3, seed=2, side=16)[i] for i in range(3)]
    predict = made.predict

    def perfect(x, noise):
        _, tokens, split = predict(x, noise)
        return take(standardise(patchify(x, 4)), split.hide), tokens, split

    made.predict = perfect
    (rows,) = made.pictures(images).values()
    for original, _, rebuilt in rows:
        assert np.abs(original.astype(int) - rebuilt.astype(int)).max() <= 1


def test_every_method_says_what_it_predicts():
    for slug in slugs("learn"):
        kind = find("learn", slug)
        assert kind.family, slug
        assert " from " in kind.predicts, slug
