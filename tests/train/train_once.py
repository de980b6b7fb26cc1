"""A training run in a process of its own, for tests that kill it or run it on several ranks."""

import sys

import torch

import fallow
from fallow.images.samples import shapes
from fallow.methods import find
from fallow.train import fit, make_settings
from fallow.train.process import launch


def main(slug: str, out: str, extra: dict) -> None:
    torch.set_num_threads(1)
    kind, sharded = find("learn", slug), extra.pop("sharded", False)
    values = {
        "epochs": 4,
        "batch": 16,
        "size": 16,
        "precision": "32",
        "learning_rate": 0.05,
        "save_minutes": 0.0,
    }
    run = fit(
        kind,
        shapes(64, seed=0, side=24),
        encoder=fallow.encoder("resnet8/8"),
        settings=make_settings(kind.Settings, values | extra),
        out=out,
        fabric=launch(sharded=sharded),
    )
    if run.folder and run.steps:
        print("done", run.steps, flush=True)


if __name__ == "__main__":
    import json

    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]) if len(sys.argv) > 3 else {})
