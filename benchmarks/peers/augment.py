"""SimCLR views with torchvision (Pillow, and v2 on tensors), kornia and albumentations.

Each maker takes (sources: N S S 3 uint8, size, jitter, blur probability) and returns a function
of a batch of positions that gives the batch as one B 3 S S normalised float tensor.
"""

import time

import numpy as np
import torch
from serve import serve

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def odd(size):
    """Kernel of a tenth of the side, made odd, as SimCLR has it; at least 3."""
    return max(3, int(0.1 * size) // 2 * 2 + 1)


def pillow(sources, size, jitter, blur):
    from PIL import Image
    from torchvision import transforms as t

    steps = [
        t.RandomResizedCrop(size, (0.08, 1.0)),
        t.RandomHorizontalFlip(),
        t.RandomApply([t.ColorJitter(*jitter)], 0.8),
        t.RandomGrayscale(0.2),
        *([t.RandomApply([t.GaussianBlur(odd(size), (0.1, 2.0))], blur)] if blur else []),
        t.ToTensor(),
        t.Normalize(MEAN, STD),
    ]
    view, pictures = t.Compose(steps), [Image.fromarray(one) for one in sources]
    return lambda batch: torch.stack([view(pictures[i]) for i in batch])


def tensors(sources, size, jitter, blur):
    from torchvision.transforms import v2 as t

    steps = [
        t.RandomResizedCrop(size, (0.08, 1.0), antialias=True),
        t.RandomHorizontalFlip(),
        t.RandomApply([t.ColorJitter(*jitter)], 0.8),
        t.RandomGrayscale(0.2),
        *([t.RandomApply([t.GaussianBlur(odd(size), (0.1, 2.0))], blur)] if blur else []),
        t.ToDtype(torch.float32, scale=True),
        t.Normalize(MEAN, STD),
    ]
    view, pictures = t.Compose(steps), torch.from_numpy(sources).permute(0, 3, 1, 2).contiguous()
    return lambda batch: torch.stack([view(pictures[i]) for i in batch])


def kornia(sources, size, jitter, blur):
    import kornia.augmentation as k

    steps = [
        k.RandomResizedCrop((size, size), (0.08, 1.0)),
        k.RandomHorizontalFlip(),
        k.ColorJitter(*jitter, p=0.8),
        k.RandomGrayscale(p=0.2),
        *([k.RandomGaussianBlur((odd(size), odd(size)), (0.1, 2.0), p=blur)] if blur else []),
        k.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
    ]
    view = k.AugmentationSequential(*steps, data_keys=["input"], same_on_batch=False)
    pictures = torch.from_numpy(sources).permute(0, 3, 1, 2).contiguous()
    return lambda batch: view(pictures[batch].float() / 255)


def albumentations(sources, size, jitter, blur):
    import albumentations as a
    import cv2
    from albumentations.pytorch import ToTensorV2

    cv2.setNumThreads(0)
    steps = [
        a.RandomResizedCrop((size, size), scale=(0.08, 1.0)),
        a.HorizontalFlip(p=0.5),
        a.ColorJitter(*jitter, p=0.8),
        a.ToGray(p=0.2),
        *([a.GaussianBlur((odd(size), odd(size)), (0.1, 2.0), p=blur)] if blur else []),
        a.Normalize(MEAN, STD),
        ToTensorV2(),
    ]
    view = a.Compose(steps)
    return lambda batch: torch.stack([view(image=sources[i])["image"] for i in batch])


MAKERS = {
    "torchvision PIL": (pillow, "torchvision"),
    "torchvision v2": (tensors, "torchvision"),
    "kornia": (kornia, "kornia"),
    "albumentations": (albumentations, "albumentations"),
}
ready = {}


def prepare(peer, sources, size, jitter, blur, batch):
    """Build the pipeline over the pictures in the .npy file `sources`, and warm it up."""
    from importlib.metadata import version

    torch.set_num_threads(1)
    maker, package = MAKERS[peer]
    pictures = np.load(sources)
    ready["make"], ready["count"], ready["batch"] = (
        maker(pictures, size, jitter, blur),
        len(pictures),
        batch,
    )
    first = ready["make"](list(range(min(batch, len(pictures)))))
    assert first.shape[1:] == (3, size, size), first.shape
    return {"version": version(package), "mean": float(first.mean()), "std": float(first.std())}


def rate(seconds):
    """Views per second, over whole batches, for at least so many seconds."""
    generator = np.random.default_rng()
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        batch = generator.integers(0, ready["count"], ready["batch"]).tolist()
        done += len(ready["make"](batch))
    return {"rate": done / (time.perf_counter() - begin)}


if __name__ == "__main__":
    serve(torch.__version__, {"prepare": prepare, "rate": rate})
