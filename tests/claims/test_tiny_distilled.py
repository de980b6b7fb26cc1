"""The recipe that lets tiny learn from lite: views, likeness, ways between weights, a run."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from recipes import tiny_distilled as recipe

import fallow
from fallow.images.samples import shapes
from fallow.train import Method, fit

PICTURES = [np.random.default_rng(k).integers(0, 256, (40 + k, 60, 3), np.uint8) for k in range(6)]


def test_views_are_drawn_by_seed_and_cover_every_picture():
    first, again, other = (
        torch.stack(list(recipe.views(PICTURES, 3, seed=seed))) for seed in (0, 0, 1)
    )
    assert first.shape == (18, 3, recipe.SIDE, recipe.SIDE)
    assert first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_likeness_ignores_scale_and_place_but_not_order():
    some = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    assert recipe.unlike(some, 3 * some + 2).item() < 1e-5
    assert recipe.unlike(some, some.flip(0)).item() > 0.1


def test_ends_of_the_way_are_the_networks():
    one, other = (fallow.encoder("resnet8/8", seed=seed).plain.state_dict() for seed in (0, 1))
    for share, end in ((0.0, one), (1.0, other)):
        found = recipe.between(one, other, share)
        for key, value in found.items():
            torch.testing.assert_close(value, end[key])
            assert value.dtype == end[key].dtype


def test_a_short_run_comes_nearer_to_what_the_teacher_says():
    images = shapes(48, seed=0, side=32)
    pixels = [np.asarray(images[row]) for row in range(len(images))]
    student, teacher = (fallow.encoder("resnet8/8", seed=seed, size=32) for seed in (0, 1))
    said, before = (torch.from_numpy(one.embed(pixels)) for one in (teacher, student))
    settings = Method.Settings(
        epochs=12, size=32, batch=24, optimiser="adamw", learning_rate=0.02, precision="32"
    )
    norms = {k: v.clone() for k, v in student.plain.state_dict().items() if "running" in k}
    run = fit(recipe.learner(said, before), fallow.open(pixels), encoder=student, settings=settings)
    after = torch.from_numpy(run.encoder.embed(pixels))
    assert recipe.unlike(after, said) < 0.7 * recipe.unlike(before, said)
    kept = run.encoder.plain.state_dict()
    assert norms
    assert all(torch.equal(value, kept[key]) for key, value in norms.items())


def test_only_teaching_pictures_are_looked_at(tmp_path):
    folder = tmp_path / "grocery"
    folder.mkdir()
    for k, picture in enumerate(PICTURES):
        Image.fromarray(picture).save(folder / f"{k}.png")
    rows = [f"{k}.png,{'train' if k < 4 else 'test'}" for k in range(len(PICTURES))]
    (folder / "labels.csv").write_text("path,split\n" + "\n".join(rows) + "\n")
    shutil.make_archive(str(folder), "zip", folder)
    found = recipe.pictures(tmp_path, "grocery", 10)
    assert [len(one) for one in found] == [len(one) for one in PICTURES[:4]]


def test_what_is_shown_of_it_counts_seen_and_unseen_sets_apart():
    script = Path(recipe.__file__).parents[1] / "docs" / "make.py"
    spec = importlib.util.spec_from_file_location("docs_make", script)
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    rows = [
        {"set": name, "seen": seen, "chosen": 0, "before": {"k-NN": [0.5]}, "after": {"k-NN": [a]}}
        for name, seen, a in (("one", True, 0.6), ("two", False, 0.4), ("three", False, 0.7))
    ]
    text = make.distilled(json.loads(json.dumps({"asked": rows})))
    assert "| two | no | 0.500 -> 0.400 | 0 |" in text[2]
    assert text[3].startswith("Better by k-NN on 1 of 2 unseen sets and 1 of 1 seen ones.")
