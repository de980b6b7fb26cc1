"""Weights, gradients and optimiser states divided among ranks: FSDP2, and checkpoints in shards.

A checkpoint is a folder: tensors as safetensors, of each rank its share, and the rest as plain
values. Another number of ranks puts them together again; so does a run that is not divided.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed.checkpoint as shards
from lightning_fabric import Fabric
from lightning_fabric.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.fsdp import fully_shard
from torch.utils import _pytree as pytree

from fallow.problems import Problem
from fallow.train.checkpoint import load_state, save_state
from fallow.train.method import Loss, Method

REST = "rest.pt"  # what is no tensor
KEPT = 2  # checkpoints, the last one and the one before
FLAT = StateDictOptions(flatten_optimizer_state_dict=True)


def strategy(ranks: int) -> ModelParallelStrategy:
    """What fabric needs to know to divide a method among so many ranks."""
    if not hasattr(shards, "HuggingFaceStorageWriter"):
        raise Problem("sharded needs a newer torch: pip install --upgrade torch")
    return ModelParallelStrategy(_divide, data_parallel_size=ranks, tensor_parallel_size=1)


def divided(fabric: Fabric) -> bool:
    """Whether ranks hold a share of the weights each."""
    return isinstance(fabric.strategy, ModelParallelStrategy)


def refuse_undividable(method: Method) -> None:
    """A sentence for what cannot be divided."""
    kind = type(method)
    own = (kind.before_epoch, kind.before_training)
    if own != (Method.before_epoch, Method.before_training):
        raise Problem(
            f"{kind.__name__} looks at all images between its steps, for which its weights must be "
            "whole: leave out sharded"
        )
    scalars = [name for name, one in method.named_parameters() if one.dim() == 0]
    if scalars:
        raise Problem(f"{scalars[0]} is a single number that cannot be divided: leave out sharded")


def _divide(method: Any, mesh: Any) -> Any:
    """Blocks first, the innermost before those around them; then what is left."""
    if Loss not in pytree.SUPPORTED_NODES:  # or nobody sees that a step's loss needs gradients
        pytree.register_dataclass(Loss)
    for weights in method.parameters():  # shares are rows, whatever the layout was
        weights.data = weights.data.contiguous()
    ranks = mesh["data_parallel"]
    for block in reversed(list(_blocks(method))):
        fully_shard(block, mesh=ranks)
    return fully_shard(method, mesh=ranks)


def _blocks(method: nn.Module) -> Iterator[nn.Module]:
    """Members of lists and sequences that are made of parts themselves and have weights.

    >>> block = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> len(list(_blocks(nn.ModuleList([block, block, nn.Linear(2, 2)]))))
    1
    """
    for around in method.modules():
        if isinstance(around, nn.ModuleList | nn.Sequential):
            for one in around.children():
                if any(True for _ in one.children()) and any(True for _ in one.parameters()):
                    yield one


def whole_state(method: nn.Module) -> dict[str, Tensor]:
    """Everything a divided method holds, put together, on every rank."""
    options = StateDictOptions(full_state_dict=True)
    found: dict[str, Any] = get_model_state_dict(method, options=options)
    return found


def save_shards(
    folder: Path, step: int, method: nn.Module, optimiser: Any, rest: dict[str, Any], fabric: Fabric
) -> None:
    """A checkpoint of all ranks: there whole or not at all, beside the one before it."""
    path = folder / f"checkpoint-{step:07d}"
    if path.exists():
        return
    making = folder / f".{path.name}.tmp"
    first = fabric.global_rank == 0
    if first:
        shutil.rmtree(making, ignore_errors=True)
    fabric.barrier()
    tensors, plain = _tensors(method, optimiser)
    with _quietly():
        writer = shards.HuggingFaceStorageWriter(str(making), save_distributed=True)
        shards.save(tensors, storage_writer=writer)
    if first:
        sizes = {file.name: file.stat().st_size for file in making.iterdir()}
        save_state(making / REST, {**rest, "step": step, "plain": plain, "sizes": sizes})
        for file in making.iterdir():
            _to_disk(file)
        os.replace(making, path)
        for old in checkpoints(folder)[KEPT:]:
            shutil.rmtree(old)
    fabric.barrier()


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints in shards, the last one first."""
    found = [path for path in folder.glob("checkpoint-*") if path.is_dir()]
    return sorted((path for path in found if path.name[11:].isdigit()), reverse=True)


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint in shards was saved.

    >>> step_of(Path("run/checkpoint-0000012"))
    12
    """
    return int(checkpoint.name[11:])


def load_shards(
    folder: Path, method: nn.Module, optimiser: Any, say: Callable[[str], None]
) -> dict[str, Any] | None:
    """Take up the last checkpoint that is whole; what beside tensors was saved with it."""
    found = checkpoints(folder)
    for path in found:
        try:
            rest = load_state(path / REST)
            if any((path / name).stat().st_size != size for name, size in rest["sizes"].items()):
                raise OSError("a share is cut off")
            tensors, _ = _tensors(method, optimiser)
            with _quietly():
                reader = shards.HuggingFaceStorageReader(str(path))
                shards.load(tensors, storage_reader=reader)
        except (Exception, shards.CheckpointException) as error:  # no common ancestor but one
            say(f"{path} is damaged ({type(error).__name__}): going on from the one before")
            continue
        _put(method, optimiser, tensors, rest["plain"])
        return rest
    if found:
        raise Problem(f"no checkpoint in {folder} is whole: choose another out folder")
    return None


def _tensors(method: nn.Module, optimiser: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What is held, by name: this rank's share of tensors, and the optimiser's plain values."""
    weights, states = get_state_dict(method, _plain(optimiser), options=FLAT)
    held: dict[str, Any] = {f"method.{name}": value for name, value in weights.items()}
    held |= {f"optimiser.{name}": value for name, value in states.items()}
    tensors = {name: value for name, value in held.items() if isinstance(value, Tensor)}
    return tensors, {name: value for name, value in held.items() if name not in tensors}


def _put(
    method: nn.Module, optimiser: Any, tensors: dict[str, Tensor], plain: dict[str, Any]
) -> None:
    def under(start: str) -> dict[str, Any]:
        both = {**plain, **tensors}
        return {key.removeprefix(start): one for key, one in both.items() if key.startswith(start)}

    set_state_dict(
        method,
        _plain(optimiser),
        model_state_dict=under("method."),
        optim_state_dict=under("optimiser."),
        options=FLAT,
    )


def _plain(optimiser: Any) -> Any:
    """The optimiser that fabric wraps."""
    return getattr(optimiser, "optimizer", optimiser)


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _quietly() -> Iterator[None]:
    """Torch says that there is one process, which everybody knows."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield
