"""One run as it stands: its plan, its steps, memory that does not suffice, and its checkpoint."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from fallow import distributed
from fallow.problems import Problem, out_of_memory
from fallow.train import optimisers, schedules
from fallow.train.checkpoint import before, last_state, save_state
from fallow.train.loader import Stream, VolumeStream, batches
from fallow.train.method import Batch, Loss, Method, Now, Settings
from fallow.train.sharded import checkpoints, divided, load_shards, save_shards, step_of
from fallow.train.streaming import Unpacked, by_shard
from fallow.train.tune import Choice, apply_layout, choices, fastest, remember, remembered
from fallow.train.watch import Watch
from fallow.train.words import TextStream

SAMPLE = 64  # images on which the ways to compute a step are timed


def arranged(batch: dict[str, Batch], device: torch.device) -> Any:
    """The batch on its device; alone when there is one stream, else by name."""
    moved = {name: one.to(device) for name, one in batch.items()}
    return next(iter(moved.values())) if len(moved) == 1 else moved


def rate(settings: Settings, progress: float) -> float:
    """The learning rate at some progress: linear warm-up, then as its schedule falls."""
    peak = schedules.scaled_rate(settings.learning_rate, settings.batch)
    warm = settings.warmup
    if progress < warm:
        return schedules.ramp(progress, peak * settings.start_rate, peak, warm)
    falls = {
        "cosine": schedules.half_cosine,
        "power": schedules.power,
        "inverse": schedules.inverse_power,
        "linear": schedules.straight,
    }[settings.schedule]
    return falls(progress - warm, 1 - warm, peak, peak * settings.final_rate)


def decay(settings: Settings, progress: float) -> float:
    """The weight decay at some progress: constant, or along half a cosine to its final value."""
    final = settings.final_weight_decay
    if final is None:
        return settings.weight_decay
    return schedules.half_cosine(progress, 1.0, settings.weight_decay, final)


def optimiser_of(method: Method) -> torch.optim.Optimizer:
    """The optimiser of the settings, over what can be learnt."""
    s = method.settings
    learnt: Any = [parameter for parameter in method.parameters() if parameter.requires_grad]
    if s.optimiser in ("adamw", "lars", "lars-mocov3"):  # these spare biases and norms
        learnt = optimisers.parameter_groups(method, s.weight_decay)
    if scales := method.rate_scales():
        learnt = optimisers.scaled(learnt, method, scales)
    options: dict[str, Any] = {"momentum": s.momentum}
    if s.optimiser in ("adam", "adamw"):
        options = {"betas": (s.momentum, s.second_momentum)}
    return optimisers.build(
        s.optimiser, learnt, learning_rate=s.learning_rate, weight_decay=s.weight_decay, **options
    )


def _autocast(device: torch.device, choice: Choice) -> Any:
    if choice.precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def _part(batch: Any, part: int, parts: int) -> Any:
    """One micro-batch of a batch (or of each stream's batch)."""
    if parts == 1:
        return batch
    if isinstance(batch, dict):
        return {name: _part(one, part, parts) for name, one in batch.items()}
    rows = slice(part * len(batch) // parts, (part + 1) * len(batch) // parts)
    count = len(batch)
    groups, views = [], []
    for group in batch.groups:
        cut = [view[rows] for view in group.split(count)]
        groups.append(torch.cat(cut))
        views += list(groups[-1].split(rows.stop - rows.start))
    return Batch(
        groups,
        views,
        batch.index[rows],
        batch.labels[rows],
        batch.geometry[:, rows],
        batch.roles,
        [mask[rows] for mask in batch.masks],
        batch.sizes[rows],
        {name: one[rows] for name, one in batch.beside.items()},
    )


def finer(parts: int, rows: int) -> int:
    """The next number of equal parts of a batch, at least twice as many.

    >>> finer(1, 256), finer(1, 9), finer(2, 9)
    (2, 3, 9)
    """
    if parts >= rows:
        raise Problem("not even one image a step fits into memory: lower size, or the encoder")
    return next(k for k in range(min(2 * parts, rows), rows + 1) if rows % k == 0)


def choose(method: Method, plan: Plan, fabric: Fabric, say: Callable[[str], None]) -> Choice:
    """Time forward and backward on a real batch; leaves the method as it was."""
    settings = method.settings
    long = (settings.minutes or 0) >= 60
    options = choices(settings.precision, settings.compile, long, fabric.device)
    if len(options) == 1:
        return options[0]
    # remembered, so that the same command gives the same result on the same machine
    work = settings.model_dump(include={"size", "batch", "accumulate", "precision", "compile"})
    which = (type(method).__name__, method.encoder.name, work, long, plan.world)
    known = remembered(fabric.device, which, options)
    if known is not None:
        say(f"computing in {known}, as timed before on this machine")
        return known
    now = plan.now(0, 0.0)
    with closing(plan.batches(now)) as made:
        whole = arranged(next(made), fabric.device)
    rows = settings.batch // plan.world
    few = max(settings.accumulate, rows // SAMPLE)
    before = {name: value.clone() for name, value in method.state_dict().items()}

    def step(choice: Choice) -> None:
        apply_layout(method, choice)
        method.encoder._compiled_call_impl = None
        if choice.compile:
            method.encoder.compile()
        with _autocast(fabric.device, choice):
            loss = method(_part(whole, 0, few), now)
        loss.total.backward()
        method.zero_grad(set_to_none=True)

    wait = torch.cuda.synchronize if fabric.device.type == "cuda" else (lambda: None)
    while True:
        try:
            best, seconds = fastest(options, step, synchronise=wait)
            break
        except (RuntimeError, MemoryError) as error:
            if plan.world > 1 or not out_of_memory(error):
                raise
        method.zero_grad(set_to_none=True)
        few = finer(few, rows)
    method.encoder._compiled_call_impl = None
    method.load_state_dict(before)
    best = distributed.from_first(best)
    if plan.rank == 0:
        remember(fabric.device, which, best)
    say(f"computing in {best}: the fastest of {len(seconds)} ways on this machine")
    return best


@dataclass
class Session:
    """What changes while a run trains, and the one step that changes it."""

    fabric: Fabric
    method: Method
    wrapped: Any  # the method as the strategy wraps it
    optimiser: Any
    choice: Choice
    seed: int
    folder: Path | None
    say: Callable[[str], None]
    parts: int  # a batch is computed in
    tried: bool = False  # a step of this session went well
    step: int = 0
    elapsed: float = 0.0  # seconds of training over all sessions
    watch: Watch = field(default_factory=Watch)
    model_seconds: float = 0.0

    def gradients(self, batch: Any, now: Now) -> tuple[float, Loss]:
        """Forward and backward, part by part; the mean loss, and the last part's."""
        # every step seeds itself, so no generator state has to be saved
        torch.manual_seed((self.seed * 1_000_003 + now.step) * 8191 + now.rank)
        self.optimiser.zero_grad(set_to_none=True)
        self.method.begin_step(now)
        value, parts = 0.0, self.parts
        for part in range(parts):
            with self.fabric.no_backward_sync(self.wrapped, enabled=part < parts - 1):
                with _autocast(self.fabric.device, self.choice):
                    loss: Loss = self.wrapped(_part(batch, part, parts), now)
                self.fabric.backward(loss.total / parts)
            value += float(loss.total.detach()) / parts
        return value, loss

    def fitted(self, batch: Any, now: Now) -> tuple[float, Loss]:
        """`gradients` of a session's first step, in as many parts as memory asks for.

        What a step needs does not grow, so later steps fit as well.
        """
        before = {name: value.clone() for name, value in self.method.state_dict().items()}
        asked = self.parts
        while True:
            try:
                found = self.gradients(batch, now)
                break
            except (RuntimeError, MemoryError) as error:
                if now.world > 1 or not out_of_memory(error):
                    raise
            self.method.load_state_dict(before)
            self.parts = finer(self.parts, self.method.settings.batch)
        if self.parts > asked:
            self.say(
                f"out of memory: every batch is computed in {self.parts} parts, whose gradients "
                "add up"
            )
        self.tried = True
        return found

    def train(self, batch: Any, now: Now) -> tuple[dict[str, float], str | None]:
        """Forward, backward, step; what to log and a warning if one is due."""
        settings = self.method.settings
        learning = self.method.rate(now, partial(rate, settings))
        for group in self.optimiser.param_groups:
            group["lr"] = learning * group.get("rate_scale", 1.0)
            if group.get("adapt", True):  # biases and norms stay without
                group["weight_decay"] = decay(settings, now.progress)
        start = time.perf_counter()
        value, loss = self.gradients(batch, now) if self.tried else self.fitted(batch, now)
        value = distributed.mean(value)
        if not math.isfinite(value):
            kept = f"the checkpoint in {self.folder} is good" if self.folder else "nothing is saved"
            raise Problem(
                f"the loss became {value} at step {now.step}; {kept}: "
                "lower learning_rate, or set precision to 32"
            )
        self.method.before_step(now)
        if settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.method.parameters(), settings.clip)
        self.optimiser.step()
        self.method.after_step(now)
        self.model_seconds += time.perf_counter() - start
        warning = self.watch.see(loss, value)
        passed = round((now.step + 1) / now.steps_per_epoch, 4)  # epochs, so that curves are smooth
        seen = {"loss": value, "rate": self.optimiser.param_groups[0]["lr"], "epoch": passed}
        seen |= {name: float(part) for name, part in loss.parts.items()}
        seen |= {name: x for name, x in self.watch.means().items() if x is not None}
        self.step += 1
        return seen, warning

    def save(self) -> None:
        if self.folder is None:
            return
        rest = {"elapsed": self.elapsed, "parts": self.parts, "watch": self.watch.state()}
        if divided(self.fabric):
            save_shards(self.folder, self.step, self.method, self.optimiser, rest, self.fabric)
        elif self.fabric.global_rank == 0:
            held = {"method": self.method.state_dict(), "optimiser": self.optimiser.state_dict()}
            save_state(self.folder / "checkpoint.pt", {"step": self.step, **rest, **held})
        self.fabric.barrier()

    def restore(self) -> bool:
        """Take up the folder's last checkpoint, if there is one: whole, or in shards."""
        if self.folder is None:
            return False
        path = self.folder / "checkpoint.pt"
        state, damaged = last_state(path)
        if damaged:
            self.say(damaged)
            self.fabric.barrier()  # every rank has read it
            if self.fabric.global_rank == 0:
                os.replace(before(path), path)
        in_shards = checkpoints(self.folder)
        if in_shards and (state is None or step_of(in_shards[0]) > state["step"]):
            state = load_shards(self.folder, self.method, self.optimiser, self.say)
        elif state is not None and divided(self.fabric):
            raise Problem(
                f"{self.folder} was begun with whole weights: leave out sharded, or choose another "
                "out folder"
            )
        elif state is not None:
            self.method.load_state_dict(state["method"])
            self.optimiser.load_state_dict(state["optimiser"])
        if state is None:
            return False
        self.step, self.elapsed, self.parts = state["step"], state["elapsed"], state["parts"]
        self.watch.restore(state["watch"])
        return True


@dataclass(frozen=True)
class Plan:
    """Which batches a run sees, and how far along its budget it is."""

    method: Method
    streams: dict[str, Stream | VolumeStream | TextStream]
    seed: int
    rank: int
    world: int

    @property
    def count(self) -> int:
        return len(next(iter(self.streams.values())))

    @property
    def steps_per_epoch(self) -> int:
        return max(1, self.count // self.method.settings.batch)

    @property
    def total_steps(self) -> int:
        return math.ceil((self.method.settings.epochs or 0) * self.steps_per_epoch)

    def now(self, step: int, elapsed: float) -> Now:
        minutes = self.method.settings.minutes
        if minutes is None:
            progress = step / self.total_steps
        else:  # all ranks follow the clock of the first
            progress = distributed.from_first(elapsed / (60 * minutes))
        epoch = step // self.steps_per_epoch
        return Now(step, epoch, min(1.0, progress), self.steps_per_epoch, self.rank, self.world)

    def batches(self, now: Now) -> Generator[dict[str, Batch]]:
        """What is left of the epoch at `now`, for this rank."""
        batch = self.method.settings.batch
        pack = next(iter(self.streams.values())).pack
        if isinstance(pack, Unpacked):
            order = by_shard(pack.shards, batch, self.world, seed=self.seed, epoch=now.epoch)
        else:
            order = self.method.compose(now, self.count, batch, self.seed)
        return batches(
            self.streams,
            order,
            epoch=now.epoch,
            first=now.step % self.steps_per_epoch,
            step=now.step,
            rank=self.rank,
            world=self.world,
            seed=self.seed,
            prepare=self.method.prepare,
        )
