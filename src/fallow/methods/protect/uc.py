"""UC: unlearnable clusters, for photos whose later labels nobody knows (Zhang et al., CVPR 2023).

Images are clustered in a frozen encoder's space. Every cluster gets one small pattern, made by a
generator from fixed noise, that carries images to the centre of another cluster: what the members
of a cluster have in common is then the pattern, and a learner takes it for their content.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from fallow.encoders import encoder
from fallow.encoders.generator import Activation, Generator, Normed
from fallow.losses.adversarial import toward
from fallow.problems import SettingProblem, SourceProblem
from fallow.train.method import Batch, Loss, Method, Now, Optimiser
from fallow.train.method import Settings as BaseSettings
from fallow.views.perturb import Budget, Norm, Resize, added, stepped, steps_at
from fallow.views.recipe import Recipe, View

if TYPE_CHECKING:
    from fallow.encoders import Encoder
    from fallow.images import Images, Pack

CROP = 7 / 8  # of the short side: 224 of 256
KEPT = 1 << 20  # values of a stretched pattern that is worth keeping


class UC(Method):
    """Give each cluster of images a pattern that learners take for its content (Zhang 2023)."""

    class Settings(BaseSettings):
        clusters: int = Field(10, gt=1, description="groups of images, each with its own pattern")
        eps: float = Field(
            16.0, gt=0, description="linf: levels of 255; l2: length of a pattern, values in 0…1"
        )
        norm: Norm = Field("linf", description="what eps bounds: every value, or their length")
        bound: Literal["clamp", "scale"] = Field(
            "scale", description="linf: cut patterns off at eps (paper), or scale them to it"
        )
        offset: int = Field(1, description="cluster k is carried to the centre of k + offset")
        fit_on: Literal["all", "cluster"] = Field(
            "all", description="what a pattern is fitted on: all images, or those of its cluster"
        )
        temperature: float | None = Field(
            None, gt=0, description="of the softmax over features; none: from the centres. Paper: 1"
        )
        width: int = Field(16, ge=1, description="channels of a generator's first layer")
        blocks: int = Field(2, ge=0, description="residual blocks of a generator")
        generator_norm: Normed = Field("batch", description="between a generator's layers")
        generator_activation: Activation = Field(
            "relu", description="between a generator's layers, its residual blocks aside"
        )
        memory: float = Field(
            2.0, gt=0, description="GB a step may keep; as many clusters train together as fit"
        )
        resize: Resize = Field(
            "bilinear", description="how a pattern is brought to a picture's size; paper: nearest"
        )
        optimiser: Optimiser = Field("adam", description="of the generators")
        learning_rate: float = Field(4e-3, gt=0, description="at batch 256")
        warmup: float = Field(0.0, ge=0, lt=1, description="share of the budget with rising rate")
        final_rate: float = Field(0.01, ge=0, description="share of the learning rate at the end")
        weight_decay: float = Field(0.0, ge=0, description="of the generators")

        @model_validator(mode="after")
        def _possible(self) -> UC.Settings:
            if self.norm == "linf" and self.eps < 1:
                raise ValueError(
                    f"an eps of {self.eps:g} changes no pixel of an 8-bit picture: it counts "
                    "levels of 255, so 16/255 is eps=16"
                )
            if self.size % 4:
                raise ValueError(f"patterns have sides of a multiple of 4, not {self.size}")
            return self

    presets = {  # noqa: RUF012
        "paper": {
            "size": 224,
            "epochs": 50.0,
            "batch": 256,
            "bound": "clamp",
            "resize": "nearest",
            "temperature": 1.0,
            "width": 64,
            "blocks": 6,
            "learning_rate": 1e-4,
            "weight_decay": 5e-4,
        }
    }

    centres: Tensor  # K D
    members: Tensor  # N, by row of the pack
    noise: Tensor  # K 3 S S, drawn once
    temperature: Tensor  # of the softmax, as it is used

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        count = min(s.clusters, self.facts.count)
        if s.offset % count == 0:
            raise SettingProblem(
                f"an offset of {s.offset} carries {count} clusters to their own centres, "
                "which does nothing: use 1"
            )
        encoder.requires_grad_(False)
        self.generators = nn.ModuleList(
            Generator(s.width, s.blocks, s.generator_norm, s.generator_activation)
            for _ in range(count)
        )
        self.register_buffer("noise", torch.rand(count, 3, s.size, s.size))
        self.register_buffer("centres", torch.zeros(count, encoder.dimension))
        self.register_buffer("members", torch.arange(self.facts.count) % count)
        self.register_buffer("temperature", torch.tensor(s.temperature or 1.0))
        self._together = 0  # clusters that fit into memory at once; 0 until a batch was seen

    @property
    def budget(self) -> Budget:
        return Budget(self.settings.eps, self.settings.norm)

    def train(self, mode: bool = True) -> UC:
        """The encoder stays as it is."""
        super().train(mode)
        self.encoder.eval()
        return self

    def recipe(self) -> Recipe:
        return Recipe((View(self.settings.size, square=CROP),))

    def before_training(self, pack: Pack, seed: int) -> None:
        from fallow.distributed import from_first
        from fallow.vectors.space import kmeans

        vectors = self.encoder.embed(pack)
        count = len(self.centres)
        if (apart := len(np.unique(vectors.round(5), axis=0))) < count:
            raise SourceProblem(
                f"the encoder tells only {apart} of the {len(pack)} pictures apart, too few for "
                f"{count} clusters: add other pictures, or set clusters to {max(2, apart)} or less"
            )
        centres, members = from_first(kmeans(vectors, count, rounds=300, seed=seed))
        self.centres.copy_(torch.from_numpy(centres))
        self.members[: len(members)] = torch.from_numpy(members)
        if self.settings.temperature is None:
            self.temperature.copy_(softness(self.centres, self.targets))

    @property
    def targets(self) -> Tensor:
        """The centre each cluster is carried to: another one's.  K D"""
        return self.centres[other_cluster(torch.arange(len(self.centres)), *self._turn)]

    @property
    def _turn(self) -> tuple[int, int]:
        return len(self.centres), self.settings.offset

    def pattern(self, cluster: int) -> Tensor:
        """The bounded pattern of a cluster, 3 S S.

        Batch norm always uses the statistics of this one input: running ones give another pattern.
        """
        generator = self.generators[cluster].train()
        raw = generator(self.noise[cluster][None]).float()
        clamp = self.settings.bound == "clamp" and self.settings.norm == "linf"
        return (self.budget.clamped(raw) if clamp else self.budget.scaled(raw))[0]

    @torch.no_grad()
    def all_patterns(self) -> Tensor:
        """The finished patterns, K 3 S S."""
        return torch.stack([self.pattern(k) for k in range(len(self.centres))])

    def features(self, pictures: Tensor) -> Tensor:
        """The encoder's vectors of pictures in 0…1, B D; their gradient goes to the pixels."""
        mean, std = self._colours(pictures)
        side = self.encoder.size
        if pictures.shape[2] != side:
            shrinks = pictures.shape[2] > side
            pictures = F.interpolate(pictures, (side, side), mode="bilinear", antialias=shrinks)
        return self.encoder((pictures - mean) / std)

    def _colours(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = (
            pictures.new_tensor(values).view(1, 3, 1, 1)
            for values in (self.encoder.mean, self.encoder.std)
        )
        return mean, std

    def loss(self, batch: Batch, now: Now) -> Loss:
        seen = batch.views[0].float()
        mean, std = self._colours(seen)
        pictures = (seen * std + mean).clamp(0, 1)
        if self.settings.fit_on == "cluster":
            own = self.members[batch.index]
            parts = [(int(k), pictures[own == k]) for k in own.unique()]
            total = self._carried(*zip(*parts, strict=True))
            return Loss(total, {"kl": total.detach() / len(parts)})
        total = torch.zeros((), device=pictures.device)
        count = len(self.generators)
        together = self._fit_together(pictures)
        for first in range(0, count, together):
            group = range(first, min(first + together, count))
            parts_of = [pictures] * len(group)
            if together < count:  # the rest waits: what the backward pass needs is made again
                total = total + checkpoint(self._carried, group, parts_of, use_reentrant=False)
            else:
                total = total + self._carried(group, parts_of)
        return Loss(total, {"kl": total.detach() / count})

    def _carried(self, clusters: Sequence[int], pictures: Sequence[Tensor]) -> Tensor:
        """Sum over clusters of how far their pattern leaves some pictures from the target."""
        changed = [added(x, self.pattern(k)) for k, x in zip(clusters, pictures, strict=True)]
        vectors = self.features(torch.cat(changed)).split([len(x) for x in pictures])
        losses = [
            toward(z, self.targets[k], self.temperature)
            for k, z in zip(clusters, vectors, strict=True)
        ]
        return torch.stack(losses).sum()

    def _fit_together(self, pictures: Tensor) -> int:
        if not self._together:
            each = len(pictures) * kept_bytes(self.features, pictures[:1].clone(), self.encoder)
            fitting = int(self.settings.memory * 1e9 / max(each, 1))
            self._together = max(1, min(fitting, len(self.generators)))
        return self._together


def other_cluster(cluster: Any, count: int, offset: int = 1) -> Any:
    """Where a cluster's images are carried: the next centre but `offset` - 1, never their own.

    >>> other_cluster(2, 3)
    0
    """
    return (cluster + offset) % count


def softness(centres: Tensor, targets: Tensor) -> Tensor:
    """The temperature at which a centre is about one nat from its target, whatever their scale.

    >>> centres = torch.tensor([[0.0, 2.0], [2.0, 0.0]])
    >>> wider = softness(9 * centres, 9 * centres.flip(0)) / softness(centres, centres.flip(0))
    >>> round(wider.item(), 4)
    9.0
    """
    apart = (targets - centres).var(1, correction=0).mean()
    return (apart / 2).sqrt().clamp(min=1e-6)


def kept_bytes(function: Any, sample: Tensor, module: nn.Module) -> int:
    """What autograd keeps of `function(sample)` for the way back to the pixels, weights aside."""
    weights = {parameter.data_ptr() for parameter in module.parameters()}
    kept: dict[int, int] = {}

    def see(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            size = tensor.numel() * tensor.element_size()
            kept[tensor.data_ptr()] = max(size, kept.get(tensor.data_ptr(), 0))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(see, lambda tensor: tensor):
        function(sample.requires_grad_(True))
    return sum(kept.values())


# --- what stays after training ---


@dataclass
class Protector:
    """Patterns and the centres that choose among them: protects any picture, now or later.

    Whoever has the patterns can take them off again: a protector is not to be published.
    """

    encoder: Encoder
    centres: np.ndarray  # K D
    patterns: Tensor  # K 3 S S, within the budget
    budget: Budget
    resize: Resize = "nearest"
    known: dict[str, int] = field(default_factory=dict)  # content of a file -> its cluster
    _stretched: dict[tuple[int, int, int], np.ndarray] = field(default_factory=dict, repr=False)

    def clusters(self, images: Images) -> np.ndarray:
        """The cluster of each image: as it was when the patterns were made, else the nearest.

        Images are recognised by their bytes, never by their place. -1 where unreadable.
        """
        found = np.array(
            [self.known.get(key, -1) for key in images.table.column("hash").to_pylist()], np.int64
        )
        new = np.flatnonzero(found < 0)
        if len(new):
            found[new] = self.nearest(self.encoder.embed(images.select(new)))
        return found

    def nearest(self, vectors: np.ndarray) -> np.ndarray:
        """The nearest centre of each vector; -1 for a vector of NaN."""
        from fallow.vectors.space import squared

        far = squared(np.nan_to_num(vectors).astype(np.float32), self.centres)
        return np.where(np.isfinite(vectors).all(1), far.argmin(1), -1)

    def change(self, cluster: int, height: int, width: int) -> np.ndarray:
        """The 8-bit steps a picture of this size gets.  H W 3, int16"""
        key = (cluster, height, width)
        if key in self._stretched:
            return self._stretched[key]
        made = steps_at(self.patterns[cluster], (height, width), self.budget, self.resize)
        if made.size <= KEPT and len(self._stretched) < 64:
            self._stretched[key] = made
        return made

    def protect(self, pixels: np.ndarray, cluster: int) -> np.ndarray:
        """A protected copy of one uint8 picture (H W 3) at its own size."""
        return stepped(pixels, self.change(int(cluster), *pixels.shape[:2]))

    def save(self, folder: str | Path) -> Path:
        """protector.safetensors, protector.json and the encoder, unless a hub has it."""
        from safetensors.torch import save as to_bytes

        from fallow.encoders import save
        from fallow.files import atomic_write

        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        if not self.encoder.name.startswith(("hf:", "timm:")):
            save(self.encoder, place / "encoder")
        held = {
            "patterns": self.patterns.contiguous(),
            "centres": torch.from_numpy(np.ascontiguousarray(self.centres)),
        }
        about = {
            "encoder": self.encoder.name,
            "eps": self.budget.size,
            "norm": self.budget.norm,
            "resize": self.resize,
            "known": self.known,
        }
        with atomic_write(place / "protector.safetensors") as target:
            target.write(to_bytes(held))
        with atomic_write(place / "protector.json") as target:
            target.write(json.dumps(about, indent=1).encode())
        return place


def load_protector(folder: str | Path) -> Protector:
    """What `Protector.save` wrote, or the folder beside the copies that holds it."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    place = Path(folder)
    if (place / "protector" / "protector.json").is_file():
        place = place / "protector"
    try:
        about = json.loads((place / "protector.json").read_text())
        held = from_bytes((place / "protector.safetensors").read_bytes())
        budget = Budget(about["eps"], about["norm"])
        name, resize = about["encoder"], about["resize"]
        known = {str(key): int(value) for key, value in about["known"].items()}
        centres, patterns = held["centres"].numpy(), held["patterns"]
    except FileNotFoundError:
        raise SourceProblem(
            f"{folder} holds no protector: name the private folder of an earlier run of protect"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise SourceProblem(f"the protector in {place} cannot be used: {error}") from error
    where = name if name.startswith(("hf:", "timm:")) else str(place / "encoder")
    return Protector(encoder(where), centres, patterns, budget, resize, known)
