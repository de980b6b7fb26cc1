"""Protective patterns for a collection: settings that suit it, training, and how they look."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fallow.methods.protect.uc import UC, Protector
from fallow.problems import SourceProblem
from fallow.train import fit, make_settings
from fallow.train.streams import source_side

if TYPE_CHECKING:
    from fallow.encoders import Encoder
    from fallow.images import Images

LEAST = 8  # px, the smallest side a pattern makes sense on


def fitted(
    kind: type[UC], images: Images, given: dict[str, Any], tell: Callable[[str], None]
) -> Any:
    """Settings with a pattern size and a batch that suit these images."""

    side = int(np.median(np.minimum(images.column("width"), images.column("height"))))
    if side < LEAST:
        raise SourceProblem(
            f"the pictures in {images.name} are {side} px on their short side: "
            f"protect needs {LEAST} px or more"
        )
    gpu = torch.cuda.is_available()
    size = min(side, 224 if gpu else 64) // 4 * 4
    chosen: Any = make_settings(kind.Settings, {"size": size, "batch": 256 if gpu else 64} | given)
    if chosen.size > side:
        tell(
            f"patterns of {chosen.size} px are shrunk to the pictures' {side} px, "
            f"which weakens them: size={size} fits"
        )
    return chosen


def trained(
    kind: type[UC],
    images: Images,
    encoder: Encoder,
    settings: Any,
    hidden: Path,
    seed: int,
    tell: Callable[[str], None],
    progress_bar: bool,
) -> tuple[Protector, dict[str, Any]]:

    learnt = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    try:
        run = fit(
            kind, images, encoder=encoder, settings=settings, out=hidden / "run", seed=seed,
            tell=tell, progress_bar=progress_bar,
        )  # fmt: skip
    finally:
        for parameter in learnt:  # the encoder is handed back as it came
            parameter.requires_grad_(True)
    method: Any = run.method
    pack = images.pack(side=source_side(method.recipe()))
    hashes = images.column("hash")[pack.rows].tolist()
    made = Protector(
        encoder,
        method.centres.cpu().numpy(),
        method.all_patterns().cpu(),
        method.budget,
        settings.resize,
        dict(zip(hashes, method.members[: len(pack)].tolist(), strict=True)),
    )
    return made, {
        "settings": run.settings.model_dump(exclude_none=True),
        "steps": run.steps,
        "seconds": round(run.seconds, 1),
        "loss": next((line["kl"] for line in reversed(run.history) if "kl" in line), None),
        "loss at first": next((line["kl"] for line in run.history if "kl" in line), None),
    }


def pattern_pictures(made: Protector) -> list[np.ndarray]:
    """Patterns as uint8 pictures: grey where nothing changes, full strength at the extremes."""
    pictures = []
    for pattern in made.patterns:
        most = max(float(pattern.abs().max()), 1e-9)
        values = (pattern.permute(1, 2, 0).numpy() / most + 1) * 127.5
        pictures.append(np.rint(values).clip(0, 255).astype(np.uint8))
    return pictures
