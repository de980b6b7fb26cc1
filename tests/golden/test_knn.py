"""Weighted k-NN: class scores, predictions, top-1 and top-5."""

from __future__ import annotations

import numpy as np

from fallow.measure import knn_accuracy, knn_scores

from .cases import DOUBLE, close, golden


@golden("_ssl-shared", "knn")
def test_knn(case):
    k, temperature, classes = case.inputs["meta"].tolist()
    bank, labels = case.inputs["bank"], case.inputs["bank_labels"]
    queries, truth = case.inputs["query"], case.inputs["query_labels"]
    scores = knn_scores(bank, labels, queries, int(k), temperature, int(classes))
    close(scores, case.outputs["scores"])
    # where classes tie, the recorded guess must be among the best
    best = scores.max(1)
    guess = scores[np.arange(len(scores)), case.outputs["pred"]]
    close(guess, best)
    clear = np.partition(scores, -2, axis=1)[:, -2] < best * (1 - 1e-4)
    assert clear.any()
    assert (scores.argmax(1) == case.outputs["pred"])[clear].all()
    result = knn_accuracy(bank, labels, queries, truth, int(k), temperature)
    for guesses, ours, recorded in (
        (1, result.top1, case.outputs["top1_percent"]),
        (min(5, int(k), int(classes)), result.top5, case.outputs["top5_percent"]),
    ):
        # when the true class ties with others at the last place, either answer is right
        last = -np.sort(-scores, axis=1)[:, guesses - 1]
        own = scores[np.arange(len(scores)), truth]
        better = (scores >= own[:, None] * (1 - 1e-4)).sum(1)
        surely, perhaps = (better <= guesses).mean(), (own >= last * (1 - 1e-4)).mean()
        assert surely - DOUBLE <= recorded / 100 <= perhaps + DOUBLE
        assert surely - DOUBLE <= ours <= perhaps + DOUBLE
