"""The loop: budgets, determinism, accumulation, journals, signals, bad input."""

from __future__ import annotations

import json
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import fallow
from fallow.images.samples import shapes
from fallow.methods import find
from fallow.problems import Problem, SettingProblem
from fallow.train import Loss, fit, make_settings, optimisers
from fallow.train.session import decay, rate


def settings_for(method: str, **values):
    plain = {"epochs": 2, "batch": 16, "size": 16, "precision": "32", "learning_rate": 0.05}
    return make_settings(find("learn", method).Settings, plain | values)


def train(method="simclr", images=None, seed=0, kind=None, **values):
    kind = kind or find("learn", method)
    out = values.pop("out", None)
    return fit(
        kind,
        images or shapes(48, seed=0, side=24),
        encoder=fallow.encoder("resnet8/8", seed=seed),
        settings=settings_for(method, **values),
        out=out,
        seed=seed,
    )


def weights(run) -> torch.Tensor:
    return torch.cat([p.detach().flatten().double() for p in run.method.state_dict().values()])


@pytest.mark.parametrize("method", ["simclr", "swav"])
def test_same_seed_gives_the_same_weights_and_another_seed_does_not(method):
    one, two = train(method), train(method)
    assert one.steps == 6
    assert torch.equal(weights(one), weights(two))
    assert not torch.equal(weights(one), weights(train(method, seed=1)))


def test_loss_falls():
    run = train(epochs=12)
    losses = [line["loss"] for line in run.history]
    assert losses[-1] < losses[0] - 0.2


def test_minutes_end_on_time(monkeypatch):
    clock = count(step=0.01)  # every look at it takes a hundredth of a second
    slow = SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr("fallow.train.loop.time", slow)
    run = train(epochs=None, minutes=2 / 60)
    assert 2.0 <= run.seconds < 2.2
    assert 20 < run.steps < 200


def test_rate_rises_then_falls_to_the_final_share():
    settings = settings_for("simclr", warmup=0.1, learning_rate=1.0, batch=256, final_rate=0.01)
    values = [rate(settings, p) for p in (0.0, 0.05, 0.1, 0.55, 1.0)]
    assert values == pytest.approx([0.0, 0.5, 1.0, 0.505, 0.01], abs=1e-6)


def test_the_rate_may_fall_as_a_power_of_what_is_left():
    settings = settings_for("simclr", learning_rate=1.0, batch=256, warmup=0.0, schedule="power")
    values = [rate(settings, p) for p in (0.0, 0.25, 0.9, 1.0)]
    assert values == pytest.approx([1.0, 0.75**0.9, 0.1**0.9, 0.0])


def test_weight_decay_is_constant_or_moves_along_half_a_cosine():
    fixed = settings_for("simclr", weight_decay=0.04)
    assert [decay(fixed, p) for p in (0.0, 0.5, 1.0)] == [0.04] * 3
    rising = settings_for("simclr", weight_decay=0.04, final_weight_decay=0.4)
    assert [decay(rising, p) for p in (0.0, 0.5, 1.0)] == pytest.approx([0.04, 0.22, 0.4])


def test_biases_and_norms_stay_without_decay_while_it_rises(monkeypatch):
    made, seen = [], []
    build = optimisers.build
    monkeypatch.setattr(
        optimisers, "build", lambda *words, **more: made.append(build(*words, **more)) or made[-1]
    )

    class Spy(find("learn", "simclr")):
        def before_step(self, now):
            seen.append(sorted(group["weight_decay"] for group in made[0].param_groups))

    train(kind=Spy, epochs=1, optimiser="adamw", weight_decay=0.1, final_weight_decay=0.4)
    assert [pair[0] for pair in seen] == [0.0] * 3
    assert seen[0][1] == pytest.approx(0.1)
    assert 0.1 < seen[1][1] < seen[2][1] < 0.4


def test_accumulated_parts_equal_one_batch():
    base = find("learn", "simclr")

    class MeanLoss(base):
        def build(self, encoder):
            self.head = torch.nn.Linear(encoder.dimension, 1)

        def loss(self, batch, now):
            self.encoder.eval()  # batch statistics would differ between the parts
            out = torch.cat([self.head(self.encoder(group)) for group in batch.groups])
            return Loss((out - 1).square().mean())

    whole = train(kind=MeanLoss, epochs=1)
    parts = train(kind=MeanLoss, epochs=1, accumulate=4)
    torch.testing.assert_close(weights(whole), weights(parts), rtol=1e-4, atol=1e-6)


class Greedy(find("learn", "simclr")):
    """SimCLR on a machine where more than eight rows do not fit."""

    def loss(self, batch, now):
        if len(batch) > 8:
            self.encoder(batch.groups[0])  # what a failed step leaves in running statistics
            raise torch.OutOfMemoryError("too much")
        return super().loss(batch, now)


def test_a_batch_that_does_not_fit_is_cut_and_said(tmp_path):
    run = train(kind=Greedy, out=tmp_path / "run")
    assert any("out of memory: every batch is computed in 2 parts" in note for note in run.notes)
    assert torch.equal(weights(run), weights(train(accumulate=2)))


def test_an_image_that_does_not_fit_is_refused():
    class Greedier(Greedy):
        def loss(self, batch, now):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 1 TB")

    with pytest.raises(Problem, match="not even one image a step fits"):
        train(kind=Greedier)


def test_views_are_kept_as_the_model_sees_them(tmp_path):
    train(out=tmp_path / "run")
    with Image.open(tmp_path / "run" / "views" / "images.png") as sheet:
        # 8 images, 2 views of 16 px, magnified six times
        assert sheet.size == (8 * 100 + 4, 2 * 100 + 4)
        pixels = np.asarray(sheet)[4:100, 4:100]
    blocks = pixels.reshape(16, 6, 16, 6, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    assert pixels.std() > 10


def test_journal_and_tensorboard_are_written(tmp_path):
    run = train(out=tmp_path / "run")
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == run.steps == 6
    assert {"loss", "rate", "spread", "images_per_second"} <= set(lines[0])
    assert (lines[0]["progress"], lines[-1]["progress"]) == (0, round(5 / 6, 6))
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert about["finished"] is True
    again = fallow.encoder(str(tmp_path / "run"))
    images = shapes(4, seed=3, side=24)
    pixels = [images[i] for i in range(4)]
    np.testing.assert_allclose(again.embed(pixels), run.encoder.embed(pixels), rtol=1e-5)


def test_a_finished_run_is_not_trained_again(tmp_path):
    one = train(out=tmp_path / "run")
    two = train(out=tmp_path / "run")
    assert two.steps == 6
    assert two.timing["total"] == 0.0
    assert torch.equal(weights(one), weights(two))


def test_a_learnt_encoder_says_where_its_weights_come_from(tmp_path):
    train(out=tmp_path)
    first = fallow.encoder(str(tmp_path)).provenance["weights"]
    assert first == "SimCLR on shapes; before: random, seed 0"


def test_another_run_in_the_same_folder_is_refused(tmp_path):
    train(out=tmp_path / "run")
    with pytest.raises(Problem, match="another run"):
        train(out=tmp_path / "run", learning_rate=0.01)


def test_a_loss_that_is_not_a_number_stops_the_run():
    with pytest.raises(Problem, match="lower learning_rate"):
        train(learning_rate=1e30, optimiser="sgd", epochs=20)


def test_fewer_images_than_a_batch_shrink_the_batch():
    run = train(images=shapes(10, seed=0, side=24), batch=64)
    assert run.settings.batch == 10
    assert "10" in run.notes[0]


def test_one_image_is_refused():
    with pytest.raises(Problem, match="at least 2 images"):
        train(images=shapes(1, seed=0, side=24))


def test_settings_speak_plainly():
    assert settings_for("simclr", precision=32).precision == "32"
    with pytest.raises(SettingProblem, match="did you mean temperature"):
        settings_for("simclr", temprature=0.1)
    with pytest.raises(SettingProblem, match="greater than 0"):
        settings_for("simclr", temperature=-1)
    with pytest.raises(SettingProblem, match="not both"):
        settings_for("simclr", minutes=1)


def test_each_epoch_is_called_and_logged():
    kind = find("learn", "simclr")
    seen = []

    def each(method, now):
        seen.append(now.epoch)
        return {"score": float(now.epoch)}

    run = fit(
        kind,
        shapes(48, seed=0, side=24),
        encoder=fallow.encoder("resnet8/8"),
        settings=settings_for("simclr", epochs=3),
        each_epoch=each,
    )
    assert seen == [0, 1, 2]
    assert [line["score"] for line in run.history if "score" in line] == [0.0, 1.0, 2.0]
