"""diffsort's odd-even network with the Cauchy relaxation, forward and backward."""

import time
from importlib.metadata import version

import numpy as np
import torch
from diffsort import DiffSortNet
from serve import serve

ready = {}


def prepare(stored, top):
    with np.load(stored) as arrays:
        ready["x"] = torch.from_numpy(arrays["values"]).requires_grad_()
        ready["w"] = torch.from_numpy(arrays["weights"])
    ready["network"] = DiffSortNet("odd_even", ready["x"].shape[1], steepness=1.0)
    ready["top"] = top
    return {}


def step(name):
    x, w = ready["x"], ready["w"]
    x.grad = None
    _, product = ready["network"](x)
    if name == "soft permutation":
        (product * w).sum().backward()
    else:
        (product[:, :, -ready["top"] :].sum(2) * w[:, 0]).sum().backward()


def once(name):
    step(name)
    return {"gradient": ready["x"].grad[:8].tolist()}


def rate(name, seconds):
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        step(name)
        done += 1
    return {"rate": done / (time.perf_counter() - begin)}


if __name__ == "__main__":
    serve(version("diffsort"), {"prepare": prepare, "once": once, "rate": rate})
