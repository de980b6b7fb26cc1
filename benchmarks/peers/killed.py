"""lightly's SimCLR by PyTorch Lightning, as its documentation has it: told to save after every
step, and begun again from its last checkpoint. `python killed.py PICTURES OUT EPOCHS BATCH`."""

import sys
from pathlib import Path

import lightly
import pytorch_lightning as pl
import torch
import torchvision
from lightly.data import LightlyDataset
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform


class SimCLR(pl.LightningModule):
    def __init__(self):
        super().__init__()
        resnet = torchvision.models.resnet18()
        self.backbone = torch.nn.Sequential(*list(resnet.children())[:-1])
        self.head = SimCLRProjectionHead(512, 512, 128)
        self.criterion = NTXentLoss()

    def training_step(self, batch, number):
        first, second = (self.head(self.backbone(view).flatten(1)) for view in batch[0])
        return self.criterion(first, second)

    def on_train_batch_end(self, *_):
        print("step", self.global_step, flush=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.06)


def main(pictures, out, epochs, batch):
    torch.set_num_threads(1)
    pl.seed_everything(0, verbose=False)
    views = SimCLRTransform(input_size=32, gaussian_blur=0.0)
    loader = torch.utils.data.DataLoader(
        LightlyDataset(pictures, transform=views), batch, shuffle=True, drop_last=True
    )
    saved = pl.callbacks.ModelCheckpoint(out, every_n_train_steps=1, save_last=True)
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, callbacks=[saved], logger=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    model = SimCLR()
    last = Path(out) / "last.ckpt"
    trainer.fit(model, loader, ckpt_path=str(last) if last.exists() else None)
    torch.save(list(model.backbone.parameters()), Path(out) / "end.pt")
    total = sum(float(one.detach().double().abs().sum()) for one in model.backbone.parameters())
    print("end", total, flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["version"]:
        print(lightly.__version__)
    else:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
