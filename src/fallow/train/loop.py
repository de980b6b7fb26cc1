"""The one training loop: every trained method runs here, on one device or several ranks."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric import Fabric

from fallow import distributed
from fallow.files import owned, write_json
from fallow.problems import Problem
from fallow.train.batchnorm import share_batch_norm
from fallow.train.checkpoint import Journal
from fallow.train.loader import ahead
from fallow.train.method import Method, Now, Settings
from fallow.train.process import launch, progress_line, repeatable, stop_on_signal
from fallow.train.session import Plan, Session, arranged, choose, optimiser_of
from fallow.train.sharded import divided, refuse_undividable, whole_state
from fallow.train.shown import save_views
from fallow.train.streams import all_texts, facts_of, known_by, streams_of
from fallow.train.tune import Choice, apply_layout

if TYPE_CHECKING:
    from fallow.encoders import Encoder
    from fallow.images import Images


@dataclass
class Run:
    """A finished (or resumed) training run."""

    method: Method
    settings: Settings
    folder: Path | None
    choice: Choice
    steps: int
    seconds: float  # training time over all sessions of the run
    history: list[dict[str, float]]
    warnings: list[str]
    notes: list[str]
    timing: dict[str, float] = field(default_factory=dict)

    @property
    def encoder(self) -> Encoder:
        return self.method.encoder


class Interrupted(KeyboardInterrupt):
    """Training was stopped from outside after its state was saved."""


def fit(
    kind: type[Method],
    images: Images | Mapping[str, Images],
    *,
    encoder: Encoder,
    settings: Settings,
    out: str | os.PathLike[str] | None = None,
    seed: int = 0,
    fabric: Fabric | None = None,
    each_epoch: Callable[[Method, Now], dict[str, float] | None] | None = None,
    tell: Callable[[str], None] = lambda line: None,
    about: Mapping[str, Any] | None = None,
    progress_bar: bool = False,
) -> Run:
    """Train `kind` on images; with `out`, a killed run goes on exactly where it was saved.

    `each_epoch` is called after every epoch and what it returns is logged; `tell` gets one line
    for each thing worth knowing; `about` is written into the run's `run.json`.
    """
    fabric = fabric or launch()
    with owned(out) if out is not None and fabric.global_rank == 0 else nullcontext():
        return _fit(
            kind,
            images,
            encoder,
            settings,
            out,
            seed,
            fabric,
            each_epoch,
            tell,
            about,
            progress_bar,
        )


def _fit(
    kind: type[Method],
    images: Images | Mapping[str, Images],
    encoder: Encoder,
    settings: Settings,
    out: str | os.PathLike[str] | None,
    seed: int,
    fabric: Fabric,
    each_epoch: Callable[[Method, Now], dict[str, float] | None] | None,
    tell: Callable[[str], None],
    about: Mapping[str, Any] | None,
    progress_bar: bool,
) -> Run:
    rank, world = fabric.global_rank, fabric.world_size
    named = dict(images) if isinstance(images, Mapping) else {"images": images}
    leader = next(iter(named.values()))
    folder = Path(out) if out is not None else None
    notes: list[str] = []

    def say(line: str) -> None:
        notes.append(line)
        if rank == 0:
            tell(line)

    settings = _fitting(settings, leader, world, say)
    torch.manual_seed(seed)
    facts = facts_of(leader, tuple(named))
    if kind.reads:
        facts = replace(facts, texts=all_texts(named, kind.reads))
    method = kind(encoder, settings, facts).to(fabric.device)
    if world > 1:
        share_batch_norm(method)
    identity = {
        "method": kind.__name__,
        "encoder": encoder.name,
        "images": {name: known_by(method, one) for name, one in named.items()},
        "seed": seed,
        "settings": settings.model_dump(),
    }
    saved = _open_folder(folder, identity, fabric) if folder else {}
    unpacked = set(saved.get("unpacked", ()))
    streams = streams_of(method, named, seed, fabric, unpacked, say)
    plan = Plan(method, streams, seed, rank, world)
    method.meet(named, {name: stream.pack for name, stream in plan.streams.items()})  # type: ignore[misc]
    if plan.count < settings.batch:
        raise Problem(
            f"only {plan.count} of {len(leader)} images can be decoded, fewer than a batch of "
            f"{settings.batch}: lower the batch"
        )
    method.train()
    if "choice" in saved:
        choice = Choice(**saved["choice"])
    else:
        with repeatable(fabric.device):
            choice = choose(method, plan, fabric, say)
        saved |= {"choice": choice.state(), "about": dict(about or {}), "world": world}
        saved["unpacked"] = sorted(unpacked)
        if folder and rank == 0:
            write_json(folder / "run.json", {**identity, **saved})
    if saved["world"] != world:
        say(f"{_ranks(world)} go on with what {_ranks(saved['world'])} began")
    apply_layout(method, choice)
    if choice.compile:
        encoder.compile()
    whole = method
    if divided(fabric):
        refuse_undividable(method)
        whole = copy.deepcopy(method)
    wrapped = fabric.setup_module(method)
    optimiser = fabric.setup_optimizers(optimiser_of(method))
    session = Session(
        fabric, method, wrapped, optimiser, choice, seed, folder, say, settings.accumulate
    )
    if session.restore():
        say(f"resuming at step {session.step}")
    before = encoder.provenance.get("weights", "unknown")
    method.encoder.provenance = encoder.provenance | {
        "weights": f"{kind.__name__} on {leader.name}; before: {before}"
    }
    journal = Journal(folder if rank == 0 else None, session.step)
    timing = {"waiting": 0.0, "model": 0.0, "total": 0.0}
    if not saved.get("finished"):
        shown = progress_bar and rank == 0
        bar = progress_line(settings, plan.total_steps) if shown else nullcontext()
        with repeatable(fabric.device), stop_on_signal() as stopped, bar as show:
            _train(session, plan, leader, journal, timing, stopped, each_epoch, say, show)
        session.save()
        if whole is not method:
            whole.load_state_dict(whole_state(method))
            whole.encoder.provenance = method.encoder.provenance
        if folder and rank == 0:
            from fallow.encoders import save as save_encoder

            save_encoder(whole.encoder, folder / "encoder")
            whole.save(folder)
            saved |= {
                "finished": True,
                "steps": session.step,
                "seconds": round(session.elapsed, 2),
                "notes": notes,
                "warnings": session.watch.warnings,
            }
            write_json(folder / "run.json", {**identity, **saved})
    journal.close()
    fabric.barrier()
    whole.eval()
    return Run(
        whole,
        settings,
        folder,
        choice,
        session.step,
        session.elapsed,
        journal.history,
        session.watch.warnings,
        notes,
        timing,
    )


def _train(
    session: Session,
    plan: Plan,
    images: Images,
    journal: Journal,
    timing: dict[str, float],
    stopped: Callable[[], int | None],
    each_epoch: Callable[[Method, Now], dict[str, float] | None] | None,
    say: Callable[[str], None],
    show: Callable[..., None] | None,
) -> None:
    """Step until the budget is spent."""
    method, settings = session.method, session.method.settings
    begun, before, last_save = time.perf_counter(), session.elapsed, time.perf_counter()
    first_step = session.step
    if first_step == 0:
        leader: Any = next(iter(plan.streams.values()))
        method.before_training(leader.pack, plan.seed)
    while (now := plan.now(session.step, session.elapsed)).progress < 1.0:
        if now.step % plan.steps_per_epoch == 0:
            method.before_epoch(now, images)
        with closing(ahead(lambda now=now: plan.batches(now))) as made:  # type: ignore[misc]
            mark = time.perf_counter()
            for batch in made:
                timing["waiting"] += time.perf_counter() - mark
                now = plan.now(session.step, session.elapsed)
                if now.progress >= 1.0:
                    break
                seen, warning = session.train(arranged(batch, session.fabric.device), now)
                session.elapsed = before + time.perf_counter() - begun
                if warning:
                    say(f"warning: {warning}")
                if session.folder and now.rank == 0 and session.step == first_step + 1:
                    save_views(session.folder, method, batch)
                seen["progress"] = now.progress  # where the step began
                done = (session.step - first_step) * settings.batch
                seen["images_per_second"] = done / (session.elapsed - before)
                journal.write(session.step, seen, last=session.step == plan.total_steps)
                if show is not None:
                    show(session.step, session.elapsed, seen["loss"], settings.batch)
                due = time.perf_counter() - last_save >= 60 * settings.save_minutes
                which, due = distributed.from_first((stopped(), due))
                if which is not None or due:
                    session.save()
                    last_save = time.perf_counter()
                if which is not None:
                    where = f", saved in {session.folder}" if session.folder else ""
                    say(f"stopped at step {session.step}{where}")
                    raise Interrupted
                mark = time.perf_counter()
        if session.step % plan.steps_per_epoch == 0 and each_epoch is not None:
            journal.add(session.step, each_epoch(method, now) or {})
            method.train()
    timing["total"] = time.perf_counter() - begun
    timing["model"] = session.model_seconds


def _fitting(
    settings: Settings, images: Images, world: int, say: Callable[[str], None]
) -> Settings:
    """Settings with a budget, and a batch that the images, ranks and parts can share."""
    if len(images) < 2:
        raise Problem(f"training needs at least 2 images; {images.name} has {len(images)}")
    changes: dict[str, Any] = {}
    if settings.epochs is None and settings.minutes is None:
        changes["epochs"] = 100.0
    shares = world * settings.accumulate
    batch = min(settings.batch, len(images)) // shares * shares
    if batch < 1:
        raise Problem(
            f"a batch of {min(settings.batch, len(images))} images cannot be cut into {shares} "
            "parts: raise batch, or lower accumulate or the number of ranks"
        )
    if batch != settings.batch:
        say(f"batch {batch} instead of {settings.batch}: there are {len(images)} images")
        changes["batch"] = batch
    return settings.model_copy(update=changes)


def _open_folder(folder: Path, identity: dict[str, Any], fabric: Fabric) -> dict[str, Any]:
    """What an earlier session left in the run's folder, if it is the same run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(f"cannot write to {folder}: {error.strerror}") from None
    fabric.barrier()
    path = folder / "run.json"
    if not path.exists():
        return {}
    saved = json.loads(path.read_text())
    asked = json.loads(json.dumps(identity, default=str))
    changed = [key for key in asked if saved.get(key) != asked[key]]
    if changed:
        raise Problem(
            f"{folder} holds another run (its {', '.join(changed)} differ): choose another out "
            "folder, or repeat the command that began it"
        )
    return {key: value for key, value in saved.items() if key not in asked}


def _ranks(ranks: int) -> str:
    return f"{ranks} rank{'s' if ranks > 1 else ''}"
