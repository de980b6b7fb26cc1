"""An encoder: a network together with the preprocessing it was made for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders.whitening import Whitening, half_whitening
from fallow.problems import Problem

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become the network's input: short side to `short`, centre cut to `size`.

    `way` "cut" takes the centre out first and resizes that; "shrink" resizes first, as CLIP was
    trained, and "whole" scales the sides apart, as SigLIP was: with both the numbers are Pillow's.
    """

    size: int
    short: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    way: Literal["cut", "shrink", "whole"] = "cut"

    @property
    def decoded(self) -> int:
        """The short side pictures of a collection are decoded at before they are fitted."""
        return self.short if self.way == "cut" else 2 * self.short

    def fit(self, image: np.ndarray) -> Tensor:
        """The centre of one uint8 image at the network's size, shrunk without aliasing.

        >>> Preprocessing(size=8, short=8).fit(np.zeros((20, 11, 3), np.uint8)).shape
        torch.Size([3, 8, 8])
        """
        return self.fit_all(image[None])[0]  # 3 S S uint8

    def fit_all(self, images: np.ndarray) -> Tensor:
        """The same for images of one size (N, H, W, 3)."""
        height, width = _height_width(images)
        if self.way != "cut":
            return torch.stack([self._as_published(image) for image in images])
        # the centre is cut out first, so that a panorama costs no more than a square
        side = max(1, round(min(height, width) * self.size / self.short))
        side = min(side, height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = np.array(images[:, top : top + side, left : left + side])
        pixels = torch.from_numpy(square).permute(0, 3, 1, 2)
        return self._resized(pixels, self.size, self.size)

    def squash(self, image: np.ndarray, rows: int = 1, columns: int = 1) -> Tensor:
        """All of one uint8 image, its sides scaled apart, at the size of rows x columns inputs.

        >>> Preprocessing(size=8, short=8).squash(np.zeros((20, 11, 3), np.uint8), 2).shape
        torch.Size([3, 16, 8])
        """
        _height_width(image[None])
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
        return self._resized(pixels, rows * self.size, columns * self.size)[0]

    def _as_published(self, image: np.ndarray) -> Tensor:
        from PIL import Image

        filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
        height, width = image.shape[:2]
        if self.way == "whole":
            target = (self.size, self.size)
        else:
            least = min(height, width)
            target = (int(self.short * width / least), int(self.short * height / least))
        made = Image.fromarray(image).resize(target, filters[self.interpolation])
        left, top = (target[0] - self.size) // 2, (target[1] - self.size) // 2
        made = made.crop((left, top, left + self.size, top + self.size))
        return torch.from_numpy(np.array(made)).permute(2, 0, 1)  # 3 S S uint8

    def _resized(self, pixels: Tensor, height: int, width: int) -> Tensor:
        if tuple(pixels.shape[2:]) == (height, width):
            return pixels
        return F.interpolate(pixels, (height, width), mode=self.interpolation, antialias=True)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Float input of the network from uint8 pixels."""  # B 3 S S
        mean, std = (
            torch.tensor(v, device=pixels.device).view(1, 3, 1, 1) for v in (self.mean, self.std)
        )
        return (pixels.float() / 255).sub_(mean).div_(std)

    def show(self, x: Tensor) -> np.ndarray:
        """Pictures (B, S, S, 3) of a network's input: `normalise` undone.

        >>> how = Preprocessing(size=8, short=8)
        >>> pixels = torch.full((1, 3, 8, 8), 77, dtype=torch.uint8)
        >>> how.show(how.normalise(pixels))[0, 0, 0].tolist()
        [77, 77, 77]
        """
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (self.mean, self.std))
        pixels = (x.detach().float().cpu() * std + mean) * 255
        return pixels.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def _height_width(images: np.ndarray) -> tuple[int, int]:
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise Problem(
            "images to embed are uint8 arrays of height x width x 3, "
            f"not {images.dtype} of shape {images.shape[1:]}."
        )
    height, width = images.shape[1:3]
    if min(height, width) == 0:
        raise Problem(f"an image of {height}x{width} pixels has nothing to embed.")
    return height, width


class Encoder(nn.Module):
    """A network that turns images into vectors, with its name and preprocessing.

    `network(x)` gives (B, D); `network.patches(x, layers, norm)` gives maps (B, h, w, C).
    `options` are what `encoder(name, **options)` needs to build the same network again, and
    `provenance` says where the weights come from. `whitening`, if any, is the vectors' last step.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        name: str,
        preprocessing: Preprocessing,
        options: dict[str, Any] | None = None,
        provenance: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.name = name
        self.preprocessing = preprocessing
        self.options = options or {}
        self.provenance = provenance or {}
        self.whitening: Whitening | None = None

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return self.network.dimension  # type: ignore[return-value]

    @property
    def random(self) -> bool:
        """Whether its weights were drawn, and nothing has taught them."""
        return str(self.provenance.get("weights")).startswith("random")

    @property
    def size(self) -> int:
        """The side of the network's native input."""
        return self.preprocessing.size

    @property
    def mean(self) -> tuple[float, ...]:
        return self.preprocessing.mean

    @property
    def std(self) -> tuple[float, ...]:
        return self.preprocessing.std

    @property
    def plain(self) -> nn.Module:
        """The module whose parameter names are the public ones; its state is what is saved."""
        inner = getattr(self.network, "model", None)
        return inner if isinstance(inner, nn.Module) else self.network

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(self, x: Tensor) -> Tensor:
        return self._last(self.network(x))  # B 3 S S (normalised) -> B D

    def _last(self, vectors: Tensor) -> Tensor:
        return vectors if self.whitening is None else self.whitening(vectors)

    @overload
    def patches(self, x: Tensor, layers: None = None, norm: bool = True) -> Tensor: ...
    @overload
    def patches(self, x: Tensor, layers: Sequence[int], norm: bool = True) -> list[Tensor]: ...
    def patches(
        self, x: Tensor, layers: Sequence[int] | None = None, norm: bool = True
    ) -> Tensor | list[Tensor]:
        """Patch features as maps (B, h, w, C): of the last layer, or a list of chosen layers.

        Layers are blocks of a transformer or stages of a convolutional network, 0 the first, -1
        the last; `norm` applies a transformer's final norm to them.
        """
        maps = self.network.patches(x, [-1] if layers is None else layers, norm)  # type: ignore[operator]
        return maps[0] if layers is None else maps

    def look(
        self, x: Tensor, layers: Sequence[int], norm: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """Vectors and chosen maps together; a hub's network runs once for both."""
        both = getattr(self.network, "look", None)
        if both is None:
            return self(x), self.patches(x, layers, norm)
        vectors, maps = both(x, layers, norm)
        return self._last(vectors), maps

    def prepare(self, images: Any) -> Tensor:
        """Normalised input (B, 3, S, S) from readable uint8 images, on the encoder's device."""
        fitted = _fitted(images, self.preprocessing, 64)
        return torch.cat([self._input(pixels) for _, pixels in fitted])

    def _input(self, pixels: Tensor) -> Tensor:
        return self.preprocessing.normalise(pixels.to(self.device))

    def embed(self, images: Any, batch: int = 64, *, bf16: bool = False) -> np.ndarray:
        """Vectors (N, D) of images: a uint8 array (N, H, W, 3), a list of arrays, Images or a Pack.

        The network runs in eval mode without gradients and is left as it was found. An image of
        a collection that cannot be decoded gives a row of NaN and is listed in its `problems`.
        """
        vectors = np.full((len(images), self.dimension), np.nan, np.float32)
        training = [module for module in self.modules() if module.training]
        self.eval()
        try:
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, bf16):
                for rows, pixels in _fitted(images, self.preprocessing, batch):
                    vectors[rows] = self(self._input(pixels)).float().cpu().numpy()
        finally:
            for module in training:
                module.training = True
        return vectors


def _fitted(
    images: Any, preprocessing: Preprocessing, batch: int
) -> Iterator[tuple[list[int], Tensor]]:
    """Batches of rows and uint8 pixels at the network's size, whatever the images come in."""
    if isinstance(images, np.ndarray):
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            yield list(range(start, start + len(part))), preprocessing.fit_all(part)
        return
    if hasattr(images, "map"):  # Images: decoded in threads, unreadable ones are listed there
        one_by_one = images.map(preprocessing.fit, side=preprocessing.decoded)
    elif hasattr(images, "offsets"):  # Pack
        one_by_one = ((row, preprocessing.fit(_packed(images, row))) for row in range(len(images)))
    else:
        one_by_one = ((row, preprocessing.fit(image)) for row, image in enumerate(images))
    readable = ((row, pixels) for row, pixels in one_by_one if isinstance(pixels, Tensor))
    while some := list(islice(readable, batch)):
        yield [row for row, _ in some], torch.stack([pixels for _, pixels in some])


def _packed(pack: Any, row: int) -> np.ndarray:
    start, height, width = int(pack.offsets[row]), int(pack.heights[row]), int(pack.widths[row])
    return pack.pixels[start : start + height * width * 3].reshape(height, width, 3)


def whiten(encoder: Encoder, images: Any) -> None:
    """Fit the last step of an encoder to images, in place of an earlier one.

    >>> from fallow.encoders import encoder
    >>> from fallow.images.samples import shapes
    >>> one, images = encoder("resnet8/8"), shapes(60, seed=0, side=24)
    >>> whiten(one, images)
    >>> one.embed(images).mean(0).round(3).any()
    np.False_
    """
    encoder.whitening = None
    vectors = encoder.embed(images)
    readable = vectors[np.isfinite(vectors).all(1)]
    encoder.whitening = half_whitening(readable).to(encoder.device)
