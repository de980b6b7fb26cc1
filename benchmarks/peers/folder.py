"""ImageFolder and a DataLoader: batches of undecorated uint8 pictures, one epoch at a time."""

import time

import torchvision
from serve import serve
from torch.utils.data import DataLoader
from torchvision.transforms import v2

ready = {}


def prepare(folder, batch, workers):
    pictures = torchvision.datasets.ImageFolder(folder, v2.PILToTensor())
    ready["loader"] = DataLoader(
        pictures, batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    return {"count": len(pictures)}


def epoch():
    begin, done = time.perf_counter(), 0
    for pictures, _ in ready["loader"]:
        assert pictures.shape[1:] == (3, 256, 256), pictures.shape
        done += len(pictures)
    return {"rate": done / (time.perf_counter() - begin)}


if __name__ == "__main__":
    serve(torchvision.__version__, {"prepare": prepare, "epoch": epoch})
