"""CLIPSep: a separator that learns, queries that decide, long recordings, files, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fallow.measure.separation import invariant_ratio, separated_images
from fallow.methods.separate.clipsep import (
    Separator,
    Settings,
    learnt,
    load_separator,
    save_separator,
)
from fallow.problems import Problem, SettingProblem, SourceProblem
from fallow.sounds.reading import read_sound, resampled, save_wav

SMALL = {"size": 128, "hop": 32, "rows": 64, "frames": 32, "maps": 4, "width": 8, "steps": 3,
         "batch": 8, "rate": 8000}  # fmt: skip


def tone(low, seed, length=4000):
    """A wavering tone in its own range of pitches."""
    draw = np.random.default_rng(seed)
    time = np.arange(length) / 8000
    pitch = draw.uniform(low, 1.5 * low)
    return (0.5 * np.sin(2 * np.pi * pitch * time + draw.uniform(0, 6))).astype(np.float32)


@pytest.fixture(scope="module")
def run():
    """Low and high tones, each asked for by its own vector."""
    clips = [tone((250, 1500)[k % 2], k) for k in range(24)]
    queries = np.eye(2, 6)[np.arange(24) % 2]
    return learnt(clips, queries, Settings(**SMALL, training_steps=500, learning_rate=0.03))


def test_what_is_asked_for_comes_out(run):
    assert np.mean(run.losses[-20:]) < 0.8 * np.mean(run.losses[:20])
    low, high = tone(250, 100), tone(1500, 101)
    made = run.separator.separate((low + high) / 2, torch.eye(2, 6))
    mixture = (low + high) / 2
    for asked, other in ((0, 1), (1, 0)):
        own, rest = ((low, high)[k] for k in (asked, other))
        before = invariant_ratio(own, mixture)
        assert invariant_ratio(own, made[asked]) > before + 4
        assert invariant_ratio(rest, made[asked]) < before


def test_recordings_of_any_length_keep_their_length(run):
    for length in (1, 500, 992, 5000):
        made = run.separator.separate(tone(250, 3, length), torch.eye(1, 6))
        assert made.shape == (1, length)
        assert np.isfinite(made).all()


def test_a_full_mask_gives_the_recording_back():
    separator = Separator(6, Settings(**SMALL))
    with torch.no_grad():
        separator.query.bias.fill_(40.0)
    samples = tone(400, 5, 3000)
    np.testing.assert_allclose(separator.separate(samples, torch.eye(1, 6))[0], samples, atol=2e-3)


def test_the_published_start_gives_noise_heads_nothing_to_learn_from():
    both = [[tone(250, k)[:992], tone(1500, k)[:992]] for k in range(4)]
    clips = torch.from_numpy(np.stack(both))
    grown = {}
    for start in (0.0, -2.0):
        torch.manual_seed(0)
        separator = Separator(6, Settings(**SMALL, noise_start=start, noise_weight=0.0))
        separator.loss(clips, torch.eye(2, 6).expand(4, -1, -1)).backward()
        clamped = separator.query.bias.grad.abs().item()
        grown[start] = clamped
    assert np.isfinite(list(grown.values())).all()
    # on the edge of the clamp there is no slope, or one that explodes
    assert not 0.1 < grown[0.0] / grown[-2.0] < 10


def test_a_separator_comes_back_as_it_was(run, tmp_path):
    save_separator(run.separator, tmp_path, "words/")
    again, encoder = load_separator(tmp_path)
    assert encoder == "words/"
    samples = tone(250, 7)
    np.testing.assert_array_equal(
        again.separate(samples, torch.eye(1, 6)), run.separator.separate(samples, torch.eye(1, 6))
    )
    with pytest.raises(SourceProblem, match="holds no separator"):
        load_separator(tmp_path / "elsewhere")


def test_sound_files_are_read_at_one_rate_and_channel(tmp_path):
    pytest.importorskip("soundfile")
    import soundfile

    both = np.stack([tone(300, 0), tone(300, 0)], 1)
    soundfile.write(tmp_path / "a.flac", both, 16000)
    found = read_sound(tmp_path / "a.flac", 8000)
    assert found.shape == (2000,)
    np.testing.assert_allclose(resampled(both[:, 0], 16000, 8000), found, atol=1e-3)
    save_wav(tmp_path / "b.wav", found, 8000)
    np.testing.assert_allclose(read_sound(tmp_path / "b.wav", 8000), found, atol=1e-4)


def test_bad_recordings_are_one_sentence(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF no sound")
    with pytest.raises(SourceProblem, match="cannot be read as sound"):
        read_sound(tmp_path / "a.wav")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(SourceProblem, match="no recording that is known"):
        read_sound(tmp_path / "a.txt")
    with pytest.raises(SourceProblem, match="there is no recording"):
        read_sound(tmp_path / "b.wav")
    with pytest.raises(Problem, match="two pairs are the least"):
        learnt([tone(250, 0)], np.eye(1, 6), Settings(**SMALL))
    with pytest.raises(SourceProblem, match="1 of 2 clips are silent, the first is number 1"):
        learnt([tone(250, 0), np.zeros(900, np.float32)], np.eye(2, 6), Settings(**SMALL))
    with pytest.raises(SettingProblem, match="multiples of 8"):
        Separator(6, Settings(**{**SMALL, "rows": 60}))


def test_silent_sources_have_no_decibels():
    references = np.stack([tone(250, 0, 1200), np.zeros(1200)])
    found = separated_images(references, references + 1e-3)
    assert np.isfinite(found.sdr[0])
    assert np.isnan(found.sdr[1])
