"""WILDS 2.0: groups, measures by group, sampling, and the losses of all its methods."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from fallow.images.domains import groups_of_numbers
from fallow.losses.adversarial import reversed_gradient
from fallow.losses.domains import coral, coral_of_groups, longer, mean_length
from fallow.losses.pseudo import guessed_cross_entropy, sure_answers, sure_classes
from fallow.losses.robust import (
    cross_entropies,
    even_weights,
    group_means,
    invariance,
    raised_weights,
)
from fallow.measure.groups import (
    averaged,
    by_group,
    detection_accuracy,
    macro_f1,
    macro_recall,
    pearson,
    right,
)
from fallow.methods.shared.adapting import risen
from fallow.train.order import by_group as batches_by_group
from fallow.train.schedules import inverse_power

from .arrays import arrays
from .cases import DOUBLE, cases, close, golden

TIGHT = {"rtol": DOUBLE}
SINGLE = {"rtol": 1e-6, "atol": 1e-6}
SHARES = {"rtol": 1e-7, "atol": 1e-9}  # the original keeps the share of sure labels in float32


def partner(case, prefix):
    """The case of another kind with the same number: they share some inputs."""
    number = case.name.lstrip("abcdefghijklmnopqrstuvwxyz")
    return next(one for one in cases("wilds2", prefix) if one.name == prefix + number)


@golden("wilds2", "group")
def test_group_numbers_follow_the_tables_order(case):
    asked = (["a", "b"], ["a", "y"], ["b", "a"], [])
    for place, chosen in enumerate(asked, 1):
        found = groups_of_numbers(case.inputs["metadata"], ["a", "b", "y"], chosen)
        np.testing.assert_array_equal(found.codes, case.outputs[f"ids{place}"])
        np.testing.assert_array_equal(found.sizes, case.outputs[f"counts{place}"])


@golden("wilds2", "metric")
def test_accuracy_and_loss_by_group(case):
    logits, truth = case.tensor("logits"), case.inputs["y"]
    groups, count = case.inputs["group"], int(case.number("n_groups"))
    said = logits.argmax(1).numpy()
    found = averaged(right(said, truth), groups, count)
    close(found.overall, case.outputs["acc"], **SINGLE)
    close(found.each, case.outputs["acc_group"], **SINGLE)
    close(found.sizes, case.outputs["count"])
    close(found.worst, case.outputs["acc_worst"], **SINGLE)
    losses = cross_entropies(logits, case.tensor("y")).numpy()
    found = averaged(losses, groups, count, worst="most")
    close(found.each, case.outputs["loss_group"], **TIGHT)
    close(found.worst, case.outputs["loss_worst"], **TIGHT)
    lacking = np.where(truth == logits.shape[1] - 1, 0, truth)  # the truth lacks a class
    for name, measure in (("f1", macro_f1), ("recall", macro_recall)):
        close(measure(said, truth), case.outputs[f"{name}_macro"], **SINGLE)
        close(measure(said, lacking), case.outputs[f"{name}_macro_absent"], **SINGLE)


@golden("wilds2", "reg")
def test_correlation_by_group(case):
    said, truth, groups = (case.inputs[name] for name in ("pred", "y", "group"))
    count = int(partner(case, "metric").number("n_groups"))
    found = by_group(pearson, said, truth, groups, count)
    close(found.overall, case.outputs["r"], **TIGHT)
    close(found.each, case.outputs["r_group"], **TIGHT)
    close(found.worst, case.outputs["r_worst"], **TIGHT)
    close(averaged((said - truth) ** 2, groups, count).overall, case.outputs["mse"], **TIGHT)


@golden("wilds2", "multi")
def test_many_answers_some_missing(case):
    other = partner(case, "metric")
    said = (case.inputs["logits"] > 0).astype(float)
    groups, count = other.inputs["group"], int(other.number("n_groups"))
    found = averaged(right(said, case.inputs["y"]), groups, count)
    close(found.overall, case.outputs["acc"], **SINGLE)
    close(found.each, case.outputs["acc_group"], **SINGLE)
    close(found.sizes, case.outputs["count"])
    close(found.worst, case.outputs["worst"], **SINGLE)


@golden("wilds2", "landuse")
def test_land_use(case):
    hits = right(case.inputs["pred"], case.inputs["y"])
    close(hits.mean(), case.outputs["acc_avg"], **TIGHT)
    for field in ("year", "region"):
        codes = case.inputs[field]
        kept = codes < 5 if field == "region" else codes >= 0  # region 5 is "Other"
        found = averaged(hits[kept], codes[kept], int(codes.max()) + 1)
        close(found.worst, case.outputs[f"worst_{field}"], **SINGLE)


@golden("wilds2", "survey")
def test_survey(case):
    said, truth, urban = (case.inputs[name] for name in ("pred", "y", "urban"))
    found = by_group(pearson, said, truth, urban, 2)
    close(found.overall, case.outputs["r_all"], **TIGHT)
    close(found.worst, case.outputs["r_wg"], **TIGHT)
    close(np.mean((said - truth) ** 2), case.outputs["mse"], **TIGHT)


@golden("wilds2", "det")
def test_detection(case):
    found = [
        detection_accuracy(*(case.inputs[f"{name}{k}"] for name in ("truth", "boxes", "scores")))
        for k in range(len(case.outputs["per_image"]))
    ]
    close(found, case.outputs["per_image"], **SINGLE)


@golden("wilds2", "pseudo")
def test_sure_classes(case):
    logits = case.tensor("logits")
    found = sure_classes(logits, case.number("threshold"))
    close(found.kept, case.outputs["mask"])
    close(found.labels[found.kept], case.outputs["label"])
    close(logits[found.kept], case.outputs["pred"])
    close(found.share, case.outputs["kept"], **SINGLE)


@golden("wilds2", "pseudobin")
def test_sure_answers(case):
    logits = case.tensor("logits")
    found = sure_answers(logits, partner(case, "pseudo").number("threshold"))
    close(found.kept, case.outputs["mask"])
    close(found.labels[found.kept], case.outputs["label"], atol=0)
    close(logits[found.kept], case.outputs["pred"])
    close(found.share, case.outputs["kept"], **SINGLE)


@golden("wilds2", "weakstrong")
def test_labels_of_weak_views_teach_strong_ones(case):
    strong = case.tensor("strong", True)
    told = F.cross_entropy(case.tensor("labelled"), case.tensor("y"))
    guess = sure_classes(case.tensor("weak"), case.number("threshold"))
    total = told + guessed_cross_entropy(strong, guess)
    total.backward()
    close(total, case.outputs["objective"], **SHARES)
    close(strong.grad, case.outputs["grad_strong"], **SHARES)


@golden("wilds2", "selftrain")
def test_a_model_teaches_itself(case):
    free = case.tensor("unlabelled", True)
    told = F.cross_entropy(case.tensor("labelled"), partner(case, "weakstrong").tensor("y"))
    guess = sure_classes(free, case.number("threshold"))
    total = told + case.number("lambda") * guessed_cross_entropy(free, guess)
    total.backward()
    close(total, case.outputs["objective"], **SHARES)
    close(free.grad, case.outputs["grad_unlabelled"], **SHARES)


@golden("wilds2", "coral", without=("coralbatch", "coralsingle"))
def test_coral(case):
    x, y = case.tensor("x", True), case.tensor("y", True)
    found = coral(x, y)
    found.backward()
    close(found, case.outputs["penalty"], **TIGHT)
    close(x.grad, case.outputs["grad_x"], **TIGHT)
    close(y.grad, case.outputs["grad_y"], **TIGHT)


@golden("wilds2", "coralbatch")
def test_coral_of_all_pairs(case):
    found = coral_of_groups(case.tensor("features"), case.tensor("group"))
    close(found, case.outputs["penalty"], **TIGHT)


@golden("wilds2", "coralsingle")
def test_coral_of_one_image_is_unknown(case):
    x, y = case.tensor("x"), case.tensor("y")
    close(coral(x, y), case.outputs["penalty"])
    groups = torch.tensor([0] * len(x) + [1] * len(y))
    assert coral_of_groups(torch.cat([x, y]), groups) == 0  # and so is left out of a batch


@golden("wilds2", "afn")
def test_lengths(case):
    x = case.tensor("features", True)
    found = longer(x, case.number("delta_r"))
    found.backward()
    close(found, case.outputs["stepwise"], **TIGHT)
    close(x.grad, case.outputs["stepwise_grad"], **TIGHT)
    close(mean_length(x, case.number("r")), case.outputs["hard"], **TIGHT)


@golden("wilds2", "reverse")
def test_reversed_gradient(case):
    x = case.tensor("x", True)
    y = reversed_gradient(x)
    (y * torch.arange(y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
    close(y, case.outputs["y"], **TIGHT)
    close(x.grad, case.outputs["grad"], **TIGHT)


@golden("wilds2", "dro")
def test_group_weights(case):
    weights = even_weights(case.tensor("present")).double()
    found, objectives = [], []
    for logits, y, groups in zip(*(case.tensor(k) for k in ("logits", "y", "group")), strict=True):
        found.append(weights)
        means = group_means(cross_entropies(logits, y), groups, len(weights))
        weights = raised_weights(weights, means, case.number("step"))
        objectives.append(weights @ means)
    close(torch.stack([*found, weights]), case.outputs["weights"], rtol=1e-6)
    close(torch.stack(objectives), case.outputs["objective"], rtol=1e-6)


@golden("wilds2", "irm")
def test_invariance(case):
    logits = case.tensor("logits", True)
    found = invariance(logits, case.tensor("y"))
    found.backward()
    close(found, case.outputs["penalty"], **TIGHT)
    close(logits.grad, case.outputs["grad"], **TIGHT)


@golden("wilds2", "ramp")
def test_weight_rises(case):
    most, hold, full = case.inputs[""].tolist()
    steps = range(len(case.outputs[""]))
    close([most * risen(t, hold, full) for t in steps], case.outputs[""], **TIGHT)


@golden("wilds2", "fixlr")
def test_rate_falls(case):
    total = case.number("total")
    found = [inverse_power(t, total, 1.0) for t in case.inputs["step"].tolist()]
    close(found, case.outputs["factor"], **TIGHT)


@golden("wilds2", "softce")
def test_soft_labels(case):
    found = cross_entropies(case.tensor("logits"), case.tensor("target"))
    close(found, case.outputs[""], **TIGHT)


@golden("wilds2", "sampler")
def test_batches_have_the_recorded_properties(case):
    groups = case.inputs["group"]
    batch, each = case.inputs["params"].tolist()
    recorded = case.outputs["batches_seeded"]
    found = batches_by_group(groups, batch, each, seed=int(case.number("numpy_seed")), epoch=0)
    assert len(found) == len(recorded) == int(case.outputs["len"])
    sizes = np.bincount(groups)
    for ours, theirs, count in zip(
        found, recorded, case.outputs["groups_per_batch"].tolist(), strict=True
    ):
        for rows in (ours, theirs):
            names, members = np.unique(groups[rows], return_counts=True)
            assert len(names) == count
            assert set(members) == {batch // each}
            for name in names:
                mine = rows[groups[rows] == name]
                if sizes[name] > batch // each:
                    assert len(set(mine)) == len(mine)


def test_every_recorded_case_has_a_test():
    known = {"group", "metric", "reg", "multi", "landuse", "survey", "det", "pseudo", "pseudobin",
             "weakstrong", "selftrain", "coral", "coralbatch", "coralsingle", "afn", "reverse",
             "dro", "irm", "ramp", "fixlr", "softce", "sampler"}  # fmt: skip
    names = {key.split("_")[0].rstrip("0123456789") for key in arrays("wilds2")}
    assert names <= known
