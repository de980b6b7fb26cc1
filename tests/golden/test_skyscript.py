"""SkyScript: captions from tags, the filter by similarity, detection by threshold, classes."""

from __future__ import annotations

import json
import re

import numpy as np

from fallow.measure.words import class_vectors
from fallow.methods.curate.skyscript import alone, among, best, threshold_of

from .arrays import arrays
from .cases import close, golden


@golden("skyscript", "binary")
def test_detection(case):
    image = case.inputs["image_raw"]
    image = image / np.linalg.norm(image, axis=1, keepdims=True)
    cosine = (image @ case.inputs["text_unit"])[:, 0]
    found = threshold_of(cosine, case.inputs["labels"])
    np.testing.assert_allclose(found, case.outputs["threshold_f1_precision_recall"], atol=1e-6)


@golden("skyscript", "filter")
def test_filter(case):
    for name, expected in case.outputs.items():
        share = int(re.fullmatch(r"keep_top(\d+)", name)[1]) / 100
        np.testing.assert_array_equal(best(case.inputs["similarity"], share), expected)


def test_published_captions():
    examples = json.loads(str(arrays("skyscript")["caption_examples_json"]))
    assert examples
    for focus, others, single, several in examples:
        tags = [tuple(tag) for tag in focus]
        assert alone(tags) == single
        if several:
            assert among(tags, [[tuple(tag) for tag in one] for one in others]) == several


@golden("skyscript", "zs")
def test_classes_by_two_templates(case):
    columns = class_vectors(case.inputs["embeds_class_template"])
    close(columns, case.outputs["classifier"], 1e-5, 1e-5)
