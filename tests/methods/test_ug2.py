"""UG2's judgement: enhancers that help, harm and misbehave, and what may be said of them."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from fallow.measure.detection import boxes
from fallow.measure.paired import Range
from fallow.methods.grade.ug2 import (
    PRESETS,
    Row,
    Settings,
    classes_of,
    columns_of,
    judged,
    judged_boxes,
    read_classes,
    standings,
    verdict,
)
from fallow.methods.shared.enhancers import ENHANCERS
from fallow.methods.shared.enhancing import EnhancerProblem, enhanced, enhancer
from fallow.methods.shared.recognisers import by_kernel, by_probe, recognisers, thumbnails
from fallow.problems import Problem, SettingProblem, SourceProblem
from fallow.train import make_settings


def stripes(kind, draw, side=24):
    """Stripes in one of three directions, in any phase and colour."""
    y, x = np.mgrid[:side, :side]
    along = (x, y, x + y)[kind] * 2 * np.pi / 8 + draw.uniform(0, 6)
    colour = draw.uniform(0.6, 1, 3)
    return np.uint8(255 * (0.5 + 0.4 * np.sin(along))[..., None] * colour)


@pytest.fixture(scope="module")
def scene():
    """Recognisers of clean stripes, and dark noisy stripes for them."""
    draw = np.random.default_rng(0)
    labels = np.arange(150) % 3
    clean = [stripes(kind, draw) for kind in labels]

    def phases(pictures):  # what of each direction is in a picture, wherever it begins
        grey = np.stack([one.mean(2) for one in pictures])
        grey = np.log1p(grey) - np.log1p(grey).mean((1, 2), keepdims=True)
        return np.log1p(np.abs(np.fft.rfft2(grey)))[:, :8, :8].reshape(len(grey), -1)

    seen = phases(clean)
    known = {
        "probe": by_probe(phases, seen, labels),
        "kernel": by_kernel(phases, seen, labels),
    }
    truth = [int(kind) for kind in np.arange(60) % 3]
    test = [stripes(kind, draw) for kind in truth]
    dark = [np.uint8((one * 0.04 + draw.normal(0, 25, one.shape)).clip(0, 255)) for one in test]
    pictures = [(f"video{k // 6}/{k}.png", one) for k, one in enumerate(dark)]
    classes = {kind: frozenset([kind]) for kind in range(3)}
    return pictures, truth, known, classes, test


def test_doing_nothing_changes_nothing(scene):
    pictures, truth, known, classes, clean = scene
    found = judged(pictures, truth, enhancer("none"), known, classes, clean=clean)
    assert found.verdict == "no difference shown"
    assert found.guesses == 1
    for row in found.rows:
        assert row.difference == Range(0, 0, 0)
        assert row.before == row.after
        assert row.chance in (1.0, None)
    assert found.psnr_before == found.psnr_after < 15


def test_the_clean_pictures_themselves_help_and_ruin_harms(scene):
    pictures, truth, known, classes, clean = scene
    by_name = {name: one for (name, _), one in zip(pictures, clean, strict=True)}
    best = judged(pictures, truth, lambda name, _: by_name[name], known, classes)
    assert best.verdict == "helps"
    ruined = judged(
        list(zip(by_name, clean, strict=True)), truth,
        enhancer(lambda pixels: np.full_like(pixels, 128)), known, classes,
    )  # fmt: skip
    assert ruined.verdict == "harms"
    for row in ruined.rows:
        if row.measure == "M1":
            assert row.chance < 0.01
            assert row.after < row.before
            assert row.difference.low <= row.after - row.before <= row.difference.high


def test_a_nearer_picture_need_not_be_a_better_one(scene):
    pictures, truth, known, classes, clean = scene
    found = judged(
        pictures, truth, enhancer(lambda pixels: np.full_like(pixels, 120)), known, classes,
        clean=clean,
    )  # fmt: skip
    assert found.psnr_after > found.psnr_before
    assert found.verdict != "helps"


def test_collections_apart_and_videos_drawn_together(scene):
    pictures, truth, known, classes, clean = scene
    by_name = {name: one for (name, _), one in zip(pictures, clean, strict=True)}
    videos = [name.split("/")[0] for name, _ in pictures]
    kinds = ["glider" if k % 2 else "ground" for k in range(len(pictures))]

    def run(name, _):
        return by_name[name]

    alone = judged(pictures, truth, run, known, classes, collections=kinds)
    assert {row.collection for row in alone.rows} == {"all", "glider", "ground"}
    assert sum(row.pictures for row in alone.rows if row.measure == "M1") == 4 * len(pictures)
    grouped = judged(pictures, truth, run, known, classes, groups=videos)
    again = judged(pictures, truth, run, known, classes, groups=videos)
    assert grouped.rows == again.rows
    assert grouped.rows[0].difference != alone.rows[0].difference


def test_ranking_with_intervals(scene):
    pictures, truth, known, classes, clean = scene
    by_name = {name: one for (name, _), one in zip(pictures, clean, strict=True)}
    tried = {
        "gamma": enhancer("gamma"),
        "oracle": lambda name, _: by_name[name],
        "grey": enhancer(lambda pixels: np.full_like(pixels, 128)),
    }
    found = standings(
        {name: judged(pictures, truth, run, known, classes) for name, run in tried.items()}
    )
    assert {one.enhancer for one in found} == {"none", *tried}
    assert found[0].enhancer == "oracle"
    assert found[-1].enhancer == "grey"
    for one in found:
        assert one.rank.low <= one.rank.value <= one.rank.high
        assert one.lrap.low <= one.lrap.value <= one.lrap.high
        assert set(one.by_recogniser) == set(known)


def test_larger_pictures_are_compared_with_plain_resampling(scene):
    pictures, truth, known, classes, _ = scene
    sizes = set()

    def watching(shown):
        sizes.update(one.shape for one in shown)
        return known["probe"]([one[::2, ::2] for one in shown])

    double = enhancer(lambda pixels: pixels.repeat(2, 0).repeat(2, 1))
    settings = make_settings(Settings, {"scale": 2})
    judged(pictures, truth, double, {"one": watching}, classes, settings)
    assert sizes == {(48, 48, 3)}
    with pytest.raises(EnhancerProblem, match=r"48 x 48 pixels instead of 24 x 24: say so"):
        judged(pictures, truth, double, {"one": watching}, classes)


def test_boxes():
    draw = np.random.default_rng(0)
    pictures, marked = [], []
    for k in range(12):
        canvas = draw.integers(0, 10, (30, 40, 3)).astype(np.uint8)
        row, column = draw.integers(2, 15, 2)
        canvas[row : row + 8, column : column + 10] += 20
        pictures.append((f"{k}.png", canvas))
        marked.append(boxes([[column, row, column + 10, row + 8]], ["thing"]))

    def bright(shown):
        found = []
        for one in shown:
            y, x = np.nonzero(one.mean(2) > 60 * one.shape[0] / 30)
            some = [[x.min(), y.min(), x.max() + 1, y.max() + 1]] if len(x) else []
            found.append(boxes(some, ["thing"] * len(some), [0.9] * len(some)))
        return found

    helped = judged_boxes(
        pictures, marked, enhancer(lambda pixels: np.uint8(pixels * 4.0)), {"bright": bright}
    )
    assert helped.verdict == "helps"
    assert helped.rows[0].before == 0
    assert helped.rows[0].after == pytest.approx(1)
    assert judged_boxes(pictures, marked, enhancer("none"), {"b": bright}).verdict == (
        "no difference shown"
    )
    with pytest.raises(EnhancerProblem, match="instead of 40 x 30"):
        judged_boxes(pictures, marked, enhancer(lambda p: p[1:]), {"b": bright})
    with pytest.raises(Problem, match="marked boxes"):
        judged_boxes(pictures, marked[1:], enhancer("none"), {"b": bright})
    with pytest.raises(Problem, match="nothing to detect"):
        judged_boxes(pictures, [boxes([], [])] * 12, enhancer("none"), {"b": bright})
    with pytest.raises(Problem, match="boxes only"):
        standings({"a": helped})


# --- enhancers that misbehave ---


def run_once(what, seconds=20.0, picture=None):
    pictures = [("a.png", np.full((8, 10, 3), 90, np.uint8) if picture is None else picture)]
    return next(enhanced(enhancer(what, seconds), pictures))


def failing(pixels):
    raise ValueError("no weights\nat all")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (failing, "failing fails at a.png: no weights at all"),
        (lambda pixels: time.sleep(5), "not finished a.png within 0.1 seconds"),
        (lambda pixels: pixels[:4], "10 x 4 pixels instead of 10 x 8"),
        (lambda pixels: None, "gives no picture for a.png but NoneType"),
        (lambda pixels: pixels[..., :2], r"no picture for a.png but uint8 \(8, 10, 2\)"),
        (lambda pixels: pixels * np.nan, "not numbers for a.png"),
    ],
)
def test_callables_that_fail(what, words):
    limit = 0.1 if "0.1" in words else 20.0
    with pytest.raises(EnhancerProblem, match=words):
        run_once(what, limit)


def test_callables_may_not_change_what_they_are_given():
    picture = np.full((4, 4, 3), 9, np.uint8)

    def spoil(pixels):
        pixels[:] = 0
        return pixels

    assert run_once(spoil, picture=picture).max() == 0
    assert picture.min() == 9


def test_callables_may_give_floats_or_grey():
    assert run_once(lambda pixels: pixels / 255.0)[0, 0].tolist() == [90, 90, 90]
    assert run_once(lambda pixels: pixels.mean(2))[0, 0].tolist() == [90, 90, 90]


COPY = "import sys, shutil; shutil.copy(sys.argv[1], sys.argv[2])"


def command(code, tail='"{input}" "{output}"'):
    return f"'{sys.executable}' -c '{code}' {tail}"


def test_commands():
    assert (run_once(command(COPY)) == 90).all()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sys; sys.exit(3)", "exit status 3"),
        ("raise SystemExit(\"out of memory\")", "out of memory"),
        ("pass", "has written nothing for a.png"),
        ("import sys; open(sys.argv[2], \"w\").write(\"x\")", "cannot be read"),
        ("import time; time.sleep(60)", "not finished a.png within 1 seconds"),
    ],
)  # fmt: skip
def test_commands_that_fail(code, words):
    limit = 1.0 if "within" in words else 20.0
    with pytest.raises(EnhancerProblem, match=words):
        run_once(command(code), limit)


def test_commands_that_cannot_be(tmp_path):
    with pytest.raises(EnhancerProblem, match="cannot be started"):
        run_once(f"{tmp_path}/nothing {{input}} {{output}}")
    with pytest.raises(SettingProblem, match="taken apart"):
        run_once('"x {input} {output}')
    with pytest.raises(SettingProblem, match="did you mean retinex"):
        run_once("retinx")
    with pytest.raises(SettingProblem, match="above 0 seconds"):
        enhancer("gamma", 0)


def test_folders(tmp_path):
    from PIL import Image

    folder = tmp_path / "better"
    folder.mkdir()
    with pytest.raises(EnhancerProblem, match="no pictures in"):
        run_once(folder)
    Image.fromarray(np.full((8, 10, 3), 7, np.uint8)).save(folder / "a.tif")
    assert (run_once(folder) == 7).all()
    assert (run_once(str(folder)) == 7).all()
    with pytest.raises(EnhancerProblem, match=r"no enhanced picture of b.png"):
        next(enhanced(enhancer(folder), [("b.png", np.zeros((8, 10, 3), np.uint8))]))
    (folder / "a.png").write_bytes((folder / "a.tif").read_bytes())
    with pytest.raises(EnhancerProblem, match="differ by more"):
        run_once(folder)
    (folder / "a.png").unlink()
    (folder / "a.tif").write_bytes(b"II*\0broken")
    with pytest.raises(EnhancerProblem, match="cannot be read"):
        run_once(folder)


@pytest.mark.parametrize("name", ENHANCERS)
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (40, 31)])
def test_built_in_enhancers_keep_the_size_and_bear_anything(name, size):
    draw = np.random.default_rng(0)
    pictures = [
        np.zeros((*size, 3), np.uint8),
        np.full((*size, 3), 255, np.uint8),
        draw.integers(0, 256, (*size, 3)).astype(np.uint8),
    ]
    for one in pictures:
        kept = one.copy()
        made = run_once(name, picture=one)
        assert made.shape == one.shape
        assert made.dtype == np.uint8
        assert (one == kept).all()


# --- tables, settings, recognisers ---


def test_tables_of_classes(tmp_path):
    table = tmp_path / "classes.csv"
    table.write_text("n1;Bird\nn2;Bird\nn2;Bird\nn2;Fowl\n")
    assert read_classes(table) == {"Bird": {"n1", "n2"}, "Fowl": {"n2"}}
    for text in ("", "n1\n", "n1,\n"):
        table.write_text(text)
        with pytest.raises(SourceProblem, match="every line"):
            read_classes(table)
    with pytest.raises(SourceProblem, match="cannot be read"):
        read_classes(tmp_path / "none.csv")
    with pytest.raises(Problem, match="knows no label of Ship"):
        columns_of(classes_of([("n9", "Ship")]), ["n1"])


def test_presets_and_settings():
    for values in PRESETS.values():
        make_settings(Settings, values)
    with pytest.raises(SettingProblem, match="did you mean guesses"):
        make_settings(Settings, {"guess": 3})


def test_verdicts():
    def row(name, low, high):
        return Row(name, "all", "M1", 9, 0.5, 0.5, Range((low + high) / 2, low, high))

    assert verdict([row("a", 0.1, 0.2), row("b", 0.1, 0.3)]) == "helps"
    assert verdict([row("a", 0.1, 0.2), row("b", -0.1, 0.3)]) == (
        "helps a; no difference shown for b"
    )
    assert verdict([row("a", -0.2, -0.1)]) == "harms"


def test_problems_of_the_caller(scene):
    pictures, truth, known, classes, _ = scene
    none = enhancer("none")
    with pytest.raises(Problem, match="at least one recogniser"):
        judged(pictures, truth, none, {}, classes)
    with pytest.raises(Problem, match="as many classes"):
        judged(pictures, truth[1:], none, known, classes)
    with pytest.raises(Problem, match="no label belongs to the class whale"):
        judged(pictures, ["whale"] * len(pictures), none, known, classes)
    with pytest.raises(Problem, match="not numbers"):
        judged(pictures, truth, none, {"x": lambda p: np.full((len(p), 3), np.nan)}, classes)
    with pytest.raises(Problem, match="two classes or more"):
        recognisers(None, [one for _, one in pictures], [0] * len(pictures))


def test_recognisers_over_an_encoder():
    import fallow

    draw = np.random.default_rng(0)
    labels = np.arange(24) % 2
    colours = np.array([[200, 60, 60], [60, 60, 200]])
    pictures = [
        (colours[kind] + draw.integers(-30, 30, (32, 32, 3))).clip(0, 255).astype(np.uint8)
        for kind in labels
    ]
    known = recognisers(fallow.encoder("resnet8"), pictures, labels)
    assert len(known) == 3
    for recognise in known.values():
        assert recognise(pictures).shape == (24, 2)
    assert (known["pixels, kernel machine"](pictures).argmax(1) == labels).all()
    assert thumbnails(pictures).shape == (24, 768)
