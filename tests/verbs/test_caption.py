"""`caption`: learnt from texts, written for pictures, saved and used again, measured, said."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fallow
from fallow.encoders import dual as duals
from fallow.images.captions import with_captions
from fallow.images.samples import shapes
from fallow.methods.caption.multicapclip import MultiCapCLIP, Prompts, gap, load_captioner, noisy
from fallow.parts.concepts import phrases, related
from fallow.problems import SettingProblem, SourceProblem
from fallow.train import fit, make_settings

SMALL = {"width": 32, "layers": 1, "heads": 2, "vocabulary": 560, "batch": 16, "phrases": 20,
         "prompts": 3}  # fmt: skip


def sentences(images):
    ways = ("a picture of a {}", "there is a {} here", "one {} on a plain ground")
    labels = images.column("label")
    return [ways[k % 3].format(label) for k, label in enumerate(labels)]


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    images = shapes(90, seed=0, side=24)
    texts = dict(zip(images.column("id"), sentences(images), strict=True))
    place = tmp_path_factory.mktemp("words")
    small = {"batch": 16, "size": 16, "text_width": 32, "text_heads": 2, "vocabulary": 600,
             "learning_rate": 0.01}  # fmt: skip
    fallow.align(images, captions=texts, encoder="resnet8/8", epochs=8, settings=small, out=place)
    return place


def test_phrases_are_those_no_joining_word_parts():
    found = phrases(["A red car, on the road.", "a red car", "road 7 to the sea"], 10)
    assert found[:3] == ["car", "red", "red car"]
    assert "road" in found
    assert not any("on" in one.split() or "7" in one for one in found)


def test_repeated_sentences_stand_for_their_first_copy():
    vectors = np.array([[1.0, 0], [1, 0], [0.9, 0.1], [0, 1]])
    found = related(vectors, ["a", "a", "b", "c"], 2)
    assert found.tolist() == [[0, 2], [0, 2], [2, 0], [3, 2]]


def test_noise_is_longer_than_the_vector_where_there_are_many_directions():
    torch.manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(200, 512), dim=1)
    near = (noisy(vectors, torch.randn(200, 512), 0.1) * vectors).sum(1).mean()
    assert near.item() == pytest.approx(1 / np.sqrt(1 + 5.12), abs=0.01)


def test_frames_are_averaged_and_kept():
    torch.manual_seed(0)
    prompts = Prompts(6, 8).eval()
    bank = torch.nn.functional.normalize(torch.randn(5, 6), dim=1)
    video = torch.nn.functional.normalize(torch.randn(2, 4, 6), dim=2)
    found = prompts(video, bank, 2)
    assert found.memory.shape == (2, 4, 8)
    assert found.indices[0, 0] == (video[0] @ bank.T).mean(0).argmax()


def test_it_says_its_sentences_again(words, tmp_path):
    images = shapes(60, seed=1, side=24)
    texts = sentences(images)
    from fallow.images.captions import open_texts

    corpus = open_texts(texts)
    run = fit(
        MultiCapCLIP,
        {"texts": corpus},
        encoder=duals.dual_encoder(words).image,
        settings=make_settings(
            MultiCapCLIP.Settings,
            {**SMALL, "start": str(words), "epochs": 60, "noise": 0.0, "related": 1,
             "smoothing": 0.0, "dropout": 0.0, "learning_rate": 0.1},
        ),
        out=tmp_path,
        seed=0,
    )  # fmt: skip
    captioner = run.method.captioner()
    distinct = sorted(set(texts))
    vectors = captioner.dual.embed_texts(distinct, normalise=True)
    said = [text for text, _, _ in captioner.write(vectors, beams=1)]
    assert np.mean([one == other for one, other in zip(said, distinct, strict=True)]) > 0.6
    again = load_captioner(tmp_path)
    assert [text for text, _, _ in again.write(vectors, beams=1)] == said


def test_pictures_get_captions_and_a_run_goes_on_with_others(words, tmp_path):
    images = shapes(20, seed=2, side=24)
    true = dict(zip(images.column("id"), sentences(images), strict=True))
    result = fallow.caption(
        images, texts=sentences(shapes(60, seed=1, side=24)), encoder=str(words), captions=true,
        epochs=3, settings=SMALL, out=tmp_path / "captions",
    )  # fmt: skip
    assert result.table.num_rows == 20
    near = result.table.column("similarity").to_numpy()
    assert (np.diff(near) <= 0).all()
    assert result.findings["measured"]["pictures"] == 20
    assert 0 <= result.findings["measured"]["measures"]["BLEU-1"] <= 1
    assert -1 <= result.findings["learnt"]["gap"] <= 1
    written = (tmp_path / "captions" / "captions.csv").read_text().splitlines()
    assert len(written) == 21
    assert "Captions that fit least" in (tmp_path / "captions" / "report.html").read_text()
    again = fallow.caption(images, run=tmp_path / "captions" / "run")
    assert again.table.column("caption").to_pylist() == result.table.column("caption").to_pylist()


def test_the_gap_is_what_noise_has_to_bridge():
    assert gap(np.eye(3), np.eye(3)) == 1
    assert gap(np.eye(3)[:1], np.eye(3)[1:]) == 0


def test_what_is_missing_is_one_sentence(words, tmp_path):
    images = shapes(4, side=16)
    with pytest.raises(SettingProblem, match="give both with texts and encoder"):
        fallow.caption(images, texts=["a dog"])
    with pytest.raises(SettingProblem, match="leave both out"):
        fallow.caption(images, run=tmp_path, texts=["a dog"])
    with pytest.raises(SourceProblem, match="holds no captioner"):
        fallow.caption(images, run=tmp_path)
    with pytest.raises(SourceProblem, match="holds no text"):
        fallow.caption(images, texts=[" "], encoder=str(words))
    assert with_captions(images, {images.column("id")[0]: "a disc"}).columns
