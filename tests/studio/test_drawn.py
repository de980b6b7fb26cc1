"""Masks and key points drawn by hand: versions beside the run, never over anybody's files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fallow.images import opened
from fallow.images.masks import read_masks
from fallow.outcomes import save_picture
from fallow.outcomes.maps import save_codes
from fallow.outcomes.tables import save_json, save_parquet
from fallow.problems import Problem
from fallow.studio.desk import Desk
from fallow.studio.drawn import MASK, POINTS, Drawn, Point, colours
from fallow.studio.found import to_label


def segmented(folder: Path) -> tuple[Path, Path]:
    """Pictures, and a run of segment on them: values 0 and 7, as it writes them."""
    pictures, run = folder / "pictures", folder / "run"
    for name in ("a", "sub/b"):
        save_picture(pictures / f"{name}.png", np.full((6, 8, 3), 90, np.uint8))
        mask = np.zeros((6, 8), np.uint8)
        mask[2:4, 2:5] = 7
        save_codes(run / "masks" / f"{name}.png", mask)
    classes = [
        {"name": "ground", "value": 0, "colour": "#000000"},
        {"name": "cell", "value": 7, "colour": "#40a060"},
    ]
    save_json(run / "run.json", {"classes": classes})
    columns = {"id": ["a.png", "sub/b.png"], "mask": ["masks/a.png", "masks/sub/b.png"],
               "disagreement": [0.2, 0.1], "given": [False, False]}  # fmt: skip
    save_parquet(run / "table.parquet", pa.table(columns))
    return pictures, run


@pytest.fixture
def drawn(tmp_path: Path) -> Drawn:
    pictures, run = segmented(tmp_path)
    return Drawn(Desk.opened(run, pictures))


def test_a_run_says_its_classes_and_masks(drawn: Drawn) -> None:
    assert (drawn.classes.names, drawn.classes.values) == (("ground", "cell"), (0, 7))
    assert colours(drawn.classes) == ["#000000", "#40a060"]
    mask = drawn.mask(1)
    assert mask.shape == (6, 8)
    assert np.unique(mask).tolist() == [0, 1]
    assert mask.sum() == 6


def test_a_corrected_mask_is_a_version_of_its_own(drawn: Drawn) -> None:
    before = {path: path.read_bytes() for path in (drawn.desk.run or Path()).rglob("*.png")}
    codes = drawn.mask(0)
    codes[0, :3] = 1
    codes[5, 7] = 255
    assert drawn.save_mask(0, codes) == 1
    np.testing.assert_array_equal(drawn.mask(0), codes)
    codes[0, 0] = 0
    assert drawn.save_mask(0, codes) == 2
    assert drawn.rows(MASK) == [0]
    drawn.desk.undo()
    assert drawn.version(0, MASK) == 1
    assert drawn.mask(0)[0, 0] == 1
    drawn.desk.undo()
    assert drawn.version(0, MASK) == 0
    assert drawn.mask(0).sum() == 6
    codes[0, 1] = 0
    assert drawn.save_mask(0, codes) == 3  # what was undone is not written over
    assert all(path.read_bytes() == kept for path, kept in before.items())


def test_what_was_collected_is_what_the_next_run_reads(drawn: Drawn, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="nothing was drawn yet"):
        drawn.collect()
    codes = drawn.mask(1)
    codes[:] = 1
    drawn.save_mask(0, codes)
    drawn.save_mask(1, codes)
    drawn.collect()
    drawn.desk.undo()  # of the second, which leaves the folder
    folder, masks, points = drawn.collect()
    assert (masks, points) == (1, 0)
    known = read_masks(opened(tmp_path / "pictures"), folder / "masks", folder / "classes.yaml")
    assert known.labelled.column("id").tolist() == ["a.png"]
    assert known.classes.names == ("ground", "cell")
    assert (known.labelled.mask(0) == 1).all()


@pytest.mark.parametrize(("value", "unjudged"), [(255, 254), (1, 255), (0x40A060, 255)])
def test_masks_of_any_values_are_corrected_and_read_by_the_next_run(
    tmp_path: Path, value: int, unjudged: int
) -> None:
    """Black and white masks above all: 255 is a class there, and not what nobody judges."""
    pictures, run = segmented(tmp_path)
    classes = [
        {"name": "ground", "value": 0, "colour": "#000000"},
        {"name": "cell", "value": value, "colour": "#40a060"},
    ]
    save_json(run / "run.json", {"classes": classes})
    written = np.zeros((6, 8), np.uint8)
    written[2:4, 2:5] = value if value < 256 else 1  # of colours, codes are written
    for name in ("a", "sub/b"):
        save_codes(run / "masks" / f"{name}.png", written)
    drawn = Drawn(Desk.opened(run, pictures))
    codes = drawn.mask(0)
    assert np.unique(codes).tolist() == [0, 1]
    codes[0, 0], codes[5, 7] = 1, 255
    drawn.save_mask(0, codes)
    np.testing.assert_array_equal(drawn.mask(0), codes)
    folder, *_ = drawn.collect()
    known = read_masks(opened(pictures), folder / "masks", folder / "classes.yaml")
    np.testing.assert_array_equal(known.labelled.mask(0), codes)
    assert known.classes.names == ("ground", "cell")
    assert known.classes.ignore == (unjudged,)


def test_the_next_run_learns_from_what_was_given_too(tmp_path: Path) -> None:
    pictures, run = segmented(tmp_path)
    columns = {"id": ["a.png", "sub/b.png"], "mask": ["masks/a.png", "masks/sub/b.png"],
               "disagreement": [0.2, 0.1], "given": [False, True]}  # fmt: skip
    save_parquet(run / "table.parquet", pa.table(columns))
    drawn = Drawn(Desk.opened(run, pictures))
    with pytest.raises(Problem, match="nothing was drawn yet"):
        drawn.collect()
    drawn.save_mask(0, np.ones((6, 8), np.uint8))
    folder, masks, points = drawn.collect()
    assert (masks, points) == (2, 0)
    known = read_masks(opened(pictures), folder / "masks", folder / "classes.yaml")
    assert known.labelled.column("id").tolist() == ["a.png", "sub/b.png"]
    assert known.labelled.mask(0).sum() == 48
    assert known.labelled.mask(1).sum() == 6


@pytest.mark.parametrize("classes", [[{"name": "oak"}], ["oak"], {"oak": 3}, 7])
def test_classes_of_other_verbs_are_not_drawn(tmp_path: Path, classes: object) -> None:
    pictures, run = segmented(tmp_path)
    save_json(run / "run.json", {"classes": classes})  # as discover says what it found
    drawn = Drawn(Desk.opened(run, pictures))
    assert not drawn.labels
    assert drawn.classes.names == ("background", "object")


def test_what_is_drawn_needs_no_label_next(drawn: Drawn) -> None:
    assert [one.row for one in to_label({}, drawn.desk.table)] == [0, 1]
    drawn.save_mask(0, np.ones((6, 8), np.uint8))
    assert [one.row for one in to_label({}, drawn.desk.table)] == [1]


def test_masks_that_do_not_fit_are_refused(drawn: Drawn) -> None:
    with pytest.raises(Problem, match=r"the mask is \(3, 3\), the picture \(6, 8\)"):
        drawn.save_mask(0, np.zeros((3, 3), np.uint8))
    with pytest.raises(Problem, match="more than 2 classes"):
        drawn.save_mask(0, np.full((6, 8), 2, np.uint8))
    with pytest.raises(Problem, match="the run's masks say what classes there are"):
        drawn.name_classes(["ground", "leaf"])


def test_pictures_without_a_run_are_drawn_on_from_nothing(tmp_path: Path) -> None:
    pictures, _ = segmented(tmp_path)
    drawn = Drawn(Desk.opened(pictures))
    assert drawn.classes.names == ("background", "object")
    assert not drawn.mask(0).any()
    drawn.name_classes(["background", "leaf", "stem"])
    codes = drawn.mask(0)
    codes[1, 1] = 2
    drawn.save_mask(0, codes)
    assert drawn.mask(0)[1, 1] == 2
    with pytest.raises(Problem, match="add classes behind"):
        drawn.name_classes(["background", "stem"])
    for wrong in (["one"], ["a", "a"], ["a", " "], ["a", "ignore"]):
        with pytest.raises(Problem, match="name 2 to 64 different classes"):
            Drawn(Desk.opened(pictures)).name_classes(wrong)


def test_key_points_of_a_run_are_corrected(tmp_path: Path) -> None:
    pictures, run = segmented(tmp_path)
    columns = {"id": ["a.png", "sub/b.png"], "given": [False, False],
               "head x": [1.0, 3.0], "head y": [2.0, -67.0], "head confidence": [0.9, 0.5],
               "tail x": [6.5, 4.0], "tail y": [3.0, 4.0],
               "tail confidence": [0.2, 0.5]}  # fmt: skip
    save_parquet(run / "table.parquet", pa.table(columns))
    save_json(run / "run.json", {"method": "multiaugs"})
    (run / "pointer").mkdir()
    save_json(run / "pointer" / "pointer.json", {"about": {"bones": [[0, 1]]}})
    drawn = Drawn(Desk.opened(run, pictures))
    assert [(one.name, one.x, one.sure) for one in drawn.points(0)] == [
        ("head", 1.0, 0.9), ("tail", 6.5, 0.2)]  # fmt: skip
    assert drawn.limbs == [[0, 1]]
    beside, tail = drawn.points(1)  # beside the picture is not seen, and can be saved
    assert (beside.x, beside.y, tail.x) == (None, None, 4.0)
    drawn.save_points(1, [beside, tail])
    drawn.desk.undo()
    moved = [Point(name="head", x=3, y=3), Point(name="tail")]
    assert drawn.save_points(0, moved) == 1
    assert drawn.points(0) == moved
    assert drawn.rows(POINTS) == [0]
    folder, _, count = drawn.collect()
    assert count == 1
    told = json.loads((folder / "points.json").read_text())
    assert told["images"] == [{"id": 1, "file_name": "a.png", "width": 8, "height": 6}]
    assert told["annotations"][0]["keypoints"] == [3.0, 3.0, 2, 0, 0, 0]
    assert told["categories"][0]["keypoints"] == ["head", "tail"]
    assert told["categories"][0]["skeleton"] == [[1, 2]]
    drawn.desk.undo()
    assert drawn.points(0)[0].x == 1.0


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([Point(name="a", x=1)], "a has half a place"),
        ([Point(name="a", x=9, y=1)], "a lies outside its picture"),
        ([Point(name="a"), Point(name="a")], "each a name of its own"),
    ],
)
def test_key_points_that_cannot_be_are_refused(
    drawn: Drawn, points: list[Point], said: str
) -> None:
    save = drawn.save_points
    with pytest.raises(Problem, match=said):
        save(0, points)


def test_volumes_are_not_drawn_on(tmp_path: Path) -> None:
    pictures, run = segmented(tmp_path)
    columns = {"id": ["a.png", "sub/b.png"], "mask": ["masks/a.nii.gz", "masks/b.nii.gz"]}
    save_parquet(run / "table.parquet", pa.table(columns))
    with pytest.raises(Problem, match="in a program for volumes"):
        Drawn(Desk.opened(run, pictures)).mask(0)


def test_a_hostile_id_stays_beside_the_run(tmp_path: Path) -> None:
    _, run = segmented(tmp_path)
    save_parquet(
        run / "table.parquet", pa.table({"id": ["../../up.png"], "width": [4], "height": [4]})
    )
    drawn = Drawn(Desk.opened(run))
    drawn.save_mask(0, np.ones((4, 4), np.uint8))
    assert list(tmp_path.rglob("up*.png")) == [
        run / "corrected" / "versions" / "masks" / "up.v1.png"
    ]
