"""anomalib's FastFlow by its own engine: told to save after every step, and begun again from its
last checkpoint. `python killed_parts.py PICTURES OUT EPOCHS BATCH`; the pictures are all sound."""

import sys
import warnings
from pathlib import Path

import anomalib
import torch
from anomalib.data import Folder
from anomalib.data.utils import TestSplitMode, ValSplitMode
from anomalib.engine import Engine
from anomalib.models import Fastflow
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint


class Told(Fastflow):
    def on_train_batch_end(self, *_):
        print("step", self.trainer.global_step, flush=True)


def main(pictures, out, epochs, batch):
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    seed_everything(0, verbose=False)
    data = Folder(
        name="parts", root=pictures, normal_dir=".", train_batch_size=batch, num_workers=0,
        test_split_mode=TestSplitMode.NONE, val_split_mode=ValSplitMode.NONE,
    )  # fmt: skip
    saved = ModelCheckpoint(out, every_n_train_steps=1, save_last=True)
    engine = Engine(
        max_epochs=epochs, accelerator="cpu", devices=1, callbacks=[saved], logger=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=out,
        limit_val_batches=0,
    )  # fmt: skip
    model = Told(
        backbone="resnet18", pre_trained=False, flow_steps=4, evaluator=False, visualizer=False,
        pre_processor=Told.configure_pre_processor((64, 64)),
    )  # fmt: skip
    last = Path(out) / "last.ckpt"
    engine.fit(model, datamodule=data, ckpt_path=str(last) if last.exists() else None)
    learnt = [one for one in model.parameters() if one.requires_grad]
    print("end", sum(float(one.detach().double().abs().sum()) for one in learnt), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["version"]:
        print(anomalib.__version__)
    else:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
