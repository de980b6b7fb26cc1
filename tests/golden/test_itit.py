"""ITIT: schedules, decoding in parallel, what is forgotten again, hard choices, masked loss."""

from __future__ import annotations

import re

import numpy as np
import torch

from fallow.losses.straight import chosen_rows, masked_cross_entropy
from fallow.parts.parallel import least_sure, left_masked, written

from .arrays import arrays
from .cases import close, golden

NAMES = {"pow2_5": "power"}


@golden("itit", "schedule")
def test_schedules(case):
    for name, expected in case.outputs.items():
        found = [
            left_masked(float(ratio), NAMES.get(name, name), 256) for ratio in case.inputs["ratio"]
        ]
        close(np.array(found), expected, 1e-9, 1e-9)


@golden("itit", "decode")
def test_decoding(case):
    masked, steps = arrays("itit")[f"{case.name}_mask_id_iters"].tolist()
    base, table = case.tensor("base_logits"), case.tensor("token_table")
    ids = case.tensor("init_ids")

    def predict(ids, unknown):
        known = (~unknown).double()[..., None]
        rows = table[ids.clamp_max(len(table) - 1)] * known
        return base + rows.sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp_min(1)

    seen = []
    written(predict, ids, ids == masked, steps, seen=lambda some: seen.append(some.clone()))
    np.testing.assert_array_equal(torch.stack(seen, 1), case.outputs["ids_per_iteration"])


@golden("itit", "remask")
def test_least_sure(case):
    confidence = case.tensor("confidence_prob")
    count = torch.full((len(confidence),), int(case.inputs["k"]))
    found = least_sure(confidence, count)
    np.testing.assert_array_equal(found, case.outputs["mask"])
    np.testing.assert_array_equal(found.sum(1), case.outputs["count"])


@golden("itit", "straight")
def test_hard_choices(case):
    logits, table = case.tensor("logits", gradient=True), case.tensor("table", gradient=True)
    found = chosen_rows(logits, table)
    close(found, case.outputs["embedding"], 1e-9, 1e-12)
    (found * case.tensor("weight")).sum().backward()
    close(logits.grad, case.outputs["grad_logits"], 1e-7, 1e-10)
    close(table.grad, case.outputs["grad_table"], 1e-7, 1e-10)


@golden("itit", "t2i")
def test_masked_loss(case):
    logits = case.tensor("logits", gradient=True)
    loss = masked_cross_entropy(logits, case.tensor("ids"), case.tensor("mask"))
    close(loss, case.outputs["loss_mean_over_masked"], 1e-9)
    loss.backward()
    close(logits.grad, case.outputs["grad"], 1e-7, 1e-10)


def test_recorded_schedules_are_all_known():
    names = [m[1] for key in arrays("itit") if (m := re.fullmatch("schedule_out_(.+)", key))]
    for name in names:
        assert 0 < left_masked(0.5, NAMES.get(name, name)) < 1
