"""Images: labels joined, selections, and pixels handed out in order."""

import numpy as np
import pyarrow as pa
import pytest
from containers import IDS

from fallow.images import open
from fallow.problems import SettingProblem, SourceProblem


def test_a_label_file_is_joined_by_path(folder, tmp_path):
    labels = tmp_path / "l.csv"
    labels.write_text(
        "path;label;frame;score;ok\ncats/a.jpg;x;007;1;true\n./dogs/c.webp;y;;2.5;false\n"
        "ghost.jpg;z;1;1;true\n"
    )
    images = open(folder, labels=labels)
    assert images.column("label").tolist() == ["x", None, "y", None]
    assert images.column("frame").tolist() == ["007", None, None, None]
    assert images.table.column("score").to_pylist() == [1.0, None, 2.5, None]
    assert images.table.column("ok").to_pylist() == [True, None, False, None]
    assert images.notes == [
        "1 of 3 names in l.csv match no image, for example ghost.jpg",
    ]
    codes, names = images.labels
    assert codes.tolist() == [0, -1, 1, -1]
    assert names == ["x", "y"]
    assert (len(images.labelled), len(images.unlabelled)) == (2, 2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path,label\nx.jpg,a\ny.jpg,b\n", "no name in l.csv matches an image"),
        ("label,split\na,b\n", "has no column path"),
        ("path,label\ncats/a.jpg,a\ncats/a.jpg,b\n", "names cats/a.jpg twice"),
        ("path,label\ncats/a.jpg,a,extra\n", "cannot be read as a table"),
        ("path,label\n,a\n", "1 rows without a path"),
        ("path,a,a\ncats/a.jpg,1,2\n", "two columns called a"),
        ("", "is empty"),
    ],
)
def test_a_bad_label_file_is_one_sentence(folder, tmp_path, text, sentence):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(SourceProblem, match=sentence):
        open(folder, labels=tmp_path / "l.csv")
    with pytest.raises(SourceProblem, match="no label file"):
        open(folder, labels=tmp_path / "missing.csv")


def test_tables_and_values_can_be_labels(folder):
    for labels in (
        {"path": IDS[:2], "label": ["x", "y"]},
        pa.table({"file_name": IDS[1:2], "label": ["y"]}),
    ):
        assert open(folder, labels=labels).column("label").tolist()[1] == "y"
    joined = open(folder).join({"path": ["c.webp"], "note": ["by file name"]})
    assert joined.column("note").tolist() == [None, None, "by file name", None]
    assert joined.notes == ["the label table was matched by file name alone"]
    with pytest.raises(SettingProblem, match="no column paths"):
        open(folder).join({"path": IDS, "x": IDS}, on="paths")


def test_selections(folder):
    images = open(folder)
    assert images.where("label = 'cats' and width >= 40").column("id").tolist() == IDS[:2]
    with pytest.raises(SettingProblem, match="did you mean label"):
        images.where("labl = 'cats'")
    assert images.select([2, -1]).column("id").tolist() == [IDS[2], IDS[3]]
    assert (images.select([2])[0] == images[2]).all()
    with pytest.raises(SettingProblem):
        images.select([4])
    big = open(np.zeros((100, 2, 2), np.uint8), labels={"group": [at // 10 for at in range(100)]})
    ten, twenty = big.sample(10, seed=3).column("id"), big.sample(20, seed=3).column("id")
    assert len(ten) == 10
    assert set(ten) < set(twenty)
    assert (
        list(big.sample(10, seed=3).column("id")) == list(ten) != list(big.sample(10).column("id"))
    )
    first, second = big.split(0.8, seed=1)
    assert (len(first), len(second)) == (80, 20)
    assert set(first.column("id")) | set(second.column("id")) == set(big.column("id"))
    first, second = big.split(0.7, seed=1, by="group")
    assert (len(first), len(second)) == (70, 30)
    assert not set(first.column("group")) & set(second.column("group"))


def test_map_is_in_order_bounded_and_passes_mistakes_on(folder):
    images = open(np.arange(200, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8))
    begun = []

    def first(pixels):
        begun.append(int(pixels[0, 0, 0]))
        return begun[-1]

    results = images.map(first, threads=2)
    assert [next(results) for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
    assert len(begun) <= 3 + 10
    assert [value for _, value in results] == list(range(3, 200))

    def fail(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(open(folder).map(fail))


def test_text_that_is_not_utf8_is_one_sentence(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"path": "\xe1.png", "x": 1}\n')
    with pytest.raises(SourceProblem, match=r"a.jsonl cannot be read as a table: .*UTF8"):
        open(tmp_path / "a.jsonl")
