"""The one training loop: every trained method runs here, on one device or several ranks."""

from __future__ import annotations

import copy
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning_fabric import Fabric

from fallow import distributed
from fallow.files import owned, write_json
from fallow.images.captions import Texts, captions, captions_fingerprint, holds_texts
from fallow.images.masks import masked_fingerprint, packed_masks
from fallow.problems import Problem
from fallow.train.batchnorm import share_batch_norm
from fallow.train.checkpoint import Journal
from fallow.train.loader import Stream, VolumeStream, ahead
from fallow.train.method import Facts, Method, Now, Settings
from fallow.train.session import Plan, Session, arranged, choose, optimiser_of
from fallow.train.sharded import divided, refuse_undividable, strategy, whole_state
from fallow.train.shown import save_views
from fallow.train.streaming import Unpacked, fits
from fallow.train.tune import Choice, apply_layout
from fallow.train.words import TextStream

if TYPE_CHECKING:
    from fallow.encoders import Encoder
    from fallow.images import Images
    from fallow.views import Recipe


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


def source_side(recipe: Recipe) -> int:
    """Short side at which images are packed for a recipe: room to crop, no more."""
    if recipe.side is not None:
        return recipe.side
    size = max(view.size for view in recipe.views)
    return 2 * size if size <= 64 else round(size * 8 / 7)


def launch(
    devices: int | str = "auto", accelerator: str = "auto", *, sharded: bool = False
) -> Fabric:
    """Fabric for this process; under torchrun, one of its ranks, with a share of the weights."""
    world = int(os.environ.get("WORLD_SIZE", 1))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    many = world > 1
    # it recommends a switch for all of a program; auto tries the precisions itself
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    if not many and not torch.cuda.is_available() and devices == "auto":
        devices = 1
    fabric = Fabric(
        accelerator=accelerator,
        devices=local if many else devices,
        num_nodes=max(1, world // local),
        strategy="auto" if not many else strategy(world) if sharded else "ddp",
    )
    fabric.launch()
    return fabric


@contextmanager
def _repeatable(device: torch.device) -> Iterator[None]:
    """On a GPU, let the same steps give the same bits; a processor does so anyway."""
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when torch first multiplies
    before = torch.get_deterministic_debug_mode()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    attention = torch.backends.cuda.mem_efficient_sdp_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    memory.fill_uninitialized_memory = False  # nothing here reads such memory
    torch.backends.cuda.enable_mem_efficient_sdp(False)  # its gradients are not the same twice
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
        memory.fill_uninitialized_memory = fill
        torch.backends.cuda.enable_mem_efficient_sdp(attention)


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], int | None]]:
    """Turn SIGINT and SIGTERM into a question the loop can ask between steps."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    wanted = (signal.SIGINT, signal.SIGTERM)
    before = {which: signal.signal(which, lambda s, _: seen.append(s)) for which in wanted}
    try:
        yield lambda: seen[0] if seen else None
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def _streams(
    method: Method,
    images: Mapping[str, Images],
    seed: int,
    fabric: Fabric,
    unpacked: set[str],
    say: Callable[[str], None],
) -> dict[str, Stream | VolumeStream | TextStream]:
    """A packed stream for each recipe; the first rank decodes, the others map what it wrote.

    What no disk has room for is named in `unpacked`, and decoded whenever it is wanted.
    """
    recipe = method.recipe()
    recipes = recipe if isinstance(recipe, Mapping) else dict.fromkeys(images, recipe)
    missing = sorted(set(recipes) - set(images))
    if missing:
        raise Problem(f"this method also needs images called {', '.join(missing)}")
    streams: dict[str, Stream | VolumeStream | TextStream] = {}
    for name, published in recipes.items():
        source: Any = images[name]
        if getattr(source, "dimensions", 2) == 3:  # volumes are in memory, and cut where they are
            streams[name] = VolumeStream(source, published, seed)  # type: ignore[arg-type]
            continue
        if isinstance(source, Texts):
            streams[name] = TextStream(source, published, seed)  # type: ignore[arg-type]
            continue
        # the pixels the encoder will meet later are normalised its way
        mean, std = method.encoder.mean, method.encoder.std
        one = replace(published, mean=mean, std=std)  # type: ignore[arg-type]
        side = source_side(one)
        if name in unpacked or not distributed.from_first(fits(images[name], side)):
            unpacked.add(name)
            say(f"{images[name].name} does not fit the disk: it is decoded anew in every epoch")
            pack: Any = Unpacked(images[name], side)
        else:
            with fabric.rank_zero_first():
                pack = images[name].pack(side=side)
        if "label" in images[name].columns:
            labels = images[name].labels[0]
        else:
            labels = np.full(len(images[name]), -1, np.int64)
        masked = method.wants_masks and "mask" in images[name].columns
        masks = packed_masks(images[name], pack) if masked else None
        beside = method.beside(name, images[name], pack, seed)
        streams[name] = Stream(pack, one, labels, seed, masks, beside)
    return streams


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
    facts = _facts(leader, tuple(named))
    if kind.reads:
        facts = replace(facts, texts=_texts(named, kind.reads))
    method = kind(encoder, settings, facts).to(fabric.device)
    if world > 1:
        share_batch_norm(method)
    identity = {
        "method": kind.__name__,
        "encoder": encoder.name,
        "images": {name: _fingerprint(method, one) for name, one in named.items()},
        "seed": seed,
        "settings": settings.model_dump(),
    }
    saved = _open_folder(folder, identity, fabric) if folder else {}
    unpacked = set(saved.get("unpacked", ()))
    streams = _streams(method, named, seed, fabric, unpacked, say)
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
        with _repeatable(fabric.device):
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
        bar = _bar(settings, plan.total_steps) if progress_bar and rank == 0 else nullcontext()
        with _repeatable(fabric.device), _stop_on_signal() as stopped, bar as show:
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


def _fingerprint(method: Method, images: Any) -> str:
    """What a stream is known by: its images, and their masks where these are learnt from."""
    pictures = hasattr(images, "table")  # volumes speak for themselves
    if pictures and method.wants_masks and "mask" in images.columns:
        return masked_fingerprint(images)
    if pictures and method.reads:
        return captions_fingerprint(images, method.reads)
    return images.fingerprint


def _facts(images: Images, streams: tuple[str, ...]) -> Facts:
    side = int(np.median(np.minimum(images.column("width"), images.column("height"))))
    names = tuple(images.labels[1]) if "label" in images.columns else ()
    dimensions = getattr(images, "dimensions", 2)
    return Facts(len(images), side, len(names), names, dimensions, streams)


def _texts(named: Mapping[str, Any], columns: Sequence[str]) -> tuple[str, ...]:
    """All texts of all streams, each once, in order."""
    found: dict[str, None] = {}
    for images in named.values():
        if isinstance(images, Texts):
            found |= dict.fromkeys(images.texts)
            continue
        for column in columns:
            if column in images.columns and holds_texts(images, column):
                found |= dict.fromkeys(t for some in captions(images, column) for t in some)
    return tuple(found)


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


@contextmanager
def _bar(settings: Settings, total_steps: int) -> Iterator[Callable[..., None]]:
    """A progress line with images/s and time left."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    start = time.perf_counter()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("starting", total=1.0)
        seen = 0

        def show(step: int, elapsed: float, loss: float, batch: int) -> None:
            nonlocal seen
            seen += batch
            spent = time.perf_counter() - start
            if settings.minutes is not None:
                share = min(1.0, elapsed / (60 * settings.minutes))
            else:
                share = step / max(1, total_steps)
            left = elapsed * (1 - share) / max(share, 1e-6)
            text = f"loss {loss:.3f}  {seen / spent:.0f} images/s  {left / 60:.1f} min left"
            progress.update(task, completed=share, description=text)

        yield show
