"""lightly's SimCLR as its plain-torch example has it, with a CIFAR stem at 32 pixels.

The head has three layers, as in the authors' code and in fallow, so that losses compare.
"""

import time

import lightly
import torch
import torchvision
from lightly.data import LightlyDataset
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from serve import serve

ready = {}


class SimCLR(torch.nn.Module):
    def __init__(self):
        super().__init__()
        resnet = torchvision.models.resnet18()
        resnet.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        resnet.maxpool = torch.nn.Identity()
        self.backbone = torch.nn.Sequential(*list(resnet.children())[:-1])
        self.head = SimCLRProjectionHead(512, 512, 128, num_layers=3)

    def forward(self, x):  # B 3 S S
        return self.head(self.backbone(x).flatten(1))


def prepare(folder, batch, workers, threads):
    torch.set_num_threads(threads)
    # 32 pixels: no blur, as in the example; the colours of SimCLR on CIFAR, so that losses compare
    views = SimCLRTransform(input_size=32, cj_strength=0.5, gaussian_blur=0.0)
    pictures = LightlyDataset(folder, transform=views)
    ready["loader"] = torch.utils.data.DataLoader(
        pictures, batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=True
    )
    return {"count": len(pictures)}


def train(steps, seed, fast, warm, rate, temperature):
    """`steps` timed steps after `warm` untimed ones. `fast`: bf16 and channels last."""
    torch.manual_seed(seed)
    model, objective = SimCLR(), NTXentLoss(temperature)
    layout = torch.channels_last if fast else torch.contiguous_format
    model = model.to(memory_format=layout).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=rate)
    losses, begin = [], 0.0

    def batches():
        while True:
            yield from ready["loader"]

    for step, batch in enumerate(batches()):
        if step == warm:
            begin = time.perf_counter()
        if step == warm + steps:
            break
        first, second = (view.to(memory_format=layout) for view in batch[0])
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            z0, z1 = model(first), model(second)
        loss = objective(z0.float(), z1.float())
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    seconds = time.perf_counter() - begin
    return {"rate": steps * ready["loader"].batch_size / seconds, "losses": losses}


if __name__ == "__main__":
    serve(lightly.__version__, {"prepare": prepare, "train": train})
