"""InterCLR and Hydra on two ranks: one memory, and the losses of the whole batch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import fallow
from fallow.images.samples import shapes
from fallow.methods import find
from fallow.parts.memory import Clusters
from fallow.train import Batch, Facts, Now, make_settings
from fallow.train.batchnorm import share_batch_norm

RANKS, IMAGES, BATCH = 2, 40, 16


def method(slug: str, **values):
    torch.manual_seed(0)
    kind = find("learn", slug)
    plain = {"epochs": 2, "batch": BATCH, "size": 16, "precision": "32"}
    settings = make_settings(kind.Settings, plain | values)
    return kind(fallow.encoder("resnet8/8"), settings, Facts(IMAGES, 24, 4)).train()


def batch(rows: slice, step: int) -> Batch:
    """A share of one batch of random views."""
    chance = torch.Generator().manual_seed(step)
    index = torch.randperm(IMAGES, generator=chance)[:BATCH][rows]
    views = [torch.randn(BATCH, 3, 16, 16, generator=chance)[rows] for _ in range(2)]
    group = torch.cat(views)
    return Batch([group], list(group.chunk(2)), index, index % 4, torch.zeros(2, BATCH, 2, 3))


def steps(slug: str, rows: slice, count: int, **values) -> dict[str, torch.Tensor]:
    """Losses, gradients of the first step, and the state after some steps of plain descent."""
    made, found = method(slug, **values), {}
    if slug == "interclr":
        made.begin(shapes(IMAGES, seed=0, side=24))
    wrapped = made
    if dist.is_initialized():
        share_batch_norm(made)
        # without the wrapper's copying, what ranks keep has to stay equal by itself
        wrapped = DistributedDataParallel(made, broadcast_buffers=False)
    for step in range(count):
        now = Now(step, 0, 0.0, count)
        torch.manual_seed(10 * step + (dist.get_rank() if dist.is_initialized() else 0))
        loss = wrapped(batch(rows, step), now).total
        loss.backward()
        for name, parameter in made.named_parameters():
            if parameter.grad is not None:
                if step == 0:
                    found[f"grad {name}"] = parameter.grad.clone()
                parameter.data -= 0.05 * parameter.grad
                parameter.grad = None
        made.after_step(now)
        found[f"loss {step}"] = loss.detach()
    return found | {name: value.clone() for name, value in made.state_dict().items()}


CASES = {
    "hydra": ("hydra", 3, {}),
    "hydra distinct": ("hydra", 1, {"pairs": "distinct", "instance_weight": 1.0}),
    "interclr first": ("interclr", 1, {"key_parts": 1}),
    "interclr": ("interclr", 12, {"clusters": 5, "smallest": 3}),
    "moco": ("interclr", 3, {"key_parts": 1, "inter_weight": 0.0}),
}


def measure(rows: slice) -> dict[str, dict[str, torch.Tensor]]:
    return {
        name: steps(slug, rows, count, **values) for name, (slug, count, values) in CASES.items()
    }


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=RANKS)
    try:
        share = BATCH // RANKS
        found = measure(slice(rank * share, (rank + 1) * share))
        torch.save(found, Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.spawn(work, (str(folder),), nprocs=RANKS)
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


@pytest.fixture(scope="module")
def alone():
    return measure(slice(0, BATCH))


def compare(one: torch.Tensor, two: torch.Tensor, name: str) -> None:
    if one.is_floating_point():
        torch.testing.assert_close(one, two, rtol=2e-3, atol=2e-5, msg=name)
    else:
        assert torch.equal(one, two), name


@pytest.mark.parametrize("name", CASES)
def test_ranks_keep_the_same_state(name, ranks):
    one, two = (found[name] for found in ranks)
    for key, value in one.items():
        if not key.startswith("loss"):
            compare(value, two[key], key)
    if name == "interclr":
        assert torch.equal(one["memory.bank.labels"], two["memory.bank.labels"])
        assert torch.bincount(one["memory.bank.labels"]).min() >= 3


@pytest.mark.parametrize("name", ["hydra", "hydra distinct", "moco"])
def test_two_ranks_train_as_one_process(name, ranks, alone):
    expected = alone[name]
    assert any(key.startswith("grad") and value.any() for key, value in expected.items())
    for key, value in expected.items():
        if key.startswith("loss"):
            together = torch.stack([found[name][key] for found in ranks]).mean()
            torch.testing.assert_close(together, value, rtol=1e-4, atol=1e-5)
        elif "num_batches" not in key:
            compare(ranks[0][name][key], value, key)


def test_the_bank_holds_the_whole_batch_as_on_one_process(ranks, alone):
    expected = alone["interclr first"]
    for key in ("bank.features", "bank.labels", "centroids"):
        compare(ranks[0]["interclr first"][f"memory.{key}"], expected[f"memory.{key}"], key)
    start = Clusters(IMAGES, 128, 1).features
    assert not torch.allclose(expected["memory.bank.features"], start)
