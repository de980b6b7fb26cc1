"""`pose` from a folder and a few marks to points and tracks; and what people get wrong."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.methods.test_pose import spots

import fallow
from fallow.annotations.points import KeyPoints, read, write
from fallow.cli import main
from fallow.encoders.pointer import load_pointer
from fallow.images.film import Film, FilmWriter
from fallow.outcomes import posed
from fallow.problems import SettingProblem, SourceProblem

QUICK = {"size": 32, "batch": 4, "width": 8, "precision": "32", "compile": "off"}
NAMES = ("red", "green")


@pytest.fixture
def folder(tmp_path):
    """Eight pictures, three of them marked."""
    images = spots(8)
    (tmp_path / "pictures").mkdir()
    cells = images.table.column("points").to_pylist()
    files = []
    for row in range(8):
        Image.fromarray(images[row]).save(tmp_path / "pictures" / f"{row}.png")
        files.append(f"{row}.png")
    values = np.array(cells[:3]).reshape(3, 2, 3)
    held = KeyPoints(tuple(files[:3]), values, NAMES, ((0, 1),), np.full((3, 2), 32.0))
    write(held, tmp_path)
    return tmp_path


def film(path, count=5, size=(48, 32)):
    random = np.random.default_rng(0)
    with FilmWriter(path, size, rate=10) as made:
        for _ in range(count):
            made.add(random.integers(0, 255, (size[1], size[0], 3)).astype(np.uint8))
    return path


def quick(folder, **more):
    given = {"epochs": 2, "encoder": "resnet8/8", "out": folder / "out", "settings": QUICK} | more
    return fallow.pose(folder / "pictures", given.pop("points", folder / "points.json"), **given)


def test_every_picture_gets_its_points(folder):
    found = quick(folder)
    assert found.table.num_rows == 8
    assert found.table.column("given").to_pylist() == [False] * 5 + [True] * 3
    off = found.table.column("off").to_pylist()
    assert [value is None for value in off] == [True] * 5 + [False] * 3
    held = read(folder / "out" / "points.json")
    assert set(held.files) == {f"{row}.png" for row in range(8)}
    assert held.names == NAMES
    assert held.bones == ((0, 1),)
    first = held.files.index(found.table.column("id")[0].as_py())
    assert held.values[first, 0, 0] == pytest.approx(
        found.table.column("red x")[0].as_py(), abs=1e-3
    )
    own = read(folder / "points.json")
    for row in range(3):  # what was given is not written over
        np.testing.assert_allclose(held.values[held.files.index(f"{row}.png")], own.values[row])
    for row in range(8):
        with Image.open(folder / "out" / "drawings" / f"{row}.jpg") as drawn:
            assert drawn.size == (32, 32)
    with open(folder / "out" / "points.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == found.table.column("id").to_pylist()
    page = (folder / "out" / "report.html").read_text()
    assert "Label next" in page
    assert rows[0]["id"] in page
    network, about = load_pointer(folder / "out" / "pointer")
    assert (network.points, about["names"], about["bones"]) == (2, list(NAMES), [[0, 1]])


def test_points_beside_the_picture_are_not_visible(folder, monkeypatch):
    plain = posed.look

    def looked(method, pictures):
        points, heights, apart = plain(method, pictures)
        points = points.copy()
        points[:, 0], points[:, 1] = 5.0, -9.0
        return points, heights, apart

    monkeypatch.setattr(posed, "look", looked)
    found = quick(folder)
    held = read(folder / "out" / "points.json")
    rows = found.table.select(["id", "given"]).to_pylist()
    given = {row["id"]: row["given"] for row in rows}
    bare = [row for row, name in enumerate(held.files) if not given[name]]
    assert (held.values[bare, 0, 2] == 2).all()
    assert (held.values[bare, 1, 2] == 0).all()
    beside = found.table.column(f"{NAMES[1]} confidence").to_numpy()
    assert (beside == 0).all()  # the table says so, too
    assert (found.table.column(f"{NAMES[0]} confidence").to_numpy() != 0).any()


def test_a_second_call_only_answers_and_follows_other_videos(folder):
    one = quick(folder)
    two = quick(folder, videos=[film(folder / "a.mp4")], form="deeplabcut")
    assert two.run.timing["total"] == 0.0
    assert one.table.equals(two.table)
    assert read(folder / "out" / "CollectedData_fallow.csv").scores.shape == (8, 2)
    track = pq.read_table(folder / "out" / "tracks" / "a.parquet")
    assert track.column_names[:3] == ["frame", "seconds", "red x"]
    assert track.column("seconds").to_pylist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    with open(folder / "out" / "tracks" / "a.csv") as file:
        assert len(list(csv.DictReader(file))) == 5
    assert [frame.shape for frame in Film(folder / "out" / "tracks" / "a.mp4")] == [(32, 48, 3)] * 5
    np.testing.assert_allclose(two.tracks[0].points[:, 0, 0], track.column("red x").to_numpy())


def test_other_marks_are_another_run(folder):
    quick(folder)
    said = json.loads((folder / "points.json").read_text())
    said["annotations"][0]["keypoints"][0] += 1
    (folder / "points.json").write_text(json.dumps(said))
    with pytest.raises(fallow.Problem, match="holds another run"):
        quick(folder)


def test_unmarked_pictures_teach_where_that_is_asked_for(folder):
    found = quick(folder, method="multiaugs", epochs=4)
    assert found.findings["method"] == "multiaugs"
    assert any("own" in row for row in found.run.history)


def test_with_all_pictures_marked_it_is_supervised(folder):
    images = spots(8)
    cells = np.array(images.table.column("points").to_pylist()).reshape(8, 2, 3)
    held = KeyPoints(tuple(f"{row}.png" for row in range(8)), cells, NAMES)
    found = quick(folder, points=held, out=None)
    assert found.findings["method"] == "supervised"
    assert found.folder is None
    assert all(found.table.column("given").to_pylist())


def test_pictures_posed_alike_are_suggested_once():
    from fallow.outcomes.posed import Seen, worth_marking

    def seen(name, doubt, x):
        points = np.array([[x, 10.0]])
        return Seen(name, False, (100, 100), points, np.ones(1), doubt, np.ones(1), None, [])

    order = worth_marking([seen("a", 1, 50), seen("b", 3, 10), seen("c", 2, 11)])
    assert [one.id for one in order] == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"method": "multiaug"}, "did you mean multiaugs"),
        ({"form": "dlc"}, "there is no form 'dlc'"),
        ({"settings": {"points": 3}}, "the points say what points is"),
        ({"method": "multiaugs", "settings": {"hard": "jx"}}, "there is no hard view 'jx'"),
    ],
)
def test_wrong_words_are_told(folder, more, said):
    with pytest.raises(SettingProblem, match=said):
        quick(folder, **more)


def spoilt(folder, change):
    said = json.loads((folder / "points.json").read_text())
    change(said)
    (folder / "points.json").write_text(json.dumps(said))


def far(said):
    said["annotations"][1]["keypoints"][0] = 99


def blind(said):
    for one in said["annotations"]:
        one["keypoints"] = [0] * 6


def mixed(said):
    said["categories"].append({"id": 2, "name": "other", "keypoints": ["a", "b"]})
    said["annotations"][0]["category_id"] = 2


def lone(said):
    del said["annotations"][1:]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (far, "red of 1.png is marked at (99,"),
        (blind, "no point is marked in any of the 3 pictures"),
        (mixed, "mixes 2 skeletons"),
        (lone, "mark at least two"),
    ],
)
def test_marks_that_cannot_be_are_told_in_one_sentence(folder, capsys, monkeypatch, change, words):
    spoilt(folder, change)
    line = ["fallow", "pose", str(folder / "pictures"), "--points", str(folder / "points.json")]
    monkeypatch.setattr("sys.argv", line)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err.strip()
    assert words in told
    assert len(told.splitlines()) == 1


def test_videos_cut_off_are_told(folder):
    whole = film(folder / "a.avi.mp4", count=60, size=(64, 64)).read_bytes()
    cut = folder / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])  # the index is at the end, and gone
    with pytest.raises(SourceProblem, match=r"cut\.mp4 cannot be read as video .*: was it cut off"):
        quick(folder, videos=[cut])
    with pytest.raises(SourceProblem, match="there is no video"):
        quick(folder, videos=[folder / "none.mp4"])
    with pytest.raises(SourceProblem, match="two videos are called a"):
        quick(
            folder,
            videos=[film(folder / "a.mp4"), film(folder / "a.mov.mp4").rename(folder / "a.mov")],
        )
    assert not (folder / "out" / "run").exists()  # told before the training
    half = folder / "half.mpg"
    half.write_bytes(stream(60)[: len(stream(60)) // 2])  # a stream goes on until it ends
    found = quick(folder, videos=[half], out=None)
    assert 0 < len(found.tracks[0].points) < 60


def stream(count):
    """A video as MPEG-TS has it: no index, readable as far as it goes."""
    import io

    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mpegts") as container:
        made = container.add_stream("mpeg2video", rate=25)
        made.width = made.height = 64
        made.pix_fmt = "yuv420p"
        random = np.random.default_rng(1)
        for _ in range(count):
            pixels = random.integers(0, 255, (64, 64, 3)).astype(np.uint8)
            for packet in made.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in made.encode():
            container.mux(packet)
    return file.getvalue()


def test_a_file_that_is_no_video_is_told(folder):
    (folder / "a.mp4").write_text("not a video")
    with pytest.raises(SourceProblem, match=r"a\.mp4 cannot be read as video"):
        Film(folder / "a.mp4")
