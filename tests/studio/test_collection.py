"""The collection's addresses: pages of thumbnails, filters, search, versions of labels."""

from __future__ import annotations

import csv
import io
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from starlette.testclient import TestClient

from fallow.images.samples import shapes
from fallow.problems import SettingProblem, SourceProblem
from fallow.studio import selection
from fallow.studio.app import build
from fallow.studio.changes import Changes
from fallow.studio.desk import Desk
from fallow.studio.thumbnails import Shelf

HOME = "http://127.0.0.1:8000"


def arrived(desk: Desk) -> TestClient:
    client = TestClient(build(desk, "t", 8000), base_url=HOME)
    client.get("/", params={"token": "t"})
    client.headers["origin"] = HOME
    return client


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: Any) -> Desk:
    monkeypatch.setenv("FALLOW_DATA", str(tmp_path))
    return Desk.opened(shapes(16, side=24))


@pytest.fixture
def client(desk: Desk) -> TestClient:
    return arrived(desk)


def rows_of(answer: Any) -> list[int]:
    return np.frombuffer(answer.content, "<u4").tolist()


def test_a_sheet_holds_every_thumbnail(client: TestClient) -> None:
    answer = client.get("/api/collection/sheet", params={"rows": "3,0,3", "side": 96})
    lengths = struct.unpack_from("<3I", answer.content)
    assert sum(lengths) + 12 == len(answer.content)
    first = answer.content[12 : 12 + lengths[0]]
    assert first[:3] == b"\xff\xd8\xff"
    assert answer.content.endswith(first)  # row 3 again
    alone = client.get("/api/collection/thumbnail/3", params={"side": 96})
    assert alone.content == first


def test_a_thumbnail_is_asked_for_once(client: TestClient) -> None:
    for path, asked in (("thumbnail/2", {}), ("sheet", {"rows": "2,5"})):
        first = client.get(f"/api/collection/{path}", params=asked)
        tag = {"if-none-match": first.headers["etag"]}
        again = client.get(f"/api/collection/{path}", params=asked, headers=tag)
        assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    other = client.get("/api/collection/thumbnail/3", headers=tag)
    assert other.status_code == 200


def test_thumbnails_are_made_once(desk: Desk, monkeypatch: Any) -> None:
    before = desk.thumbnails([0, 1], 96)
    monkeypatch.setattr(Desk, "pixels", lambda *_: pytest.fail("decoded again"))
    assert desk.thumbnails([1, 0, 1], 96) == [before[1], before[0], before[1]]


def test_small_files_are_thumbnails_already(tmp_path: Path) -> None:
    for name, side in (("a", 90), ("b", 140)):
        Image.fromarray(shapes(1, side=side)[0]).save(tmp_path / f"{name}.jpg")
    desk = Desk.opened(tmp_path)
    small, reduced = desk.thumbnails([0, 1], 96)
    assert small == (tmp_path / "a.jpg").read_bytes()
    assert max(Image.open(io.BytesIO(reduced)).size) == 96
    assert desk.thumbnails([1], 160) == [(tmp_path / "b.jpg").read_bytes()]


@pytest.mark.parametrize("asked", [Desk.prepare, lambda desk: desk.expect(range(70), 160)])
def test_thumbnails_are_made_ahead(asked: Any, monkeypatch: Any) -> None:
    made, small, all_made = [], Desk._small, threading.Event()

    def counted(desk: Desk, row: int, side: int) -> bytes:
        made.append(row)
        if len(made) == 70:
            all_made.set()
        return small(desk, row, side)

    monkeypatch.setattr(Desk, "_small", counted)
    desk = Desk.opened(shapes(70, side=24, seed=5 if asked is Desk.prepare else 6))
    asked(desk)
    assert all_made.wait(60)
    assert len(set(desk.thumbnails(range(70), 160))) == 70
    assert sorted(made) == list(range(70))  # nobody made one again


def test_those_that_are_waited_for_go_first(tmp_path: Path) -> None:
    shelf, order = Shelf(tmp_path), []
    begun, may_end = threading.Event(), threading.Event()

    def slow(place: int) -> bytes:
        begun.set()
        assert may_end.wait(60)
        return b"slow"

    def noted(place: int) -> bytes:
        order.append(place)
        return b"quick"

    with ThreadPoolExecutor(2) as people:
        first = people.submit(shelf.many, ["slow"], 96, slow)
        assert begun.wait(60)
        second = people.submit(shelf.many, ["slow"], 96, noted)  # comes with the first
        shelf.expect([f"{k}" for k in range(30)], 96, noted)
        assert order == []  # as long as anybody waits
        may_end.set()
        assert first.result() == second.result() == [b"slow"]
    assert shelf.many(["3"], 96, noted) == [b"quick"]


def test_a_damaged_file_of_thumbnails_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "thumbnails.sqlite").write_bytes(b"no data base" * 400)
    shelf = Shelf(tmp_path)
    assert shelf.many(["a", "b", "a"], 96, lambda place: b"%d" % place) == [b"2", b"1", b"2"]
    shelf.settle()
    assert Shelf(tmp_path).many(["b"], 96, lambda place: b"") == [b"1"]


def test_what_cannot_be_decoded_is_tried_again(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, limit=160)
    assert shelf.many(["a"], 96, lambda place: b"") == [b""]
    assert shelf.many(["a"], 96, lambda place: b"now") == [b"now"]
    shelf.settle()
    shelf.many(["b"], 96, lambda place: b"x" * 20)  # beyond the limit: all are made anew
    shelf.settle()
    assert shelf.many(["a"], 96, lambda place: b"again") == [b"again"]


def test_sizes_are_those_there_are(client: TestClient) -> None:
    answer = client.get("/api/collection/thumbnail/0", params={"side": 97})
    assert answer.json() == {"problem": "thumbnails have a side of 96, 160, 320"}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, list(range(16))),
        ({"where": "label = 'ring'"}, [1, 9]),
        ({"where": "label in ('ring', 'disc')", "sort": "-label"}, [1, 9, 0, 8]),
        ({"find": "STA"}, [4, 12]),
        ({"find": "star 12"}, [12]),
        ({"where": "label is null"}, []),
    ],
)
def test_filters_and_order(client: TestClient, asked: dict[str, str], expected: list[int]) -> None:
    assert rows_of(client.get("/api/collection/order", params=asked)) == expected


@pytest.mark.parametrize(
    ("asked", "said"),
    [({"where": "lable = 'x'"}, "did you mean label?"), ({"where": "label ="}, "ends too early"),
     ({"sort": "nothing"}, "no column nothing"), ({"where": "(" * 99}, "nested too deeply")],
)  # fmt: skip
def test_a_wrong_filter_is_a_sentence(client: TestClient, asked: Any, said: str) -> None:
    answer = client.get("/api/collection/order", params=asked)
    assert answer.status_code == 400
    assert said in answer.json()["problem"]


def test_missing_values_come_last_either_way() -> None:
    table = pa.table({"a": [2.0, float("nan"), None, 1.0], "b": [["x"], [], None, ["y"]]})
    assert selection.chosen(table, sort="a").tolist() == [3, 0, 1, 2]
    assert selection.chosen(table, sort="-a").tolist() == [0, 3, 1, 2]
    assert selection.chosen(table, find="Y").tolist() == [3]
    with pytest.raises(SettingProblem, match="holds lists"):
        selection.chosen(table, sort="b")


def test_columns_say_what_they_hold(client: TestClient) -> None:
    found = {one["name"]: one for one in client.get("/api/collection/columns").json()["columns"]}
    assert found["label"]["distinct"] == 8
    assert {one["count"] for one in found["label"]["values"]} == {2}
    assert (found["width"]["low"], found["width"]["whole"]) == (24, True)
    assert sum(found["width"]["histogram"]) == 16


def test_cells_hold_what_json_can(client: TestClient) -> None:
    answer = client.get("/api/collection/rows", params={"rows": "5,1", "columns": "label,width"})
    assert answer.json()["rows"] == [
        {"row": 5, "label": "cross", "width": 24},
        {"row": 1, "label": "ring", "width": 24},
    ]


# --- labels ---


def say(client: TestClient, rows: list[int], value: str | None) -> dict[str, Any]:
    answer = client.post("/api/collection/label", json={"rows": rows, "value": value})
    return answer.json()


def exported(client: TestClient, **asked: Any) -> list[list[str]]:
    answer = client.get("/api/collection/labels.csv", params=asked)
    return list(csv.reader(io.StringIO(answer.text)))


def test_labels_are_versions_that_can_be_undone(client: TestClient, desk: Desk) -> None:
    assert say(client, [0, 1], " two   words ")["version"] == 1
    assert say(client, [1], None) == {
        "version": 2, "kind": "change", "column": "label", "pictures": 1, "value": None,
        "undo": True, "redo": False}  # fmt: skip
    assert desk.table.column("label").to_pylist()[:3] == ["two words", None, "square"]
    assert client.post("/api/collection/undo").json()["redo"] is True
    assert desk.table.column("label")[1].as_py() == "two words"
    client.post("/api/collection/undo")
    assert desk.table.column("label").to_pylist()[:2] == ["disc", "ring"]
    assert client.post("/api/collection/undo").json() == {"problem": "there is nothing to undo"}
    client.post("/api/collection/redo")
    assert desk.table.column("label").to_pylist()[:2] == ["two words", "two words"]
    say(client, [5], "new")  # what was undone is gone for redo, and still in the history
    assert client.post("/api/collection/redo").status_code == 400
    kinds = [one["kind"] for one in client.get("/api/collection/versions").json()["versions"]]
    assert kinds == ["change", "redo", "undo", "undo", "change", "change"]
    assert desk.version == 6


def test_labels_are_exported_as_they_were(client: TestClient) -> None:
    say(client, [0], 'a "quoted", one')
    say(client, [0], "later")
    assert exported(client)[:2] == [["path", "label"], ["shapes_0000", "later"]]
    assert exported(client, version=1)[1] == ["shapes_0000", 'a "quoted", one']
    assert exported(client, version=0)[1] == ["shapes_0000", "disc"]
    assert len(exported(client, where="label = 'ring'")) == 3
    assert client.get("/api/collection/labels.csv", params={"version": 9}).status_code == 400


def test_exported_labels_are_read_again(client: TestClient, tmp_path: Path) -> None:
    say(client, [3], "moon")
    answer = client.get("/api/collection/labels.csv")
    (tmp_path / "labels.csv").write_text(answer.text)
    again = shapes(16, side=24).join(tmp_path / "labels.csv")
    assert again.column("label")[3] == "moon"


def test_a_later_session_knows_what_was_said(client: TestClient, desk: Desk) -> None:
    say(client, [2], "moon")
    client.post("/api/collection/undo")
    later = Desk.opened(shapes(16, side=24))
    assert (later.version, later.table.column("label")[2].as_py()) == (2, "square")
    assert later.redo().values == {"shapes_0002": "moon"}
    desk.changes.refresh()  # and the one that is still open learns of it
    assert desk.table.column("label")[2].as_py() == "moon"


def test_columns_of_ones_own(client: TestClient, desk: Desk) -> None:
    body = {"rows": [1], "column": "excluded", "value": "yes"}
    assert client.post("/api/collection/label", json=body).json()["version"] == 1
    assert rows_of(client.get("/api/collection/order", params={"where": "excluded = 'yes'"})) == [1]
    assert exported(client)[2] == ["shapes_0001", "ring", "yes"]
    for column in ("width", "path", "Label", "../x", "", "a" * 41):
        answer = client.post("/api/collection/label", json={**body, "column": column})
        assert answer.status_code == 400
    assert desk.version == 1


@pytest.mark.parametrize("rows", [[16], [-1], []])
def test_labels_need_pictures_that_there_are(client: TestClient, rows: list[int]) -> None:
    answer = client.post("/api/collection/label", json={"rows": rows, "value": "x"})
    assert answer.status_code in (400, 422)
    assert client.get("/api/desk").json()["version"] == 0


def test_a_line_cut_short_is_forgotten_and_a_foreign_one_named(tmp_path: Path) -> None:
    path = tmp_path / "changes.jsonl"
    first = Changes(path)
    first.add("label", {"a": "x"}, {"a": None})
    with open(path, "ab") as file:
        file.write(b'{"version": 2, "when"')
    again = Changes(path)
    assert again.version == 1
    again.add("label", {"a": "y"}, {"a": "x"})
    assert Changes(path).columns == {"label": {"a": "y"}}
    path.write_text('{"a": 1}\n')
    with pytest.raises(SourceProblem, match="move the file away"):
        Changes(path)


# --- likeness ---


def test_before_a_look_nothing_is_compared(client: TestClient) -> None:
    answer = client.get("/api/collection/near/0")
    assert "have not been looked at" in answer.json()["problem"]
    assert client.get("/api/collection/look").json()["pictures"] == "none"
    words = client.post("/api/collection/look", json={"what": "words"})
    assert words.status_code == 200


def looked(client: TestClient, what: str) -> dict[str, Any]:
    """Begin a look and wait for its end."""
    import threading

    client.post("/api/collection/look", json={"what": what})
    for thread in threading.enumerate():
        if thread.name == "fallow-look":
            thread.join(120)
    return client.get("/api/collection/look").json()


def test_a_picture_that_is_sent_finds_itself(desk: Desk, client: TestClient) -> None:
    from PIL import Image

    assert looked(client, "pictures")["pictures"] == "ready"
    near = client.get("/api/collection/near/4", params={"count": 3}).json()
    assert len(near["rows"]) == 3
    assert 4 not in near["rows"]
    assert near["likeness"] == sorted(near["likeness"], reverse=True)
    file = io.BytesIO()
    Image.fromarray(desk.images[4]).save(file, "PNG")
    found = client.post("/api/collection/like", content=file.getvalue()).json()
    assert found["rows"][0] == 4
    assert found["likeness"][0] == pytest.approx(1, abs=1e-3)


def test_words_find_pictures(tmp_path: Path) -> None:
    from fallow.encoders.dual import save, tiny

    dual = tiny()
    desk = Desk.opened(shapes(6, side=24), words=save(dual, tmp_path / "dual"))
    client = arrived(desk)
    assert client.get("/api/collection/look").json()["can_words"] is True
    assert looked(client, "words")["words"] == "ready"
    found = client.get("/api/collection/words", params={"text": "a ring", "count": 6}).json()
    query = dual.embed_texts(["a ring"], normalise=True)[0]
    expected = dual.embed_images(desk.images, normalise=True) @ query
    assert found["rows"] == np.argsort(-expected, kind="stable").tolist()
    assert client.get("/api/collection/words", params={"text": " "}).status_code == 400


def test_a_failed_look_says_why(client: TestClient) -> None:
    said = looked(client, "words")
    assert said["words"] == "failed"
    assert said["problem"] == "search by words needs a run of align: start with --words RUN"
