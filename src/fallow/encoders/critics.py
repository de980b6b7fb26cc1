"""Networks that tell the made from the real."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class TokenCritic(nn.Module):
    """One logit a picture: the mean of what every token is given.  B N D -> B

    >>> TokenCritic(6, (5, 5))(torch.zeros(4, 7, 6)).shape
    torch.Size([4])
    """

    def __init__(self, inputs: int, widths: Sequence[int] = (512, 512)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, 1))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.layers(tokens)[..., 0].mean(1)  # type: ignore[no-any-return]


class MapCritic(nn.Module):
    """One logit a feature map of known size.  B C h w -> B

    All layers exist from the start: an optimiser must find them.

    >>> MapCritic((8, 15, 15), hidden=16)(torch.zeros(2, 8, 15, 15)).shape
    torch.Size([2])
    """

    # width, side and stride of each convolution
    shape = ((48, 5, 2), (128, 3, 2), (192, 3, 1), (192, 3, 1), (128, 3, 2))

    def __init__(self, size: Sequence[int], hidden: int = 1024, slope: float = 0.2) -> None:
        super().__init__()
        inputs, height, width = size
        layers: list[nn.Module] = []
        for outputs, side, stride in self.shape:
            layers += [nn.Conv2d(inputs, outputs, side, stride, side // 2), nn.LeakyReLU(slope)]
            inputs, height, width = outputs, -(-height // stride), -(-width // stride)
        layers += [nn.Flatten(), nn.Linear(inputs * height * width, hidden), nn.LeakyReLU(slope)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden, 1))

    def forward(self, maps: Tensor) -> Tensor:
        return self.layers(maps)[:, 0]  # type: ignore[no-any-return]


class PairCritic(nn.Module):
    """Whether a sketch of a photo is a person's: both go in together, one score comes out.

    So does how near the two are held already, in spreads of strangers: with that alone it begins,
    as pixels tell nothing before many pairs were seen.

    >>> PairCritic(4)(torch.zeros(2, 3, 32, 32), torch.zeros(2, 32, 32), torch.zeros(2)).shape
    torch.Size([2])
    """

    apart = 1.64  # spreads beyond which one stranger in twenty lies: from there on it is believed

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 4
        for step in range(4):
            layers += [nn.Conv2d(inputs, width << step, 4, 2, 1), nn.LeakyReLU(0.2)]
            inputs = width << step
        self.layers = nn.Sequential(*layers)
        self.score = nn.Linear(inputs + 1, 1)
        with torch.no_grad():
            self.score.weight.zero_()[:, -1] = 1.0
            self.score.bias.fill_(-self.apart)

    def forward(self, photo: Tensor, sketch: Tensor, near: Tensor) -> Tensor:
        """Photos (B 3 S S), sketches in pixels (B S S, 1 on 0) and nearness (B) -> B."""
        together = torch.cat([photo, sketch[:, None].to(photo.dtype)], 1)
        seen = self.layers(together).mean((2, 3))
        return self.score(torch.cat([seen, near[:, None]], 1))[:, 0]  # type: ignore[no-any-return]


# --- patches, with a head that sees earlier samples ---


class PatchBody(nn.Module):
    """Features of overlapping patches, 70 pixels wide with three halvings.  B c H W -> B C h w

    >>> PatchBody(3, 8)(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 64, 7, 7])
    """

    def __init__(self, inputs: int, width: int = 64, halvings: int = 3, slope: float = 0.2) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for level in range(halvings + 1):
            outputs = width * min(2**level, 8)
            stride = 2 if level < halvings else 1
            conv = nn.Conv2d(inputs, outputs, 4, stride, padding=1)
            layers.append(nn.utils.parametrizations.spectral_norm(conv))
            if level:
                layers.append(nn.InstanceNorm2d(outputs))
            layers.append(nn.LeakyReLU(slope))
            inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.width = inputs

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class Cache(nn.Module):
    """The last few samples' features, the oldest overwritten first; empty until one is put in."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length
        self.register_buffer("kept", torch.zeros(0))
        self.register_buffer("next", torch.zeros((), dtype=torch.long))
        self.kept: Tensor  # up to length, C h w
        self.next: Tensor  # where the next sample goes

    def put(self, features: Tensor) -> None:
        """Keep features (B C h w), without what they came from.

        >>> cache = Cache(2)
        >>> cache.put(torch.arange(3.0).reshape(3, 1, 1, 1))
        >>> cache.kept.flatten().tolist(), int(cache.next)
        ([2.0, 1.0], 1)
        """
        for one in features.detach():
            if len(self.kept) < self.length:
                kept = self.kept.to(one)
                self.kept = torch.cat([kept, one[None]]) if len(kept) else one[None].clone()
            else:
                self.kept = self.kept.clone()
                self.kept[int(self.next)] = one
            self.next = (self.next + 1) % self.length

    def clear(self) -> None:
        """Forget everything: other data must not meet what was kept."""
        self.kept, self.next = self.kept[:0].flatten(), torch.zeros_like(self.next)

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: object) -> None:
        self.kept = torch.empty_like(state[f"{prefix}kept"])  # it grows while training
        super()._load_from_state_dict(state, prefix, *rest)  # type: ignore[arg-type]


class BatchHead(nn.Module):
    """Logits of patches, normalised together with earlier samples' features.  B C h w -> B 1 h w

    Without them a batch of one would be normalised by nothing but itself.

    >>> BatchHead(6)(torch.rand(1, 6, 4, 5), torch.rand(3, 6, 4, 5)).shape
    torch.Size([1, 1, 4, 5])
    """

    def __init__(self, width: int, slope: float = 0.01) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.net = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.LeakyReLU(slope),
            nn.Conv2d(width, 1, 3, padding=1),
        )

    def forward(self, features: Tensor, earlier: Tensor) -> Tensor:
        together = torch.cat([features, earlier]) if len(earlier) else features
        return self.net(self.norm(together))[: len(features)]  # type: ignore[no-any-return]


class SpreadHead(nn.Module):
    """Logits of patches, with the batch's spread as one more channel.  B C h w -> B 1 h w

    >>> SpreadHead(6)(torch.rand(3, 6, 4, 4)).shape
    torch.Size([3, 1, 4, 4])
    """

    def __init__(self, width: int, slope: float = 0.01) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(width + 1, width, 3, padding=1),
            nn.LeakyReLU(slope),
            nn.Conv2d(width, 1, 3, padding=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.net(with_spread(features))  # type: ignore[no-any-return]


def with_spread(features: Tensor, small: float = 1e-8) -> Tensor:
    """One more channel, everywhere the mean deviation over the batch.  B C h w -> B C+1 h w

    >>> with_spread(torch.ones(2, 3, 1, 1), small=0).shape
    torch.Size([2, 4, 1, 1])
    """
    spread = (features.var(0, unbiased=False) + small).sqrt().mean()
    return torch.cat([features, spread.expand(len(features), 1, *features.shape[2:])], 1)
