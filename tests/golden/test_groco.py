"""GroCo: the relaxed sorting networks, the ordering loss and its groups; values and gradients."""

from __future__ import annotations

import torch

from fallow.losses import sorting
from fallow.losses.sorting import group_ordering, similarity_groups, soft_sort, top_shares

from .cases import DOUBLE, close, golden

NETWORKS = {"oe": sorting.odd_even, "bitonic": sorting.bitonic}
RELAXATIONS = {
    "cauchy": sorting.cauchy,
    "logistic": sorting.logistic,
    "logistic_phi": sorting.logistic_phi,
    "optimal": sorting.optimal,
    "reciprocal": sorting.reciprocal,
}


def sorter(case):
    """What a name says of its network and relaxation; names that say none were run with cauchy."""
    words = case.name.removeprefix("sort_")
    network = next(made for name, made in NETWORKS.items() if words.startswith(name))
    named = sorted((name for name in RELAXATIONS if f"_{name}" in words), key=len)
    steepness, power = case.inputs["meta"].tolist()
    relaxation = RELAXATIONS[named[-1] if named else "cauchy"]
    if relaxation is sorting.logistic_phi:

        def relaxation(difference, steepness):
            return sorting.logistic_phi(difference, steepness, power)

    return {"steepness": steepness, "relaxation": relaxation, "network": network}


@golden("groco", "sort")
def test_sort(case):
    x, w, how = case.tensor("x", True), case.tensor("w"), sorter(case)
    values, product = soft_sort(x, **how)
    (product * w).sum().backward()
    close(values, case.outputs["sorted"], rtol=DOUBLE)
    close(product, case.outputs["P"], rtol=DOUBLE)
    close(x.grad, case.outputs["grad_x_of_sum_P_w"], rtol=DOUBLE)
    for top in range(1, x.shape[1] + 1):
        share = top_shares(x, top, **how)
        close(share, product[:, :, -top:].sum(2).detach(), rtol=DOUBLE)


@golden("groco", "sort")
def test_gradient_of_the_sorted_values(case):
    """Not recorded: through the values, x is sorted and P is applied, x P, in one gradient."""
    x, w, how = case.tensor("x", True), case.tensor("w")[:, 0], sorter(case)
    values, product = soft_sort(x, **how)
    (one,) = torch.autograd.grad((values * w).sum(), x, retain_graph=True)
    applied = (x[:, :, None] * product).sum(1)
    close(applied, values.detach(), rtol=DOUBLE)
    (two,) = torch.autograd.grad((applied * w).sum(), x)
    close(one, two, rtol=DOUBLE)


@golden("groco", "groco")
def test_group_ordering(case):
    negatives, positives, steepness, stop = case.inputs["meta"].tolist()
    z, count, first = case.tensor("z", True), int(negatives), int(positives)
    loss = group_ordering(z, count, first, steepness, stop_gradient=bool(stop))
    loss.backward()
    close(loss, case.outputs["loss"])
    close(z.grad, case.outputs["grad_z"], atol=1e-6)
    low, high = similarity_groups(z, 0, count, first, stop_gradient=bool(stop))
    close(high[:, -1].mean(), case.outputs["info_pos_max"], atol=1e-6)
    close(high[:, 0].mean(), case.outputs["info_pos_min"], atol=1e-6)
    close(low[:, -1].mean(), case.outputs["info_neg_max"], atol=1e-6)
    close(low[:, 0].mean(), case.outputs["info_neg_min"], atol=1e-6)
