"""Arms of a claim: same start, same budget, judged alike; on drawn shapes in an archive."""

from __future__ import annotations

import csv
import io
import zipfile

import pytest
from claims.arms import Arm, Plan
from PIL import Image

from claims import arms, gsimclr, interclr, mechanisms
from fallow.images.samples import shapes

PLAN = Plan(encoder="resnet8/8", images=48, size=16, batch=16, seeds=3)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    images = shapes(72, seed=0, side=24)
    codes, names = images.labels
    with zipfile.ZipFile(folder / "cifar10_subset.zip", "w") as archive:
        table = io.StringIO()
        lines = csv.writer(table)
        lines.writerow(["path", "label", "split"])
        for row in range(len(images)):
            path = f"images/{row:03d}.png"
            file = io.BytesIO()
            Image.fromarray(images[row]).save(file, "PNG")
            archive.writestr(path, file.getvalue())
            lines.writerow([path, names[codes[row]], "train" if row < 48 else "test"])
        archive.writestr("labels.csv", table.getvalue())
    return folder


def test_arms_share_seeds_and_budget(data):
    sides = {
        "one": Arm("simclr"),
        "again": Arm("simclr"),
        "longer": Arm("simclr", minutes_of="one"),
        "none": Arm(None),
    }
    found = arms.run(data, 0.0, sides, PLAN)
    assert [one.epochs for one in found.outcomes["one"]] == [1.0] * 3
    assert all(one.epochs >= 1 / 3 for one in found.outcomes["longer"])
    same = found.compare("a run equals itself", "one", "again")
    assert same.mean_difference == 0.0
    assert same.verdict == "tie"
    floors = found.floors["untrained"]
    assert [(one.knn, one.probe) for one in found.outcomes["none"]] == [
        (floor["knn"], floor["probe"]) for floor in floors
    ]
    assert found.outcomes["one"][0].seen["loss"] > 0


def test_a_rate_is_chosen_on_training_images_alone(data):
    found = arms.run(data, 0.0, {"a": Arm("simclr", rates=(1e-9, 0.06))}, PLAN)
    assert found.arms["a"].settings["learning_rate"] in (1e-9, 0.06)
    assert found.arms["a"].rates == ()


def test_what_a_claim_watches_is_measured(data):
    entries = interclr.run(data, 0.0, PLAN)
    by_claim = {one.claim: one for one in entries}
    nmi = by_claim["online labels agree with the classes better than offline"]
    assert all(0 <= value <= 1 for pair in nmi.seeds for value in pair)
    spared = gsimclr.run(data, 0.0, PLAN)[0]
    assert all(-1 < value < 0 for pair in spared.seeds for value in pair)
    assert spared.mean_difference > 0


def test_mechanisms_are_judged_three_ways(data, monkeypatch):
    monkeypatch.setattr(mechanisms, "MECHANISMS", ("mae",))
    sides = {name: mechanisms.ARMS[name] for name in ("random", "supervised", "mae")}
    monkeypatch.setattr(mechanisms, "ARMS", sides)
    monkeypatch.setattr(mechanisms, "VIEWS", ("supervised",))
    monkeypatch.setattr(mechanisms, "MASKED", ("mae", "random"))
    monkeypatch.setattr(mechanisms, "EPOCHS", 1)
    plan = Plan(encoder="vit-nano/4", images=48, size=16, batch=16, seeds=3)
    entries = mechanisms.run(data, 0.05, plan)
    assert len(entries) == 3 + 2 * 3 + 3
    views, masks = zip(*entries[0].seeds, strict=True)
    alone = {(one.method, one.baseline): one for one in entries if one.settings["measure"] == "knn"}
    assert views == tuple(a for a, _ in alone["supervised", "random"].seeds)
    means = [(a + b) / 2 for a, b in alone["mae", "random"].seeds]
    assert masks == pytest.approx(means)
    assert {one.settings["measure"] for one in entries} == {"knn", "probe", "finetune"}
    assert all(0 <= value <= 1 for one in entries for pair in one.seeds for value in pair)
