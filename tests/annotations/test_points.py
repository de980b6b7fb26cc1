"""Key points through the files of four tools, and what is wrong with some of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fallow.annotations.points import FORMS, KeyPoints, mirrored, read, with_points, write
from fallow.annotations.points.store import rows_of
from fallow.images.samples import shapes
from fallow.problems import SettingProblem, SourceProblem

NAMES = ("snout", "left ear", "right ear")


def marked(scores=None):
    values = np.array(
        [
            [[3.25, 4.5, 2], [0, 0, 0], [11.125, 9, 2]],
            [[1, 2, 2], [15.5, 0.25, 2], [6, 7, 2]],
        ]
    )
    sizes = np.full((2, 2), 16.0)
    return KeyPoints(
        ("v/shapes_0000.png", "v/shapes_0001.png"), values, NAMES, ((0, 1), (0, 2)), sizes, scores
    )


def in_order(held):
    """The same with points as NAMES has them: Label Studio knows them by name alone."""
    order = [held.names.index(name) for name in NAMES]
    scores = None if held.scores is None else held.scores[:, order]
    return held.with_(values=held.values[:, order], scores=scores)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_is_read(tmp_path, form):
    one = marked()
    two = in_order(read(write(one, tmp_path, form)))
    assert two.files == one.files
    np.testing.assert_allclose(two.values, one.values, atol=1e-9)
    assert two.scores is None
    if form in ("coco", "sleap"):
        assert two.bones == one.bones


@pytest.mark.parametrize("form", FORMS)
def test_scores_of_a_machine_are_kept(tmp_path, form):
    scores = np.array([[0.5, 0.0, 0.25], [1.0, 0.75, 0.125]])
    two = in_order(read(write(marked(scores), tmp_path, form)))
    seen = marked().values[..., 2] > 0
    np.testing.assert_allclose(two.scores[seen], scores[seen], atol=1e-4)
    np.testing.assert_allclose(two.values[seen], marked().values[seen], atol=1e-9)


def frame(index):
    import pandas as pd

    columns = pd.MultiIndex.from_product(
        [["me"], ["snout", "tail"], ["x", "y"]], names=["scorer", "bodyparts", "coords"]
    )
    return pd.DataFrame([[1, 2.5, 3, np.nan], [5, 6, 7, 8.0]], columns=columns, index=index)


@pytest.mark.parametrize(("layout", "deep"), [("fixed", True), ("fixed", False), ("table", False)])
def test_hdf5_as_pandas_writes_it(tmp_path, layout, deep):
    pd = pytest.importorskip("pandas")
    index = [("labeled-data", "v", "a.png"), ("labeled-data", "v", "b.png")]
    index = pd.MultiIndex.from_tuples(index) if deep else ["/".join(one) for one in index]
    frame(index).to_hdf(tmp_path / "C.h5", key="df_with_missing", mode="w", format=layout)
    held = read(tmp_path / "C.h5")
    assert held.files == ("labeled-data/v/a.png", "labeled-data/v/b.png")
    assert held.names == ("snout", "tail")
    assert held.values.tolist() == [[[1, 2.5, 2], [0, 0, 0]], [[5, 6, 2], [7, 8, 2]]]


def test_pandas_reads_the_hdf5_that_is_written(tmp_path):
    pd = pytest.importorskip("pandas")
    table = pd.read_hdf(write(marked(), tmp_path, "deeplabcut-h5"))
    assert list(table.index) == list(marked().files)
    assert table["fallow"]["snout"]["y"].tolist() == [4.5, 2]
    assert np.isnan(table["fallow"]["left ear"]["x"].iloc[0])


def test_no_object_of_a_stranger_is_built(tmp_path):
    tables = pytest.importorskip("tables")
    pd = pytest.importorskip("pandas")
    path = tmp_path / "C.h5"
    table = frame(["a.png", "b.png"])
    assert isinstance(table, pd.DataFrame)
    table.to_hdf(path, key="df_with_missing", mode="w", format="table")
    mark = tmp_path / "was-here"
    attack = f"cposix\nsystem\n(S'touch {mark}'\ntR.".encode()
    with tables.open_file(path, "a") as file:
        node = file.root.df_with_missing.table
        node._v_attrs._g_setattr(node, "values_block_0_kind", np.bytes_(attack))
    with pytest.raises(SourceProblem, match=r"C\.h5 is not as DeepLabCut has it"):
        read(path)
    assert not mark.exists()


def test_a_project_is_read_whole(tmp_path):
    for video in ("one", "two"):
        folder = tmp_path / "labeled-data" / video
        folder.mkdir(parents=True)
        (folder / "CollectedData_me.csv").write_text(
            "scorer,,,me,me,me,me\nbodyparts,,,snout,snout,tail,tail\ncoords,,,x,y,x,y\n"
            f"labeled-data,{video},img1.png,1,2,,\n"
        )
    (tmp_path / "config.yaml").write_text("skeleton:\n- - snout\n  - tail\n")
    for source in (tmp_path, tmp_path / "config.yaml"):
        held = read(source)
        assert held.files == ("labeled-data/one/img1.png", "labeled-data/two/img1.png")
        assert held.bones == ((0, 1),)
        assert held.values[:, :, 2].tolist() == [[2, 0], [2, 0]]
    path = tmp_path / "labeled-data" / "two" / "CollectedData_me.csv"
    path.write_text(path.read_text().replace("tail", "paw"))
    with pytest.raises(SourceProblem, match="mixes skeletons"):
        read(tmp_path)


def coco(**changes):
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 9}],
        "categories": [
            {"id": 1, "keypoints": ["nose"], "skeleton": []},
            {"id": 2, "keypoints": ["head", "tail"]},
        ],
        "annotations": [{"image_id": 1, "category_id": 1, "keypoints": [1, 2, 2]}],
    } | changes


def said(tmp_path, found, match):
    path = tmp_path / "points.json"
    path.write_text(json.dumps(found))
    with pytest.raises(SourceProblem, match=match):
        read(path)


def test_what_is_wrong_with_a_file_is_said_in_one_sentence(tmp_path):
    one = coco()["annotations"][0]
    other = {"image_id": 1, "category_id": 2, "keypoints": [1, 2, 2, 3, 4, 2]}
    said(tmp_path, coco(annotations=[one, other]), "mixes 2 skeletons: keep the annotations of one")
    said(tmp_path, coco(annotations=[one, one]), "several individuals in a.png")
    said(tmp_path, coco(annotations=[]), "without key points")
    said(tmp_path, coco(annotations=[one | {"keypoints": [1, 2]}]), "where its skeleton has 1")
    said(tmp_path, coco(annotations=[one | {"image_id": 5}]), "a picture 5 that it does not list")
    said(tmp_path, coco(images=[{"id": 1}]), "not as COCO has it: 'file_name' is missing")
    said(tmp_path, {"a": 1}, "neither COCO, Label Studio nor SLEAP")
    video = {"backend": {"filename": "x.mp4"}}
    sleap = {
        "skeletons": [{"nodes": [{"id": 0}]}],
        "nodes": [{"name": "a"}],
        "videos": [video],
        "labels": [{"video": 0, "frame_idx": 2, "_instances": [{"_points": {}}]}],
    }
    said(tmp_path, sleap, "marks frames of the video x.mp4")
    with pytest.raises(SourceProblem, match="there is no file"):
        read(tmp_path / "none.json")
    with pytest.raises(SettingProblem, match="did you mean coco"):
        write(marked(), tmp_path, "coko")
    path = tmp_path / "C.h5"
    path.write_bytes(b"not hdf")
    with pytest.raises(SourceProblem, match=r"C\.h5 cannot be read as HDF5"):
        read(path)
    many = "scorer,me,me,me,me\nindividuals,a,a,b,b\nbodyparts,n,n,n,n\ncoords,x,y,x,y\n"
    (tmp_path / "m.csv").write_text(many + "a.png,1,2,3,4\n")
    with pytest.raises(SourceProblem, match="several individuals"):
        read(tmp_path / "m.csv")
    (tmp_path / "m.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SourceProblem, match="its first row is not the scorer"):
        read(tmp_path / "m.csv")


def test_points_find_their_pictures():
    images = shapes(3, side=16)
    one = marked().with_(files=("labeled-data/shapes_0001", "x/shapes_0009"))
    joined, notes = with_points(images, one, "points.csv")
    cells = joined.table.column("points").to_pylist()
    assert [cell is not None for cell in cells] == [False, True, False]
    assert cells[1][:3] == [3.25, 4.5, 2.0]
    assert cells[1][3:6] == [0.0, 0.0, 0.0]
    assert "1 marked pictures are not there, such as x/shapes_0009" in notes
    assert rows_of(["d/a.png", "a.png"], ["d/a.png", "e/a.png"]) == [0, None]


def test_points_that_fit_no_picture_are_refused():
    images = shapes(2, side=16)
    names = ("shapes_0000", "shapes_0001")
    with pytest.raises(SourceProblem, match="none of the 2 pictures marked in p is in shapes"):
        with_points(images, marked(), "p")
    with pytest.raises(
        SourceProblem, match="marked as a picture of 32 x 32 pixels and has 16 x 16"
    ):
        with_points(images, marked().with_(files=names, sizes=np.full((2, 2), 32.0)), "p")
    far = marked().values.copy()
    far[1, 2, 0] = 40
    with pytest.raises(SourceProblem, match=r"right ear of shapes_0001 is marked at \(40, 7\)"):
        with_points(images, marked().with_(files=names, values=far), "p")
    with pytest.raises(SourceProblem, match="no point is marked in any of the 2 pictures"):
        with_points(images, marked().with_(files=names, values=np.zeros((2, 3, 3))), "p")


def test_names_say_what_a_mirror_does():
    assert mirrored(NAMES) == (0, 2, 1)
    assert mirrored(["leftear", "rightear"]) == (1, 0)
    assert mirrored(["paw_l", "paw_r", "tail"]) == (1, 0, 2)
    assert mirrored(["left ear", "tail"]) == ()
    assert mirrored(["point 1", "point 2"]) == ()
