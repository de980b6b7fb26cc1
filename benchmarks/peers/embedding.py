"""timm and open_clip turn a folder of pictures into vectors, as their documentation does it.

The network is EfficientNet-Lite0, which both can build; how long it takes does not depend on what
it has learnt, so its weights are random.
"""

import json
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import open_clip
import timm
import torch
from PIL import Image
from serve import serve

NETWORK = "efficientnet_lite0"
ready = {}


class Pictures(torch.utils.data.Dataset):
    def __init__(self, folder, transform):
        self.files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        self.transform = transform

    def __len__(self):
        return len(self.files)

    def __getitem__(self, place):
        with Image.open(self.files[place]) as picture:
            return self.transform(picture.convert("RGB"))


def of_timm(size):
    model = timm.create_model(NETWORK, num_classes=0)
    how = timm.data.resolve_data_config({"input_size": (3, size, size)}, model=model)
    return model, model, timm.data.create_transform(**how)


def of_open_clip(size):
    """A CLIP whose tower for pictures is the same network; only that one is run."""
    vision = {
        "timm_model_name": NETWORK, "timm_model_pretrained": False, "timm_pool": "avg",
        "timm_proj": "linear", "image_size": size,
    }  # fmt: skip
    text = {"context_length": 8, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}
    with tempfile.TemporaryDirectory() as folder:
        name = Path(folder) / f"{NETWORK}-{size}.json"
        name.write_text(json.dumps({"embed_dim": 512, "vision_cfg": vision, "text_cfg": text}))
        open_clip.add_model_config(name)
        model, _, transform = open_clip.create_model_and_transforms(name.stem)
    return model, model.encode_image, transform


def prepare(kind, folder, size, batch, workers, threads, fast):
    """`fast`: bf16 and channels last."""
    torch.set_num_threads(threads)
    model, look, transform = {"timm": of_timm, "open_clip": of_open_clip}[kind](size)
    model.eval().to(memory_format=torch.channels_last if fast else torch.contiguous_format)
    loader = torch.utils.data.DataLoader(
        Pictures(folder, transform), batch, num_workers=workers, persistent_workers=True
    )
    ready.update(look=look, loader=loader, fast=fast)
    next(iter(loader))  # workers start
    return {"count": len(loader.dataset)}


def embed():
    vectors = []
    begin = time.perf_counter()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=ready["fast"]):
        for part in ready["loader"]:
            if ready["fast"]:
                part = part.to(memory_format=torch.channels_last)
            vectors.append(ready["look"](part).float())
    count = len(torch.cat(vectors))
    return {"rate": count / (time.perf_counter() - begin)}


if __name__ == "__main__":
    names = ("timm", "open_clip_torch")
    versions = " ".join(version(name) for name in names)
    serve(versions, {"prepare": prepare, "embed": embed})
