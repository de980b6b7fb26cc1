"""Classes by words, retrieval both ways, and the measures of captions, as recorded."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fallow.measure.captions import bleu, cider, meteor, rouge
from fallow.measure.english import words_of
from fallow.measure.words import both_ways, class_scores, class_vectors, sorted_right

from .arrays import arrays
from .cases import DOUBLE, cases, close, golden

TIGHT = {"rtol": DOUBLE}
NEAR = {"rtol": 1e-5, "atol": 2e-5}


def extra(key):
    """An array whose key is neither an input's nor an output's."""
    return arrays("_vl-shared")[key]


@golden("_vl-shared", "zs")
def test_classes_by_words(case):
    columns = class_vectors(case.inputs["template_embeds"])
    close(columns, case.outputs["classifier"], **NEAR)
    scores = class_scores(case.inputs["image_embeds"], columns)
    close(scores, case.outputs["logits"], rtol=1e-5, atol=2e-4)
    wrong = extra(f"{case.name}_wrong_mean_before_normalise")
    assert np.abs(columns.numpy() - wrong).max() > 100 * NEAR["atol"]


@golden("_vl-shared", "zs")
def test_first_guesses(case):
    scores, labels = case.inputs["logits_with_tie_row"], case.inputs["targets"]
    k = int(extra(f"{case.name}_k"))
    right = scores[np.arange(len(labels)), labels]
    tied = int(((scores == right[:, None]).sum(1) > 1).sum())
    found = sorted_right(scores, labels, (1, k)).top
    # of equal scores the original takes whichever its backend puts first; here none of them
    for ours, name in ((found[1], "top1_correct"), (found[k], "topk_correct")):
        counted, recorded = round(ours * len(labels)), float(case.outputs[name])
        assert counted <= recorded <= counted + tied


@golden("_vl-shared", "retr")
def test_retrieval(case):
    ks = extra(f"{case.name}_ks").tolist()
    found = both_ways(
        case.inputs["image_embeds"], case.inputs["text_embeds"], case.inputs["positives"], ks
    )
    table = [[way.recall[k] for k in ks] for way in (found.text_to_image, found.image_to_text)]
    close(np.array(table), case.outputs["recalls_t2i_i2t_by_k"], **TIGHT)


def corpus(case):
    """Captions and the texts of people, as the published code cut them into words."""
    words = json.loads(str(case.outputs["ptb_json"]))
    keys = list(words["res"])
    return [words["res"][key][0] for key in keys], [words["gts"][key] for key in keys]


@golden("_vl-shared", "cap")
def test_words_are_cut_alike(case):
    raw, words = json.loads(str(case.inputs["raw_json"])), json.loads(str(case.outputs["ptb_json"]))
    for side, of_pictures in raw.items():
        for key, texts in of_pictures.items():
            assert [words_of(text) for text in texts] == words[side][key]


@golden("_vl-shared", "cap")
def test_measures_of_captions(case):
    captions, texts = corpus(case)
    found = bleu(captions, texts)
    close(np.array([one.total for one in found]), case.outputs["bleu_corpus"], **TIGHT)
    close(np.array([one.each for one in found]), case.outputs["bleu_per_image"], **TIGHT)
    for measure, name in ((cider, "cider"), (rouge, "rougeL")):
        scores = measure(captions, texts)
        close(scores.total, case.outputs[name], **TIGHT)
        close(scores.each, case.outputs[f"{name}_per_image"], **TIGHT)
    alone = cider(captions[:1], texts[:1])
    close(alone.total, case.outputs["cider_single_image_corpus"], **TIGHT)


@golden("_vl-shared", "cap")
def test_meteor_without_a_lexicon(case):
    captions, texts = corpus(case)
    found, recorded = meteor(captions, texts), case.outputs["meteor_per_image"]
    close(case.outputs["meteor"], recorded.mean(), rtol=0.3)  # the original weighs by length
    for caption, some, ours, theirs in zip(captions, texts, found.each, recorded, strict=True):
        if any(set(caption.split()) <= set(text.split()) for text in some):
            assert ours == pytest.approx(theirs, abs=1e-6)
        else:  # synonyms and paraphrases can only add
            assert ours <= theirs + 0.02


def test_there_are_captions():
    assert arrays("_vl-shared")
    assert cases("_vl-shared", "cap")
