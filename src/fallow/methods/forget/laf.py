"""LAF: a model forgets images without any labels (Shen et al., ICLR 2024).

Two small autoencoders learn the model's embeddings, one of all images, one of those to forget.
Then two steps alternate, each with its own Adam: the encoder moves forgotten images away from what
their autoencoder explains (`unlearning`), and kept images back to where they were (`alignment`).
The head is not touched, unless a few labels `repair` it. The model stays in eval mode throughout:
forgotten images must not enter the running statistics of its norms.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fallow.losses.forgetting import alignment, evidence, unexplained, unlearning
from fallow.problems import Problem
from fallow.train.loader import other_rows

EVERY = 10  # steps between lines of the history
MANY = 0.2  # share of the images to forget from which the first autoencoder sees kept ones only


class Settings(BaseModel):
    """What LAF can be told; defaults are for a model of a few thousand small images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(400, gt=0, description="alternations of the two updates")
    epochs: float | None = Field(
        None, gt=0, description="instead of steps: passes over the images to forget, as published"
    )
    batch: int = Field(32, gt=0, description="kept and forgotten images a step, as many of each")
    unlearning_rate: float = Field(4e-4, ge=0, description="of the first update; 0 leaves it out")
    alignment_rate: float = Field(
        2e-3, ge=0, description="of the second update, 4 to 5 times the first; 0 leaves it out"
    )
    temperature: float = Field(
        5.0, gt=0, description="lower pushes forgotten images away harder; 20 in most of the paper"
    )
    latent: int | None = Field(
        None, gt=0, description="size of the autoencoders' code; none: a 16th of the embedding"
    )
    decoder: Literal["sigmoid", "linear"] = Field(
        "sigmoid", description="linear can reconstruct negative numbers too: use lower rates"
    )
    explained: Literal["auto", "all", "kept"] = Field(
        "auto", description="what the first autoencoder learns; auto: kept from a fifth on"
    )
    autoencoder_epochs: int = Field(10, gt=0)
    autoencoder_steps: int = Field(1000, ge=0, description="at least, however few the images")
    autoencoder_rate: float = Field(1e-3, gt=0)
    divergence: float = Field(0.025, ge=0, description="weight of the codes' distance to noise")
    repair: int = Field(0, ge=0, description="labelled kept images of each class for the head")
    repair_epochs: int = Field(20, gt=0)
    repair_rate: float = Field(1e-3, gt=0)


_AS_PUBLISHED = {
    "alignment_rate": 1e-4,
    "unlearning_rate": 5e-5,
    "epochs": 20,
    "latent": 8,
    "temperature": 20.0,
    "autoencoder_steps": 0,
    "explained": "all",
}
_RESNET = {"alignment_rate": 5e-5, "unlearning_rate": 1e-5, "epochs": 40, "latent": 16}
PRESETS: dict[str, dict[str, Any]] = {
    # ResNet-18 on CIFAR-10: a class, or images of several classes
    "paper": _AS_PUBLISHED | _RESNET,
    "paper-random": _AS_PUBLISHED | _RESNET | {"alignment_rate": 4e-5},
    # the small network on digits and clothing
    "paper-small": _AS_PUBLISHED,
    "paper-small-random": _AS_PUBLISHED | {"temperature": 5.0},
}


class Model(Protocol):
    """What can be edited: a module with an embedding on the way to its scores."""

    def embed(self, x: Tensor) -> Tensor: ...  # B 3 S S -> B D
    def __call__(self, x: Tensor) -> Tensor: ...  # B 3 S S -> B C
    def parameters(self) -> Any: ...
    def eval(self) -> Any: ...


ModelT = TypeVar("ModelT", bound=nn.Module)


@dataclass(frozen=True)
class Pool:
    """Images by their place: how many, and the model's input for some of them."""

    count: int
    look: Callable[[np.ndarray], Tensor]

    def embeddings(self, model: Any, batch: int = 256) -> Tensor:
        """What the model makes of all of them (N, D), without gradients."""
        places = np.arange(self.count)
        with torch.no_grad():
            parts = [
                model.embed(self.look(places[start : start + batch])).float()
                for start in range(0, self.count, batch)
            ]
        return torch.cat(parts)


@dataclass
class Edited:
    """The model that forgot, and how it came about."""

    model: Any
    steps: int
    history: list[dict[str, float]] = field(default_factory=list)
    explained: str = "all"
    errors: tuple[float, float] = (0.0, 0.0)  # of both autoencoders before the first step


# --- the autoencoders ---


class Autoencoder(nn.Module):
    """A variational autoencoder of embeddings: two narrower layers, a code, and back.

    >>> vae = Autoencoder(256, 16)
    >>> vae(torch.zeros(3, 256), torch.zeros(3, 16))[0].shape
    torch.Size([3, 256])
    """

    def __init__(
        self,
        width: int,
        latent: int,
        decoder: str = "sigmoid",
        hidden: tuple[int, int] | None = None,  # none: a half and an eighth
    ) -> None:
        super().__init__()
        wide, narrow = hidden or (max(2, width // 2), max(16, width // 8))
        self.latent, self.decoder = latent, decoder
        self.down = nn.ModuleList([nn.Linear(width, wide), nn.Linear(wide, narrow)])
        self.mean, self.spread = nn.Linear(narrow, latent), nn.Linear(narrow, latent)
        self.up = nn.ModuleList(
            [nn.Linear(latent, narrow), nn.Linear(narrow, wide), nn.Linear(wide, width)]
        )

    def encode(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and spread of the code."""  # each B Z
        x = embedding
        for layer in self.down:
            x = F.relu(layer(x))
        return self.mean(x), (0.5 * self.spread(x)).exp()

    def decode(self, code: Tensor) -> Tensor:
        x = code
        for layer in self.up[:2]:
            x = F.relu(layer(x))
        x = self.up[2](x)
        return x.sigmoid() if self.decoder == "sigmoid" else x

    def forward(self, embedding: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Reconstruction, code, mean and spread."""
        mean, spread = self.encode(embedding)
        code = mean + spread * noise
        return self.decode(code), code, mean, spread


class Explainer:
    """A fitted, frozen autoencoder that still draws its codes."""

    def __init__(self, vae: Autoencoder, draw: torch.Generator) -> None:
        self.vae = vae.eval().requires_grad_(False)
        self.draw = draw

    def __call__(self, embedding: Tensor) -> Tensor:
        return self.vae(embedding, noise(len(embedding), self.vae.latent, self.draw, embedding))[0]


def noise(rows: int, columns: int, draw: torch.Generator, like: Tensor) -> Tensor:
    """Normal noise from a generator of the processor, on the device of another tensor."""
    return torch.randn(rows, columns, generator=draw).to(like.device)


def explain(embeddings: Tensor, settings: Settings, draw: torch.Generator) -> Explainer:
    """An autoencoder that learnt these embeddings (N, D)."""
    count, width = embeddings.shape
    latent = settings.latent or max(2, width // 16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=draw)))
        vae = Autoencoder(width, latent, settings.decoder).to(embeddings.device)
    adam = torch.optim.Adam(vae.parameters(), settings.autoencoder_rate)
    batch = min(settings.batch, count)
    epochs = settings.autoencoder_epochs
    epochs = max(epochs, math.ceil(settings.autoencoder_steps / math.ceil(count / batch)))
    for _ in range(epochs):
        for rows in torch.randperm(count, generator=draw).split(batch):
            seen = embeddings[rows.to(embeddings.device)]
            back, _, mean, spread = vae(seen, noise(len(seen), latent, draw, seen))
            loss = evidence(seen, back, mean, spread, settings.divergence)
            adam.zero_grad()
            loss.backward()
            adam.step()
    return Explainer(vae, draw)


# --- the two updates ---


def erase(
    model: ModelT, kept: Pool, forgotten: Pool, settings: Settings, *, seed: int = 0
) -> Edited:
    """A copy of the model that no longer knows the forgotten images; the model is left alone."""
    edited: Any = copy.deepcopy(model).eval()
    learnt = [parameter for parameter in edited.parameters() if parameter.is_floating_point()]
    for parameter in learnt:  # the copy is ours, frozen or not
        parameter.requires_grad_()
    draw = torch.Generator().manual_seed(seed)
    before = [pool.embeddings(edited) for pool in (kept, forgotten)]
    share = forgotten.count / (kept.count + forgotten.count)
    explained = settings.explained
    if explained == "auto":
        explained = "kept" if share > MANY else "all"
    known = explain(torch.cat(before) if explained == "all" else before[0], settings, draw)
    doomed = explain(before[1], settings, draw)
    with torch.no_grad():
        errors = [
            float(unexplained(how(rows), rows).mean())
            for how, rows in zip((known, doomed), before, strict=True)
        ]
    found = Edited(edited, _steps(settings, forgotten.count), [], explained, (errors[0], errors[1]))
    first, second = (
        torch.optim.Adam(learnt, rate)
        for rate in (settings.unlearning_rate, settings.alignment_rate)
    )
    sizes = [min(settings.batch, pool.count) for pool in (kept, forgotten)]
    for step in range(found.steps):
        places = [
            other_rows(pool.count, size, step, 2 * seed + which)[0]
            for which, (pool, size) in enumerate(zip((kept, forgotten), sizes, strict=True))
        ]
        seen = torch.cat([kept.look(places[0]), forgotten.look(places[1])])
        line = {"step": float(step)}
        if settings.unlearning_rate:
            stay, leave = edited.embed(seen).split(sizes)
            backs = known(stay), doomed(leave)
            _update(first, unlearning(backs[0], stay, backs[1], leave), "unlearning", line)
            with torch.no_grad():
                line["unexplained_kept"] = float(unexplained(backs[0], stay).mean())
                line["unexplained_forgotten"] = float(unexplained(backs[1], leave).mean())
        if settings.alignment_rate:
            stay, leave = edited.embed(seen).split(sizes)
            where = [rows[torch.from_numpy(p)] for rows, p in zip(before, places, strict=True)]
            loss = alignment(stay, where[0], leave, where[1], settings.temperature)
            _update(second, loss, "alignment", line)
        if step % EVERY == 0 or step == found.steps - 1:
            found.history.append(line)
    for parameter in learnt:
        parameter.grad = None
    return found


def _steps(settings: Settings, forgotten: int) -> int:
    if settings.epochs is None:
        return settings.steps
    return max(1, math.ceil(settings.epochs * forgotten / settings.batch))


def _update(adam: torch.optim.Adam, loss: Tensor, name: str, line: dict[str, float]) -> None:
    line[name] = float(loss.detach())
    if not math.isfinite(line[name]):
        raise Problem(
            f"the {name} loss became {line[name]} at step {line['step']:.0f}: lower {name}_rate"
        )
    adam.zero_grad()
    loss.backward()
    adam.step()


# --- repair ---


def head_of(model: Any, x: Tensor) -> list[nn.Parameter]:
    """The parameters that a model's embedding does not depend on, for these inputs.

    >>> from fallow.encoders import Preprocessing
    >>> from fallow.encoders.classifier import Tapped
    >>> plain = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.Linear(5, 2))
    >>> model = Tapped(plain, "1", Preprocessing(4, 4), ["cat", "dog"])
    >>> [tuple(parameter.shape) for parameter in head_of(model, torch.zeros(1, 3, 4, 4))]
    [(2, 5), (2,)]
    """
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    slopes = torch.autograd.grad(model.embed(x).sum(), learnt, allow_unused=True)
    return [p for p, slope in zip(learnt, slopes, strict=True) if slope is None]


def repair(model: Any, pool: Pool, codes: np.ndarray, settings: Settings, *, seed: int = 0) -> None:
    """Teach the head alone what these few images show (LAF+R); changes the model."""
    head = head_of(model, pool.look(np.arange(1)))
    if not head:
        raise Problem("nothing follows the embedding in this model: there is no head to repair")
    adam = torch.optim.Adam(head, settings.repair_rate)
    draw = torch.Generator().manual_seed(seed)
    truth = torch.from_numpy(codes)
    for _ in range(settings.repair_epochs):
        for places in torch.randperm(pool.count, generator=draw).split(settings.batch):
            scores = model(pool.look(places.numpy()))
            slopes = torch.autograd.grad(
                F.cross_entropy(scores, truth[places].to(scores.device)), head
            )
            for parameter, slope in zip(head, slopes, strict=True):
                parameter.grad = slope
            adam.step()
    for parameter in head:
        parameter.grad = None


def few_of_each(codes: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Places of at most `count` of every class, drawn by seed; unlabelled ones (-1) never.

    >>> few_of_each(np.array([0, 0, 1, -1]), 1).tolist() in ([0, 2], [1, 2])
    True
    """
    random = np.random.default_rng(seed)
    known = np.unique(codes[codes >= 0])
    drawn = [random.permutation(np.flatnonzero(codes == code))[:count] for code in known]
    return np.sort(np.concatenate(drawn)) if drawn else np.zeros(0, np.int64)
