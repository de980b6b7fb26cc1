"""FRL: tasks from columns, subjects on one side, few labels, what repeats itself, the verb."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

import fallow
from fallow.measure.landmarks import point_errors
from fallow.measure.redundancy import effective_number, nearest_within, spread_out
from fallow.methods.probe import faces
from fallow.problems import Problem

SUBJECTS, EACH = 12, 5


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Heads: a subject has its colour; mood is how wide the mouth is, eyes lie anywhere."""
    place = tmp_path_factory.mktemp("heads")
    draw = np.random.default_rng(0)
    lines = ["path,label,subject,mood,eye_x,eye_y,mouth_x,mouth_y"]
    for subject in range(SUBJECTS):
        colour = tuple(draw.integers(40, 255, 3).tolist())
        for number in range(EACH):
            picture = Image.new("RGB", (64, 64), colour)
            pen = ImageDraw.Draw(picture)
            mood = float(draw.uniform(-1, 1))
            x, y = draw.uniform(14, 50, 2)
            pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill="white")
            wide = 8 + 14 * (mood + 1) / 2
            pen.rectangle((32 - wide, 54, 32 + wide, 58), fill="black")
            name = f"{subject:02d}_{number}.png"
            picture.save(place / name)
            kind = "glad" if mood > 0 else "sad"
            lines.append(f"{name},{kind},s{subject},{mood:.3f},{x:.1f},{y:.1f},32,56")
    (place / "labels.csv").write_text("\n".join(lines) + "\n")
    return fallow.open(place, labels=place / "labels.csv")


def test_a_column_says_what_kind_of_task_it_is(drawn):
    kinds = {name: faces.task(drawn, name).kind for name in ("label", "mood", "points")}
    assert kinds == {"label": "classes", "mood": "numbers", "points": "points"}
    assert faces.task(drawn, "points").targets.shape == (SUBJECTS * EACH, 2, 2)
    with pytest.raises(Problem, match="no column 'moood': did you mean mood"):
        faces.task(drawn, "moood")


def test_no_subject_is_on_both_sides(drawn):
    subjects = faces.task(drawn, "subject").targets
    teach, ask = faces.parts(drawn, subjects, faces.Settings(), seed=0)
    assert not set(subjects[teach]) & set(subjects[ask])
    assert teach.sum() + ask.sum() == len(drawn)


def test_fewer_pictures_are_among_more():
    found = faces.nested(np.arange(100), (10, 50), seed=3)
    assert list(found) == [10, 50, 100]
    assert set(found[10]) < set(found[50]) < set(found[100])


def test_the_verb_asks_every_task(drawn, tmp_path):
    encoder = fallow.encoder("resnet8/16", seed=0, size=32)
    result = fallow.probe(
        encoder, drawn, protocol="faces", tasks=["label", "mood", "points"], subject="subject",
        settings={"budgets": [10], "draws": 2, "kept": [0.5]}, out=tmp_path / "asked",
    )  # fmt: skip
    rows = result.table.to_pylist()
    assert {row["task"] for row in rows} == {"label", "mood", "points", "same subject"}
    whole = {
        (row["encoder"], row["task"], row["measure"]): row["mean"]
        for row in rows
        if row["labels"] != 10
    }
    assert whole["encoder", "mood", "correlation"] > 0.5
    away = {name: whole[name, "points", "point error, % of box"] for name in ("encoder", "nothing")}
    assert away["encoder"] < 0.9 * away["nothing"]
    assert whole["nothing", "mood", "concordance"] == pytest.approx(0, abs=1e-6)
    assert whole["encoder", "same subject", "equal error"] < 0.3
    few = [row for row in rows if row["labels"] == 10 and row["task"] == "mood"]
    few = [row for row in few if row["encoder"] == "encoder"]
    assert all(row["draws"] == 2 and row["spread"] > 0 for row in few)
    repeats = result.findings["redundancy"]
    assert 1 < repeats["effective number"] < repeats["pictures"]
    assert (tmp_path / "asked").is_dir()


def test_too_little_to_ask_is_one_sentence(drawn):
    few = drawn.select(range(6))
    seen = faces.see(fallow.encoder("resnet8/16", seed=0, size=32), few, points=False)
    mood = faces.task(few, "mood")
    with pytest.raises(Problem, match="mood: 3 pictures teach and 3 are asked"):
        faces.ask(mood, seen, np.arange(3), np.arange(3, 6), faces.Settings())


def test_points_that_are_not_marked_do_not_count():
    truth = np.array([[[0.0, 0.0], [10.0, 10.0], [np.nan, np.nan]]])
    assert point_errors(truth, truth)[0] == 0
    assert np.isnan(point_errors(np.zeros((1, 2, 2)), np.full((1, 2, 2), np.nan))[0])


def test_bursts_repeat_themselves():
    draw = np.random.default_rng(0)
    distinct = draw.normal(size=(20, 64))
    bursts = np.repeat(distinct, 5, axis=0) + 0.01 * draw.normal(size=(100, 64))
    alone = draw.normal(size=(100, 64))
    assert effective_number(bursts) < 21 < effective_number(alone)
    clips = np.arange(100) // 5
    assert nearest_within(bursts, clips) > 0.99 > nearest_within(alone, clips)
    assert len(set(clips[spread_out(bursts, 20)])) == 20
