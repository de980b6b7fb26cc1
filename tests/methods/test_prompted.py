"""Text-prompted segmenters: a tiny random CLIPSeg, beside what transformers makes of it."""

import numpy as np
import pytest
import torch
from tests.methods.tiny_clipseg import SIDE, make
from torch.nn import functional as F

from fallow.encoders.concepts import concepts
from fallow.encoders.prompted import by_class, labelled, prompted
from fallow.problems import Problem, SettingProblem

transformers = pytest.importorskip("transformers")

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make(tmp_path_factory.mktemp("clipseg"))


@pytest.fixture(scope="module")
def segmenter(folder):
    return prompted(folder)


def test_one_word_is_as_in_transformers(folder, segmenter):
    found = list(segmenter.scores(IMAGE, segmenter.words(["car", "tree"], ["a {}."])))
    model = transformers.CLIPSegForImageSegmentation.from_pretrained(folder).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(
        ["a car.", "a tree."], padding=True, return_tensors="pt"
    )
    how = segmenter.preprocessing
    pixels = how.normalise(how.squash(IMAGE)[None])
    assert pixels.shape == (1, 3, SIDE, SIDE)
    with torch.inference_mode():
        logits = model(pixel_values=pixels.expand(2, -1, -1, -1), **tokens).logits
    expected = F.interpolate(logits[:, None], (40, 56), mode="bilinear").sigmoid()[:, 0]
    assert expected.std() > 0.01
    assert (expected[0] - expected[1]).abs().max() > 0.01
    torch.testing.assert_close(torch.stack(found), expected, atol=1e-5, rtol=1e-4)


def test_synonyms_and_templates_are_averaged_as_directions(segmenter):
    together = segmenter.words(["car, bus"], ["a {}.", "{}"])[0]
    alone = torch.stack([segmenter._read([f"a {w}.", w]) for w in ("car", "bus")], 1)  # T S D
    unit = F.normalize(alone, dim=2)
    mean = F.normalize(F.normalize(unit.mean(1), dim=1).mean(0), dim=0)
    torch.testing.assert_close(F.normalize(together, dim=0), mean)
    torch.testing.assert_close(together.norm(), alone.norm(dim=2).mean())
    # averaging before normalising is something else
    assert (mean - F.normalize(alone.mean((0, 1)), dim=0)).abs().max() > 1e-4


def test_classes_take_the_best_of_their_entries(segmenter):
    told = concepts({"thing": ["car", "tree", "dog"], "rest": "sky"})
    vectors = segmenter.words(told.flat)
    each = torch.stack(list(segmenter.scores(IMAGE, vectors)))
    found = segmenter.classes(IMAGE, told, vectors)
    torch.testing.assert_close(found, torch.stack([each[:3].amax(0), each[3]]))
    label, confidence = labelled(found)
    assert label.shape == IMAGE.shape[:2]
    torch.testing.assert_close(confidence, found.amax(0))


def test_many_entries_are_decoded_in_parts(segmenter):
    words = [f"{a}{b}" for a in "abcdef" for b in "ghij"]  # more than are decoded at once
    found = list(segmenter.scores(IMAGE, segmenter.words(words)))
    alone = next(segmenter.scores(IMAGE, segmenter.words(words[-1:])))
    assert len(found) == 24
    torch.testing.assert_close(found[-1], alone, atol=1e-6, rtol=1e-5)


def test_the_first_of_equal_classes():
    scores = torch.tensor([0.2, 0.7, 0.7]).view(3, 1, 1)
    assert labelled(scores)[0].item() == 1
    assert by_class(scores, [1, 2]).flatten().tolist() == pytest.approx([0.2, 0.7])


def test_long_texts_are_cut(segmenter):
    assert segmenter.words(["word " * 40]).isfinite().all()


def test_other_models_are_refused(tmp_path):
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    transformers.ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(SettingProblem, match=r"'vit'.*known: clipseg"):
        prompted(tmp_path)


def test_incomplete_weights(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    state.pop("decoder.film_mul.weight")
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(Problem, match="lack 1 parameters"):
        prompted(f"hf:{tmp_path}")


def test_neither_cache_nor_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Problem, match="neither in the local cache") as caught:
        prompted("hf:fallow-tests/no-such-segmenter")
    assert "\n" not in str(caught.value)
