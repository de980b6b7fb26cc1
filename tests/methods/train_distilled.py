"""A run in a process of its own, for the test on several ranks."""

import json
import sys

import torch

import fallow
from fallow.images.samples import shapes
from fallow.methods import find
from fallow.train import fit, make_settings


def main(slug: str, encoder: str, out: str, values: dict) -> None:
    torch.set_num_threads(1)
    kind = find("learn", slug)
    fit(
        kind,
        shapes(64, seed=0, side=24),
        encoder=fallow.encoder(encoder, size=16),
        settings=make_settings(kind.Settings, values),
        out=out,
    )


if __name__ == "__main__":
    main(*sys.argv[1:4], json.loads(sys.argv[4]))
