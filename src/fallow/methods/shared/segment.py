"""What every segmenter shares: its streams, its settings, and how it is asked about pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders import Encoder
from fallow.encoders.lite import Lite
from fallow.encoders.unet import Contracting
from fallow.encoders.windows import sliding
from fallow.images import Images
from fallow.images.masks import IGNORE, Masked, resized, without_masks
from fallow.images.volumes import Volumes
from fallow.parts.upright import upright
from fallow.problems import SettingProblem
from fallow.train.method import Method
from fallow.train.method import Settings as BaseSettings
from fallow.views import Recipe, turned
from fallow.views.volumes import Crop

__all__ = ["SegmentMethod", "SegmentSettings", "look"]

WHOLE = 512 * 512  # pixels of a picture that is looked at without windows, at most
SMALLEST_VIEW, LARGEST_VIEW = 64, 160  # the latter without a GPU
LARGEST = 2048  # long side at which probabilities are enlarged to their picture's pixels


class SegmentSettings(BaseSettings):
    """What every segmenter can be told."""

    classes: int = Field(2, ge=2, description="classes of a pixel; the masks say how many")
    size: int = Field(96, ge=32, description="side of the views in pixels")
    depth: int | None = Field(None, ge=2, description="slices of a volume's crops; none: size")
    smallest: float = Field(0.3, gt=0, le=1, description="least share of a picture in a view")
    turns: float = Field(
        0.5, ge=0, le=1, description="chance of a quarter turn; none if masks show an up and a down"
    )
    batch: int = Field(8, ge=2, description="images a step of each stream, over all ranks")
    learning_rate: float = Field(0.64, gt=0, description="at batch 256: 0.02 at batch 8")
    weight_decay: float = Field(1e-4, ge=0)
    known_rate: float = Field(
        0.1, ge=0, description="share of the rate at which lite learns, which knows photographs"
    )


class SegmentMethod(Method):
    """A method whose images have masks, some of them; a subclass says how it learns from both."""

    wants_masks: ClassVar[bool] = True
    Settings: ClassVar[Any] = SegmentSettings

    @property
    def dimensions(self) -> int:
        return self.facts.dimensions

    @property
    def window(self) -> tuple[int, ...]:
        """The sides of a view, and of the windows pictures are later looked at through."""
        s = self.settings
        if self.dimensions == 2:
            return (s.size, s.size)
        return (s.depth or s.size, s.size, s.size)

    @property
    def side(self) -> int:
        """The short side of a picture at which its parts look as they do in training."""
        return round(self.settings.size * 4 / 3)

    def rate_scales(self) -> Mapping[str, float]:
        """What lite knows is to be kept."""
        slower = self.settings.known_rate
        return {name: slower for name, part in self.named_modules() if isinstance(part, Lite)}

    def plain(self) -> Recipe | Crop:
        """One view, flipped and turned: what most streams want."""
        s = self.settings
        if self.dimensions == 3:
            return self.crop()
        return turned(s.size, s.smallest, s.turns)

    def crop(self) -> Crop:
        """The view of a stream of volumes."""
        depth, height, width = self.window
        return Crop((depth, height, width))

    def recipe(self) -> Any:
        """The stream that comes first leads: its passes are the epochs."""
        return {"unlabelled": self.plain(), "labelled": self.plain()}

    @classmethod
    def streams(
        cls,
        named: dict[str, Any],
        *,
        more: Any = None,
        labeller: Any = None,
        concepts: Any = None,
        classes: Any = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> dict[str, Any]:
        """The images to train on, by stream; a method that wants more than these two says so."""
        if any(given is not None for given in (more, labeller, concepts)):
            raise SettingProblem(
                f"{cls.__name__} uses no other pictures: leave more, labeller and concepts out, "
                "or choose method semiovs"
            )
        return named

    @classmethod
    def suited(
        cls, given: Mapping[str, Any], masks: Sequence[np.ndarray], encoder: Encoder
    ) -> dict[str, Any]:
        """Settings made to fit the masks (class codes) and the encoder; what is given stays."""
        flat = all(mask.ndim == 2 for mask in masks)
        return ({"turns": 0.0} if flat and upright(masks) else {}) | dict(given)

    def predictor(self) -> nn.Module:
        """The network that writes masks."""
        raise NotImplementedError

    def opinions(self) -> list[nn.Module]:
        """Networks whose disagreement says what to label next."""
        raise NotImplementedError


def on_stage(encoder: Encoder, pixels: np.ndarray, side: int) -> Tensor:
    """One uint8 picture as 1 3 h w, its short side at the scale of training."""
    height, width = pixels.shape[:2]
    scale = side / min(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    x = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None]
    if size != (height, width):  # on the processor: GPUs do not resize bytes
        x = F.interpolate(x, size, mode="bilinear", antialias=True)
    return encoder.preprocessing.normalise(x.to(encoder.device))


def window_for(encoder: Encoder, x: Tensor, window: Sequence[int]) -> tuple[int, ...]:
    """All of a small picture where the network is a U-Net, else the given window."""
    small = x.ndim == 4 and x.numel() < WHOLE * x.shape[1]
    whole = isinstance(encoder.network, Contracting | Lite)
    return tuple(x.shape[2:] if small and whole else window)


def look(
    method: SegmentMethod,
    image: np.ndarray,
    networks: Sequence[nn.Module] | None = None,
    *,
    bf16: bool = False,
) -> list[Tensor]:
    """What each network (the predictor alone if not given) says of one picture or volume.

    Probabilities K *s at the scale of training, in eval mode. A U-Net sees a small picture as a
    whole; other networks, large pictures and volumes go through windows that overlap by half.
    """
    encoder = method.encoder
    if image.ndim == 3 and method.dimensions == 3:
        x = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None, None]
        x = x.to(encoder.device)
    else:
        x = on_stage(encoder, image, method.side)
    window = window_for(encoder, x, method.window)
    found = []
    for network in networks or [method.predictor()]:
        was = [part for part in network.modules() if part.training]
        network.eval()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            found.append(sliding(network, x, window)[0].cpu())
        for part in was:
            part.training = True
    return found


def enlarged(probabilities: Tensor, size: Sequence[int]) -> np.ndarray:
    """The most probable class of every pixel of a picture: H W uint8.

    >>> enlarged(torch.tensor([[[0.9, 0.1]], [[0.1, 0.9]]]), (2, 4)).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    height, width = size
    shrink = max(1.0, max(height, width) / LARGEST)
    inner = (max(1, round(height / shrink)), max(1, round(width / shrink)))
    full = F.interpolate(probabilities[None], inner, mode="bilinear", align_corners=False)[0]
    return resized(full.argmax(0).byte().numpy(), (height, width))


def disagreement(opinions: Sequence[Tensor]) -> Tensor:
    """How far apart opinions (each K *s) are at every place: mean distance of pairs, 0 to 1.

    >>> sure, unlike = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [1.0]])
    >>> disagreement([sure, sure]).item(), disagreement([sure, unlike]).item()
    (0.0, 1.0)
    """
    pairs = [
        (one - other).abs().sum(0) / 2
        for place, one in enumerate(opinions)
        for other in opinions[place + 1 :]
    ]
    return torch.stack(pairs).mean(0) if pairs else torch.zeros(opinions[0].shape[1:])


def uncertainty(probabilities: Tensor) -> Tensor:
    """Entropy at every place as a share of the largest possible: 0 to 1.

    >>> uncertainty(torch.tensor([[0.5, 1.0], [0.5, 0.0]])).tolist()
    [1.0, 0.0]
    """
    entropy = -(probabilities * probabilities.clamp_min(1e-12).log()).sum(0)
    return (entropy / float(np.log(len(probabilities)))).abs().clamp_max(1)


class Opinion(NamedTuple):
    """One picture or volume as segmenters see it."""

    id: str
    given: bool  # the codes are the user's own mask
    pixels: np.ndarray  # H W 3, or D H W of a volume
    codes: np.ndarray  # class of every pixel, 255: not to be judged
    apart: Tensor  # disagreement, *s at the scale of training
    unsure: Tensor  # uncertainty of the predictor, *s
    affine: Any = None  # where a volume lies

    def shares(self, classes: int) -> list[float]:
        """The share of each class among all that is judged."""
        judged = max(1, int((self.codes != IGNORE).sum()))
        return [float((self.codes == code).sum() / judged) for code in range(classes)]

    def flat(self) -> Opinion:
        """Of a volume the slice in which most is marked, as a grey picture."""
        if self.codes.ndim == 2:
            return self
        fullest = int((self.codes > 0).sum((1, 2)).argmax())
        scan = self.pixels[fullest].astype(float)
        low, high = np.percentile(scan, [0.5, 99.5])
        grey = ((scan - low) / max(high - low, 1e-6) * 255).clip(0, 255).astype(np.uint8)
        return self._replace(
            pixels=np.repeat(grey[..., None], 3, 2),
            codes=self.codes[fullest],
            apart=self.apart[fullest],
            unsure=self.unsure[fullest],
        )


def opinions(method: SegmentMethod, known: Masked, bf16: bool) -> Iterator[Opinion]:
    """What is thought of everything that can be read, that with a mask first."""
    for images, given in ((known.labelled, True), (known.bare, False)):
        if isinstance(images, Volumes):
            yield from (_of_volume(method, images, k, given, bf16) for k in range(len(images)))
        else:
            for row, pixels in images.map(np.asarray):
                if isinstance(pixels, np.ndarray):
                    yield _of_picture(method, images, row, given, bf16, pixels)


def opinion(
    method: SegmentMethod, images: Images | Volumes, row: int, given: bool, bf16: bool
) -> Opinion:
    """What is thought of one of them."""
    if isinstance(images, Volumes):
        return _of_volume(method, images, row, given, bf16)
    return _of_picture(method, images, row, given, bf16, images.read(row))


def _of_picture(
    method: SegmentMethod, images: Images, row: int, given: bool, bf16: bool, pixels: np.ndarray
) -> Opinion:
    first, apart, unsure = _said(method, pixels, bf16)
    codes = images.mask(row) if given else enlarged(first, pixels.shape[:2])
    return Opinion(str(images.column("id")[row]), given, pixels, codes, apart, unsure)


def _of_volume(
    method: SegmentMethod, volumes: Volumes, row: int, given: bool, bf16: bool
) -> Opinion:
    first, apart, unsure = _said(method, volumes.normalised(row), bf16)
    own = volumes.masks[row]
    codes = own if given and own is not None else first.argmax(0).byte().numpy()
    scan, affine = volumes.arrays[row], volumes.headers[row]
    return Opinion(volumes.names[row], given, scan, codes, apart, unsure, affine)


def _said(method: SegmentMethod, pixels: np.ndarray, bf16: bool) -> tuple[Tensor, Tensor, Tensor]:
    """What the predictor says, where opinions differ, and where the predictor is unsure."""
    networks = [method.predictor(), *(n for n in method.opinions() if n is not method.predictor())]
    said = look(method, pixels, networks, bf16=bf16)
    return said[0], disagreement(said), uncertainty(said[0])


def suited_sizes(labelled: Images | Volumes, gpu: bool) -> dict[str, Any]:
    """Sides of views that suit the pictures: whole steps of 16, as the networks halve four times.

    >>> from fallow.images.samples import cells
    >>> suited_sizes(cells(2, side=128), gpu=False)
    {'size': 96}
    """
    short = int(np.median(np.minimum(labelled.column("width"), labelled.column("height"))))
    if isinstance(labelled, Volumes):
        depth = int(np.median([len(scan) for scan in labelled.arrays]))
        size = min(112 if gpu else 64, max(32, short // 16 * 16))
        return {"size": size, "depth": min(size, max(16, depth // 16 * 16)), "batch": 2}
    most = 256 if gpu else LARGEST_VIEW
    return {"size": min(most, max(SMALLEST_VIEW, round(short * 3 / 4 / 16) * 16))}


def class_codes(labelled: Images | Volumes) -> list[np.ndarray]:
    """All masks there are."""
    if isinstance(labelled, Volumes):
        return [mask for mask in labelled.masks if mask is not None]
    return [labelled.mask(row) for row in range(len(labelled))]


def without_answers(known: Masked) -> Any:
    """What is learnt from without masks: the bare ones, or all where they are too few to stream."""
    if len(known.bare) > 1:
        return known.bare
    if isinstance(known.labelled, Volumes):
        return Volumes(
            [*known.bare.arrays, *known.labelled.arrays],
            names=[*known.bare.names, *known.labelled.names],
            name=known.bare.name,
        )
    tables = [known.bare.table, without_masks(known.labelled).table]
    return known.bare._with(pa.concat_tables(tables, promote_options="default"))
