"""Random views of images: crops, colour and blur in one pass, with their geometry."""

from fallow.views.recipe import (
    CIFAR,
    IMAGENET,
    Recipe,
    View,
    byol,
    groco,
    identity,
    moco,
    plain,
    simclr,
    swav,
    symmetric,
)
from fallow.views.render import (
    ArrayPack,
    Drawn,
    Rendered,
    draw,
    pack_arrays,
    render,
    render_drawn,
)
