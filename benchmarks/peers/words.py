"""open_clip's step, pycocoevalcap's measures and mir_eval's, as their documentation has them."""

import json
import time
import warnings
from importlib.metadata import version

import numpy as np
import torch
from serve import serve

ready = {}


def clip(image, text, stored, threads):
    """A CLIP of the given sizes with ClipLoss and AdamW; how many weights it has."""
    from open_clip.loss import ClipLoss
    from open_clip.model import CLIP

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = CLIP(image.pop("output"), image, text, quick_gelu=True).train()
    held = np.load(stored)
    ready.update(
        model=model,
        loss=ClipLoss(),
        optimiser=torch.optim.AdamW(model.parameters(), lr=1e-4),
        pictures=torch.from_numpy(held["pictures"]),
        numbers=torch.from_numpy(held["numbers"]),
    )
    return {"weights": sum(one.numel() for one in model.parameters())}


def step(fast):
    """Steps a second; `fast`: bf16."""
    begin = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=fast):
        pictures, texts, scale = ready["model"](ready["pictures"], ready["numbers"])
        loss = ready["loss"](pictures, texts, scale)
    ready["optimiser"].zero_grad()
    loss.backward()
    ready["optimiser"].step()
    return {"rate": 1 / (time.perf_counter() - begin), "loss": float(loss.detach())}


def captions(stored):
    """BLEU-1 to 4, ROUGE-L and CIDEr-D of captions, and how many a second."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    with open(stored) as file:
        own, texts = json.load(file)
    begin = time.perf_counter()
    found, given = {row: [one] for row, one in enumerate(own)}, dict(enumerate(texts))
    scores = [
        *Bleu(4).compute_score(given, found, verbose=0)[0],
        Rouge().compute_score(given, found)[0],
        Cider().compute_score(given, found)[0],
    ]
    seconds = time.perf_counter() - begin
    return {"rate": len(own) / seconds, "scores": [float(one) for one in scores]}


def sounds(stored):
    """SDR, SIR and SAR of estimates in the order of their sources."""
    from mir_eval.separation import bss_eval_sources

    warnings.simplefilter("ignore")
    held = np.load(stored)
    begin = time.perf_counter()
    found = bss_eval_sources(held["sources"], held["estimates"], compute_permutation=False)
    seconds = time.perf_counter() - begin
    return {"rate": 1 / seconds, "scores": [one.tolist() for one in found[:3]]}


if __name__ == "__main__":
    names = ("open_clip_torch", "pycocoevalcap", "mir_eval")
    serve(
        " ".join(version(name) for name in names),
        {"clip": clip, "step": step, "captions": captions, "sounds": sounds},
    )
