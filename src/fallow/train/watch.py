"""Notice within minutes that a model has stopped telling images apart."""

from __future__ import annotations

from fallow.problems import Problem
from fallow.train.collapse import spread
from fallow.train.method import Loss


class Watch:
    """Running means of spread and loss; says once what looks like a collapse."""

    def __init__(self, patience: int = 50, decay: float = 0.95) -> None:
        self.patience, self.decay = patience, decay
        self.steps = 0
        self.spread: float | None = None
        self.ratio: float | None = None  # loss / trivial loss
        self.warnings: list[str] = []

    def _mean(self, old: float | None, new: float) -> float:
        return new if old is None else self.decay * old + (1 - self.decay) * new

    def see(self, loss: Loss, total: float) -> str | None:
        """Take one step in; returns a warning the first time one is due."""
        self.steps += 1
        if loss.embedding is not None:
            self.spread = self._mean(self.spread, spread(loss.embedding.detach()))
        if loss.trivial:
            self.ratio = self._mean(self.ratio, total / loss.trivial)
        # asked before all else and of what all ranks share, so that they stop together
        sits = self.ratio is not None and abs(self.ratio - 1) < 0.02
        if loss.advice and sits and self.steps >= 4 * self.patience:
            raise Problem(
                f"the loss sits at its trivial value {loss.trivial:.2f} and nothing is being "
                f"learnt: {loss.advice}"
            )
        if self.steps < self.patience or self.warnings:
            return None
        if self.spread is not None and self.spread < 0.05:
            text = (
                f"the embeddings are collapsing (spread {self.spread:.3f}; a healthy run stays "
                "above 0.3): lower the learning rate, or raise the batch"
            )
        elif self.ratio is not None and self.steps >= 4 * self.patience and self.ratio > 0.98:
            text = (
                f"the loss sits at {100 * self.ratio:.0f} % of its trivial value: nothing is "
                "being learnt yet; a higher learning rate or fewer prototypes helps on small data"
            )
        else:
            return None
        self.warnings.append(text)
        return text

    def means(self) -> dict[str, float | None]:
        return {"spread": self.spread, "loss_of_trivial": self.ratio}

    def state(self) -> dict[str, object]:
        return {
            "steps": self.steps,
            "spread": self.spread,
            "ratio": self.ratio,
            "warnings": list(self.warnings),
        }

    def restore(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
