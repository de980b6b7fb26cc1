"""Two processes on halves of a batch against one process on the whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from fallow import distributed
from fallow.losses import (
    barlow,
    info_nce,
    nt_xent,
    nt_xent_views,
    sinkhorn,
    supcon,
    swapped_prediction,
    symmetric_in_batch,
)
from fallow.parts.memory import Bank, FrontQueue, Queue

RANKS, BATCH, DIMENSION = 2, 8, 6


def batch() -> torch.Tensor:
    """Two views (2, B, D) of the whole batch."""
    return torch.randn(2, BATCH, DIMENSION, generator=torch.Generator().manual_seed(3)).double()


def network() -> nn.Module:
    layer = nn.Linear(DIMENSION, 5).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            values = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
            parameter.copy_(values)
    return layer


def swav(z1: torch.Tensor, z2: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    prototypes = F.normalize(torch.eye(5).double() + 0.1, dim=1)
    scores = [F.normalize(z, dim=1) @ prototypes for z in (z1, z2)]
    return swapped_prediction(scores, {i: sinkhorn(s, 0.05, 3) for i, s in enumerate(scores)})


# each takes both views' embeddings of a rank's rows and their labels
LOSSES = {
    "nt_xent": lambda z1, z2, labels: nt_xent(z1, z2, 0.2),
    "nt_xent_views": lambda z1, z2, labels: nt_xent_views(torch.stack([z1, z2, z1 - z2]), 0.2),
    "in_batch": lambda z1, z2, labels: symmetric_in_batch(z1, z2, z2.detach(), z1.detach()),
    "info_nce": lambda z1, z2, labels: info_nce(z1, z2, torch.eye(5), 0.2),
    "supcon": lambda z1, z2, labels: supcon(torch.cat([z1, z2]), labels.repeat(2), 0.2),
    "supcon_lonely": lambda z1, z2, labels: supcon(z1, labels, 0.2),
    "barlow": lambda z1, z2, labels: barlow(z1, z2),
    "swav": swav,
}
LABELS = torch.tensor([0, 1, 2, 0, 0, 2, 3, 4])  # some pairs only across ranks, some rows alone


def measure(rows: slice) -> dict[str, torch.Tensor]:
    """Losses and gradients on some rows of the batch, and what memories hold afterwards."""
    x, found = batch()[:, rows], {}
    for name, loss_of in LOSSES.items():
        layer: nn.Module = network()
        if dist.is_initialized():
            layer = nn.parallel.DistributedDataParallel(layer)
        z1, z2 = layer(x.flatten(0, 1)).chunk(2)
        loss = loss_of(z1, z2, LABELS[rows])
        loss.backward()
        found[f"{name}_loss"] = loss.detach()
        for i, parameter in enumerate(layer.parameters()):
            found[f"{name}_grad{i}"] = parameter.grad
    found["codes"] = sinkhorn(x[0], 0.05, 3)
    found["codes_unrounded"] = sinkhorn(x[0], 0.5, 0)
    queue, front, bank = Queue(12, DIMENSION), FrontQueue(12, DIMENSION, 2), Bank(10, DIMENSION)
    for step in range(2):
        queue.enqueue(x[0] + step)
        front.enqueue(x + step)
    bank.update(torch.arange(BATCH)[rows] + 1, x[1], LABELS[rows])
    found["shared_codes"] = sinkhorn(torch.cat([front.share()[0].double(), x[0]]), 0.5)[
        -x.shape[1] :
    ]
    for memory in (queue, front, bank):
        for name, value in memory.state_dict().items():
            found[f"{type(memory).__name__}_{name}"] = value
    return found


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=RANKS)
    try:
        share = BATCH // RANKS
        found = measure(slice(rank * share, (rank + 1) * share))
        x = torch.full((2, 3), float(rank + 1), requires_grad=True)
        (distributed.gather_with_gradient(x) * (rank + 1)).sum().backward()
        found["summed"] = x.grad.clone()
        x.grad = None
        (distributed.gather_own_gradient(x) * (rank + 1)).sum().backward()
        found["own"] = x.grad.clone()
        found["gathered"] = distributed.gather(x)
        found["place"] = torch.tensor([distributed.rank(), distributed.world_size()])
        found["most"] = distributed.all_reduce_max(torch.tensor(rank))
        torch.save(found, Path(folder) / f"{rank}.pt")
        dist.barrier()  # a rank that leaves while the other still talks aborts now and then
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


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("in_batch", "info_nce")])
def test_mean_of_ranks_losses_is_the_loss_of_one_process(name, ranks, alone):
    mean = torch.stack([found[f"{name}_loss"] for found in ranks]).mean()
    torch.testing.assert_close(mean, alone[f"{name}_loss"])


@pytest.mark.parametrize("name", ["in_batch", "info_nce"])
def test_losses_with_detached_keys_agree_too(name, ranks, alone):
    mean = torch.stack([found[f"{name}_loss"] for found in ranks]).mean()
    torch.testing.assert_close(mean, alone[f"{name}_loss"])


@pytest.mark.parametrize("name", LOSSES)
def test_averaged_gradients_are_those_of_one_process(name, ranks, alone):
    gradients = [key for key in alone if key.startswith(f"{name}_grad")]
    assert len(gradients) == 2
    assert max(alone[key].abs().max() for key in gradients) > 1e-3
    for key in gradients:
        for found in ranks:  # DDP has averaged them
            torch.testing.assert_close(found[key], alone[key])


@pytest.mark.parametrize("name", ["codes", "codes_unrounded"])
def test_sinkhorn_balances_over_all_ranks(name, ranks, alone):
    together = torch.cat([found[name] for found in ranks])
    torch.testing.assert_close(together, alone[name])


def test_queue_shares_give_the_codes_of_the_whole_queue(ranks, alone):
    together = torch.cat([found["shared_codes"] for found in ranks])
    torch.testing.assert_close(together, alone["shared_codes"])


@pytest.mark.parametrize("kind", [Queue, FrontQueue, Bank])
def test_memories_are_equal_on_all_ranks_and_to_one_process(kind, ranks, alone):
    names = [name for name in alone if name.startswith(kind.__name__ + "_")]
    assert names
    for name in names:
        for found in ranks:
            torch.testing.assert_close(found[name], alone[name])


def test_gathers_keep_the_gradients_they_promise(ranks):
    for rank, found in enumerate(ranks):
        assert found["summed"].tolist() == [[3.0] * 3] * 2  # 1 from rank 0, 2 from rank 1
        assert found["own"].tolist() == [[rank + 1.0] * 3] * 2
        assert found["gathered"][:, 0].tolist() == [1, 1, 2, 2]
        assert not found["gathered"].requires_grad
        assert found["place"].tolist() == [rank, RANKS]
        assert int(found["most"]) == RANKS - 1


def test_one_process_needs_no_group():
    x = torch.ones(2, 2, requires_grad=True)
    assert distributed.world_size() == 1
    assert distributed.gather_with_gradient(x) is x
    assert distributed.gather_own_gradient(x) is x
    assert not distributed.gather(x).requires_grad
