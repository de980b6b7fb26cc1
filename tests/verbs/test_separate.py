"""`separate`: learnt from pairs, saved, asked again by words and by a picture, said, written."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import fallow
from fallow.encoders import dual
from fallow.problems import SettingProblem, SourceProblem
from fallow.sounds.reading import read_sound, save_wav

SMALL = {"size": 128, "hop": 32, "rows": 64, "frames": 32, "maps": 4, "width": 4, "steps": 3,
         "batch": 4, "training_steps": 4}  # fmt: skip


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    pytest.importorskip("soundfile")
    place = tmp_path_factory.mktemp("pairs")
    lines = ["sound,picture,text"]
    time = np.arange(4000) / 8000
    for k in range(4):
        save_wav(place / f"{k}.wav", 0.4 * np.sin(2 * np.pi * 200 * (k + 1) * time), 8000)
        Image.fromarray(np.full((40, 40, 3), 60 * k, np.uint8)).save(place / f"{k}.png")
        lines.append(f"{k}.wav,{k}.png," if k % 2 else f"{k}.wav,,a tone")
    (place / "pairs.csv").write_text("\n".join(lines) + "\n")
    dual.save(dual.tiny(), place / "words")
    return place


def test_a_run_is_learnt_kept_and_asked_again(pairs, tmp_path):
    first = fallow.separate(
        pairs / "0.wav", "a tone", pairs=pairs / "pairs.csv", encoder=pairs / "words",
        settings=SMALL, out=tmp_path / "apart",
    )  # fmt: skip
    asked, left = (
        read_sound(tmp_path / "apart" / name, 8000) for name in ("asked.wav", "left.wav")
    )
    np.testing.assert_allclose(asked + left, read_sound(pairs / "0.wav", 8000), atol=1e-3)
    page = (tmp_path / "apart" / "report.html").read_text()
    assert page.count("<audio") == 3
    again = fallow.separate(pairs / "0.wav", "a tone", run=tmp_path / "apart")
    np.testing.assert_array_equal(again.made, first.made)
    seen = fallow.separate(pairs / "0.wav", str(pairs / "2.png"), run=tmp_path / "apart")
    assert seen.made.shape == first.made.shape
    assert 0 <= seen.table.column("share")[0].as_py() <= 1.5


def test_what_is_missing_is_one_sentence(pairs, tmp_path):
    with pytest.raises(SettingProblem, match="give both with pairs and encoder"):
        fallow.separate(pairs / "0.wav", "a dog")
    with pytest.raises(SettingProblem, match="leave both out"):
        fallow.separate(pairs / "0.wav", "a dog", run=tmp_path, encoder="words")
    with pytest.raises(SourceProblem, match="holds no separator"):
        fallow.separate(pairs / "0.wav", "a dog", run=tmp_path)
    (tmp_path / "bad.csv").write_text("sound\n0.wav\n")
    with pytest.raises(SourceProblem, match="needs the columns sound and picture"):
        fallow.separate(pairs / "0.wav", "x", pairs=tmp_path / "bad.csv", encoder=pairs / "words")


def test_words_ask_alike_however_long_an_encoder_makes_them(pairs, tmp_path):
    longer = dual.tiny()
    with torch.no_grad():
        longer.words.text.text_projection.weight.mul_(20)
    dual.save(longer, tmp_path / "longer")
    learnt = {"pairs": pairs / "pairs.csv", "settings": SMALL}
    one, other = (
        fallow.separate(pairs / "0.wav", "a tone", encoder=place, **learnt)
        for place in (pairs / "words", tmp_path / "longer")
    )
    np.testing.assert_allclose(one.made, other.made, atol=1e-5)
