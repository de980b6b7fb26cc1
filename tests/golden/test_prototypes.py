"""Sinkhorn, and SwAV's step made of the foundations: values, gradients and queue."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from fallow.losses import sinkhorn, swapped_prediction
from fallow.parts.memory import FrontQueue

from .cases import cases, close, golden


def check_sinkhorn(case):
    epsilon, iterations = case.inputs["meta"].tolist()
    scores = case.tensor("scores")
    expected = case.outputs["Q"]
    codes = sinkhorn(scores, epsilon, int(iterations))
    assert codes.dtype == scores.dtype
    assert torch.isfinite(codes).all()
    single = scores.dtype == torch.float32
    if not np.isfinite(expected).all():
        # the original overflowed in float32: ours must equal the float64 result
        expected = sinkhorn(scores.double(), epsilon, int(iterations)).numpy()
    # exp underflows first in what is compared with, so tiny entries need an absolute bound
    close(codes, expected, rtol=1e-4 if single else 1e-6, atol=1e-6 if single else 1e-10)


@golden("swav", "sk")
def test_sinkhorn(case):
    check_sinkhorn(case)


@golden("_ssl-shared", "sinkhorn")
def test_shared_sinkhorn(case):
    check_sinkhorn(case)


def test_overflowed_cases_equal_their_float64_twins():
    recorded = cases("swav", "sk")
    for case in recorded:
        if np.isfinite(case.outputs["Q"]).all():
            continue
        twins = [
            twin.outputs["Q"]
            for twin in recorded
            if np.isfinite(twin.outputs["Q"]).all()
            and np.array_equal(twin.inputs["meta"], case.inputs["meta"])
            and np.allclose(twin.inputs["scores"], case.inputs["scores"], atol=1e-6)
        ]
        epsilon, iterations = case.inputs["meta"].tolist()
        for expected in twins:
            close(sinkhorn(case.tensor("scores"), epsilon, int(iterations)), expected, atol=1e-6)


def swav_step(z, prototypes, assigned, queue, temperature, epsilon, iterations):
    """One SwAV loss on raw embeddings z (V, B, D) with unit prototypes (K, D)."""
    unit = F.normalize(z, dim=2)
    scores = [crop @ prototypes.T for crop in unit]  # V x (B K)
    codes = {}
    with torch.no_grad():
        for place, crop in enumerate(assigned):
            seen = scores[crop]
            if queue is not None and queue.full:
                seen = torch.cat([queue.share()[place] @ prototypes.T, seen])
            codes[crop] = sinkhorn(seen, epsilon, iterations)[-z.shape[1] :]
        if queue is not None:
            queue.enqueue(unit[assigned].detach())
    return swapped_prediction(scores, codes, temperature)


@golden("swav", "loss")
def test_swav_step(case):
    temperature, epsilon, iterations, frozen_steps, length = case.inputs["meta"].tolist()
    assigned = case.inputs["crops_for_assign"].tolist()
    steps = case.tensor("z")  # steps V B D
    rtol = 1e-6 if steps.dtype == torch.float64 else 1e-4
    prototypes = F.normalize(case.tensor("W"), dim=1).requires_grad_()
    queue = None
    if length:
        queue = FrontQueue(int(length), steps.shape[-1], len(assigned)).to(steps.dtype)
    for step, raw in enumerate(steps):
        z = raw.clone().requires_grad_()
        prototypes.grad = None
        loss = swav_step(z, prototypes, assigned, queue, temperature, epsilon, int(iterations))
        loss.backward()
        if step < frozen_steps:
            prototypes.grad = None
        close(loss, case.outputs["loss"][step], rtol)
    close(z.grad, case.outputs["grad_z"], rtol)
    close(prototypes, case.outputs["Wn"], rtol)
    assert (prototypes.grad is None) == ("grad_Wn" not in case.outputs)
    if prototypes.grad is not None:
        close(prototypes.grad, case.outputs["grad_Wn"], rtol)
    assert (queue is None) == ("queue" not in case.outputs)
    if queue is not None:
        close(queue.rows, case.outputs["queue"], rtol)
