"""Which random views a method wants: sizes, crops, colour, blur; and the published recipes.

Published crops are resampled bilinearly here with a filter that widens when shrinking, also
where the authors used bicubic (SimCLR, GroCo). Sizes below 64 pixels get the small-image form of
each recipe: no blur (a sigma of 2 would erase most of a 32-pixel image) and the milder colours
that SimCLR and MoCo use on CIFAR.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fallow.problems import SettingProblem

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
SMALL = 64  # below this side an image is treated like CIFAR

Triple = tuple[float, float, float]
Pair = tuple[float, float]


@dataclass(frozen=True)
class View:
    """`count` views of `size` x `size` pixels that share their distribution."""

    size: int
    count: int = 1
    area: Pair = (0.08, 1.0)  # share of the image a random crop covers
    aspect: Pair = (3 / 4, 4 / 3)  # width : height of that crop, uniform in its logarithm
    centre: float = 0.0  # not 0: a fixed central square, this part of the short side
    square: float = 0.0  # not 0: a square anywhere, this part of the short side
    flip: float = 0.5
    rotate: float = 0.0  # degrees, drawn from [-rotate, rotate]
    shear: float = 0.0  # degrees, likewise
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # bright contrast satur. hue
    jitter_probability: float = 0.8
    gray: float = 0.0
    blur: float = 0.0
    sigma: Pair = (0.1, 2.0)  # in pixels of the view
    solarise: float = 0.0
    role: str = "global"
    turns: float = 0.0  # chance of a turn by 90, 180 or 270 degrees
    zoom: Pair | None = None  # not None: how much the image is enlarged, instead of `area`
    like: int | None = None  # number of an earlier view whose crop, flip and turn it repeats
    whole: bool = False  # all of the image, its long side as large as the view, and black beside it
    tilt: Pair = (0.0, 0.0)  # of a whole one: spread of its turn in degrees, and chance of any
    swell: float = 0.0  # of a whole one: spread of its size about that which fits

    def __post_init__(self) -> None:
        if self.size < 1 or self.count < 1:
            raise SettingProblem(f"a view needs size and count of at least 1, not {self}")
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise SettingProblem(f"area is a range within (0, 1], not {self.area}")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise SettingProblem(f"aspect is a range of positive ratios, not {self.aspect}")
        if not 0 <= self.sigma[0] <= self.sigma[1]:
            raise SettingProblem(f"sigma is a range of pixels, not {self.sigma}")
        for name in ("centre", "square"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingProblem(
                    f"{name} is a part of the short side, not {getattr(self, name)}"
                )
        if min(self.jitter) < 0 or self.jitter[3] > 0.5:
            raise SettingProblem(f"jitter is four strengths >= 0, hue at most 0.5: {self.jitter}")
        for name in ("flip", "jitter_probability", "gray", "blur", "solarise", "turns"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingProblem(f"{name} is a probability, not {getattr(self, name)}")
        if min(self.tilt) < 0 or self.tilt[1] > 1 or not 0 <= self.swell < 1:
            raise SettingProblem(f"tilt is degrees and a chance, swell less than 1, not {self}")
        if self.zoom is not None and not 0 < self.zoom[0] <= self.zoom[1]:
            raise SettingProblem(f"zoom is a range of positive factors, not {self.zoom}")


@dataclass(frozen=True)
class Recipe:
    """The views of one image, in order, and how their pixels are normalised."""

    views: tuple[View, ...]
    mean: Triple = IMAGENET[0]
    std: Triple = IMAGENET[1]
    side: int | None = None  # short side the images are decoded at; none: what the views need

    def __post_init__(self) -> None:
        every = self.every_view
        for number, view in enumerate(every):
            if view.like is None:
                continue
            if not 0 <= view.like < number or every[view.like].size != view.size:
                raise SettingProblem(
                    f"view {number} can only be like an earlier view of its size, not {view.like}"
                )

    @property
    def every_view(self) -> list[View]:
        """One entry per view: counts written out.

        >>> [view.size for view in swav(224).every_view]
        [224, 224, 96, 96, 96, 96, 96, 96]
        """
        return [view for view in self.views for _ in range(view.count)]

    @property
    def runs(self) -> list[tuple[int, int, int]]:
        """(first view, one past the last, size) of each run of views of equal size.

        >>> swav(224).runs
        [(0, 2, 224), (2, 8, 96)]
        """
        runs: list[tuple[int, int, int]] = []
        for number, view in enumerate(self.every_view):
            if runs and runs[-1][2] == view.size:
                runs[-1] = (runs[-1][0], number + 1, view.size)
            else:
                runs.append((number, number + 1, view.size))
        return runs

    def for_grey(self) -> Recipe:
        """For single-channel images: without saturation, hue and conversion to grey.

        >>> simclr(32).for_grey().views[0].jitter
        (0.4, 0.4, 0.0, 0.0)
        """
        return replace(
            self,
            views=tuple(replace(v, gray=0.0, jitter=(*v.jitter[:2], 0.0, 0.0)) for v in self.views),
        )

    def without_flip(self) -> Recipe:
        """For digits, text and other things that have a left and a right."""
        return replace(self, views=tuple(replace(view, flip=0.0) for view in self.views))


def _recipe(size: int, *views: View) -> Recipe:
    mean, std = CIFAR if size < SMALL else IMAGENET
    return Recipe(views, mean, std)


def simclr(size: int = 224) -> Recipe:
    """SimCLR: two views; strength 1 and blur at ImageNet sizes, strength 0.5 without blur below.

    >>> simclr(224).views[0].jitter, simclr(32).views[0].jitter, simclr(32).views[0].blur
    ((0.8, 0.8, 0.8, 0.2), (0.4, 0.4, 0.4, 0.1), 0.0)
    """
    jitter, blur = ((0.4, 0.4, 0.4, 0.1), 0.0) if size < SMALL else ((0.8, 0.8, 0.8, 0.2), 0.5)
    return _recipe(size, View(size, 2, jitter=jitter, gray=0.2, blur=blur))


def moco(size: int = 224) -> Recipe:
    """MoCo v2 (and InterCLR); at CIFAR sizes the authors' CIFAR demo.

    >>> moco(224).views[0].area
    (0.2, 1.0)
    """
    area, blur = ((0.08, 1.0), 0.0) if size < SMALL else ((0.2, 1.0), 0.5)
    return _recipe(size, View(size, 2, area=area, jitter=(0.4, 0.4, 0.4, 0.1), gray=0.2, blur=blur))


def _uneven_pair(size: int, area: Pair) -> Recipe:
    small = size < SMALL
    view = View(size, area=area, jitter=(0.4, 0.4, 0.2, 0.1), gray=0.2)
    first = replace(view, blur=0.0 if small else 1.0)
    return _recipe(size, first, replace(view, blur=0.0 if small else 0.1, solarise=0.2))


def byol(size: int = 224) -> Recipe:
    """The uneven pair of BYOL and MoCo v3: the first always blurred, the second solarised at times.

    >>> [(view.blur, view.solarise) for view in byol(224).views]
    [(1.0, 0.0), (0.1, 0.2)]
    """
    return _uneven_pair(size, (0.08, 1.0))


def groco(size: int = 224) -> Recipe:
    """GroCo: BYOL's pair with crops of at least 14 % of the image.

    >>> groco(224).views[1].area
    (0.14, 1.0)
    """
    return _uneven_pair(size, (0.14, 1.0))


def swav(size: int = 224) -> Recipe:
    """SwAV multi-crop: two global and six local views; below 64 px two and four of half the side.

    >>> [(view.size, view.count, view.area) for view in swav(32).views]
    [(32, 2, (0.25, 1.0)), (16, 4, (0.05, 0.25))]
    """
    if size < SMALL:
        view = View(size, 2, area=(0.25, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), gray=0.2)
        local = replace(view, size=max(1, size // 2), count=4, area=(0.05, 0.25), role="local")
    else:
        view = View(size, 2, area=(0.14, 1.0), jitter=(0.8, 0.8, 0.8, 0.2), gray=0.2, blur=0.5)
        side = round(size * 96 / 224)
        local = replace(view, size=side, count=6, area=(0.05, 0.14), role="local")
    return _recipe(size, view, local)


def _local_side(size: int, patch: int) -> int:
    """A local view's side for global views of `size`, in whole patches."""
    side = size / 2 if size < SMALL else size * 96 / 224
    return max(1, round(side / patch)) * patch


def dino(size: int = 224, crops: int = 8, boundary: float = 0.4, patch: int = 1) -> Recipe:
    """DINO, iBOT: two global views over `boundary` of the image's area and local ones below it.

    Below 64 px without blur and with local views of half the side, in whole patches.

    >>> [(view.size, view.count, view.area, view.solarise) for view in dino(224).views]
    [(224, 1, (0.4, 1.0), 0.0), (224, 1, (0.4, 1.0), 0.2), (96, 8, (0.05, 0.4), 0.0)]
    >>> [(view.size, view.blur) for view in dino(32, crops=4, boundary=0.25).views]
    [(32, 0.0), (32, 0.0), (16, 0.0)]
    """
    pair = _uneven_pair(size, (boundary, 1.0))
    if not crops:
        return pair
    local = replace(
        pair.views[0],
        size=_local_side(size, patch),
        count=crops,
        area=(0.05, boundary),
        blur=0.0 if size < SMALL else 0.5,
        role="local",
    )
    return replace(pair, views=(*pair.views, local))


def msn(size: int = 224, crops: int = 10, boundary: float = 0.3, patch: int = 1) -> Recipe:
    """MSN: a target view, an anchor of the same kind, and small focal anchors.

    Below 64 px without blur, with milder colours and with focal views of half the side.

    >>> [(view.size, view.count, view.area, view.role) for view in msn(224).views]
    [(224, 2, (0.3, 1.0), 'global'), (96, 10, (0.05, 0.3), 'focal')]
    """
    published = simclr(size)
    large = replace(published.views[0], area=(boundary, 1.0))
    if not crops:
        return replace(published, views=(large,))
    side = _local_side(size, patch)
    focal = replace(large, size=side, count=crops, area=(0.05, boundary), role="focal")
    return replace(published, views=(large, focal))


def symmetric(size: int = 32) -> Recipe:
    """solo-learn's "symmetric" CIFAR recipe: full colour strength, and blur even at 32 pixels.

    >>> symmetric(32).views[0].blur
    0.5
    """
    return _recipe(size, View(size, 2, jitter=(0.8, 0.8, 0.8, 0.2), gray=0.2, blur=0.5))


def ladder(size: int = 32, steps: int = 5) -> Recipe:
    """The first `steps` of crop, blur, grey, jitter, flip: AMCL's ladder of augmentations.

    Its blur keeps to a tenth of the side, so that it can be used on small images.

    >>> [ladder(32, steps).views[0].gray for steps in (2, 3)]
    [0.0, 0.2]
    """
    view = View(size, 2, flip=0.0)
    if steps >= 2:
        view = replace(view, blur=0.5, sigma=(0.1, size / 40))
    if steps >= 3:
        view = replace(view, gray=0.2)
    if steps >= 4:
        view = replace(view, jitter=(0.4, 0.4, 0.4, 0.1))
    if steps >= 5:
        view = replace(view, flip=0.5)
    return _recipe(size, view)


def crop(size: int = 224, smallest: float = 0.2, flip: float = 0.5) -> Recipe:
    """One crop in its own colours, all that masked prediction wants; MAE's unless told otherwise.

    >>> crop(224).views[0].area, crop(224).views[0].jitter
    ((0.2, 1.0), (0.0, 0.0, 0.0, 0.0))
    """
    return _recipe(size, View(size, area=(smallest, 1.0), flip=flip))


def plain(size: int = 224) -> Recipe:
    """One fixed view for evaluation: 7/8 of the short side from the centre, all of it below 64 px.

    >>> plain(224).views[0].centre, plain(32).views[0].centre
    (0.875, 1.0)
    """
    return _recipe(size, View(size, centre=1.0 if size < SMALL else 0.875, flip=0.0))


def identity(size: int) -> Recipe:
    """One fixed view with values in [0, 1]; a size x size image comes back as it is.

    >>> identity(32).views[0].flip, identity(32).std
    (0.0, (1.0, 1.0, 1.0))
    """
    return Recipe((View(size, centre=1.0, flip=0.0),), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def turned(size: int = 64, smallest: float = 0.3, turns: float = 0.5) -> Recipe:
    """One crop, flipped and turned by quarters: all that a segmenter's labelled images want.

    >>> turned(64).views[0].turns
    0.5
    """
    view = View(size, area=(smallest, 1.0), turns=turns, role="weak")
    return replace(_recipe(size, view), side=round(size * 4 / 3))


def paired(size: int = 64, strong: int = 1, smallest: float = 0.3, turns: float = 0.0) -> Recipe:
    """A weak view and `strong` strongly coloured ones of the very same crop, flip and turn.

    >>> [(view.role, view.like) for view in paired(64, strong=2).every_view]
    [('weak', None), ('strong', 0), ('strong', 0)]
    """
    weak = View(size, area=(smallest, 1.0), turns=turns, role="weak")
    hard = replace(
        weak,
        count=strong,
        like=0,
        role="strong",
        jitter=(0.5, 0.5, 0.5, 0.25),
        gray=0.2,
        blur=0.5,
        sigma=(0.1, 2.0 if size >= SMALL else size / 40),
    )
    return replace(_recipe(size, weak, hard), side=round(size * 4 / 3))


def whole(size: int = 128, tilt: float = 0.0, swell: float = 0.0, flip: float = 0.0) -> Recipe:
    """All of a picture in its own colours, turned and scaled a little: what key points want.

    >>> whole(128, tilt=30).views[0].tilt, whole(128).side
    ((30, 0.6), 171)
    """
    view = View(size, whole=True, tilt=(tilt, 0.6 if tilt else 0.0), swell=swell, flip=flip)
    return replace(_recipe(size, view), side=round(size * 4 / 3))


def parameters(recipe: Recipe) -> np.ndarray:
    """One row of numbers per view, in the order the drawing kernel reads them."""
    return np.array(
        [
            (
                view.size,
                *view.area,
                *np.log(view.aspect),
                *view.aspect,
                view.centre,
                view.flip,
                np.deg2rad(view.rotate),
                np.deg2rad(view.shear),
                *view.jitter,
                view.jitter_probability,
                view.gray,
                view.blur,
                *view.sigma,
                view.solarise,
                view.square,
            )
            for view in recipe.every_view
        ],
        np.float64,
    )
