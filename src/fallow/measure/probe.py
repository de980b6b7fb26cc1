"""How much a simple classifier gets out of frozen features."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from fallow.measure.knn import Accuracy, accuracy
from fallow.problems import Problem
from fallow.train.optimisers import LARC
from fallow.train.schedules import half_cosine, scaled_rate, staircase
from fallow.vectors.arrays import codes, rows


@dataclass(frozen=True)
class Protocol:
    """A published linear probe; `rate` is for batches of 256 and scales with the batch."""

    epochs: int
    batch: int
    rate: float
    weight_decay: float = 0.0
    nesterov: bool = False
    larc: bool = False
    deviation: float = 0.0  # of the initial weights
    milestones: tuple[int, ...] = ()  # epochs to divide the rate by 10; none: half cosine


SIMCLR = Protocol(90, 4096, 0.1, 1e-6, nesterov=True)
SIMCLR_CIFAR = Protocol(100, 512, 0.1, nesterov=True)
MOCO = Protocol(100, 256, 30.0, deviation=0.01, milestones=(60, 80))
SWAV = Protocol(100, 256, 0.3, 1e-6, deviation=0.01)
GROCO = Protocol(90, 4096, 0.1, larc=True, deviation=0.01)
LIGHTLY = Protocol(90, 256, 0.1, deviation=0.01)

SMALL_TABLE = 2_000_000  # numbers


@dataclass(frozen=True)
class FewShot:
    """Accuracies of probes trained on few labels per class, one per seed."""

    shots: int
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))

    @property
    def deviation(self) -> float:
        """Standard deviation over the seeds (0 for a single one)."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else 0.0


def linear_probe(
    train: Any,
    train_labels: Any,
    test: Any,
    test_labels: Any,
    protocol: Protocol = SWAV,
    seed: int = 0,
) -> Accuracy:
    """Train one linear layer by SGD on cached features, as the protocol says; last epoch counts.

    The batch shrinks to the rows there are, and the rate with it. Unlabelled rows are left out.

    >>> x, y = np.repeat(np.eye(3), 8, axis=0), np.repeat([0, 1, 2], 8)
    >>> linear_probe(x, y, x, y, SIMCLR_CIFAR).top1
    1.0
    """
    features, truth = _labelled(train, train_labels)
    sought, answers = _labelled(test, test_labels)
    classes = int(max(truth.max(), answers.max())) + 1
    batch = min(protocol.batch, len(features))
    generator = torch.Generator().manual_seed(seed)
    device = features.device
    weight = torch.randn(classes, features.shape[1], generator=generator) * protocol.deviation
    weight = weight.to(device).requires_grad_()
    bias = torch.zeros(classes, device=device, requires_grad=True)
    rate = scaled_rate(protocol.rate, batch)
    optimiser: torch.optim.Optimizer
    if protocol.larc:
        optimiser = LARC([weight, bias], lr=rate, weight_decay=protocol.weight_decay)
    else:
        optimiser = torch.optim.SGD(
            [weight, bias],
            lr=rate,
            momentum=0.9,
            weight_decay=protocol.weight_decay,
            nesterov=protocol.nesterov,
        )
    steps = len(features) // batch
    for epoch in range(protocol.epochs):
        order = torch.randperm(len(features), generator=generator).to(device)
        for step in range(steps):
            if protocol.milestones:
                now = staircase(epoch, rate, protocol.milestones)
            else:
                now = half_cosine(epoch * steps + step, protocol.epochs * steps, rate)
            optimiser.param_groups[0]["lr"] = now
            chosen = order[step * batch : (step + 1) * batch]
            loss = F.cross_entropy(F.linear(features[chosen], weight, bias), truth[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        scores = F.linear(sought.to(device), weight, bias)
    return accuracy(scores.cpu().numpy(), answers.cpu().numpy())


def logistic_probe(
    train: Any,
    train_labels: Any,
    test: Any,
    test_labels: Any,
    *,
    strengths: Sequence[float] = (1e-3, 1e-2, 1e-1, 1.0, 10.0),
    held_out: float = 0.2,
    seed: int = 0,
) -> Accuracy:
    """Multinomial logistic regression on standardised features: the probe for small data.

    `strengths` are scikit-learn's C, small meaning strongly regularised. The best on a held-out
    part of train is refitted on all of it. Where no class has two rows nothing can be held out,
    and the middle strength is used.

    >>> x, y = np.repeat(np.eye(3), 8, axis=0), np.repeat([0, 1, 2], 8)
    >>> logistic_probe(x, y, x, y).top1
    1.0
    """
    features, truth = (part.cpu().numpy() for part in _labelled(train, train_labels))
    sought, answers = (part.cpu().numpy() for part in _labelled(test, test_labels))
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    features, sought = (features - mean) / deviation, (sought - mean) / deviation
    if len(np.unique(truth)) < 2:
        raise Problem("a probe needs training rows of at least two classes.")
    kept, out = _hold_out(truth, held_out, seed)
    strength = sorted(strengths)[len(strengths) // 2]
    if len(out) and len(strengths) > 1:
        tried = [
            accuracy(_fit_scores(features[kept], truth[kept], features[out], c), truth[out]).top1
            for c in sorted(strengths)
        ]
        strength = sorted(strengths)[int(np.argmax(tried))]  # a tie goes to the simpler one
    return accuracy(_fit_scores(features, truth, sought, strength), answers)


def ridge_probe(
    train: Any,
    train_labels: Any,
    test: Any,
    test_labels: Any,
    *,
    strengths: Sequence[float] = (1e-2, 1e-1, 1.0, 10.0),
    seed: int = 0,
) -> Accuracy:
    """Least squares on standardised features: the probe for many comparisons, within a moment.

    `strengths` are shares of the features' whole variance; leaving one row out at a time chooses
    among them without another fit. Nothing is drawn: `seed` is there to match the other probes.

    >>> x, y = np.repeat(np.eye(3), 8, axis=0), np.repeat([0, 1, 2], 8)
    >>> ridge_probe(x, y, x, y).top1
    1.0
    """
    from sklearn.linear_model import RidgeClassifierCV

    features, truth = (part.cpu().numpy() for part in _labelled(train, train_labels))
    sought, answers = (part.cpu().numpy() for part in _labelled(test, test_labels))
    if len(np.unique(truth)) < 2:
        raise Problem("a probe needs training rows of at least two classes.")
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    model = RidgeClassifierCV(alphas=[strength * features.shape[1] for strength in strengths])
    model.fit((features - mean) / deviation, truth)
    found = np.asarray(model.decision_function((sought - mean) / deviation))
    if found.ndim == 1:  # of two classes, how much more it looks like the second
        found = np.stack([-found, found], 1)
    scores = np.full((len(sought), int(max(truth.max(), answers.max())) + 1), -np.inf)
    scores[:, model.classes_] = found
    return accuracy(scores, answers)


def few_shot(
    train: Any,
    train_labels: Any,
    test: Any,
    test_labels: Any,
    *,
    shots: int = 5,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    probe: Callable[..., Accuracy] = logistic_probe,
) -> FewShot:
    """Probes on `shots` random labels per class (or all of a smaller class), per seed.

    >>> x, y = np.repeat(np.eye(3), 8, axis=0), np.repeat([0, 1, 2], 8)
    >>> few_shot(x, y, x, y, shots=1, seeds=(0, 1)).mean
    1.0
    """
    features, truth = _labelled(train, train_labels)
    names = truth.cpu().numpy()
    scores = []
    for seed in seeds:
        random = np.random.default_rng(seed)
        chosen = np.concatenate(
            [random.permutation(np.flatnonzero(names == name))[:shots] for name in np.unique(names)]
        )
        picked = torch.from_numpy(chosen).to(features.device)
        result = probe(features[picked], truth[picked], test, test_labels, seed=seed)
        scores.append(result.top1)
    return FewShot(shots, tuple(scores))


def _labelled(features: Any, labels: Any) -> tuple[torch.Tensor, torch.Tensor]:
    table = rows(features)
    names = codes(labels, len(table)).to(table.device)
    known = names >= 0
    if not known.any():
        raise Problem("a probe needs at least one labelled row to train on and one to test on.")
    return table[known], names[known]


def _hold_out(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit on and rows to choose by; every class keeps at least one to fit on."""
    random = np.random.default_rng(seed)
    out = []
    for name in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == name))
        out.append(members[: min(max(1, round(share * len(members))), len(members) - 1)])
    chosen = np.concatenate(out)
    return np.setdiff1d(np.arange(len(labels)), chosen), np.sort(chosen)


def _fit_scores(
    features: np.ndarray, labels: np.ndarray, sought: np.ndarray, strength: float
) -> np.ndarray:
    """Class probabilities (Q, highest label + 1) of a fitted regression."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    model = LogisticRegression(C=strength, max_iter=300)
    # on small tables threads wait for each other longer than they work, on busy cores far longer
    threads = 1 if features.size < SMALL_TABLE else None
    with threadpool_limits(threads, "blas"), warnings.catch_warnings():
        # weakly regularised fits may stop early; the held-out part judges them as they are
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels)
    scores = np.zeros((len(sought), int(labels.max()) + 1))
    scores[:, model.classes_] = model.predict_proba(sought)
    return scores
