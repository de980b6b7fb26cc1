"""How much a model still knows of images it was to forget, beside one that never saw them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fallow.measure.membership import MOST, Attacker

if TYPE_CHECKING:
    from fallow.images.shelf import Shelf

BATCH = 256
ACCURACIES = ("kept", "forgotten", "test", "test_kept", "test_forgotten")


class Judge:
    """Measures any model on the same images."""

    def __init__(
        self, parts: Any, shelves: Mapping[str, Shelf], device: torch.device, seed: int
    ) -> None:
        self.parts, self.shelves, self.device, self.seed = parts, shelves, device, seed
        self.labels = {}
        for name, images in parts.each.items():
            codes, names = images.labels
            self.labels[name] = np.array([*names, None], object)[codes][shelves[name].rows]
        kept, forgotten = (set(self.labels[name].tolist()) for name in ("kept", "forgotten"))
        self.gone = forgotten - kept - {None}  # classes of which nothing is kept
        self.guesses: dict[str, dict[str, np.ndarray]] = {}

    def row(self, name: str, model: Any, seconds: float | None = None) -> dict[str, Any]:
        """Accuracies and membership inference of one model."""
        logits = {part: logits_of(model, each, self.device) for part, each in self.shelves.items()}
        names = np.array([*model.names, None], object)
        guesses = {part: names[table.argmax(1)] for part, table in logits.items()}
        self.guesses[name] = guesses
        right = {part: self._share(part, guesses[part]) for part in guesses}
        found: dict[str, Any] = {"model": name, **dict.fromkeys(ACCURACIES), **right}
        if "test" in guesses and self.gone:
            ours = np.array([label in self.gone for label in self.labels["test"]], bool)
            found["test_kept"] = self._share("test", guesses["test"], ~ours)
            found["test_forgotten"] = self._share("test", guesses["test"], ours)
        found |= self._membership(logits)
        return found | {"seconds": seconds}

    def _share(
        self, part: str, guesses: np.ndarray, among: np.ndarray | None = None
    ) -> float | None:
        labels = self.labels[part]
        known = np.array([label is not None for label in labels], bool)
        known &= True if among is None else among
        return float((guesses[known] == labels[known]).mean()) if known.any() else None

    def _membership(self, logits: Mapping[str, np.ndarray]) -> dict[str, float | None]:
        """An attack with test images as those never seen: half to learn from, half to ask about."""
        names = ("success", "trivial", "balanced", "auroc")
        found: dict[str, float | None] = {f"membership_{name}": None for name in names}
        found["membership_same_class"] = None
        if len(logits.get("test", ())) < 4:
            return found
        random = np.random.default_rng([self.seed, 7])
        order = random.permutation(len(logits["test"]))
        half = min(MOST, len(order) // 2)
        attacker = Attacker(logits["kept"], logits["test"][order[:half]], self.seed)
        doomed = logits["forgotten"][random.permutation(len(logits["forgotten"]))[:MOST]]
        unseen = order[half:]
        asked = attacker.ask(doomed, logits["test"][unseen[: max(1, len(doomed))]])
        found |= {f"membership_{name}": getattr(asked, name) for name in names}
        wanted = set(self.labels["forgotten"].tolist()) - {None}
        same = np.array([self.labels["test"][k] in wanted for k in unseen], bool)
        if same.any():
            alike = attacker.ask(doomed, logits["test"][unseen[same]])
            found["membership_same_class"] = alike.auroc
        return found


def logits_of(model: Any, shelf: Shelf, device: torch.device) -> np.ndarray:
    parts = []
    with torch.inference_mode():
        for _, pixels in shelf.batches(BATCH):
            x = model.preprocessing.normalise(pixels.to(device))
            parts.append(model(x).float().cpu().numpy())
    return np.concatenate(parts)


def compare_to_last(rows: list[dict[str, Any]], judge: Judge) -> None:
    """Distances of every other row to the last one, the retrained model."""
    retrained = rows[-1]
    theirs = judge.guesses[retrained["model"]]
    for row in rows[:-1]:
        for name in ACCURACIES:
            if row[name] is not None and retrained[name] is not None:
                row[f"{name}_from_retrained"] = row[name] - retrained[name]
        ours = judge.guesses[row["model"]]
        row["disagreement_forgotten"] = float((ours["forgotten"] != theirs["forgotten"]).mean())
        if row["seconds"] and retrained["seconds"]:
            row["time_ratio"] = row["seconds"] / retrained["seconds"]
