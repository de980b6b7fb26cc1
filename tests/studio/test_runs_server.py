"""The part `runs` over the wire: starting, watching, what a run's folder holds, what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from studio_running import TOKEN, started

from fallow import verbs
from fallow.images.samples import shapes
from fallow.studio.desk import Desk, Verbs
from fallow.studio.queue import Queue, Run


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    opened = Desk.opened(shapes(6, side=24))
    opened.verbs = Verbs(verbs.names(), verbs.declaration, verbs.summary, verbs.by_purpose())
    opened.place = tmp_path_factory.mktemp("desk")
    return opened


@pytest.fixture(scope="module")
def client(desk):
    for studio in started(desk):
        own = f"http://127.0.0.1:{studio.port}"
        with httpx.Client(base_url=own, headers={"origin": own}, timeout=60) as made:
            made.get("/", params={"token": TOKEN})
            yield made


def put(desk, folder, **values):
    """A run in the list as a worker would have left it."""
    queue = Queue(desk.place / "queue")
    told = {"id": "abc", "verb": "learn", "given": {"source": "photos"}, "words": ["photos"],
            "cwd": str(folder.parent), "out": folder.name, "added": 1.0, "began": 10.0,
            "ended": 70.0, "state": "done", "code": 0}  # fmt: skip
    run = Run(**{**told, **values})
    with queue.changing() as runs:
        runs[:] = [*(one for one in runs if one.id != run.id), run]
    queue.files(run).mkdir(exist_ok=True)
    return run


@pytest.fixture
def ended(desk, tmp_path):
    """A run of learn that is over, with everything one leaves behind."""
    folder = tmp_path / "photos-simclr"
    (folder / "views").mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "views" / "images.png")
    (folder / "report.html").write_text("<h1>Report</h1><script>document.title = origin</script>")
    lines = [{"step": k, "loss": 5 - k / 1000, "progress": k / 1000} for k in range(1, 1001)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text + '{"step": 1001, "lo')  # as a kill leaves it
    about = {"method": "SimCLR", "encoder": "resnet8/8", "seed": 0, "notes": ["batch 6"],
             "settings": {"epochs": 3.0, "minutes": None}}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(about))
    (folder / "checkpoint.pt").touch()
    run = put(desk, folder)
    said = Queue(desk.place / "queue").files(run) / "stdout"
    said.write_text("warning: the embeddings are collapsing\nreport: here\n")
    return run


def test_what_a_run_left_is_told(client, ended):
    found = client.get("/api/runs/abc").json()
    assert found["settings"] == {
        "method": "SimCLR", "encoder": "resnet8/8", "seed": 0, "epochs": 3.0
    }  # fmt: skip
    assert found["warnings"] == ["the embeddings are collapsing"]
    assert (found["notes"], found["views"], found["said"]) == (
        ["batch 6"], ["images"], "report: here"
    )  # fmt: skip
    assert (found["seconds"], found["progress"], found["goes_on"]) == (60.0, 1.0, True)
    assert found["latest"]["loss"] == 4.0
    assert found["command"] == "fallow learn photos"


def test_curves_are_thinned_and_whole(client, ended):
    steps, values = client.get("/api/runs/abc/curves").json()["loss"]
    assert len(steps) == len(values) <= 401
    assert (steps[0], steps[-1], values[-1]) == (2.0, 1000, 4.0)  # means of three, and the end
    assert set(client.get("/api/runs/abc/curves").json()) == {"loss"}


def test_views_are_asked_for_by_number(client, ended):
    sheet = client.get("/api/runs/abc/views/0")
    assert (sheet.status_code, sheet.headers["content-type"]) == (200, "image/png")
    for number in (1, -1, 99):
        answer = client.get(f"/api/runs/abc/views/{number}")
        assert answer.json() == {"problem": "this run has kept no such views"}
    assert client.get("/api/runs/abc/views/..%2Frun.json").status_code in (404, 422)


def test_a_report_is_shut_into_itself(client, ended, desk):
    report = client.get("/api/runs/abc/report")
    policy = report.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert "connect-src" not in policy
    assert "allow-same-origin" not in policy
    assert "Report" in report.text
    put(desk, Path(ended.cwd) / ended.out, state="running", ended=None)
    assert client.get("/api/runs/abc/report").json() == {"problem": "this run has no report (yet)"}
    put(desk, Path(ended.cwd) / ended.out, state="stopped")


def test_time_left_follows_the_budget(client, ended, desk):
    folder = Path(ended.cwd) / ended.out
    put(desk, folder, state="running", ended=None)
    files = Queue(desk.place / "queue").files(ended)
    (files / "process.json").write_text(json.dumps({"pid": 0, "born": "never"}))

    def left(settings, written=4e9, **line):  # the last line was just written, or long ago
        (folder / "run.json").write_text(json.dumps({"settings": settings}))
        (folder / "metrics.jsonl").write_text(json.dumps({"step": 50, **line}) + "\n")
        os.utime(folder / "metrics.jsonl", (written, written))
        [one] = [r for r in client.get("/api/runs/list").json()["runs"] if r["id"] == "abc"]
        return one["left"]

    assert left({"minutes": 10, "batch": 8}, progress=0.75) == 150
    assert left({"epochs": 3, "batch": 8}, progress=0.5, images_per_second=20.0) == 20
    assert left({"epochs": 3, "batch": 8}, progress=0.5) is None
    assert left({"minutes": 10, "batch": 8}, written=0, progress=0.75) == 0  # it is finishing
    put(desk, folder, state="stopped")


def events(client):
    """What the stream says, each time it says something."""
    with client.stream("GET", "/api/runs/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))["runs"]


def test_a_run_is_started_and_followed_to_its_end(client, desk, tmp_path, monkeypatch):
    monkeypatch.setenv("FALLOW_CACHE", str(tmp_path))
    judged = client.post("/api/runs/judge", json={"verb": "cache", "given": {"deed": "list"}})
    assert judged.json() == {
        "problems": {}, "out": "", "command": "fallow cache list", "python": "fallow.cache('list')"
    }  # fmt: skip
    begun = client.post("/api/runs/start", json={"verb": "cache", "given": {"deed": "list"}})
    id, states = begun.json()["id"], []
    for runs in events(client):
        [run] = [one for one in runs if one["id"] == id]
        states += [run["state"]] if run["state"] not in states[-1:] else []
        if run["state"] not in ("queued", "running"):
            break
    assert states[-2:] == ["running", "done"]
    assert (run["progress"], run["report"], run["goes_on"]) == (1.0, False, False)
    assert client.get(f"/api/runs/{id}").json()["log"] == "0 packs, 0.0 MB\n"
    assert (
        client.post(f"/api/runs/{id}/remove").json()["runs"]
        == client.get("/api/runs/list").json()["runs"]
    )


def test_a_form_with_mistakes_starts_nothing(client, desk):
    before = Queue(desk.place / "queue").runs()
    answer = client.post("/api/runs/start", json={"verb": "learn", "given": {"epochs": "many"}})
    assert answer.status_code == 400
    assert answer.json()["problem"] == "epochs: 'many' is not a number"
    assert set(answer.json()["problems"]) == {"epochs", "source"}
    assert Queue(desk.place / "queue").runs() == before


@pytest.mark.parametrize(
    ("verb", "sentence"),
    [("lern", "there is no verb 'lern': did you mean learn?"),
     ("studio", "there is no verb 'studio': known: ")],
)  # fmt: skip
def test_a_verb_that_is_none_is_a_sentence(client, verb, sentence):
    for answer in (
        client.get(f"/api/runs/form/{verb}"),
        client.post("/api/runs/start", json={"verb": verb, "given": {}}),
    ):
        assert answer.status_code == 400
        assert answer.json()["problem"].startswith(sentence)


def test_nothing_is_opened_to_judge_a_form(client, monkeypatch, tmp_path):
    # of a file that is there and of one that is not, the same is said
    (tmp_path / "there").mkdir()
    there, gone = (
        client.post("/api/runs/judge", json={"verb": "learn", "given": {
            "source": str(tmp_path / name), "labels": str(tmp_path / name),
            "encoder": str(tmp_path / name), "out": "x"}}).json()
        for name in ("there", "gone")
    )  # fmt: skip
    assert there["problems"] == gone["problems"] == {}
    assert there["command"].replace("there", "gone") == gone["command"]


def test_a_run_that_is_not_there_is_a_sentence(client):
    for path in ("nowhere", "..%2F..%2Fetc", "nowhere/curves", "nowhere/report"):
        assert client.get(f"/api/runs/{path}").status_code in (400, 404)
    for what in ("stop", "resume", "remove"):
        answer = client.post(f"/api/runs/nowhere/{what}")
        assert answer.json()["problem"].startswith("this run is not in the queue any more")


def test_nothing_changes_without_the_studios_own_page(client, ended):
    assert client.get("/api/runs/abc/remove").status_code in (404, 405)
    for origin in ("http://127.0.0.1:1", "null"):
        answer = client.post("/api/runs/abc/remove", headers={"origin": origin})
        assert answer.status_code == 403
    assert client.get("/api/runs/abc").status_code == 200
