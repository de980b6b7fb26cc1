"""What every system that finds key points shares: its streams, settings, targets and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from fallow.annotations.points import KeyPoints, mirrored, read, with_points
from fallow.annotations.points.store import COLUMN as MARKED
from fallow.device import fast_bf16
from fallow.encoders import Encoder
from fallow.encoders.pointer import STRIDE, Pointer
from fallow.images import Images, Pack
from fallow.losses.heatmaps import heat_loss
from fallow.measure.landmarks import sizes
from fallow.problems import SettingProblem, SourceProblem
from fallow.train.method import Batch, Beside, Method, Optimiser
from fallow.train.method import Settings as BaseSettings
from fallow.views import (
    Recipe,
    at_resolution,
    compose,
    draw,
    map_points,
    pack_arrays,
    render_drawn,
    seen_through,
    turning,
    unmap_points,
    unnormalised,
    whole,
)
from fallow.views.heatmaps import drawn, gaussians, peaks, refined

SMALLEST, LARGEST, LARGEST_GPU = 128, 192, 384  # sides of views
ONE_WAY = 0.8  # of 1: below it marked pictures show their subject any way round
WANTED = 40  # pixels of a view from one end of what is marked to the other
# pictures are looked at as they are, and a little turned: where answers differ there is doubt
TILTS = (0.0, -15.0, 15.0)


@dataclass(frozen=True)
class Marked:
    """Pictures whose points are known, those that have none, and what the points are."""

    labelled: Images
    bare: Images
    held: KeyPoints
    notes: list[str]


class PoseSettings(BaseSettings):
    """What every system that finds key points can be told."""

    points: int = Field(1, ge=1, description="key points of a picture; the file says how many")
    mirrored: tuple[int, ...] = Field(
        (), description="the point each one is in a mirror; their names say it; none: no flips"
    )
    size: int = Field(128, ge=32, description="side of the views, in which all of a picture fits")
    sigma: float = Field(1.5, gt=0, description="of the Gaussians, in heat map pixels of 4 by 4")
    width: int = Field(64, ge=8, description="channels of the layers that enlarge the maps")
    skips: bool = Field(True, description="let these layers see the encoder's finer maps, too")
    tilt: float = Field(
        30.0, ge=0, description="spread of random turns in degrees; 180: any way round"
    )
    swell: float = Field(0.25, ge=0, lt=1, description="spread of random sizes about the whole")
    batch: int = Field(16, ge=2, description="images a step of each stream, over all ranks")
    optimiser: Optimiser = "adam"
    learning_rate: float = Field(0.016, gt=0, description="at batch 256: 0.001 at batch 16")
    weight_decay: float = Field(0.0, ge=0)

    @field_validator("size")
    @classmethod
    def _halved_often(cls, size: int) -> int:
        if size % 32:
            raise ValueError(f"views of {size} pixels cannot be halved five times: take 32 n")
        return size


class PoseMethod(Method):
    """A method whose images have key points, some of them; a subclass says how it learns."""

    reads: ClassVar[tuple[str, ...]] = (MARKED,)
    streams: ClassVar[tuple[str, ...]] = ("unlabelled", "labelled")  # the first leads
    Settings: ClassVar[Any] = PoseSettings

    def build(self, encoder: Encoder) -> None:
        self.network = self.pointer(encoder)

    def pointer(self, encoder: Encoder) -> Pointer:
        """A network that points, on an encoder."""
        s = self.settings
        return Pointer(encoder, s.points, width=s.width, skips=s.skips)

    def easy(self) -> Recipe:
        """All of a picture, turned and scaled a little, mirrored where that has a meaning."""
        s = self.settings
        return whole(s.size, s.tilt, s.swell, flip=0.5 if s.mirrored else 0.0)

    def recipe(self) -> Mapping[str, Recipe]:
        return {name: self.easy() for name in self.streams}

    def beside(self, name: str, images: Images, pack: Pack, seed: int) -> Beside | None:
        if name != "labelled":
            return None
        marked = packed_points(images, pack)
        return lambda rows, epoch: {MARKED: marked[rows]}

    def targets(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Heat maps (B J h w) of a batch's own points, and the weight of each (B J)."""
        geometry, marked = batch.geometry[0], batch.beside[MARKED]
        mirrored = torch.linalg.det(geometry[:, :, :2]) < 0
        if self.settings.mirrored and mirrored.any():
            # the left ear of a mirrored mouse is its right one
            other = marked[:, list(self.settings.mirrored)]
            marked = torch.where(mirrored[:, None, None], other, marked)
        size = batch.views[0].shape[-1]
        grid = size // STRIDE
        at = at_resolution(geometry, size, grid)
        centres = map_points(at.double(), marked[..., :2].double()).float()
        sigma = self.settings.sigma
        seen = (marked[..., 2] > 0) & drawn(centres, (grid, grid), sigma)
        weights = seen.to(centres.dtype)
        return gaussians(centres, (grid, grid), sigma, weights), weights

    def supervised(self, network: nn.Module, batch: Batch) -> Tensor:
        """What a network owes to the marked pictures."""
        return heat_loss(network(batch.views[0]), *self.targets(batch))

    def asked(self) -> Recipe:
        """How a picture is looked at that points are wanted of."""
        own: Any = {"mean": self.encoder.mean, "std": self.encoder.std}
        return replace(whole(self.settings.size), **own)

    def predictor(self) -> nn.Module:
        """The network that answers."""
        return self.network

    def written(self) -> Pointer:
        """The network that is kept in a file."""
        return self.network


def marked(images: Images, points: Any, where: str | None = None) -> Marked:
    """Pictures sorted by whether a file (or KeyPoints) marks them."""
    if points is None:
        raise SourceProblem("say which file marks the points of some pictures, with points")
    held = points if isinstance(points, KeyPoints) else read(points)
    name = "these key points" if isinstance(points, KeyPoints) else str(points)
    images, notes = with_points(images, held, name)
    if where:
        images = images.where(where)
    labelled = images.where(f"{MARKED} is not null")
    if len(labelled) < 2:
        raise SourceProblem(
            f"{len(labelled)} of {len(images):,} pictures has marked points: mark at least two"
        )
    return Marked(labelled, images.where(f"{MARKED} is null"), held, notes)


def streams(kind: type[PoseMethod], labelled: Images, bare: Images) -> dict[str, Images]:
    """The images a method trains on, by stream; few bare ones are joined by the others."""
    free = bare
    if len(bare) < len(labelled):
        free = labelled._with(pa.concat_tables([bare.table, labelled.table]))
    return {name: {"unlabelled": free, "labelled": labelled}[name] for name in kind.streams}


def suited(given: Mapping[str, Any], known: Marked, gpu: bool) -> dict[str, Any]:
    """Settings made to fit the points, views so large that these lie apart; what is given stays."""
    facts = {"points": len(known.held.names), "mirrored": mirrored(known.held.names)}
    for name in facts:
        if name in given:
            raise SettingProblem(f"the points say what {name} is: leave it out")
    flat = np.array(known.labelled.table.column(MARKED).to_pylist())
    cells = flat.reshape(len(known.labelled), -1, 3)
    truth = np.where(cells[..., 2:] > 0, cells[..., :2], np.nan)  # N J 2
    across = sizes(truth, "diagonal")
    long = np.maximum(known.labelled.column("width"), known.labelled.column("height"))
    share = float(np.median((across / long)[across > 0])) if (across > 0).any() else 1.0
    side = 32 * round(WANTED / share / 32)
    side = min(max(side, SMALLEST), LARGEST_GPU if gpu else LARGEST)
    # what lies any way round is shown any way round
    tilt = {"tilt": 180.0} if one_way(truth) < ONE_WAY else {}
    return {"size": side, **tilt, **given, **facts}


def one_way(truth: np.ndarray) -> float:
    """Whether what is marked (N J 2; NaN: unmarked) lies the same way round: 1 all, 0 any way.

    >>> line = np.array([[0.0, 0.0], [4.0, 0.0]])
    >>> one_way(np.stack([line, line + 7])), one_way(np.stack([line, -line]))
    (1.0, 0.0)
    """
    places = truth[..., 0] + 1j * truth[..., 1]  # N J
    both = np.isfinite(places) & np.isfinite(places[:1])
    count = np.maximum(both.sum(1, keepdims=True), 1)
    own, first = (
        np.where(both, one, 0) - np.where(both, one, 0).sum(1, keepdims=True) / count
        for one in (places, np.broadcast_to(places[:1], places.shape))
    )
    turns = (np.where(both, own * first.conj(), 0)).sum(1)  # each as the first is turned
    ways = turns[np.abs(turns) > 0]
    return float(abs((ways / np.abs(ways)).mean()).round(6)) if len(ways) else 1.0


def packed_points(images: Images, pack: Pack) -> Tensor:
    """Points of every entry of a pack in the pixels of the pack: N J 3; 0 where unmarked."""
    rows = np.asarray(pack.rows)
    flat = images.table.column(MARKED).to_pylist()
    marked = np.array([flat[row] for row in rows], np.float32).reshape(len(rows), -1, 3)
    for axis, (side, now) in enumerate((("width", pack.widths), ("height", pack.heights))):
        scale = np.asarray(now, np.float64) / images.column(side)[rows]
        moved = (marked[..., axis] + 0.5) * scale[:, None] - 0.5
        marked[..., axis] = np.where(marked[..., 2] > 0, moved, 0)
    return torch.from_numpy(marked)


class Pose(NamedTuple):
    """Where the points of some pictures are."""

    points: np.ndarray  # N J 2: x, y in pixels of the picture
    heights: np.ndarray  # N J, of the heat maps' peaks: near 1 where the network is sure
    apart: np.ndarray  # N J, how far it moves when the picture is turned, in pixels


def look(
    method: PoseMethod, pictures: Sequence[np.ndarray], *, tilts: Sequence[float] = TILTS
) -> Pose:
    """Points of uint8 pictures (H W 3 each), in eval mode; the first tilt's are the answer."""
    recipe, network, size = method.asked(), method.predictor(), method.settings.size
    pack = pack_arrays(pictures)
    still = draw(recipe, pack.heights, pack.widths, pack.rows, seed=0)
    device = method.encoder.device
    found, heights = [], []
    was = [part for part in network.modules() if part.training]
    network.eval()
    for tilt in tilts:
        turn = turning(tilt, size).expand(1, len(pictures), 2, 3)
        geometry = compose(torch.from_numpy(still.geometry), turn)
        turned = replace(still, geometry=geometry.numpy())
        view = render_drawn(pack, pack.rows, turned, recipe).views[0]
        # maps rounded to bf16 move a point by less than a hundredth of their pixels
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, fast_bf16(device)):
            maps = network(view.to(device)).float().cpu()
        places, height = peaks(maps)
        at = at_resolution(geometry[0], size, maps.shape[-1])
        found.append(unmap_points(at, refined(maps, places).double()))
        heights.append(height)
    for part in was:
        part.training = True
    every = torch.stack(found)  # T N J 2
    apart = (every - every[:1]).norm(dim=-1).sum(0) / max(1, len(tilts) - 1)
    return Pose(every[0].numpy(), heights[0].numpy(), apart.numpy())


def random_turns(count: int, chance: float = 0.8) -> tuple[Tensor, Tensor]:
    """Turns in degrees, of a spread of 30 and at most 60, and scales between 3/4 and 5/4."""
    degrees = (30 * torch.randn(count)).clamp(-60, 60) * (torch.rand(count) < chance)
    return degrees, (1 + 0.25 * torch.randn(count)).clamp(0.75, 1.25)


def turned_alike(views: Sequence[Tensor], maps: Tensor) -> tuple[list[Tensor], Tensor]:
    """Views (each B C S S) and their heat maps (B J s s), all by the same random turn a picture."""
    degrees, scale = random_turns(len(maps))
    theta = turning(-degrees, 1, scale=1 / scale)  # about 0, in coordinates from -1 to 1
    turned = [seen_through(one, unnormalised(theta, *one.shape[2:])) for one in (*views, maps)]
    return turned[:-1], turned[-1]
