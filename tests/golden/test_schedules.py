"""Learning rates step by step."""

from __future__ import annotations

from fallow.train.schedules import cosine_restarts, warm_up_cosine, warm_up_cosine_from

from .cases import close, golden


@golden("_ssl-shared", "sched")
def test_warm_up_cosine(case):
    peak, epochs, warm, end = case.inputs["meta"].tolist()
    expected = case.outputs["lr"]
    # the original starts again after its last epoch
    rates = [warm_up_cosine(t % epochs, epochs, peak, warm, end) for t in range(len(expected))]
    close(rates, expected, rtol=1e-6)


@golden("swav", "sched")
def test_swav(case):
    start, peak, end, warm, epochs, steps = case.inputs[""].tolist()
    total, warm = int(epochs * steps), int(warm * steps)
    rates = [warm_up_cosine_from(t, total, peak, warm, start, end) for t in range(total)]
    close(rates, case.outputs["lr"], rtol=1e-6)


@golden("gsimclr", "restarts")
def test_restarts(case):
    peak, first, growth, shrink = case.inputs["meta"].tolist()
    rates = [cosine_restarts(t, peak, first, growth, shrink) for t in case.inputs["step"]]
    # recorded in float32, where 1 + cos near a restart keeps three digits
    close(rates, case.outputs["lr"], atol=1e-6 * peak)
