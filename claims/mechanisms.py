"""The survey's mechanisms on the same images for the same minutes, beside random and supervised.

Every run trains one small transformer for equal minutes from the same weights. Three measures:
k-NN and a linear probe on the frozen vectors, and fine-tuning all weights on a tenth of the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.photos import archive

from claims import arms
from claims.arms import Arm, Observe, Outcome, Plan, Trained, Trials
from claims.record import Entry

MECHANISMS = ("mocov3", "dino", "ibot", "msn", "mae", "simmim", "data2vec", "ijepa")
ARMS = {
    "random": Arm(None),
    "supervised": Arm("supervised", {"optimiser": "adamw", "learning_rate": 1e-3}),
    **{slug: Arm(slug) for slug in MECHANISMS},
}
SHARE, EPOCHS = 0.1, 20  # of the labels, and of fine-tuning on them
VIEWS = ("mocov3", "dino", "msn")  # iBOT predicts both
MASKED = ("mae", "simmim", "data2vec", "ijepa")
MEASURES = {"knn": "k-NN", "probe": "a linear probe", "finetune": "a tenth of the labels"}


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    import fallow

    plan = plan or Plan(encoder="vit-pico/4", images=3000, asked=2000)
    everything = fallow.open(archive(data, plan.archive))
    bank = everything.where("split = 'train'").sample(plan.images, seed=0)
    test = arms.asked(everything, plan)
    # a fifth of the time for embedding, probes and fine-tuning
    plan = replace(plan, minutes=0.8 * minutes / (plan.seeds * (len(ARMS) - 1)))
    return entries(arms.run(data, minutes, ARMS, plan, observe=tuned_on_few(plan, bank, test)))


def entries(found: Trials) -> list[Entry]:
    """Every mechanism beside random and supervised; the survey's pattern, by means of families."""
    whole = with_family(with_family(found, "views", VIEWS), "masks", MASKED)
    pattern = (
        ("views", "masks", "knn"),
        ("views", "masks", "probe"),
        ("masks", "views", "finetune"),
    )
    return [
        *(
            whole.compare(f"predicting {ours} serves {MEASURES[measure]} better than {theirs}",
                          ours, theirs, measure)
            for ours, theirs, measure in pattern
        ),
        *(
            whole.compare(f"{slug} serves {text} better than {other}", slug, other, measure)
            for other in ("random", "supervised")
            for slug in (*MECHANISMS, "supervised")
            for measure, text in MEASURES.items()
            if slug != other
        ),
    ]  # fmt: skip


def with_family(found: Trials, name: str, members: Sequence[str]) -> Trials:
    """One arm more: what the members reach on average, seed by seed."""
    seeds = zip(*(found.outcomes[slug] for slug in members), strict=True)
    means = [
        Outcome(
            *(mean(getattr(one, key) for one in each)
              for key in ("knn", "probe", "epochs", "minutes")),
            seen={"finetune": mean(one.seen["finetune"] for one in each), "of": list(members)},
        )
        for each in seeds
    ]  # fmt: skip
    return replace(found, arms={**found.arms, name: Arm(None)},
                   outcomes={**found.outcomes, name: means})  # fmt: skip


def tuned_on_few(plan: Plan, bank: Any, test: Any) -> Observe:
    """Accuracy after all weights were trained on a few labelled images."""

    def observe(trained: Trained) -> dict[str, Any]:
        import copy

        from fallow.encoders.classifier import scores
        from fallow.methods import find
        from fallow.train import fit, make_settings

        few, _ = bank.split(SHARE, seed=trained.seed)
        kind = find("learn", "supervised")
        settings = make_settings(
            kind.Settings,
            {
                "epochs": EPOCHS,
                "size": plan.size,
                "batch": min(64, len(few)),
                "optimiser": "adamw",
                "learning_rate": 2e-3,
                "weight_decay": 0.05,
            },
        )
        start = copy.deepcopy(trained.encoder)
        fitted = fit(kind, few, encoder=start, settings=settings, seed=trained.seed)
        named = scores(fitted.method.classifier, test).argmax(1)
        truth = test.labels_in(few.labels[1])
        return {"finetune": float((named == truth).mean())}

    return observe
