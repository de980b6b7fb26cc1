"""Cascades on real faces; the user's ONNX models, made here, in every form they may answer."""

from __future__ import annotations

import numpy as np
import pytest

from fallow.problems import Problem
from fallow.regions import people
from fallow.regions.people import Marks, RetinaFace, Seen, Things, anchors, decoded, faces

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def model(path, outputs, shape=(1, 3, "h", "w")):
    """An ONNX file that answers every picture alike."""
    from onnx import TensorProto, helper, numpy_helper

    entry = helper.make_tensor_value_info("picture", TensorProto.FLOAT, list(shape))
    nodes, values = [], []
    for name, value in outputs.items():
        kind = TensorProto.INT64 if value.dtype == np.int64 else TensorProto.FLOAT
        values.append(helper.make_tensor_value_info(name, kind, list(value.shape)))
        tensor = numpy_helper.from_array(value, name)
        nodes.append(helper.make_node("Constant", [], [name], value=tensor))
    graph = helper.make_graph(nodes, "answers", [entry], values)
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(whole.SerializeToString())
    return path


def test_faces_come_back_from_their_answers():
    around = anchors(64, 96)
    assert len(around) == 2 * (8 * 12 + 4 * 6 + 2 * 3)
    wanted = np.array([0.25, 0.25, 0.75, 0.75])
    places = np.zeros((len(around), 4))
    centre, side = (wanted[:2] + wanted[2:]) / 2, wanted[2:] - wanted[:2]
    places[5, :2] = (centre - around[5, :2]) / (0.1 * around[5, 2:])
    places[5, 2:] = np.log(side / around[5, 2:]) / 0.2
    np.testing.assert_allclose(decoded(places, around)[5], wanted)
    scores = np.zeros(len(around))
    scores[5], scores[200] = 0.9, 0.3
    found = faces(places, scores, 64, 96)
    assert [round(one.score, 3) for one in found] == [0.9, 0.3]
    np.testing.assert_allclose(found[0].box, [24, 16, 72, 48])


def test_a_retinaface_model_finds_its_face_in_a_small_and_a_large_picture(tmp_path):
    around = anchors(64, 96)
    scores = np.tile(np.float32([4, -4]), (1, len(around), 1))
    scores[0, 7] = [-2, 2]
    path = model(
        tmp_path / "face.onnx",
        {"loc": np.zeros((1, len(around), 4), np.float32), "conf": scores,
         "points": np.zeros((1, len(around), 10), np.float32)},
        (1, 3, 64, 96),
    )  # fmt: skip
    detector = RetinaFace(path)
    small = detector(np.zeros((64, 96, 3), np.uint8))
    large = detector(np.zeros((128, 192, 3), np.uint8))
    assert small[0].score == pytest.approx(1 / (1 + np.exp(-4)), rel=1e-5)
    np.testing.assert_allclose(np.array(large[0].box), 2 * np.array(small[0].box))
    assert detector.name.startswith("face.onnx-")
    with pytest.raises(Problem, match="other anchors"):
        RetinaFace(
            model(tmp_path / "other.onnx",
                  {"a": np.zeros((1, 5, 4), np.float32), "b": np.zeros((1, 5, 2), np.float32)})
        )(np.zeros((64, 96, 3), np.uint8))  # fmt: skip


def test_things_of_a_yolo_and_of_named_outputs(tmp_path):
    answer = np.zeros((1, 6, 3), np.float32)
    answer[0, :4] = np.array([[50, 40, 20, 10], [51, 40, 20, 10], [10, 10, 4, 4]]).T
    answer[0, 4:] = np.array([[0.9, 0.1], [0.8, 0.0], [0.0, 0.6]]).T
    path = model(tmp_path / "yolo.onnx", {"out": answer}, (1, 3, 100, 100))
    found = Things(path, ["person", "dog"])(np.zeros((50, 100, 3), np.uint8))
    assert [(one.label, round(one.score, 2)) for one in found] == [("person", 0.9), ("dog", 0.6)]
    np.testing.assert_allclose(found[0].box, [40, 35, 60, 45])
    named = {"boxes": np.float32([[1, 2, 3, 4]]), "labels": np.int64([1]),
             "scores": np.float32([0.7])}  # fmt: skip
    path = model(tmp_path / "rcnn.onnx", named)
    assert Things(path, ["person", "dog"])(np.zeros((20, 20, 3), np.uint8)) == [
        Seen("dog", pytest.approx(0.7), (1.0, 2.0, 3.0, 4.0))
    ]
    with pytest.raises(Problem, match="class 1"):
        Things(path, ["person"])(np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(Problem, match="4 \\+ 3 rows"):
        Things(tmp_path / "yolo.onnx", ["a", "b", "c"])(np.zeros((20, 20, 3), np.uint8))


def test_a_classifier_marks_the_whole_picture(tmp_path):
    path = model(tmp_path / "flag.onnx", {"p": np.float32([[0.8]])}, (1, 3, 8, 8))
    assert Marks(path)(np.zeros((20, 30, 3), np.uint8)) == [
        Seen("flagged", pytest.approx(0.8), (0.0, 0.0, 30.0, 20.0))
    ]
    path = model(tmp_path / "two.onnx", {"logits": np.float32([[0.0, 2.0]])}, (1, 3, 8, 8))
    found = Marks(path, ["fine", "flagged"])(np.zeros((20, 30, 3), np.uint8))
    assert sum(one.score for one in found) == pytest.approx(1)
    with pytest.raises(Problem, match="2 numbers for 1 names"):
        Marks(path)(np.zeros((20, 30, 3), np.uint8))


def test_models_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(Problem, match="cannot be read"):
        RetinaFace(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(Problem, match="no ONNX model"):
        RetinaFace(tmp_path / "bad.onnx")
    path = model(tmp_path / "grey.onnx", {"p": np.float32([[0.8]])}, (1, 1, 8, 8))
    with pytest.raises(Problem, match="1 x 3 x height x width"):
        Marks(path)


def test_a_name_changes_with_the_model_and_its_classes(tmp_path):
    answer = np.zeros((1, 5, 1), np.float32)
    one = Things(model(tmp_path / "a.onnx", {"out": answer}), ["person"])
    other = Things(tmp_path / "a.onnx", ["face"])
    moved = Things(model(tmp_path / "a.onnx", {"out": answer + 1}), ["person"])
    assert len({one.name, other.name, moved.name}) == 3


def enlarged(face):
    from PIL import Image

    grey = Image.fromarray((face * 255).astype(np.uint8)).resize((100, 100), Image.BICUBIC)
    pixels = np.full((160, 160), 128, np.uint8)
    pixels[30:130, 30:130] = np.array(grey)
    return np.repeat(pixels[..., None], 3, 2)


def test_cascades_tell_faces_from_other_things():
    pytest.importorskip("cv2")
    data = pytest.importorskip("skimage.data")
    shown = data.lfw_subset()  # 100 faces, then 100 other things
    detector = people.Cascades()

    def surest(image):
        return max((seen.score for seen in detector(enlarged(image))), default=0)

    hits = [surest(image) >= 0.5 for image in shown[:5]]
    others = [surest(image) >= 0.5 for image in shown[100:105]]
    assert sum(hits) >= 4
    assert sum(others) <= 1
    seen = detector(enlarged(shown[0]))[0]
    assert seen.label == "face"
    assert 0 <= seen.box[0] < seen.box[2] <= 160


def test_a_mirrored_profile_lies_where_it_is_seen():
    pytest.importorskip("cv2")
    data = pytest.importorskip("skimage.data")
    detector = people.Cascades({"profileface": "face"})
    picture = np.repeat(data.camera()[:300, 100:400, None], 3, 2)  # a man in profile
    one, two = detector(picture), detector(np.ascontiguousarray(picture[:, ::-1]))
    assert one
    assert two
    width = picture.shape[1]
    mirrored = [width - one[0].box[2], one[0].box[1], width - one[0].box[0], one[0].box[3]]
    best = min(two, key=lambda seen: np.abs(np.array(seen.box) - mirrored).max())
    assert np.abs(np.array(best.box) - mirrored).max() < 20
