"""lightly's SimCLR and SwAV as its plain-torch examples have them, for minutes, at 32 pixels."""

import copy
import time
from pathlib import Path

import lightly
import numpy as np
import torch
import torchvision
from lightly.data import LightlyDataset
from lightly.loss import NTXentLoss, SwaVLoss
from lightly.models.modules import SimCLRProjectionHead, SwaVProjectionHead, SwaVPrototypes
from lightly.transforms import SimCLRTransform, SwaVTransform
from serve import serve

LAST = 1024  # images a pass when vectors are made


def backbone():
    resnet = torchvision.models.resnet18()
    resnet.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    resnet.maxpool = torch.nn.Identity()
    return torch.nn.Sequential(*list(resnet.children())[:-1])


class SimCLR(torch.nn.Module):
    views = SimCLRTransform(input_size=32, cj_strength=0.5, gaussian_blur=0.0)
    rate, optimiser = 0.06, torch.optim.SGD

    def __init__(self):
        super().__init__()
        self.backbone, self.head = backbone(), SimCLRProjectionHead(512, 512, 128)
        self.objective = NTXentLoss()

    def forward(self, views):
        z0, z1 = (self.head(self.backbone(x).flatten(1)) for x in views)
        return self.objective(z0, z1)


class SwAV(torch.nn.Module):
    views = SwaVTransform(
        crop_sizes=(32, 16), crop_counts=(2, 6), cj_strength=0.5, gaussian_blur=0.0
    )
    rate, optimiser = 0.001, torch.optim.Adam

    def __init__(self):
        super().__init__()
        self.backbone = backbone()
        self.head, self.prototypes = SwaVProjectionHead(512, 512, 128), SwaVPrototypes(128, 512)
        self.objective = SwaVLoss()

    def forward(self, views):
        self.prototypes.normalize()
        rows = [self.head(self.backbone(x).flatten(1)) for x in views]
        scores = [self.prototypes(torch.nn.functional.normalize(row, dim=1)) for row in rows]
        return self.objective(scores[:2], scores[2:])


METHODS = {"simclr": SimCLR, "swav": SwAV}


def train(method, folder, batch, workers, threads, minutes, marks):
    """Vectors of both folders at every mark, as METHOD-MARK-PART.npy; and images a second."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = METHODS[method]().train()
    pictures = LightlyDataset(f"{folder}/bank", transform=model.views)
    loader = torch.utils.data.DataLoader(
        pictures, batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=True
    )
    optimiser = model.optimiser(model.parameters(), lr=model.rate)
    kept, steps = {}, 0
    begin = time.perf_counter()
    while len(kept) < len(marks):
        for views, *_ in loader:
            loss = model(views)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            steps += 1
            gone = (time.perf_counter() - begin) / 60
            for mark in marks:
                if gone >= mark and mark not in kept:
                    kept[mark] = copy.deepcopy(model.backbone)
            if gone >= minutes:
                break
    seconds = time.perf_counter() - begin
    del loader
    for mark, network in kept.items():
        for part in ("bank", "test"):
            np.save(f"{folder}/{method}-{mark:g}-{part}.npy", vectors(network, f"{folder}/{part}"))
    return {"images_per_second": steps * batch / seconds}


@torch.no_grad()
def vectors(network, folder):
    """Of the pictures as they are, by name."""
    network.eval()
    normal = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    paths = sorted(Path(folder).rglob("*.png"))
    found = []
    for first in range(0, len(paths), LAST):
        some = [torchvision.io.read_image(str(path)) for path in paths[first : first + LAST]]
        batch = torch.stack([normal(one.float() / 255) for one in some])
        found.append(network(batch).flatten(1).numpy())
    return np.concatenate(found)


if __name__ == "__main__":
    serve(lightly.__version__, {"train": train})
