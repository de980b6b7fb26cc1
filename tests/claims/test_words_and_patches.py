"""Claims about pictures and words in their smallest form, on archives of a moment."""

from __future__ import annotations

import csv
import io
import zipfile

import numpy as np
import pytest
from claims.defences import CLEAN, DUAL, NOTHING, PATCHED, UNDEFENDED
from claims.retrieval import CHANCE, LITE, MEASURES, SCRATCH, Tower
from PIL import Image

from claims import clipsep, coverage, defences, kept, retrieval
from fallow.images.captions import with_captions
from fallow.images.samples import shapes

WORDS = retrieval.Plan(
    scratch=Tower("resnet8/8", 16, 1), lite=Tower("tiny", 32, 1, frozen="pictures"), batch=16
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Pictures with captions, others with the names of their classes, and a task."""
    folder = tmp_path_factory.mktemp("archives")
    images = shapes(48, seed=0, side=24)
    codes, names = images.labels
    said = ["path,n,caption"]
    for row, code in enumerate(codes):
        said += [f"images/{row}.png,{n},{word} {names[code]}" for n, word in enumerate("ab")]
    packed(folder / "flickr8k_sample.zip", images, {"captions.csv": "\n".join(said)})
    packed(folder / "tiny_imagenet50.zip", images, {})
    packed(folder / "some.zip", images, {})
    return folder


def packed(place, images, more):
    codes, names = images.labels
    table = io.StringIO()
    lines = csv.writer(table)
    lines.writerow(["path", "label", "name", "split"])
    with zipfile.ZipFile(place, "w") as archive:
        for row, pixels in images.map(np.asarray):
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            archive.writestr(f"images/{row}.png", file.getvalue())
            word = names[codes[row]]
            split = "test" if row % 3 == 0 else "train"
            lines.writerow([f"images/{row}.png", word, f"{word}, a shape", split])
        for name, text in {"labels.csv": table.getvalue(), **more}.items():
            archive.writestr(name, text)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Nothing of a test is kept beside what real runs found."""
    for claim in (retrieval, defences):
        monkeypatch.setattr(
            claim, "Kept", lambda slug, plan: kept.Kept(slug, plan, tmp_path / "kept")
        )


def test_both_towers_are_asked_about_the_same_photos(data):
    entries = retrieval.run(data, 1.0, WORDS)
    assert [(one.method, one.baseline) for one in entries] == (
        [(SCRATCH, CHANCE)] * len(MEASURES) + [(LITE, SCRATCH)] * len(MEASURES)
    )
    for one in entries:
        assert set(one.observed) == {CHANCE, SCRATCH, LITE}
        assert all(0 <= share <= 1 for pair in one.seeds for share in pair)
    learnt = entries[0].observed
    assert set(learnt[LITE][0]) == set(MEASURES)
    assert learnt[SCRATCH][0] != learnt[SCRATCH][1]  # another seed, another start


def test_chance_is_what_orders_drawn_at_random_reach():
    images = shapes(6, seed=0, side=16)
    ids = images.column("id")
    texts = [["a", "b"], ["b", "c"], ["d"], ["e", "f", "g"], ["g"], ["b"]]
    photos = with_captions(images, dict(zip(ids, texts, strict=True)))
    exact = retrieval.chance(photos)
    draw = np.random.default_rng(0)
    words = sorted({text for some in texts for text in some})
    right = np.array([[text in some for text in words] for some in texts])
    for way, table in zip(retrieval.WAYS, (right, right.T), strict=True):
        drawn = [
            (draw.permuted(table, axis=1).argmax(1) < np.array([[1], [5]])).mean(1)
            for _ in range(4000)
        ]
        found = np.mean(drawn, 0)
        assert found == pytest.approx([exact[f"{way}, R@{k}"] for k in (1, 5)], abs=0.01)
        assert exact[f"{way}, R@10"] == 1.0


def test_every_defence_is_asked_for_what_it_gives_back_and_what_it_costs(data):
    plan = defences.Plan(
        sets=("some",), encoder="resnet8/8", size=32, words=WORDS, images=16, steps=2
    )
    entries = defences.run(data, 1.0, plan)
    alone, read = (
        [one for one in entries if f", {name}: " in one.claim] for name in (plan.encoder, DUAL)
    )
    assert len(entries) == len(alone) + len(read)
    assert len(read) == len(alone) + 1  # the patch that did without the texts
    taken, *_ = alone
    for one in alone:
        found = one.observed
        if "gives back" in one.claim:
            side = found[PATCHED]
            assert one.seeds == list(zip(side[one.method], side[NOTHING], strict=True))
        elif "costs" in one.claim:
            side = found[CLEAN]
            assert one.seeds == list(zip(side[NOTHING], side[one.baseline], strict=True))
    tried = [one.method for one in alone if one.baseline == UNDEFENDED]
    assert tried == [name for name in taken.observed[PATCHED] if name != NOTHING]
    assert {"JPEG 50", "60% of weights pruned", "head that has seen the patch"} < set(tried)
    assert taken.observed["by set"] == {
        one: {"some": [pair[side] for pair in taken.seeds]}
        for side, one in enumerate((taken.method, taken.baseline))
    }


def test_a_loss_on_clean_pictures_is_seen():
    rows = [
        {"defence": NOTHING, "clean accuracy": 0.9, "patched accuracy": 0.3},
        {"defence": "fog", "clean accuracy": 0.5, "patched accuracy": 0.4},
    ]
    patches = [{"patch": name, "changed": 0.1} for name in (*defences.PLAIN, defences.LEARNT)]
    seen = [{"a": {"patches": patches, "defences": rows}}] * 3
    said = {one.claim.split(": ")[1]: one for one in
            defences.entries_of("e", seen, {}, defences.Plan())}  # fmt: skip
    cost = said["fog costs answers on clean pictures"]
    assert (cost.verdict, cost.mean_difference) == ("shown", pytest.approx(0.4))
    assert said["fog gives back answers under the patch"].mean_difference == pytest.approx(0.1)
    assert said["the patch takes answers"].mean_difference == pytest.approx(0.6)
    assert said["the patch changes more answers than grey"].verdict == "tie"


def test_a_stranger_is_asked_at_every_coverage(data):
    material = coverage.Material(16, "resnet8/8", 1, 1, 1, 2)
    rows = coverage.one_seed(data, coverage.PHOTOS, material, coverage.Plan(pairs=20), 0)
    assert list(rows) == [coverage.CLEAN, coverage.SIGNS, *coverage.SHARES, "chance"]
    assert coverage.SHARES[0] == "20% protected"
    for reached in rows.values():
        assert set(reached) == set(coverage.MEASURES)
        assert all(0 <= share <= 1 for share in reached.values())
    (worse,) = coverage.negative([{"picture finds text": 0.25}])
    assert worse == {"picture finds text": -0.25}


def test_a_query_is_a_photo_of_the_kind_that_stands_for_the_sound():
    photos = np.stack([np.eye(2)[:1] * k + np.eye(2)[1:] * (1 - k) for k in (0.9, 0.2)])  # 2 1 2
    seen = clipsep.Seen(photos, photos, np.eye(2))
    assert seen.sorted_right() == 1.0
    assert seen._replace(words=np.eye(2)[::-1]).sorted_right() == 0.0
    drawn = clipsep.any_of(photos, np.array([1, 0, 1]), np.random.default_rng(0))
    np.testing.assert_allclose(drawn[:, 0], [0.2, 0.9, 0.2], rtol=1e-6)
    kinds = list(clipsep.PARTNERS.values())
    assert len(set(kinds)) == len(kinds) == 10
