"""pyiqa's NIQE, and the features of its BRISQUE, of one picture on one thread."""

import time
from importlib.metadata import version

import numpy as np
import torch
from serve import serve

torch.set_num_threads(1)
ready = {}


def prepare(stored):
    pixels = np.load(stored)
    ready["picture"] = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    return {}


def brisque():
    """36 features as its BRISQUE computes them, without the machine that scores them."""
    from pyiqa.archs.brisque_arch import natural_scene_statistics
    from pyiqa.matlab_utils import imresize
    from pyiqa.utils.color_util import to_y_channel

    luma = to_y_channel(ready["picture"], 255.0)
    half = imresize(luma, scale=0.5, antialiasing=True)
    return torch.cat([natural_scene_statistics(one) for one in (luma, half)], -1)


def niqe():
    """The distance to a model that is plain: which one it is costs nothing."""
    from pyiqa.archs.niqe_arch import calculate_niqe

    mean, spread = torch.zeros(1, 36), torch.eye(36)[None]
    return calculate_niqe(ready["picture"], mu_pris_param=mean, cov_pris_param=spread)


WORK = {"niqe": niqe, "brisque": brisque}


@torch.inference_mode()
def once(name):
    return {"values": WORK[name]().flatten().tolist()}


@torch.inference_mode()
def rate(name):
    """Megapixels per second of this core."""
    begin = time.process_time()
    WORK[name]()
    megapixels = ready["picture"][0, 0].numel() / 1e6
    return {"rate": megapixels / (time.process_time() - begin)}


if __name__ == "__main__":
    serve(version("pyiqa"), {"prepare": prepare, "once": once, "rate": rate})
